"""The whole search: planted clusters, none where there is none, and what the user knows beforehand."""

from dataclasses import replace
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from decocc_vo import ClusterRegion
from decocc_vo.columns import canonical_order
from decocc_vo.embedding import detection
from decocc_vo.embedding import search as search_module
from decocc_vo.embedding.detection import Embedding, fit_peak
from decocc_vo.embedding.evidence import evidence
from decocc_vo.embedding.features import observables
from decocc_vo.embedding.search import _Answer, _nearest_first, _shared, _steady, search_clusters
from decocc_vo.simulate import SimulatedCluster, inject_cluster, shuffle_positions, simulate_field

REGION = ClusterRegion(SkyCoord(120.0, -35.0, unit="deg"), 30 * u.arcmin)
CENTRAL = SimulatedCluster(n_members=60, pmra=-6.0, pmdec=5.0, parallax=1.5, radius=3.0, xi=1.0, eta=-1.0)
ASIDE = SimulatedCluster(n_members=90, pmra=4.0, pmdec=-7.0, parallax=1.0, radius=3.0, xi=12.0, eta=9.0)


def plant(field, *clusters):
    """A field with clusters in canonical order, and the number of each star's cluster (-1: field)."""
    stars, truth = field, np.full(len(field), -1)
    for number, cluster in enumerate(clusters):
        stars = inject_cluster(stars, REGION, cluster, seed=number + 1)
        truth = np.append(truth, np.full(cluster.n_members, number))
    order = canonical_order(stars)
    return stars[order], truth[order]


def search(stars, **settings):
    return search_clusters(stars, REGION, np.zeros(len(stars)), **settings)


def f1(chosen, truth):
    return 2 * np.sum(chosen & truth) / (chosen.sum() + truth.sum())


@pytest.fixture(scope="module")
def field():
    return simulate_field(REGION, 800, seed=3)


@pytest.fixture(scope="module")
def one(field):
    return plant(field, CENTRAL)


@pytest.fixture(scope="module")
def found(one):
    return search(one[0])


@pytest.fixture(scope="module")
def both(field):
    stars, truth = plant(field, CENTRAL, ASIDE)
    return stars, truth, search(stars)


def test_a_planted_cluster_is_found(one, found):
    _, truth = one
    assert len(found.candidates) == 1
    cluster = found.candidates[0]
    assert cluster.accepted
    assert cluster.significance > 100
    assert cluster.probability.shape == found.group.shape == found.spread.shape == (860,)
    assert f1(cluster.probability >= 0.5, truth == 0) > 0.93
    np.testing.assert_array_equal(found.group == 0, cluster.probability >= 0.5)
    assert set(found.group) == {0, -1}
    assert found.stop_reason.startswith("found 1 cluster among ")
    assert f"{cluster.significance:.1f}" in found.stop_reason
    assert np.all((cluster.probability >= 0) & (cluster.probability <= 1))


def test_the_spread_is_largest_where_there_is_doubt(found):
    p = found.candidates[0].probability
    assert np.all(found.spread >= 0)
    sure = (p < 1e-4) | (p > 0.999)
    assert found.spread.max() > 0.01
    assert np.median(found.spread[sure]) < 0.01
    doubtful = (p > 0.02) & (p < 0.98)
    assert np.median(found.spread[doubtful]) > 10 * np.median(found.spread[sure])
    assert found.diagnostics["spread"] == found.spread.max()
    assert found.diagnostics["velocity_km_s"] is None


def test_the_same_search_gives_the_same_bits(one, found):
    again = search(one[0])
    np.testing.assert_array_equal(again.candidates[0].probability, found.candidates[0].probability)
    np.testing.assert_array_equal(again.spread, found.spread)
    assert again.stop_reason == found.stop_reason


def test_an_answer_is_the_mean_over_starts_of_the_field(one, monkeypatch):
    stars, _ = one
    fits = []
    answer = search_module._answer
    monkeypatch.setattr(search_module, "_answer", lambda fit, *rest: fits.append(fit) or answer(fit, *rest))
    monkeypatch.setattr(search_module, "repeat", lambda fit, *_: fit)  # the spread of the mixture is none
    found = search(stars)
    assert len(fits) == 4
    assert len({fit.model.field_mean.tobytes() for fit in fits}) == 4
    obs = observables(stars, REGION, np.zeros(len(stars)))
    answers, spreads = zip(*(answer(fit, obs, 0, True) for fit in fits), strict=True)
    assert np.ptp(answers, axis=0).max() > 1e-4
    np.testing.assert_allclose(found.candidates[0].probability, np.mean(answers, axis=0), atol=1e-12)
    expected = np.sqrt(np.var(answers, axis=0) + np.mean(np.square(spreads), axis=0))
    np.testing.assert_allclose(found.spread, expected, atol=1e-7)


def test_a_start_that_loses_the_cluster_does_not_count(one, found, monkeypatch):
    def lose(fit, *_):
        return replace(fit, scores=fit.scores._replace(logit=fit.scores.logit - 40))

    monkeypatch.setattr(search_module, "anew", lose)
    alone = search(one[0])
    assert alone.candidates[0].probability.max() > 0.9
    np.testing.assert_array_equal(alone.group, np.where(alone.candidates[0].probability >= 0.5, 0, -1))
    assert f1(alone.group == 0, found.group == 0) > 0.95


def test_what_holds_from_one_start_only_is_listed_as_none_beside_the_cluster(both, monkeypatch):
    """The first is never taken back; another one that other starts of the field do not show is, and is listed."""
    stars, _, found = both
    assert [c.accepted for c in found.candidates] == [True, True]

    def doubt(fit, *_):
        """The same members without evidence for them."""
        return replace(fit, scores=fit.scores._replace(gain=0 * fit.scores.gain, spatial_gain=0 * fit.scores.gain))

    monkeypatch.setattr(search_module, "anew", doubt)
    once = search(stars)
    assert [c.accepted for c in once.candidates] == [True, False]
    assert once.stop_reason.startswith("found 1 cluster among ")
    told = f"; one more, of {once.candidates[1].significance:.1f}, holds from one start of the field only"
    assert told in once.stop_reason
    assert set(once.group) == {0, -1}
    same = [c for c in found.candidates if abs(c.significance - once.candidates[1].significance) < 1e-6]
    assert f1(once.candidates[1].probability >= 0.5, same[0].probability >= 0.5) > 0.95


@pytest.mark.parametrize(("held", "rival", "kept"), [(1, None, False), (2, None, True), (1, np.zeros(3), True)])
def test_two_starts_of_four_are_enough_and_of_a_pair_there_is_one(held, rival, kept):
    best, other = SimpleNamespace(rival=None), SimpleNamespace(rival=rival)
    steady, unsteady = _steady(
        [_Answer(best, np.zeros(3), np.zeros(3), 1), _Answer(other, np.ones(3), np.zeros(3), held)]
    )
    assert [answer.fit for answer in steady] == [best, other][: 1 + kept]
    assert [answer.fit for answer in unsteady] == [other][kept:]


def test_what_holds_from_one_start_only_is_not_the_cluster_though_it_is_nearer(both, monkeypatch):
    """The better one is a cluster in any case, the other one only if other starts of the field say so."""
    stars, _, found = both
    aside = np.argmin([c.significance for c in found.candidates])
    monkeypatch.setattr(search_module, "_nearest_first", lambda answers: answers[::-1])
    assert search(stars).candidates[0].significance == found.candidates[aside].significance
    weaker = min(c.significance for c in found.candidates)
    first = search_module.fault
    monkeypatch.setattr(search_module, "anew", lambda fit, *_: replace(fit, explained=1.0))
    monkeypatch.setattr(search_module, "fault", lambda fit, t: "no start" if fit.explained == 1.0 else first(fit, t))
    once = search(stars)
    assert once.candidates[0].significance > weaker
    assert [c.accepted for c in once.candidates] == [True, False]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_shuffled_field_has_none(seed):
    stars, _ = plant(simulate_field(REGION, 860, seed=seed))
    found = search(shuffle_positions(stars, seed=seed))
    assert not any(c.accepted for c in found.candidates)
    assert np.all(found.group == -1)
    assert found.spread is None
    assert found.stop_reason.startswith("no cluster: the best of ")
    assert "threshold of 5" in found.stop_reason
    assert all(c.significance < 5 for c in found.candidates)
    assert all(c.probability.shape == (860,) for c in found.candidates)


def test_the_threshold_is_the_users(one, found):
    significance = found.candidates[0].significance
    assert not any(c.accepted for c in search(one[0], threshold=10 * significance).candidates)


def test_two_clusters_nearest_to_the_centre_first(both):
    _, truth, found = both
    first, second = found.candidates[:2]
    assert f1(first.probability >= 0.5, truth == 0) > 0.9
    assert f1(second.probability >= 0.5, truth == 1) > 0.9
    assert first.significance < second.significance  # the one aside has more stars: the order is by place
    assert f1(found.group == 0, truth == 0) > 0.9
    assert f1(found.group == 1, truth == 1) > 0.9


def test_a_star_of_two_clusters_is_shared(field):
    """Of nearly one motion, behind one another: each was fitted against the field alone."""
    near = SimulatedCluster(n_members=150, pmra=-3.0, pmdec=2.0, parallax=0.6, radius=4.0)
    behind = SimulatedCluster(n_members=150, pmra=-2.85, pmdec=2.1, parallax=0.3, radius=4.0, xi=1.0)
    stars, truth = plant(field, near, behind)
    found = search(stars)
    probabilities = np.array([c.probability for c in found.candidates if c.accepted])
    assert len(probabilities) == 2
    assert probabilities.sum(axis=0).max() <= 1 + 1e-6
    assert abs(probabilities.sum() / np.sum(truth >= 0) - 1) < 0.1


def test_what_clusters_share():
    """By their odds against the field; of two that were fitted together that is done already."""
    logits = np.arange(3.0).reshape(3, 1)
    one, two, three = (SimpleNamespace(rival=None, scores=SimpleNamespace(logit=logit)) for logit in logits)
    given = zip((one, two, three), (0.5, 0.5, 0.8), strict=True)
    answers = [_Answer(fit, np.array([p]), np.zeros(1), 4) for fit, p in given]
    np.testing.assert_allclose([a.probability[0] for a in _shared(answers)], [1 / 7, 1 / 7, 4 / 7])
    one.rival, two.rival = two.scores.logit, one.scores.logit
    np.testing.assert_allclose([a.probability[0] for a in _shared(answers)], [1 / 6, 1 / 6, 4 / 7])
    np.testing.assert_allclose([a.probability[0] for a in _shared(answers[:2])], [0.5, 0.5])
    np.testing.assert_allclose(_shared(answers[:1])[0].probability, 0.5)


def test_a_group_that_is_everywhere_is_not_the_nearest(monkeypatch):
    """Where the centre of stars without concentration is, nobody knows."""

    def answer(centre, radius, members, significance):
        model = SimpleNamespace(centre=np.array(centre), radius=radius)
        fit = SimpleNamespace(model=model, n_expected=members, significance=significance)
        return _Answer(fit, np.zeros(1), np.zeros(1), 4)

    monkeypatch.setattr(search_module, "significance", lambda fit: fit.significance)
    cluster, group = answer((0.2, 0.1), 0.1, 50.0, 100.0), answer((0.05, 0.0), 2.0, 20.0, 30.0)
    assert _nearest_first([cluster, group])[0] is cluster
    rich, behind = answer((0.03, 0.0), 0.6, 500.0, 400.0), answer((0.2, 0.1), 0.05, 80.0, 300.0)
    assert _nearest_first([rich, behind])[0] is rich
    weak = answer((0.0, 0.0), 0.05, 30.0, 19.0)
    assert _nearest_first([cluster, weak])[0] is cluster
    assert _nearest_first([cluster, answer((0.0, 0.0), 0.05, 30.0, 21.0)])[1] is cluster
    # A cluster that fills the region is not behind a clump in its middle: neither is surely nearer.
    filling, clump = answer((0.1, 0.0), 0.8, 34.0, 65.0), answer((0.02, 0.0), 0.1, 17.0, 20.0)
    assert _nearest_first([filling, clump])[0] is filling


def test_the_other_cluster_first_in_a_region_around_it(both):
    stars, truth, _ = both
    sky = REGION.center.spherical_offsets_by(12 * u.arcmin, 9 * u.arcmin)
    there = ClusterRegion(sky, 30 * u.arcmin)
    found = search_clusters(stars, there, np.zeros(len(stars)))
    assert f1(found.candidates[0].probability >= 0.5, truth == 1) > 0.9


def test_started_from_stars_only_their_cluster_is_fitted(both):
    stars, truth, _ = both
    start = np.zeros(len(stars))
    start[np.flatnonzero(truth == 1)[:15]] = 1.0
    start[np.flatnonzero(truth == 0)[:15]] = 0.2  # not half the largest weight: does not count
    found = search(stars, start=start)
    assert len(found.candidates) == 1
    assert f1(found.candidates[0].probability >= 0.5, truth == 1) > 0.9
    assert found.diagnostics["peaks"] == 1


def test_stars_known_to_be_field_are_no_members(one):
    stars, truth = one
    field_only = np.zeros(len(stars), bool)
    field_only[np.flatnonzero(truth == 0)[::3]] = True
    cluster = search(stars, field_only=field_only).candidates[0]
    assert cluster.accepted
    assert cluster.probability[field_only].max() < 0.01
    rest = (truth == 0) & ~field_only
    assert np.mean(cluster.probability[rest] > 0.5) > 0.85


def test_a_cluster_known_to_be_field_is_not_found(both):
    stars, truth, _ = both
    found = search(stars, field_only=truth == 0)
    assert f1(found.candidates[0].probability >= 0.5, truth == 1) > 0.9
    assert not any(np.sum((c.probability >= 0.5) & (truth == 0)) > 5 for c in found.candidates if c.accepted)


def test_stars_that_are_all_known_to_be_field_are_no_cluster(one):
    stars, truth = one
    few = stars[(truth == 0) | (np.arange(len(stars)) % 50 == 0)]
    found = search(few, field_only=np.ones(len(few), bool))
    assert not any(c.accepted for c in found.candidates)
    assert found.stop_reason.startswith("no cluster")


def test_the_zero_point_is_taken_off_the_parallax(one, found):
    stars, _ = one
    shifted = stars.copy()
    shifted["parallax"] = stars["parallax"] - 0.05
    again = search_clusters(shifted, REGION, np.full(len(stars), -0.05))
    np.testing.assert_allclose(again.candidates[0].probability, found.candidates[0].probability, atol=1e-3)


def test_stars_of_negative_parallax_are_no_cluster(one):
    stars, truth = one
    shifted = stars.copy()
    shifted["parallax"][truth == 0] -= 2.5
    found = search(shifted)
    assert not any(c.accepted for c in found.candidates)
    assert found.candidates[0].significance > 20
    assert "but a mean parallax of -1.0" in found.stop_reason
    assert "which no star has" in found.stop_reason


@pytest.fixture(scope="module")
def distant():
    return simulate_field(REGION, 2000, seed=3)


def far_away(field, **shape):
    """Stars of a field with a cluster at 8 kpc, where 10 pc are 4.3 arcmin."""
    return plant(field, SimulatedCluster(n_members=300, pmra=-2.0, pmdec=2.0, parallax=0.12, **shape))


def test_what_is_wider_than_any_cluster_and_everywhere_is_none(distant):
    stars, _ = far_away(distant, radius=12.0, dispersion=8.0)
    found = search(shuffle_positions(stars, 1))
    assert not any(c.accepted for c in found.candidates)
    assert found.candidates[0].significance > 50
    assert "but too large a dispersion for a cluster, and no concentration on the sky" in found.stop_reason


@pytest.mark.parametrize(
    ("radius", "dispersion", "everywhere"),
    [(1.0, 8.0, False), (12.0, 8.0, False), (12.0, 1.0, True)],
    ids=["a globular", "a dwarf galaxy", "a cluster that fills the field"],
)
def test_what_is_only_wide_or_only_everywhere_is_a_cluster(distant, radius, dispersion, everywhere):
    stars, truth = far_away(distant, radius=radius, dispersion=dispersion)
    found = search(shuffle_positions(stars, 1) if everywhere else stars)
    assert len(found.candidates) == 1
    assert f1(found.group == 0, truth == 0) > 0.95


def test_a_cluster_of_no_measurable_parallax_is_one(one):
    stars, truth = one
    shifted = stars.copy()
    shifted["parallax"][truth == 0] -= 1.52
    found = search(shifted)
    assert f1(found.candidates[0].probability >= 0.5, truth == 0) > 0.9


def test_a_cluster_that_is_not_where_it_was_asked_for_is_said_to_be(field, found):
    stars, truth = plant(field, ASIDE)
    sky = REGION.center.spherical_offsets_by(-5 * u.arcmin, -2 * u.arcmin)
    aside = search_clusters(stars, ClusterRegion(sky, 35 * u.arcmin), np.zeros(len(stars)))
    assert f1(aside.candidates[0].probability >= 0.5, truth == 0) > 0.9
    distance = float(aside.stop_reason.split("it is ")[1].split(" arcmin from the centre of the region")[0])
    assert distance == pytest.approx(np.hypot(17, 11), abs=1.5)
    assert aside.stop_reason.endswith("and may be another cluster")
    assert "another cluster" not in found.stop_reason


def test_a_nearer_cluster_is_named():
    """The best is aside, the asked one has less than a fifth of its significance."""
    rich, poor = replace(ASIDE, n_members=300, xi=14.0, eta=11.0), replace(CENTRAL, n_members=25)
    stars, truth = plant(simulate_field(REGION, 800, seed=3), rich, poor)
    found = search(stars)
    assert f1(found.candidates[0].probability >= 0.5, truth == 0) > 0.9
    nearer = int(found.stop_reason.split("and may be another cluster: candidate ")[1].split(" is at ")[0])
    assert f1(found.candidates[nearer].probability >= 0.5, truth == 1) > 0.8


def near_a_star(field, number, width):
    """Field stars whose motions are like that of one of them, not far from their middle."""
    motions = np.stack([np.asarray(field[name], float) for name in ("pmra", "pmdec")], axis=1)
    star = motions[np.argsort(np.abs(motions - np.median(motions, axis=0)).sum(axis=1))[number]]
    return field[np.abs(motions - star).max(axis=1) < width]


def test_a_table_that_was_cut_around_nothing_holds_no_cluster(monkeypatch):
    cut = near_a_star(simulate_field(REGION, 4000, seed=7), 400, 1.0)
    assert not any(c.accepted for c in search(cut).candidates)
    monkeypatch.setattr(detection, "_CROWDED", 1.0)  # without it the field keeps a hole, and a group fills it
    assert search(cut).candidates[0].accepted


def test_a_cluster_in_a_table_that_was_cut_around_it_is_found():
    stars, truth = plant(simulate_field(REGION, 4000, seed=7), CENTRAL)
    near = np.hypot(stars["pmra"] - CENTRAL.pmra, stars["pmdec"] - CENTRAL.pmdec) < 2
    found = search(stars[near])
    assert f1(found.candidates[0].probability >= 0.5, truth[near] == 0) > 0.9
    assert "there is no field" not in found.stop_reason


def test_members_alone_have_no_field(one, found):
    stars, truth = one
    alone = search(stars[truth == 0])
    assert "there is no field to tell members from; give a table that is not cut" in alone.stop_reason
    assert "there is no field" not in found.stop_reason


def test_few_stars_are_survived():
    stars, _ = plant(simulate_field(REGION, 20, seed=1))
    found = search(stars)
    assert found.group.shape == (20,)
    assert found.stop_reason.startswith("no cluster: ")


@pytest.fixture(scope="module")
def large():
    region = ClusterRegion(REGION.center, 60 * u.arcmin)
    field = simulate_field(region, 29_800, seed=8)
    stars = inject_cluster(field, region, SimulatedCluster(200, -6.0, 5.0, 1.5, 4.0), seed=1)
    order = canonical_order(stars)
    return stars[order], np.asarray(stars["is_member"] == 1)[order]


def test_a_fit_to_a_thinned_table_is_that_to_the_whole(large, monkeypatch):
    """A candidate's fit sees 6000 of some 8000 stars, padded to the same size as all of them."""
    rows = np.union1d(np.flatnonzero(large[1]), np.arange(0, 30_000, 4))
    stars, truth = (part[rows] for part in large)
    obs = observables(stars, REGION)
    embedding = Embedding.of(obs.x, obs.cov, obs.xy / obs.footprint, obs.footprint)
    place = np.array([-6.0, 5.0, 1.5]), np.zeros(2), truth.sum()
    monkeypatch.setattr(detection, "_CANDIDATE_STARS", 6000)
    thinned = fit_peak(embedding, *place)
    assert len(thinned.rows) == 6000 < len(stars) <= 8192
    everything = np.arange(len(stars)), np.ones(len(stars))
    monkeypatch.setattr(detection, "_choose", lambda *args: everything)
    whole = fit_peak(embedding, *place)
    one, two = thinned.probability >= 0.5, whole.probability >= 0.5
    assert f1(two, truth) > 0.9
    assert np.mean(np.isin(np.flatnonzero(two), thinned.rows[one])) > 0.97
    assert one.sum() == pytest.approx(two.sum(), abs=0.04 * two.sum())
    assert evidence(thinned) == pytest.approx(evidence(whole), rel=0.1)


def test_the_peaks_of_a_large_table(large):
    """From the peaks on: several candidates, each fitted to another sample of the stars."""
    stars, truth = large
    found = search(stars)
    assert len(found.candidates) == 1
    assert f1(found.candidates[0].probability >= 0.5, truth) > 0.93


def test_no_cluster_in_a_large_table(large):
    stars, truth = large
    found = search(stars[~truth])
    assert not any(c.accepted for c in found.candidates)
    assert all(c.probability.shape == (np.sum(~truth),) for c in found.candidates)


def test_eight_stars_are_enough():
    """Their probabilities add to a little less than eight."""
    stars, truth = plant(simulate_field(REGION, 200, seed=5), replace(CENTRAL, n_members=8, radius=1.5, binaries=0.0))
    found = search(stars)
    assert found.candidates[0].accepted
    assert 7.5 <= found.candidates[0].probability.sum() < 8.5
    assert f1(found.group == 0, truth == 0) > 0.9
