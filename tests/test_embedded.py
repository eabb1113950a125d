"""Stars in the arcsinh embedding: there and back, cuts that it sees, and where the field's Gaussians start."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from decocc_vo import ClusterRegion
from decocc_vo.columns import AU_YR
from decocc_vo.embedding.embedded import Embedding, intrinsic_dispersion
from decocc_vo.embedding.features import observables
from decocc_vo.embedding.mixture import GRADES
from decocc_vo.embedding.perspective import Perspective
from decocc_vo.simulate import simulate_field

REGION = ClusterRegion(SkyCoord(120.0, -35.0, unit="deg"), 30 * u.arcmin)


def embed(stars):
    obs = observables(stars, REGION)
    return Embedding.of(obs.x, obs.cov, obs.xy / obs.footprint, obs.footprint)


@pytest.fixture(scope="module")
def stars():
    return simulate_field(REGION, 900, seed=3)


def test_intrinsic_dispersion_is_a_velocity_and_a_depth():
    np.testing.assert_allclose(
        intrinsic_dispersion(np.array([10.0])), [[np.hypot(10 / AU_YR, 0.05)] * 2 + [np.hypot(0.1, 0.02)]]
    )
    np.testing.assert_array_equal(intrinsic_dispersion(-1.0), intrinsic_dispersion(0.05))


def test_a_cut_in_motion_is_seen():
    field = simulate_field(REGION, 2000, seed=4)
    motions = np.stack([np.asarray(field[name], float) for name in ("pmra", "pmdec")], axis=1)
    near = np.abs(motions - np.median(motions, axis=0)).max(axis=1) < 4
    bright, whole = field["phot_g_mean_mag"] < 16, np.ones(len(field), bool)
    assert [embed(field[rows]).cut for rows in (near, bright, whole)] == [True, False, False]


def test_the_embedding_goes_back_and_its_slope_is_the_derivative(stars):
    embedding = embed(stars)
    place = np.array([-6.0, 5.0, 1.5])
    np.testing.assert_allclose(embedding.inverse(embedding.forward(place)), place, rtol=1e-12)
    step = 1e-6
    numeric = (embedding.forward(place + step) - embedding.forward(place - step)) / (2 * step)
    np.testing.assert_allclose(embedding.slope(place), numeric, rtol=1e-8)
    means, covs, weights = embedding.field(place, intrinsic_dispersion(place[2]))
    assert means.shape == (8, 3)
    assert np.linalg.eigvalsh(covs).min() > 0
    assert weights.shape == (GRADES, 8)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_grades_are_equal_parts_by_the_errors_in_motion(stars):
    embedding = embed(stars)
    error = np.linalg.det(embedding.cov)
    assert list(np.bincount(embedding.grade, minlength=GRADES)) == [len(stars) // GRADES] * GRADES
    assert np.all(np.diff(embedding.grade[np.argsort(error)]) >= 0)
    np.testing.assert_array_equal(embed(stars[::-1]).grade, embedding.grade[::-1])


def test_small_tables_have_fewer_grades(stars):
    """In them a field that depends on the errors takes a cluster's outer members."""
    assert [len(set(embed(stars[:n]).grade)) for n in (25, 119, 120, 359, 360)] == [1, 1, 2, 5, GRADES]


@pytest.mark.parametrize("dec", [-35.0, 89.9])
def test_errors_that_are_all_the_same_are_of_one_grade(dec):
    """Though axes turn over the field, which would make grades of places on the sky."""
    region = ClusterRegion(SkyCoord(120.0, dec, unit="deg"), 30 * u.arcmin)
    field = simulate_field(region, 900, seed=3)
    for name, error in (("pmra", 0.1), ("pmdec", 0.13), ("parallax", 0.12)):
        field[f"{name}_error"] = np.full(len(field), error)
    obs = observables(field, region)
    assert np.ptp(obs.cov[:, 0, 0]) > 0
    assert set(Embedding.of(obs.x, obs.cov, obs.xy / obs.footprint, obs.footprint).grade) == {0}


def test_a_perspective_that_is_taken_out_changes_no_grade(stars):
    obs = observables(stars, REGION)
    perspective = Perspective(np.array([20.0, -30.0, 40.0]), 20.0)
    x, cov = perspective.straighten(obs.x, obs.cov, 20 * obs.xy)
    assert np.abs(cov - obs.cov).max() > 1e-3
    straight = Embedding.of(x, cov, obs.xy / obs.footprint, obs.footprint)
    np.testing.assert_array_equal(straight.grade, embed(stars).grade)


def test_the_fields_gaussians_do_not_start_on_a_cluster():
    """A rich cluster is a group of K-Means: little of that is left where the cluster is fitted, and all elsewhere."""
    rng = np.random.default_rng(0)
    x = np.where(
        np.arange(1500)[:, None] < 700,
        rng.normal([-6, 5, 1.5], 0.06, (1500, 3)),
        rng.normal([0, 0, 1], [6, 6, 0.8], (1500, 3)),
    )
    embedding = Embedding.of(x, np.tile(0.01 * np.eye(3), (1500, 1, 1)), np.zeros((1500, 2)), 30.0)
    place, dispersion = np.array([-6.0, 5.0, 1.5]), intrinsic_dispersion(1.5)
    rows, group = embedding.groups
    shares = np.bincount(group, minlength=8) / len(rows)
    centres = np.array([embedding.z[rows][group == number].mean(axis=0) for number in range(8)])
    on_it = np.argmin(np.sum((centres - embedding.forward(place)) ** 2, axis=1))
    assert shares[on_it] > 0.45
    _, covs, weights = embedding.field(place, dispersion)
    assert np.all(weights[:, on_it] < 0.06)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    means, covs_elsewhere, weights = embedding.field(np.array([40.0, 40.0, 9.0]), dispersion)
    np.testing.assert_allclose(weights, np.tile(shares, (GRADES, 1)))
    np.testing.assert_allclose(means, centres)
    assert np.trace(covs[on_it]) > 5 * np.trace(covs_elsewhere[on_it])


def test_embedding_of_few_stars_has_all_its_components():
    rng = np.random.default_rng(0)
    embedding = Embedding.of(rng.normal(0, 1, (5, 3)), np.tile(np.eye(3), (5, 1, 1)), np.zeros((5, 2)), 1.0)
    means, covs, weights = embedding.field(np.zeros(3), np.ones(3))
    assert np.all(np.isfinite(means))
    assert covs.shape == (8, 3, 3)
    assert np.all(weights > 0)


def test_groups_of_another_seed_are_others_of_the_same_stars(stars):
    embedding = embed(stars)
    other = embedding.regrouped(5)
    np.testing.assert_array_equal(other.z, embedding.z)
    assert np.any(other.groups[1] != embedding.groups[1])
    np.testing.assert_array_equal(other.groups[1], embedding.regrouped(5).groups[1])


def test_few_stars_of_a_whole_field_are_no_cut(stars):
    """Of few the last is not far out: how far it has to be depends on their number."""
    draws = [np.random.default_rng(seed).permutation(len(stars))[:40] for seed in range(20)]
    assert sum(embed(stars[rows]).cut for rows in draws) <= 1
    motions = np.stack([np.asarray(stars[name], float) for name in ("pmra", "pmdec")], axis=1)
    middle = np.argsort(np.abs(motions - np.median(motions, axis=0)).max(axis=1))[:40]
    assert embed(stars[middle]).cut
