"""Two clusters that one fit has in one come back as two, and one cluster, however stretched, as one."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from decocc_vo import ClusterRegion
from decocc_vo.columns import AU_YR, canonical_order
from decocc_vo.embedding.detection import Embedding, again, fit_peak, refine, repeat
from decocc_vo.embedding.evidence import evidence
from decocc_vo.embedding.features import observables
from decocc_vo.embedding.pairs import _separation, separate
from decocc_vo.embedding.search import search_clusters
from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field

REGION = ClusterRegion(SkyCoord(34.9, 57.1, unit="deg"), 45 * u.arcmin)
MOTION = {"pmra": -0.7, "pmdec": -1.1, "parallax": 0.42}
NEAR = SimulatedCluster(n_members=150, radius=3.0, xi=6.0, eta=-3.0, **MOTION)
FAR = SimulatedCluster(n_members=250, radius=3.5, xi=-14.0, eta=4.0, **MOTION)


def plant(*clusters, stars=1500, seed=0):
    """Stars in canonical order, and the number of each one's cluster (-1: field)."""
    table, truth = simulate_field(REGION, stars, seed=seed), np.full(stars, -1)
    for number, cluster in enumerate(clusters):
        table = inject_cluster(table, REGION, cluster, seed=seed + number + 1)
        truth = np.append(truth, np.full(cluster.n_members, number))
    order = canonical_order(table)
    return table[order], truth[order]


def fit_at(stars, cluster):
    """The mixture fitted to all stars from where a cluster is."""
    obs = observables(stars, REGION)
    sky = obs.xy / obs.footprint
    embedding = Embedding.of(obs.x, obs.cov, sky, obs.footprint)
    place = np.array([cluster.pmra, cluster.pmdec, cluster.parallax])
    return refine(fit_peak(embedding, place, np.zeros(2), cluster.n_members))


def f1(chosen, truth):
    return 2 * np.sum(chosen & truth) / (chosen.sum() + truth.sum())


@pytest.fixture(scope="module")
def planted():
    return plant(NEAR, FAR)


@pytest.fixture(scope="module")
def fit(planted):
    return fit_at(planted[0], NEAR)


@pytest.fixture(scope="module")
def pair(fit):
    return separate(fit, 20.0, 8.0)


def test_what_was_fitted_as_one_comes_apart(planted, fit, pair):
    _, truth = planted
    assert f1(fit.probability >= 0.5, truth >= 0) > 0.9  # one fit has the stars of both
    assert len(pair) == 2
    one, other = sorted(pair, key=lambda part: -part.model.centre[0])
    assert f1(one.probability >= 0.5, truth == 0) > 0.9
    assert f1(other.probability >= 0.5, truth == 1) > 0.9
    np.testing.assert_allclose(one.model.centre * one.embedding.footprint, (NEAR.xi, NEAR.eta), atol=1.0)
    np.testing.assert_allclose(other.model.centre * other.embedding.footprint, (FAR.xi, FAR.eta), atol=1.0)


def test_a_star_is_of_one_cluster_or_the_other_or_the_field(pair):
    one, other = pair
    assert np.all(one.probability + other.probability <= 1 + 1e-9)
    np.testing.assert_allclose(one.free, 1 - other.probability, atol=1e-3)
    np.testing.assert_allclose(one.rival, other.scores.logit)


def test_the_evidence_of_each_leaves_out_the_stars_of_the_other(fit, pair):
    assert all(20 < evidence(part) < evidence(fit) for part in pair)


def test_a_bootstrap_keeps_them_apart(pair):
    for part in pair:
        anew = repeat(part, 1, 0)
        assert f1(anew.probability >= 0.5, part.probability >= 0.5) > 0.9


@pytest.mark.parametrize(
    "cluster",
    [
        SimulatedCluster(n_members=300, radius=6.0, axis_ratio=0.5, **MOTION),
        SimulatedCluster(n_members=300, radius=4.0, profile="powerlaw", xi=5.0, **MOTION),
        SimulatedCluster(n_members=20, radius=5.0, **MOTION),
    ],
    ids=["elongated", "power law", "twenty stars"],
)
def test_one_cluster_stays_one(cluster):
    stars, _ = plant(cluster)
    fit = fit_at(stars, cluster)
    assert separate(fit, 20.0, 8.0) == (fit,)


def test_neither_of_two_may_be_less_than_a_cluster(fit):
    assert separate(fit, 1e5, 8.0) == (fit,)
    assert separate(fit, 20.0, 200.0) == (fit,)


def test_the_odds_of_both_change_alike(pair):
    """What the head has against a star it has against it as a member of either cluster."""
    near = np.flatnonzero(pair[0].scores.logit > -7)
    change = np.linspace(-5, 5, len(near))
    odds = [np.exp(part.scores.logit[near] + change) for part in pair]
    for part, mine in zip(pair, odds, strict=True):
        np.testing.assert_allclose(part.probability_after(change, near), mine / (1 + sum(odds)), atol=1e-9)


@pytest.mark.parametrize("parallax", [0.42, 9.0])
def test_the_search_returns_both_and_the_nearest_first(parallax):
    """Nearby ones, too: their motions alone make all stars members, and the place decides of which."""
    stars, truth = plant(replace(NEAR, parallax=parallax), replace(FAR, parallax=parallax))
    found = search_clusters(stars, REGION, np.zeros(len(stars)))
    assert [candidate.accepted for candidate in found.candidates] == [True, True]
    assert found.candidates[0].significance < found.candidates[1].significance
    assert f1(found.group == 0, truth == 0) > 0.9
    assert f1(found.group == 1, truth == 1) > 0.9
    assert np.all(sum(candidate.probability for candidate in found.candidates) < 1.1)
    assert found.stop_reason.startswith("found 2 clusters among ")


@pytest.mark.parametrize(("apart", "parallax"), [(0.0, 0.8), (7.0, 0.8), (7.0, 3.0)], ids=["behind", "beside", "near"])
def test_clusters_of_different_motion_that_overlap(apart, parallax):
    """Beside each other they look like one in perspective, too."""
    change = 4 * parallax / AU_YR / np.sqrt(2)  # 4 km/s
    place = {"parallax": parallax, "radius": 4.0, "dispersion": 0.6, "binaries": 0.0}
    one = SimulatedCluster(n_members=200, pmra=-1.0, pmdec=-1.0, xi=-apart / 2, **place)
    other = replace(one, n_members=120, pmra=-1.0 - change, pmdec=-1.0 - change, xi=apart / 2)
    stars, truth = plant(one, other, stars=3000)
    found = search_clusters(stars, REGION, np.zeros(len(stars)))
    assert [candidate.accepted for candidate in found.candidates] == [True, True]
    assert f1(found.group == 0, truth == 0) > 0.9
    assert f1(found.group == 1, truth == 1) > 0.9


def test_halves_of_one_motion_are_not_apart(fit):
    """Its core and its outskirts are explained better by two, and have one motion."""
    wide = fit.model._replace(scatter=fit.model.scatter * 4)
    one, other = again(fit, fit.model, 0), again(fit, wide, 0)
    assert _separation(one, other) == pytest.approx(0, abs=1e-6)
    moved = again(fit, fit.model._replace(mean=fit.model.mean + np.sqrt(np.diag(fit.model.scatter))), 0)
    assert _separation(one, moved) == pytest.approx(_separation(moved, one))
    assert 0.5 < _separation(one, moved) < 2


@pytest.mark.parametrize("number", [0, 1])
def test_started_from_stars_of_one_that_one_is_the_cluster(planted, number):
    """Although the other may be nearer to the centre."""
    stars, truth = planted
    found = search_clusters(stars, REGION, np.zeros(len(stars)), start=(truth == number).astype(float))
    assert f1(found.group == 0, truth == number) > 0.9


def test_a_globular_whose_errors_exceed_its_motions_is_one():
    """50 kpc away two halves are apart by the dispersion that clusters have, and not by the stars' errors."""
    globular = SimulatedCluster(2000, pmra=-0.16, pmdec=0.12, parallax=0.02, radius=0.48, dispersion=8.0)
    region = ClusterRegion(SkyCoord(120, -30, unit="deg"), 20 * u.arcmin)
    stars = inject_cluster(simulate_field(region, 3000, seed=4, limits=(10, 20)), region, globular, seed=4)
    stars = stars[canonical_order(stars)]
    found = search_clusters(stars, region, np.zeros(len(stars)))
    assert [candidate.accepted for candidate in found.candidates] == [True]
    assert f1(found.group == 0, stars["is_member"] == 1) > 0.97
