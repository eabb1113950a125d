"""From tables to arrays: errors, covariances, the zero point, the tangent plane and the arcsinh embedding."""

import re

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import BarycentricMeanEcliptic, SkyCoord
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st
from zero_point import zpt

from decocc_vo import ClusterRegion
from decocc_vo.columns import CORRELATIONS, RELEASES, conform, expected_errors, floats, parallax_zero_point, turns
from decocc_vo.embedding.features import (
    Observables,
    arcsinh_features,
    observables,
    straightened,
)

REGION = ClusterRegion(SkyCoord(130.0, -35.0, unit="deg"), 1 * u.deg)
ERRORS = ("pmra_error", "pmdec_error", "parallax_error")


def table(n=5, **columns):
    """A conform table of ``n`` stars around the region's centre, with the columns given."""
    rng = np.random.default_rng(1)
    base = {
        "ra": 130 + rng.uniform(-0.5, 0.5, n),
        "dec": -35 + rng.uniform(-0.5, 0.5, n),
        "pmra": rng.normal(-3, 2, n),
        "pmdec": rng.normal(4, 2, n),
        "parallax": rng.normal(1, 0.3, n),
    }
    meta = columns.pop("meta", {})
    return conform(Table(base | columns, meta=meta))


def one_zero_point(*star):
    """The zero_point package's answer for one star, as an array of one: its scalar calls fail with NumPy 2."""
    zpt.load_tables()
    return zpt.get_zpt(*(np.array([value]) for value in star))[0]


def covariance(stars):
    """That of stars at the centre, in whose axes motions are."""
    stars["ra"], stars["dec"] = REGION.center.ra.deg, REGION.center.dec.deg
    return observables(stars, REGION).cov


def test_covariance_is_that_of_the_published_errors_and_correlations():
    sigma = np.array([[0.1, 0.2, 0.3], [0.02, 0.05, 0.04]])
    corr = np.array([[0.5, -0.3, 0.2], [-0.8, 0.1, 0.4]])
    columns = dict(zip(ERRORS, sigma.T, strict=True)) | dict(zip(CORRELATIONS, corr.T, strict=True))
    cov = covariance(table(2, **columns))
    for star in range(2):
        s, (r12, r13, r23) = sigma[star], corr[star]
        expected = [
            [s[0] ** 2, r12 * s[0] * s[1], r13 * s[0] * s[2]],
            [r12 * s[0] * s[1], s[1] ** 2, r23 * s[1] * s[2]],
            [r13 * s[0] * s[2], r23 * s[1] * s[2], s[2] ** 2],
        ]
        np.testing.assert_allclose(cov[star], expected, rtol=1e-6)


def test_absent_errors_follow_the_magnitude_and_published_ones_stay():
    mag = np.array([9.0, 15.0, 18.0, 20.0])
    cov = covariance(table(4, phot_g_mean_mag=mag, parallax_error=[0.3, np.nan, 0.0, -1.0]))
    sigma = np.sqrt(np.einsum("nii->ni", cov))
    expected = expected_errors(mag)
    expected[0, 2] = 0.3
    np.testing.assert_allclose(sigma, expected, rtol=1e-6)
    assert np.all(cov[:, [0, 0, 1], [1, 2, 2]] == 0)


def test_expected_errors_of_edr3_and_dr2():
    errors = expected_errors(np.array([6.0, 15.0, 18.0, 21.0, 30.0, np.nan]))
    # Lindegren et al. 2021, table 4: 0.027 mas at 15, 0.13 mas at 18; beyond the table its last line.
    np.testing.assert_allclose(errors[:, 2], [0.025, 0.027, 0.13, 1.1, 1.1, 0.13])
    np.testing.assert_allclose(errors[:, 0] / errors[:, 2], 1.03)
    np.testing.assert_allclose(errors[:, 1] / errors[:, 2], 0.95)
    grid = expected_errors(np.linspace(13, 21, 50))
    assert np.all(np.diff(grid, axis=0) > 0)
    ratio = expected_errors(np.array([17.3]), dr2=True) / expected_errors(np.array([17.3]))
    np.testing.assert_allclose(ratio, [[1 / 0.51, 1 / 0.51, 1 / 0.80]])


@pytest.mark.parametrize("meta", [{"release": "Gaia DR2"}, {"RELEASE": "Gaia DR2"}, {"release_key": "gaia_dr2"}])
def test_dr2_tables_without_errors_get_those_of_dr2(meta):
    mag = np.array([14.0, 17.0])
    sigma = np.sqrt(np.einsum("nii->ni", covariance(table(2, phot_g_mean_mag=mag, meta=meta))))
    np.testing.assert_allclose(sigma, expected_errors(mag, dr2=True), rtol=1e-6)


def test_no_errors_and_no_magnitude_is_said(caplog):
    cov = covariance(table(3))
    assert re.search("all stars .* G = 18 star.*pmra_error", caplog.text)
    np.testing.assert_allclose(np.sqrt(cov[:, 2, 2]), 0.13)


def test_hipparcos_magnitude_and_colour_stand_in():
    obs = observables(table(2, hp_mag=[7.0, 8.0], b_v=[0.3, np.nan]), REGION)
    np.testing.assert_allclose(obs.mag, [7, 8])
    np.testing.assert_allclose(obs.colour, [0.3, np.nan])
    both = observables(table(2, hp_mag=[7.0, 8.0], phot_g_mean_mag=[6.5, np.nan], bp_rp=[0.5, 0.6]), REGION)
    np.testing.assert_allclose(both.mag, [6.5, 8])
    np.testing.assert_allclose(both.colour, [0.5, 0.6])


@given(
    st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=1, max_size=8),
    st.lists(st.floats(1e-3, 10), min_size=3, max_size=3),
)
def test_covariances_are_positive_definite_whatever_the_correlations(corr, sigma):
    corr = np.array(corr)
    columns = {name: np.full(len(corr), s) for name, s in zip(ERRORS, sigma, strict=True)}
    columns |= dict(zip(CORRELATIONS, corr.T, strict=True))
    cov = covariance(table(len(corr), **columns))
    unit = cov / np.array(sigma)[:, None] / np.array(sigma)
    assert np.linalg.eigvalsh(unit).min() > 1e-3
    np.testing.assert_allclose(np.einsum("nii->ni", cov), np.tile(np.square(sigma), (len(corr), 1)), rtol=1e-5)


def test_zero_points_are_the_packages_star_by_star():
    mag = np.array([8.0, 12.5, 17.2, 19.9, 13.1, 18.4])
    nu = np.array([1.3, 1.45, 1.6, 1.2, np.nan, np.nan])
    pseudo = np.array([np.nan, np.nan, np.nan, np.nan, 1.35, 1.6])
    latitude = np.array([-60.0, 10, 45, -5, 80, -33])
    solved = np.array([31, 31, 31, 31, 95, 95])
    stars = table(
        6,
        phot_g_mean_mag=mag,
        nu_eff_used_in_astrometry=nu,
        pseudocolour=pseudo,
        ecl_lat=latitude,
        astrometric_params_solved=solved,
    )
    expected = [
        one_zero_point(g, np.nan_to_num(n, nan=1.5), np.nan_to_num(p, nan=1.5), b, s)
        for g, n, p, b, s in zip(mag, nu, pseudo, latitude, solved, strict=True)
    ]
    np.testing.assert_allclose(parallax_zero_point(stars, "lindegren2021", 0.0), expected, atol=2e-6)
    assert np.ptp(expected) > 0.01


def test_zero_point_computes_the_ecliptic_latitude():
    stars = table(4, phot_g_mean_mag=[15.0] * 4, nu_eff_used_in_astrometry=[1.5] * 4)
    sky = SkyCoord(stars["ra"].data.data, stars["dec"].data.data, unit="deg")
    latitude = sky.transform_to(BarycentricMeanEcliptic()).lat.deg
    given_latitude = table(4, phot_g_mean_mag=[15.0] * 4, nu_eff_used_in_astrometry=[1.5] * 4, ecl_lat=latitude)
    np.testing.assert_array_equal(
        parallax_zero_point(stars, "lindegren2021", 0.0), parallax_zero_point(given_latitude, "lindegren2021", 0.0)
    )


@pytest.mark.parametrize("colour", [-0.4, 0.5, 1.5, 3.0, 4.5, 6.5])
def test_zero_point_takes_the_wavenumber_from_the_colour(colour):
    # Lindegren et al. 2021, A&A 649, A2, equation 3.
    nu = 1.76 - 1.61 / np.pi * np.arctan(0.531 * colour)
    expected = one_zero_point(17.0, np.clip(nu, 1.11, 1.89), 1.48, 20.0, 31)
    stars = table(1, phot_g_mean_mag=[17.0], bp_rp=[colour], ecl_lat=[20.0])
    np.testing.assert_allclose(parallax_zero_point(stars, "lindegren2021", 0.0), [expected], atol=2e-6)


def test_zero_point_is_finite_outside_the_recipes_range():
    stars = table(
        5,
        phot_g_mean_mag=[2.0, 22.0, np.nan, 15.0, 15.0],
        nu_eff_used_in_astrometry=[1.5, 1.5, np.nan, 0.9, 3.0],
        ecl_lat=[0.0] * 5,
    )
    value = parallax_zero_point(stars, "lindegren2021", 0.0)
    assert np.all(np.isfinite(value))
    assert np.all(np.abs(value) < 0.2)


def test_other_zero_point_rules():
    stars = table(3, phot_g_mean_mag=[15.0] * 3)
    np.testing.assert_array_equal(parallax_zero_point(stars, "none", -0.029), np.zeros(3))
    release = RELEASES["gaia_dr2"]
    np.testing.assert_array_equal(
        parallax_zero_point(stars, release.zero_point, release.zero_point_value), [-0.029] * 3
    )


def test_observables_of_a_table():
    stars = table(4, phot_g_mean_mag=[15.0] * 4)
    zero_point = np.array([-0.04, -0.03, 0.0, 0.01])
    obs = observables(stars, REGION, zero_point)
    np.testing.assert_allclose(obs.x[:, 2], floats(stars["parallax"]) - zero_point)
    turn = turns(floats(stars["ra"]), floats(stars["dec"]), (130.0, -35.0))
    motion = np.stack([floats(stars["pmra"]), floats(stars["pmdec"])], axis=1)
    np.testing.assert_allclose(obs.x[:, :2], np.einsum("nij,nj->ni", turn, motion))
    sky = SkyCoord(stars["ra"].data.data, stars["dec"].data.data, unit="deg")
    # Gnomonic: the offset is the tangent of the separation, in the direction of the position angle.
    separation, angle = REGION.center.separation(sky), REGION.center.position_angle(sky)
    length = np.degrees(np.tan(separation.rad)) * 60
    np.testing.assert_allclose(obs.xy, (length * [np.sin(angle), np.cos(angle)]).T, rtol=1e-9)
    assert 0 < obs.footprint <= np.hypot(*obs.xy.T).max()
    assert len(obs) == 4
    assert all(a.dtype == float for a in (obs.x, obs.cov, obs.xy, obs.mag, obs.colour, obs.ruwe))


def test_footprint_leaves_out_a_stray_star():
    n = 3000
    rng = np.random.default_rng(0)
    r, angle = 0.5 * np.sqrt(rng.uniform(0, 1, n)), rng.uniform(0, 2 * np.pi, n)
    r[0] = 5.0
    ra, dec = 130 + r * np.cos(angle) / np.cos(np.radians(35)), -35 + r * np.sin(angle)
    obs = observables(table(n, ra=ra, dec=dec, phot_g_mean_mag=np.full(n, 15.0)), REGION)
    assert 28 < obs.footprint < 32


def test_footprint_of_one_place_is_not_zero():
    obs = observables(table(3, ra=[130.0] * 3, dec=[-35.0] * 3, phot_g_mean_mag=[15.0] * 3), REGION)
    assert obs.footprint > 0


def test_take_keeps_the_footprint():
    obs = observables(table(6, phot_g_mean_mag=np.arange(10.0, 16)), REGION, 0.1)
    part = obs.take(np.array([4, 1]))
    assert isinstance(part, Observables)
    np.testing.assert_array_equal(part.mag, [14, 11])
    for name in ("x", "cov", "xy"):
        np.testing.assert_array_equal(getattr(part, name), getattr(obs, name)[[4, 1]])
    assert part.footprint == obs.footprint


def as_measured(z, about, centre, scale):
    return centre + scale * (np.sinh(about) + (z - about) * np.cosh(about))


def test_arcsinh_features_are_robustly_standardised():
    rng = np.random.default_rng(2)
    x = rng.normal([5, -3, 0.5], [2, 4, 0.2], (4001, 3))
    x[:100] *= 1e4  # outliers do not set the scale
    z, _, about, centre, scale = arcsinh_features(x, np.tile(1e-6 * np.eye(3), (4001, 1, 1)))
    np.testing.assert_allclose(np.median(z, axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scale, [2, 4, 0.2], rtol=0.1)
    np.testing.assert_allclose(as_measured(z, about, centre, scale), x, rtol=1e-9)
    assert np.abs(z).max() < 16


def test_arcsinh_of_exact_values_is_the_arcsinh():
    x = np.random.default_rng(3).normal([0, 1, 2], [3, 2, 0.5], (50, 3))
    z, z_cov, about, centre, scale = arcsinh_features(x, np.zeros((50, 3, 3)))
    np.testing.assert_allclose(z, np.arcsinh((x - centre) / scale), rtol=1e-14)
    np.testing.assert_allclose(about, z, rtol=1e-14)
    assert not z_cov.any()


def test_arcsinh_covariance_is_the_jacobians():
    rng = np.random.default_rng(3)
    x = rng.normal([0, 1, 2], [3, 2, 0.5], (50, 3))
    root = rng.normal(0, 0.2, (50, 3, 3))
    cov = root @ root.transpose(0, 2, 1)
    _, z_cov, about, centre, scale = arcsinh_features(x, cov)
    linear, step = centre + scale * np.sinh(about), 1e-6
    slope = (np.arcsinh((linear + step - centre) / scale) - np.arcsinh((linear - step - centre) / scale)) / (2 * step)
    jacobian = slope[:, :, None] * np.eye(3)
    np.testing.assert_allclose(z_cov, jacobian @ cov @ jacobian.transpose(0, 2, 1), rtol=1e-7, atol=1e-12)


@given(st.floats(-2, 2), st.floats(1e-3, 100))
def test_the_embedding_is_linear_about_the_likeliest_place(offset, error):
    """
    If true places are a standard normal: nowhere near it is likelier.

    Of stars within two sigma: outliers of large errors may have two such places, and the steps end on the way.
    """
    measured = offset * np.hypot(1, error)
    x = np.tile(np.append(np.linspace(-2, 2, 41), measured)[:, None], 3)
    _, _, about, centre, scale = arcsinh_features(x, np.tile(error**2 * np.eye(3), (len(x), 1, 1)))
    unit, sigma = (x[-1, 0] - centre[0]) / scale[0], error / scale[0]

    def doubt(place):
        return ((unit - np.sinh(place)) / sigma) ** 2 + place**2

    assert np.all(doubt(about[-1, 0]) <= doubt(about[-1, 0] + np.array([-0.01, 0.01])) + 1e-9)
    assert abs(about[-1, 0]) <= abs(np.arcsinh(unit)) + 1e-12
    assert about[-1, 0] * unit >= 0


def test_errors_as_wide_as_the_field_stay_wide():
    """A member measured far out is as far from its cluster as its error says, in the embedding, too."""
    rng = np.random.default_rng(4)
    field, true, n = rng.normal(0, 1, (4000, 3)), np.array([0.3, -0.5, 0.4]), 1000
    members = true + rng.normal(0, 3, (n, 3))
    cov = np.concatenate([np.tile(1e-4 * np.eye(3), (4000, 1, 1)), np.tile(9 * np.eye(3), (n, 1, 1))])
    z, z_cov, about, centre, scale = (a[-n:] for a in arcsinh_features(np.concatenate([field, members]), cov))
    place = np.arcsinh((true - centre) / scale)
    straight, straight_cov, _ = straightened(z, z_cov, about, place)
    distance2 = np.einsum("ni,nij,nj->n", straight - place, np.linalg.inv(straight_cov), straight - place)
    assert np.mean(distance2) == pytest.approx(3, rel=0.1)


def test_straight_is_linear_in_what_was_measured():
    rng = np.random.default_rng(5)
    x, root = rng.normal(0, 2, (30, 3)), rng.normal(0, 1, (30, 3, 3))
    z, z_cov, about, centre, scale = arcsinh_features(x, root @ root.transpose(0, 2, 1))
    place = np.array([0.7, -0.2, 1.5])
    straight, straight_cov, log_slope = straightened(z, z_cov, about, place)
    slope = 1 / (scale * np.cosh(place))
    np.testing.assert_allclose(straight, place + (x - centre - scale * np.sinh(place)) * slope, atol=1e-12)
    np.testing.assert_allclose(straight_cov, root @ root.transpose(0, 2, 1) * slope[:, None] * slope, rtol=1e-10)
    np.testing.assert_allclose(
        log_slope, 0.5 * (np.linalg.slogdet(straight_cov)[1] - np.linalg.slogdet(z_cov)[1]), atol=1e-9
    )


def test_arcsinh_features_of_a_constant_axis_are_finite():
    x = np.tile([1.0, 2.0, 3.0], (20, 1))
    x[0, 1] = 50.0  # the interquartile range is zero, the standard deviation is not
    z, z_cov, _, _, scale = arcsinh_features(x, np.tile(0.01 * np.eye(3), (20, 1, 1)))
    assert np.all(np.isfinite(z))
    assert np.all(np.isfinite(z_cov))
    assert np.all(scale > 0)
