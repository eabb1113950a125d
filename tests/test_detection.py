"""Candidates fitted: the right members, what padding, thinning and a shuffled sky do, and the perspective."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from decocc_vo import ClusterRegion
from decocc_vo.columns import canonical_order
from decocc_vo.embedding import detection, embedded
from decocc_vo.embedding.candidates import find_peaks
from decocc_vo.embedding.detection import (
    _CANDIDATE_STARS,
    _FINAL_STARS,
    _choose,
    against_field,
    anew,
    fit_peak,
    refine,
    repeat,
    straighten,
)
from decocc_vo.embedding.embedded import Embedding, intrinsic_dispersion
from decocc_vo.embedding.evidence import evidence, significance
from decocc_vo.embedding.features import Observables, observables
from decocc_vo.embedding.perspective import Perspective
from decocc_vo.simulate import SimulatedCluster, inject_cluster, shuffle_positions, simulate_field

REGION = ClusterRegion(SkyCoord(120.0, -35.0, unit="deg"), 30 * u.arcmin)
CLUSTER = SimulatedCluster(n_members=80, pmra=-6.0, pmdec=5.0, parallax=1.5, radius=4.0, xi=5.0, eta=-3.0)


def observed(stars):
    stars = stars[canonical_order(stars)]
    return observables(stars, REGION), np.asarray(stars["is_member"] == 1)


def embed(obs):
    return Embedding.of(obs.x, obs.cov, obs.xy / obs.footprint, obs.footprint)


def fit_best(obs):
    embedding = embed(obs)
    fits = [fit_peak(embedding, p.x, p.xy / obs.footprint, p.count) for p in find_peaks(obs, embedding)]
    return max(fits, key=evidence)


def f1(probability, truth):
    member = probability >= 0.5
    return 2 * np.sum(member & truth) / (member.sum() + truth.sum())


@pytest.fixture(scope="module")
def stars():
    return inject_cluster(simulate_field(REGION, 900, seed=3), REGION, CLUSTER, seed=1)


@pytest.fixture(scope="module")
def planted(stars):
    return observed(stars)


@pytest.fixture(scope="module")
def refined(planted):
    return refine(fit_best(planted[0]))


def test_a_planted_cluster_is_fitted(planted, refined):
    _, truth = planted
    assert f1(refined.probability, truth) > 0.9
    assert refined.probability.sum() == pytest.approx(80, rel=0.12)
    np.testing.assert_allclose(refined.mean, [-6, 5, 1.5], atol=0.1)
    np.testing.assert_allclose(refined.model.centre * planted[0].footprint, [5, -3], atol=1.2)
    assert evidence(refined) > 150
    assert refined.perspective is None
    np.testing.assert_array_equal(refined.rows, np.arange(980))
    assert refined.weight.sum() == 980


def test_logit_and_probability_are_one(refined):
    scores = refined.scores
    np.testing.assert_allclose(scores.logit, scores.kinematic + scores.log_profile, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(
        np.log(refined.probability / (1 - refined.probability)), np.clip(scores.logit, -50, 50), rtol=1e-3, atol=1e-2
    )


def test_refined_again_is_the_same(planted, refined):
    again = refine(refined)
    np.testing.assert_allclose(again.probability, refined.probability, atol=0.02)
    assert evidence(again) == pytest.approx(evidence(refined), rel=0.01)


def test_a_shuffled_sky_has_no_evidence(stars):
    """The motions still clump; that counts for three tenths, less as many for each star."""
    obs, _ = observed(shuffle_positions(stars, seed=1))
    embedding = embed(obs)
    fit = refine(fit_peak(embedding, np.array([-6.0, 5.0, 1.5]), np.zeros(2), 80.0))
    spatial = float(fit.scores.spatial_gain.sum())
    assert spatial < 5
    total = float(fit.scores.gain.sum())
    assert evidence(fit) == pytest.approx(spatial + 0.3 * (total - spatial - 0.3 * fit.n_expected))
    alone = simulate_field(REGION, 980, seed=5)
    alone["is_member"] = 0
    obs, _ = observed(alone)
    assert significance(fit_best(obs)) < 5


def test_the_field_alone_is_fitted_where_many_stars_are_as_members_are(planted, refined, monkeypatch):
    obs, _ = planted
    distance = np.linalg.norm((obs.x - refined.mean) / [1, 1, 4], axis=1)
    cut = obs.take(np.flatnonzero(distance < 2))
    fit = refine(fit_peak(embed(cut), refined.mean, refined.model.centre, 80.0))
    for limit in ("_REACH", "_REACH_OF_30"):
        monkeypatch.setattr(embedded, limit, 100.0)
    against = against_field(fit)
    spatial, total = float(fit.scores.spatial_gain.sum()), float(fit.scores.gain.sum())
    assert 0.3 * fit.n_expected < against.explained < total - spatial
    assert evidence(against) == pytest.approx(spatial + 0.3 * (total - spatial - against.explained))
    monkeypatch.setattr(detection, "_CROWDED", 0.2)  # one star in twelve is a member
    assert against_field(refined) is refined


def test_repeats_differ_a_little_and_reproduce(planted, refined):
    one, two, other = (repeat(refined, 1, number).probability for number in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.any(one != other)
    assert f1(one, planted[1]) > 0.85
    difference = np.abs(one - refined.probability)
    assert difference.max() > 0.001
    assert np.mean(difference) < 0.03


def test_anew_starts_the_field_elsewhere_and_ends_at_the_same_cluster(planted, refined):
    one, two, other = (anew(refined, 0, number) for number in (1, 1, 2))
    np.testing.assert_array_equal(one.probability, two.probability)
    assert np.any(one.probability != other.probability)
    np.testing.assert_allclose([one.mean, other.mean], [refined.mean] * 2, atol=0.1)
    assert f1(one.probability, planted[1]) > 0.85
    # Where the field's Gaussians and the cluster's width were before does not matter.
    lost = refined.model._replace(
        field_mean=np.full_like(refined.model.field_mean, 9.0), scatter=9 * refined.model.scatter
    )
    again = anew(replace(refined, model=lost), 0, 1)
    np.testing.assert_array_equal(again.probability, one.probability)


def test_stars_out_of_the_profiles_reach_are_no_members(planted, refined):
    obs, truth = planted
    sky = obs.xy / obs.footprint
    banned = np.flatnonzero(truth)[::2]
    sky[banned] = 9e3
    embedding = Embedding.of(obs.x, obs.cov, sky, obs.footprint)
    fit = refine(fit_peak(embedding, refined.mean, [0.15, -0.1], 40.0))
    assert fit.probability[banned].max() < 0.01
    rest = np.setdiff1d(np.flatnonzero(truth), banned)
    assert np.mean(fit.probability[rest] > 0.5) > 0.8


def test_a_large_table_is_scored_in_parts(refined, monkeypatch):
    whole = detection._score(refined.embedding, refined.rows, refined.model)
    monkeypatch.setattr(detection, "AT_A_TIME", 300)
    shapes = set()
    score_stars = detection.score_stars
    monkeypatch.setattr(detection, "score_stars", lambda s, model: shapes.add(s.z.shape) or score_stars(s, model))
    parts = detection._score(refined.embedding, refined.rows, refined.model)
    assert shapes == {(300, 3)}
    for one, other in zip(whole, parts, strict=True):
        assert len(other) == len(refined.rows)
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


def synthetic(n, members, seed=0):
    """A large field with a cluster, as arrays."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) < members
    x = np.where(
        truth[:, None], rng.normal([-6, 5, 1.5], [0.05, 0.05, 0.03], (n, 3)), rng.normal([0, 0, 1], [6, 6, 0.8], (n, 3))
    )
    sigma = rng.uniform(0.02, 0.15, (n, 3))
    r = np.where(truth, 4 * np.sqrt(rng.uniform(0, 0.95, n) / 0.6), 30 * np.sqrt(rng.uniform(0, 1, n)))
    angle = rng.uniform(0, 2 * np.pi, n)
    order = rng.permutation(n)
    missing = np.full(n, np.nan)
    obs = Observables(
        x=(x + rng.normal(0, sigma))[order],
        cov=(sigma[:, :, None] ** 2 * np.eye(3))[order],
        xy=np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)[order],
        mag=missing,
        colour=missing,
        ruwe=missing,
        footprint=30.0,
    )
    return obs, truth[order]


@pytest.mark.parametrize("most", [_CANDIDATE_STARS, _FINAL_STARS])
def test_thinning_keeps_what_is_near_and_the_sums(most):
    obs, truth = synthetic(30_000, 300)
    embedding = embed(obs)
    place = np.array([-6.0, 5.0, 1.5])
    rows, weight = _choose(embedding, place, intrinsic_dispersion(1.5), most, 0)
    assert len(rows) == most
    assert np.all(np.diff(rows) > 0)
    assert weight.sum() == pytest.approx(30_000)
    assert np.all(np.isin(np.flatnonzero(truth), rows))
    np.testing.assert_array_equal(weight[truth[rows]], 1)
    again, _ = _choose(embedding, place, intrinsic_dispersion(1.5), most, 0)
    np.testing.assert_array_equal(rows, again)


def test_thinning_of_a_field_that_is_near_everywhere():
    """Where most stars have errors so large that all may be members, the near ones are thinned, too."""
    obs, _ = synthetic(9000, 0)
    obs = obs.take(np.arange(9000))
    wide = Embedding.of(obs.x, obs.cov + 100 * np.eye(3), obs.xy / 30, 30.0)
    rows, weight = _choose(wide, np.array([0.0, 0.0, 1.0]), intrinsic_dispersion(1.0), 6000, 0)
    assert len(rows) == len(np.unique(rows)) <= 6000
    assert weight.sum() == pytest.approx(9000)


def test_a_small_field_is_not_straightened(planted, refined):
    assert straighten(refined, planted[0]) is refined


def test_what_has_no_members_is_not_straightened(wide):
    obs, _, _, bent = wide
    empty = replace(bent, scores=bent.scores._replace(logit=np.full(len(obs), -9.0)))
    assert straighten(empty, obs) is empty


@pytest.fixture(scope="module")
def wide():
    """A nearby cluster over ten degrees: its members' motions differ by twenty times their dispersion."""
    rng = np.random.default_rng(4)
    n, members = 900, 120
    truth = np.arange(n) < members
    footprint = 600.0
    r = np.where(truth, 150 * np.sqrt(rng.uniform(0, 0.9, n) / 0.5), footprint * np.sqrt(rng.uniform(0, 1, n)))
    r = np.minimum(r, footprint)
    angle = rng.uniform(0, 2 * np.pi, n)
    xy = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)
    velocity = np.array([20.0, -10.0, 40.0])
    parallax = np.where(truth, 20 * (1 + rng.normal(0, 0.04, n)), np.abs(rng.normal(18, 6, n)))
    motion = Perspective(velocity, 20.0).motion_per_parallax(xy) + rng.normal(0, 0.6 / 4.74, (n, 2))
    motion = np.where(truth[:, None], motion, rng.normal(velocity[:2] / 4.74, 0.7, (n, 2))) * parallax[:, None]
    sigma = 0.3
    missing = np.full(n, np.nan)
    obs = Observables(
        x=np.column_stack([motion, parallax]) + rng.normal(0, sigma, (n, 3)),
        cov=np.tile(sigma**2 * np.eye(3), (n, 1, 1)),
        xy=xy,
        mag=missing,
        colour=missing,
        ruwe=missing,
        footprint=footprint,
    )
    start = np.append(20 * velocity[:2] / 4.740470463, 20.0)
    return obs, truth, velocity, refine(fit_peak(embed(obs), start, np.zeros(2), 100.0))


def test_a_wide_field_is_straightened(wide):
    obs, truth, velocity, bent = wide
    straight = straighten(bent, obs)
    assert straight.perspective is not None
    assert f1(straight.probability, truth) > f1(bent.probability, truth) + 0.03
    assert f1(straight.probability, truth) > 0.9
    # Members are picked by the motion they should have, which draws the radial velocity a little towards none.
    np.testing.assert_allclose(straight.perspective.velocity[:2], velocity[:2], atol=0.4)
    assert straight.perspective.velocity[2] == pytest.approx(velocity[2], abs=6)
    assert straighten(straight, obs) is straight  # it has settled
    np.testing.assert_allclose(straight.mean[:2], straight.perspective.parallax * velocity[:2] / 4.74, atol=3)
    assert refine(straight).perspective is straight.perspective
    assert repeat(straight, 1, 0).perspective is straight.perspective
    other = anew(straight, 0, 1)
    assert other.perspective is straight.perspective
    assert f1(other.probability, truth) > 0.9
