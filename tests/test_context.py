"""What the head sees: each feature against its own definition, and on tables that lack this or that."""

import warnings
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from decocc_vo import ClusterRegion
from decocc_vo.columns import canonical_order
from decocc_vo.embedding.context import (
    FEATURES,
    NEAR,
    _kernel_sums,
    _sample,
    _usual,
    context_features,
    without_photometry,
)
from decocc_vo.embedding.detection import Embedding, fit_peak, refine
from decocc_vo.embedding.features import observables
from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field

REGION = ClusterRegion(SkyCoord(120.0, -35.0, unit="deg"), 30 * u.arcmin)
CLUSTER = SimulatedCluster(n_members=80, pmra=0.5, pmdec=0.5, parallax=0.6, radius=4.0, xi=5.0, eta=-3.0)


@pytest.fixture(scope="module")
def stars():
    stars = inject_cluster(simulate_field(REGION, 900, seed=3), REGION, CLUSTER, seed=1)
    stars["ruwe"] = np.random.default_rng(0).uniform(0.9, 1.6, len(stars)).astype(np.float32)
    return stars[canonical_order(stars)]


def fit_to(obs):
    embedding = Embedding.of(obs.x, obs.cov, obs.xy / obs.footprint, obs.footprint)
    return refine(fit_peak(embedding, np.array([0.5, 0.5, 0.6]), np.array([0.15, -0.1]), 80.0))


@pytest.fixture(scope="module")
def found(stars):
    obs = observables(stars, REGION)
    fit = fit_to(obs)
    return obs, fit, *context_features(fit, obs)


def column(features, name):
    return features[:, FEATURES.index(name)]


def test_shape_names_and_rows(found):
    _, fit, near, features = found
    assert features.shape == (len(near), len(FEATURES))
    assert len(set(FEATURES)) == len(FEATURES)
    np.testing.assert_array_equal(near, np.flatnonzero(fit.scores.logit > NEAR))
    assert 80 < len(near) < 900
    assert np.all(np.isfinite(features))
    # No feature is the same for all stars, but those of the field.
    varies = np.ptp(features, axis=0) > 0
    assert [name for name, v in zip(FEATURES, varies, strict=True) if not v] == [
        name for name in FEATURES if name.startswith("field_") or name == "colour_known"
    ]


def test_the_mixtures_own_numbers(found):
    _, fit, near, features = found
    for name in ("logit", "kinematic", "log_profile"):
        np.testing.assert_array_equal(column(features, name), getattr(fit.scores, name)[near])
    np.testing.assert_array_equal(column(features, "log_field"), fit.scores.log_field_of_all[near])


def test_places_on_the_sky(found):
    obs, fit, near, features = found
    r = np.hypot(*(obs.xy[near] / obs.footprint - fit.model.centre).T)
    np.testing.assert_allclose(column(features, "footprint_radius"), r)
    np.testing.assert_allclose(column(features, "log_radius"), np.log(r / fit.model.radius + 0.05), rtol=1e-6)


def test_motion_and_parallax_residuals(found):
    obs, fit, near, features = found
    slope = fit.embedding.slope(fit.mean)
    for row, star in enumerate(near[:40]):
        offset = slope * (obs.x[star] - fit.mean)
        cov = slope[:, None] * obs.cov[star] * slope + fit.model.scatter
        motion2 = offset[:2] @ np.linalg.inv(cov[:2, :2]) @ offset[:2]
        assert column(features, "motion_distance2")[row] == pytest.approx(min(motion2, 30), rel=1e-6)
        residual = np.clip(offset[2] / np.sqrt(cov[2, 2]), -6, 6)
        assert column(features, "parallax_residual")[row] == pytest.approx(residual, rel=1e-6)


def test_magnitudes_and_ruwe(found):
    obs, fit, near, features = found
    rank = np.mean(obs.mag[:, None] < obs.mag[near], axis=0)
    np.testing.assert_allclose(column(features, "magnitude_rank"), rank, atol=1e-12)
    middle = np.average(obs.mag, weights=fit.probability)
    np.testing.assert_allclose(column(features, "magnitude_offset"), obs.mag[near] - middle, atol=1e-4)
    np.testing.assert_allclose(column(features, "log_ruwe"), np.log(obs.ruwe[near]), rtol=1e-9)


def test_neighbours_are_a_sum_of_kernels_without_the_star_itself(found):
    _, fit, near, features = found
    z, scatter = fit.embedding.z, np.diag(fit.model.scatter).astype(float)
    for row in (0, 10, 50):
        variance = np.diag(fit.embedding.z_cov[near[row]]) + scatter
        kernel = np.exp(-0.5 * np.sum((z - z[near[row]]) ** 2 / variance, axis=1))
        kernel[near[row]] = 0
        expected = np.log(kernel @ fit.probability + 0.3)
        assert column(features, "neighbours")[row] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [0, 37, 300])
def test_kernel_sums(n):
    rng = np.random.default_rng(1)
    z, others = rng.normal(0, 1, (n, 3)), rng.normal(0, 1, (50, 3))
    variance, weights = rng.uniform(0.1, 1, (n, 3)), rng.uniform(0, 1, (50, 2))
    kernel = np.exp(-0.5 * np.sum((z[:, None] - others) ** 2 / variance[:, None], axis=2))
    np.testing.assert_allclose(_kernel_sums(z, variance, others, weights), kernel @ weights, rtol=1e-5, atol=1e-6)


def test_kernel_sums_of_stars_far_from_the_origin():
    rng = np.random.default_rng(2)
    z = rng.normal(0, 1e-3, (40, 3)) + 9.0  # as wide as their kernels, a thousand times as far away
    variance, weights = np.full((40, 3), 1e-6), np.ones((40, 1))
    kernel = np.exp(-0.5 * np.sum((z[:, None] - z) ** 2 / variance[:, None], axis=2))
    np.testing.assert_allclose(_kernel_sums(z, variance, z, weights), kernel @ weights, rtol=1e-2)


def test_features_tell_members_from_field(found, stars):
    _, _, near, features = found
    truth = np.asarray(stars["is_member"] == 1)[near]
    for name in ("inner_to_outer", "inner_to_model", "colour_ratio", "neighbours"):
        values = column(features, name)
        assert np.median(values[truth]) > np.median(values[~truth]) + 0.3, name


def test_the_field_as_a_whole(found):
    _, fit, _, features = found
    p = fit.probability
    expected = {
        "field_members": np.log1p(p.sum()),
        "field_stars": np.log(980),
        "field_fraction": np.log(p.sum() / 980),
        "field_radius": np.log(fit.model.radius),
        "field_doubt": np.sum(p * (1 - p)) / (p.sum() + 1),
        "field_gain": np.log(fit.scores.gain.sum() / (p.sum() + 1)),
        "field_certain": np.log((np.sum(p > 0.9) + 1) / (p.sum() + 1)),
        "field_parallax": np.log(fit.mean[2]),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(column(features, name), value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_without_colours_magnitudes_or_ruwe(stars):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bare = stars[[name for name in stars.colnames if name not in ("phot_g_mean_mag", "bp_rp", "ruwe")]]
        obs = observables(bare, REGION)
        _, features = context_features(fit_to(obs), obs)
    assert np.all(np.isfinite(features))
    for name in ("colour_ratio", "colour_members", "colour_known", "magnitude_offset", "log_ruwe"):
        assert np.all(column(features, name) == 0), name
    np.testing.assert_array_equal(without_photometry(features), features)


def test_photometry_is_hidden_and_nothing_else(found):
    features = found[3]
    hidden = without_photometry(features)
    changed = {name for name in FEATURES if np.any(column(hidden, name) != column(features, name))}
    assert changed == {"magnitude_rank", "magnitude_offset", "colour_ratio", "colour_members", "colour_known"}
    assert np.all(column(hidden, "colour_known") == 0)
    assert np.any(column(features, "colour_known") == 1)  # the given ones stay as they were


def test_contrast_and_separation_are_those_of_the_model(found):
    obs, fit, near, features = found
    contrast = column(features, "field_contrast")
    assert np.ptp(contrast) == 0
    most = (fit.probability.sum() + 0.3) / 0.3
    assert np.log(30) < contrast[0] < np.log(most)  # a cluster that stands out, and no field quite empty around it
    r = np.hypot(*(fit.embedding.sky[near] - fit.model.centre).T) * obs.footprint  # arcmin
    parsec = np.radians(r / 60) * 1000 / fit.mean[2]
    np.testing.assert_allclose(column(features, "log_separation"), np.log(parsec + 0.1), rtol=1e-6)


def test_a_star_without_colour_says_so(stars, found):
    some = stars.copy()
    some["bp_rp"].mask[found[2][:5]] = True
    obs = observables(some, REGION)
    _, fit, near, _ = found
    _, features = context_features(fit, obs)
    known = np.isfinite(obs.colour[near])
    np.testing.assert_array_equal(column(features, "colour_known"), known)
    assert np.all(column(features, "colour_ratio")[~known] == 0)
    assert (~known).sum() == 5
    assert np.all(column(features, "magnitude_offset")[~known] != 0)


def test_where_hardly_a_star_has_a_colour_magnitudes_say_nothing(stars, found):
    some = stars.copy()
    _, fit, near, _ = found
    some["bp_rp"].mask[near[12:]] = True
    _, features = context_features(fit, observables(some, REGION))
    np.testing.assert_array_equal(features[12:], without_photometry(features[12:]))
    assert np.any(features[:12] != without_photometry(features[:12]))


def test_thinned_neighbours_are_scaled_up(found, monkeypatch):
    obs, fit, near, features = found
    monkeypatch.setattr("decocc_vo.embedding.context._MOST", 490)
    again, thinned = context_features(fit, obs, seed=1)
    np.testing.assert_array_equal(again, near)
    close = np.abs(column(thinned, "neighbours") - column(features, "neighbours"))
    sure = column(features, "neighbours") > np.log(20)
    assert sure.sum() > 20
    assert np.median(close[sure]) < 0.2
    np.testing.assert_array_equal(thinned, context_features(fit, obs, seed=1)[1])
    assert np.any(thinned != context_features(fit, obs, seed=2)[1])


def test_a_thinned_star_does_not_count_itself(found, monkeypatch):
    obs, fit, near, features = found
    monkeypatch.setattr("decocc_vo.embedding.context._MOST", 80)  # of the near stars not half are drawn
    _, thinned = context_features(fit, obs, seed=1)
    drawn = _sample(near, len(obs), 1)[near] > 0
    assert 20 < drawn.sum() < len(near) - 20
    change = column(thinned, "neighbours") - column(features, "neighbours")
    sure = column(features, "neighbours") > np.log(20)
    assert abs(np.median(change[sure & drawn]) - np.median(change[sure & ~drawn])) < 0.15


def test_a_rivals_stars_are_neither_members_nor_field(found):
    obs, fit, near, _ = found
    rival = np.where(np.arange(len(obs)) % 3 == 0, 2.0, -30.0)
    shared = replace(fit, rival=rival)
    again, features = context_features(shared, obs)
    np.testing.assert_array_equal(again, near)
    z, scatter = fit.embedding.z, np.diag(fit.model.scatter).astype(float)
    for row in (0, 10, 50):
        variance = np.diag(fit.embedding.z_cov[near[row]]) + scatter
        kernel = np.exp(-0.5 * np.sum((z - z[near[row]]) ** 2 / variance, axis=1))
        kernel[near[row]] = 0
        expected = np.log(kernel @ shared.probability + 0.3)
        assert column(features, "neighbours")[row] == pytest.approx(expected, rel=1e-6)


def test_one_star_of_huge_errors_does_not_change_the_field(found):
    obs, fit, _, features = found
    star = int(np.argmax(fit.probability))
    embedding = replace(fit.embedding, z_cov=fit.embedding.z_cov.copy())
    embedding.z_cov[star] *= 1e8
    _, changed = context_features(replace(fit, embedding=embedding), obs)
    assert abs(column(changed, "field_contrast")[0] - column(features, "field_contrast")[0]) < 3
    usual = np.full((80, 3), 0.01)
    np.testing.assert_array_equal(_usual(usual, np.ones(80)), usual)


def test_no_star_near_gives_no_rows(found):
    obs, fit, _, _ = found
    nobody = replace(fit, scores=fit.scores._replace(logit=np.full(980, -20.0)))
    near, features = context_features(nobody, obs)
    assert len(near) == 0
    assert features.shape == (0, len(FEATURES))
