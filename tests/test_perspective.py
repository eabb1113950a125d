"""Perspective against astropy's own spherical trigonometry: one space velocity, seen over a wide field."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import CartesianDifferential, CartesianRepresentation, SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from decocc_vo import ClusterRegion
from decocc_vo.columns import AU_YR, turns
from decocc_vo.embedding.perspective import Perspective, fit_perspective

VELOCITY = np.array([18.0, -25.0, 38.0])  # km/s: east, north, outward at the centre
CENTRES = [(66.75, 15.87), (120.0, -35.0), (10.0, 0.0), (200.0, 84.0), (300.0, -82.0), (359.5, 55.0)]
PARALLAX = 20.0


def triad(ra, dec):
    ra, dec = np.radians([ra, dec])
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    outward = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    return np.stack([east, np.cross(outward, east), outward])


def cluster(ra, dec, n=300, radius=5.0, depth=0.05, seed=0):
    """Stars over ``radius`` degrees that all move with `VELOCITY`: what astropy sees of them from the Sun."""
    rng = np.random.default_rng(seed)
    axes = triad(ra, dec)
    across = np.tan(np.radians(radius)) * np.sqrt(rng.uniform(0, 1, n))
    angle = rng.uniform(0, 2 * np.pi, n)
    direction = np.stack([across * np.cos(angle), across * np.sin(angle), np.ones(n)], axis=1) @ axes
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    place = direction * (1000 / PARALLAX * (1 + rng.normal(0, depth, n)))[:, None]
    motion = np.broadcast_to(VELOCITY @ axes, (n, 3)).T
    space = CartesianRepresentation(place.T * u.pc, differentials=CartesianDifferential(motion * u.km / u.s))
    sky = SkyCoord(space, frame="icrs")
    sky = SkyCoord(sky, representation_type="spherical", differential_type="sphericalcoslat")
    x = np.stack(
        [
            sky.pm_ra_cosdec.to_value("mas/yr"),
            sky.pm_dec.to_value("mas/yr"),
            sky.distance.to_value(u.mas, u.parallax()),
        ],
        axis=1,
    )
    x[:, :2] = np.einsum("nij,nj->ni", turns(sky.ra.deg, sky.dec.deg, (ra, dec)), x[:, :2])
    region = ClusterRegion(SkyCoord(ra, dec, unit="deg"), 2 * radius * u.deg)
    return x, np.stack(region.offsets(sky.ra.deg, sky.dec.deg), axis=1)


def covariances(n, sigma=(0.1, 0.12, 0.15)):
    corr = np.array([[1, 0.3, -0.2], [0.3, 1, 0.1], [-0.2, 0.1, 1]])
    return np.tile(corr * np.outer(sigma, sigma), (n, 1, 1))


def noisy(x, cov, seed=1):
    root = np.linalg.cholesky(cov)
    return x + np.einsum("nij,nj->ni", root, np.random.default_rng(seed).normal(0, 1, x.shape))


@pytest.mark.parametrize(("ra", "dec"), CENTRES)
def test_motions_are_those_of_astropy(ra, dec):
    x, xy = cluster(ra, dec)
    perspective = Perspective(VELOCITY, PARALLAX)
    np.testing.assert_allclose(perspective.motion_per_parallax(xy) * x[:, 2:], x[:, :2], rtol=1e-9, atol=1e-7)


def test_motions_are_those_of_space_motion():
    """Independent of any velocity formula: where astropy moves the stars to in ten years."""
    x, xy = cluster(120.0, -35.0, n=20)
    region = ClusterRegion(SkyCoord(120.0, -35.0, unit="deg"), 10 * u.deg)
    motion = Perspective(VELOCITY, PARALLAX).motion_per_parallax(xy) * x[:, 2:]
    axes = triad(120.0, -35.0)
    direction = np.column_stack([np.radians(xy / 60), np.ones(len(xy))]) @ axes
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    years = 10
    place = direction * 1000 / x[:, 2:]
    moved = place + VELOCITY @ axes * (years * u.km / u.s * u.yr).to_value(u.pc)
    before, after = (SkyCoord(*p.T, unit="pc", representation_type="cartesian", frame="icrs") for p in (place, moved))
    before, after = (SkyCoord(s, representation_type="unitspherical") for s in (before, after))
    moved = np.stack([offset.to_value(u.mas) / years for offset in before.spherical_offsets_to(after)], axis=1)
    moved = np.einsum("nij,nj->ni", turns(before.ra.deg, before.dec.deg, (120.0, -35.0)), moved)
    np.testing.assert_allclose(moved, motion, rtol=1e-4, atol=1e-3)
    assert region.contains(after.ra.deg, after.dec.deg).all()


@pytest.mark.parametrize(("ra", "dec"), CENTRES)
def test_the_velocity_is_found_with_the_radial_one(ra, dec):
    x, xy = cluster(ra, dec)
    cov = covariances(len(x))
    perspective = fit_perspective(noisy(x, cov), cov, xy, np.ones(len(x)), depth=0.05 * PARALLAX)
    # 300 stars of 0.8 km/s around 5 degrees: 0.05 km/s across the line of sight, 0.8 km/s along it.
    np.testing.assert_allclose(perspective.velocity[:2], VELOCITY[:2], atol=0.4)
    assert perspective.velocity[2] == pytest.approx(VELOCITY[2], abs=1.5)
    assert perspective.parallax == pytest.approx(PARALLAX, rel=0.02)


@pytest.mark.parametrize(("ra", "dec"), CENTRES)
def test_straightened_motions_agree(ra, dec):
    x, xy = cluster(ra, dec)
    straight, _ = Perspective(VELOCITY, PARALLAX).straighten(x, covariances(len(x)), xy)
    np.testing.assert_allclose(straight[:, :2], np.tile(PARALLAX * VELOCITY[:2] / AU_YR, (len(x), 1)), atol=1e-6)
    np.testing.assert_array_equal(straight[:, 2], x[:, 2])
    assert np.ptp(x[:, :2], axis=0).min() > 5


@settings(max_examples=25)
@given(
    st.tuples(*[st.floats(-80, 80)] * 3),
    st.floats(0.1, 50),
    st.integers(0, 1000),
)
def test_straightening_keeps_densities(velocity, parallax, seed):
    """Determinant 1, the covariance follows as that of a linear map, and a star at the centre stays where it is."""
    rng = np.random.default_rng(seed)
    xy = np.concatenate([[[0, 0]], rng.uniform(-500, 500, (6, 2))])
    x, cov = rng.normal(0, 10, (7, 3)), covariances(7)
    x[0, 2] = parallax
    perspective = Perspective(np.array(velocity), parallax)
    straight, straight_cov = perspective.straighten(x, cov, xy)
    np.testing.assert_allclose(np.linalg.det(straight_cov), np.linalg.det(cov), rtol=1e-6)
    np.testing.assert_allclose(straight[0], x[0], atol=1e-9)
    np.testing.assert_allclose(straight_cov, straight_cov.transpose(0, 2, 1), atol=1e-12)
    steps = 1e-3 * np.eye(3)
    jacobian = np.stack([(perspective.straighten(x + s, cov, xy)[0] - straight) / 1e-3 for s in steps], axis=-1)
    np.testing.assert_allclose(jacobian @ cov @ jacobian.transpose(0, 2, 1), straight_cov, rtol=1e-5, atol=1e-7)


def test_amplitude_is_the_largest_change():
    x, xy = cluster(66.75, 15.87, depth=0.0)
    perspective = Perspective(VELOCITY, PARALLAX)
    change = x[:, :2] - PARALLAX * VELOCITY[:2] / AU_YR
    # The stars are at one distance, so at one parallax.
    assert perspective.amplitude(xy) == pytest.approx(np.hypot(*change.T).max(), rel=1e-6)
    assert perspective.amplitude(np.zeros((1, 2))) == pytest.approx(0, abs=1e-9)
    assert perspective.amplitude(np.empty((0, 2))) == 0


def test_stars_of_little_weight_do_not_count():
    x, xy = cluster(66.75, 15.87)
    rng = np.random.default_rng(2)
    weight = np.ones(len(x))
    weight[200:] = 0.005
    spoilt = x.copy()
    spoilt[200:] = rng.normal(0, 100, (100, 3))
    cov = covariances(len(x))
    one = fit_perspective(spoilt, cov, xy, weight, depth=1.0)
    two = fit_perspective(x[:200], cov[:200], xy[:200], np.ones(200), depth=1.0)
    np.testing.assert_allclose(one.velocity, two.velocity, rtol=1e-12)


def test_weights_are_repeated_stars():
    x, xy = cluster(66.75, 15.87, n=60)
    cov = covariances(60)
    x = noisy(x, cov)
    times = 1 + np.arange(60) % 3
    one = fit_perspective(x, cov, xy, times.astype(float), depth=1.0)
    two = fit_perspective(*(np.repeat(a, times, axis=0) for a in (x, cov, xy)), np.ones(times.sum()), depth=1.0)
    np.testing.assert_allclose(one.velocity, two.velocity, rtol=1e-9)
    assert one.parallax == pytest.approx(two.parallax)


def test_a_small_field_says_nothing_of_the_radial_velocity():
    """The prior of 60 km/s around zero takes over, and the tangential velocity is right all the same."""
    x, xy = cluster(66.75, 15.87, radius=0.05)
    cov = covariances(len(x), sigma=(1.0, 1.0, 0.5))
    perspective = fit_perspective(noisy(x, cov), cov, xy, np.ones(len(x)), depth=0.3)
    assert abs(perspective.velocity[2]) < 60
    np.testing.assert_allclose(perspective.velocity[:2], VELOCITY[:2], atol=0.4)


def test_parallaxes_below_zero_are_survived():
    x, xy = cluster(66.75, 15.87, n=50)
    x[:, 2] = -1.0
    perspective = fit_perspective(x, covariances(50), xy, np.ones(50), depth=0.05)
    assert np.all(np.isfinite(perspective.velocity))
    assert perspective.parallax > 0
