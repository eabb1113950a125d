"""Places where a cluster may be: planted clumps, orders of rows, and tables that hold next to nothing."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info, threadpool_limits

from decocc_vo import ClusterRegion
from decocc_vo.columns import ASTROMETRY, canonical_order, floats
from decocc_vo.embedding.candidates import FIRST, find_peaks
from decocc_vo.embedding.embedded import Embedding
from decocc_vo.embedding.features import Observables, observables
from decocc_vo.simulate import SimulatedCluster, inject_cluster, shuffle_positions, simulate_field

REGION = ClusterRegion(SkyCoord(120.0, -35.0, unit="deg"), 30 * u.arcmin)
CLUSTER = SimulatedCluster(n_members=80, pmra=-6.0, pmdec=5.0, parallax=1.5, radius=4.0, xi=5.0, eta=-3.0)


def observed(x, cov, xy, mag, footprint):
    """Arrays as `observables` gives them; what is not named is missing in all stars."""
    missing = np.full(len(x), np.nan)
    return Observables(
        x=x,
        cov=cov,
        xy=xy,
        mag=mag,
        colour=missing,
        ruwe=missing,
        footprint=footprint,
    )


def embed(obs):
    return Embedding.of(obs.x, obs.cov, obs.xy / obs.footprint, obs.footprint)


def peaks_of(stars, **settings):
    stars = stars[canonical_order(stars)]
    obs = observables(stars, REGION)
    return find_peaks(obs, embed(obs), **settings)


@pytest.fixture(scope="module")
def empty():
    return simulate_field(REGION, 900, seed=3)


@pytest.fixture(scope="module")
def planted(empty):
    return inject_cluster(empty, REGION, CLUSTER, seed=1)


def at(peak, cluster):
    """Whether a peak is where a cluster is, in motion and parallax."""
    return np.all(np.abs(peak.x - [cluster.pmra, cluster.pmdec, cluster.parallax]) < 0.25)


def test_a_planted_clump_is_the_first_peak(planted):
    first = peaks_of(planted)[0]
    assert at(first, CLUSTER)
    np.testing.assert_allclose(first.xy, [5, -3], atol=1.5)
    assert first.count == pytest.approx(80, rel=0.4)
    assert first.gain > first.concentration > 50


def test_without_its_place_on_the_sky_the_motions_still_tell(planted):
    at_random = next(p for p in peaks_of(shuffle_positions(planted, 1)) if at(p, CLUSTER))
    in_place = next(p for p in peaks_of(planted) if at(p, CLUSTER))
    assert at_random.gain == pytest.approx(in_place.gain - in_place.concentration, rel=0.3)
    assert at_random.concentration < 0.1 * in_place.concentration


def test_a_compact_cluster_among_its_fields_own_motions_is_the_first_peak():
    """Errors as large as the spread of the field: only motions and positions together show it."""
    field = simulate_field(REGION, 3000, seed=4, limits=(15.0, 20.5))
    motion = np.median(floats(field["pmra"])), np.median(floats(field["pmdec"]))
    clump = SimulatedCluster(60, *motion, 0.4, radius=0.8, xi=6.0, eta=-8.0)
    first = peaks_of(inject_cluster(field, REGION, clump, seed=2))[0]
    np.testing.assert_allclose(first.xy, [6, -8], atol=1)
    np.testing.assert_allclose(first.x, [*motion, 0.4], atol=0.3)
    assert first.concentration > 40


@pytest.mark.parametrize("first", ["density", "hdbscan", "kmeans"])
def test_every_first_clustering_leads_there(planted, first):
    peak = peaks_of(planted, first=first)[0]
    assert at(peak, CLUSTER)
    np.testing.assert_allclose(peak.xy, [5, -3], atol=1.5)


@pytest.mark.parametrize("first", FIRST)
def test_k_means_keeps_to_one_thread(planted, first, monkeypatch):
    # Threads that wait for each other busily are slow beside other work, and sum in any order.
    threads, fit = [], KMeans.fit

    def counted(self, *args, **kwargs):
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp")
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(KMeans, "fit", counted)
    with threadpool_limits(limits=2):
        assert len(peaks_of(planted, first=first))
    assert set(threads) == {1}


def test_two_clumps_are_the_first_two_peaks(empty):
    other = SimulatedCluster(n_members=80, pmra=4.0, pmdec=-7.0, parallax=1.0, radius=4.0, xi=-8.0, eta=8.0)
    both = inject_cluster(inject_cluster(empty, REGION, CLUSTER, seed=1), REGION, other, seed=2)
    first = peaks_of(both)[:2]
    assert sorted(next(i for i, c in enumerate((CLUSTER, other)) if at(p, c)) for p in first) == [0, 1]


@pytest.mark.parametrize("parallax", [5.0, 9.3])
def test_a_nearby_cluster_is_found_in_front_of_a_distant_crowd(parallax):
    """At 1 km/s its proper motions are as wide as the crowd's, and its few stars are dense in nothing but velocity."""
    rng = np.random.default_rng(0)
    crowd = simulate_field(REGION, 2000, seed=0)
    crowd["pmra"], crowd["pmdec"] = rng.normal(-1, 0.9, 2000), rng.normal(2, 0.9, 2000)
    crowd["parallax"] = np.abs(rng.normal(0.3, 0.25, 2000)) * rng.lognormal(0, 0.5, 2000)
    near = SimulatedCluster(n_members=12, pmra=-0.7, pmdec=1.8, parallax=parallax, radius=12.0, dispersion=1.0)
    found = [p for p in peaks_of(inject_cluster(crowd, REGION, near, seed=0)) if abs(p.x[2] - parallax) < 0.5]
    assert len(found) == 1
    assert 8 < found[0].count < 16


def test_the_order_of_the_rows_does_not_matter(planted):
    shuffled = planted[np.random.default_rng(5).permutation(len(planted))]
    for one, two in zip(peaks_of(planted), peaks_of(shuffled), strict=True):
        np.testing.assert_array_equal(one.x, two.x)
        np.testing.assert_array_equal(one.xy, two.xy)
        assert (one.count, one.gain, one.concentration) == (two.count, two.gain, two.concentration)


def test_peaks_are_distinct_and_no_more_than_asked_for(empty):
    stars = empty
    for number in range(5):
        clump = SimulatedCluster(40, -10.0 + 5 * number, 8.0, 1.0 + 0.5 * number, 5.0)
        stars = inject_cluster(stars, REGION, clump, seed=number)
    assert len(peaks_of(stars, most=3)) == 3
    peaks = peaks_of(stars, most=6)
    assert len(peaks) >= 5
    assert len({int(np.argmin(np.abs(p.x[0] - np.arange(-10, 11, 5)))) for p in peaks[:5]}) == 5
    error = np.median(floats(stars["parallax_error"]))
    for i, one in enumerate(peaks):
        for other in peaks[:i]:
            assert np.max(np.abs(one.x - other.x)) > 3 * error


def test_a_large_table_is_thinned_and_the_clump_still_found(planted):
    def places(seed):
        thinned = peaks_of(
            planted["source_id", *ASTROMETRY, "pmra_error", "pmdec_error", "parallax_error"], search=400, seed=seed
        )
        assert any(at(p, CLUSTER) for p in thinned)
        return [(*p.x, p.count) for p in thinned]

    assert places(0) == places(0)
    assert places(0) != places(1)


def test_the_best_measured_stars_are_searched_too():
    """A cluster of well measured stars only, which thinning at random to one in ten would lose."""
    rng = np.random.default_rng(0)
    n, members = 6000, 25
    x = rng.normal([0, 0, 1], [6, 6, 0.8], (n, 3))
    sigma = np.full(n, 0.5)
    mag = rng.uniform(15, 20, n)
    r, angle = 30 * np.sqrt(rng.uniform(0, 1, n)), rng.uniform(0, 2 * np.pi, n)
    xy = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)
    bright = rng.permutation(n)[:600]
    sigma[bright], mag[bright] = 0.02, rng.uniform(8, 14, 600)
    own = bright[:members]
    x[own] = rng.normal([3, -2, 1.5], 0.05, (members, 3))
    xy[own] = rng.normal(0, 3, (members, 2))
    cov = sigma[:, None, None] ** 2 * np.eye(3)
    obs = observed(x, cov, xy, mag, 30.0)

    def found(obs):
        return any(np.abs(p.x - [3, -2, 1.5]).max() < 0.2 for p in find_peaks(obs, embed(obs), search=600))

    assert found(obs)
    assert found(observed(x, cov, xy, np.full(n, np.nan), 30.0))  # magnitudes do not matter
    cov[own] = 0.25 * np.eye(3)
    assert not found(observed(x, cov, xy, mag, 30.0))


@settings(max_examples=15)
@given(st.integers(20, 60), st.integers(0, 99))
def test_few_stars_give_few_peaks_and_no_error(n, seed):
    peaks = peaks_of(simulate_field(REGION, n, seed=seed))
    assert len(peaks) <= 8
    assert all(np.all(np.isfinite([*p.x, *p.xy, p.count, p.gain, p.concentration])) for p in peaks)


@pytest.mark.parametrize("n", [20, 200])
def test_identical_stars_are_survived(n):
    x, cov = np.tile([1.0, 2.0, 3.0], (n, 1)), np.tile(0.01 * np.eye(3), (n, 1, 1))
    obs = observed(x, cov, np.zeros((n, 2)), np.full(n, np.nan), 1e-6)
    peaks = find_peaks(obs, embed(obs))
    for peak in peaks:
        np.testing.assert_allclose(peak.x, [1, 2, 3], atol=1e-5)
    assert len(peaks) <= 1
