"""Axes of one place at another, against astropy's position angles."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from decocc_vo.columns import astrometry, footprint_radius, positions_of, stray, turns, unit_vectors

PLACES = st.tuples(st.floats(0, 360), st.floats(-90, 90))


def test_unit_vectors_are_those_of_astropy():
    sky = SkyCoord([10.0, 200.0], [-20.0, 89.0], unit="deg")
    np.testing.assert_allclose(unit_vectors(sky.ra.rad, sky.dec.rad), sky.cartesian.xyz.value.T, atol=1e-15)


@given(PLACES, st.floats(0.1, 10))
def test_positions_of_directions_are_where_they_point(place, length):
    lon, lat = positions_of(length * unit_vectors(*np.radians(place)))
    assert 0 <= lon <= 2 * np.pi
    there = SkyCoord(lon, lat, unit="rad")
    assert there.separation(SkyCoord(*place, unit="deg")).deg < 1e-9


@pytest.mark.parametrize("centre", [(50.0, 20.0), (0.0, -85.0), (359.9, 89.5), (180.0, 0.0)])
def test_a_motion_keeps_its_angle_to_the_great_circle(centre):
    """Away from the centre is away from the centre in its own axes, too."""
    middle = SkyCoord(*centre, unit="deg")
    sky = middle.directional_offset_by(np.radians([0.0, 50, 130, 200, 300]) * u.rad, [0.1, 1, 5, 20, 80] * u.deg)
    away = sky.position_angle(middle).rad + np.pi
    motion = np.stack([np.sin(away), np.cos(away)], axis=1)
    turned = np.einsum("nij,nj->ni", turns(sky.ra.deg, sky.dec.deg, centre), motion)
    expected = middle.position_angle(sky).rad
    np.testing.assert_allclose(turned, np.stack([np.sin(expected), np.cos(expected)], axis=1), atol=1e-9)


@given(PLACES, PLACES)
def test_lengths_and_handedness_stay(place, centre):
    turn = turns(np.array([place[0]]), np.array([place[1]]), centre)[0]
    if SkyCoord(*place, unit="deg").separation(SkyCoord(*centre, unit="deg")).deg < 179:
        np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-9)
        assert np.linalg.det(turn) == pytest.approx(1)
    assert np.isfinite(turn).all()


def test_at_the_centre_nothing_turns():
    turn = turns(np.array([123.456, 123.456 + 1e-12]), np.array([-65.4321, -65.4321]), (123.456, -65.4321))
    np.testing.assert_allclose(turn, np.tile(np.eye(2), (2, 1, 1)), atol=1e-12)


def test_astrometry_is_that_of_one_place():
    motions = {"pmra": [1.0, 0.0], "pmdec": [0.0, 1.0], "parallax": [2.0, 3.0]}
    stars = Table({"ra": [0.0, 90.0], "dec": [89.9, 89.9], **motions})
    values, turn = astrometry(stars, (0.0, 90.0))
    # Both move to the east of the star at RA 0, seen from the pole; the second one is a quarter of a turn away.
    np.testing.assert_allclose(values, [[1, 0, 2], [-1, 0, 3]], atol=1e-5)
    np.testing.assert_allclose(turn @ turn.transpose(0, 2, 1), np.tile(np.eye(3), (2, 1, 1)), atol=1e-12)


@pytest.mark.parametrize("n", [30, 400, 5000])
def test_stray_stars_do_not_belong_to_the_footprint(n):
    radius = np.sqrt(np.linspace(0, 1, n))
    assert not stray(radius).any()
    assert footprint_radius(radius) == pytest.approx(1, abs=0.02)
    spoilt = np.append(radius, 80.0)
    assert np.flatnonzero(stray(spoilt)).tolist() == [n]
    assert footprint_radius(spoilt) == pytest.approx(1, abs=0.05)
