"""The profile on the sky: what a Plummer sphere is in projection."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from decocc_vo.embedding.profile import log_plummer


def density(r, radius=2.0):
    return float(np.exp(log_plummer(np.array([r, 0.0]), np.zeros(2), radius)))


def test_half_of_a_plummer_sphere_is_within_its_radius():
    inside, whole = (quad(lambda r: 2 * np.pi * r * density(r), 0, end)[0] for end in (2.0, np.inf))
    assert inside == pytest.approx(whole / 2)
    assert whole == pytest.approx(np.pi * 2.0**2)


def test_a_plummer_sphere_seen_along_the_line_of_sight():
    column = [quad(lambda z, r=r: (1 + (r**2 + z**2) / 2.0**2) ** -2.5, -np.inf, np.inf)[0] for r in (0.0, 1.0, 5.0)]
    np.testing.assert_allclose([density(r) for r in (0.0, 1.0, 5.0)], np.divide(column, column[0]))


def test_it_is_the_same_on_the_device():
    sky, centre = np.random.default_rng(0).normal(0, 1, (40, 2)), np.array([0.2, -0.1])
    radii = np.array([[0.1], [1.0]])
    expected = log_plummer(sky, centre, radii)
    assert expected.shape == (2, 40)
    np.testing.assert_allclose(log_plummer(jnp.asarray(sky), centre, radii, jnp), expected, rtol=1e-5)
