"""Training the head: fields, drawn clusters, and what the head would see of them."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from decocc_vo import ClusterRegion
from decocc_vo.embedding.context import FEATURES, NEAR
from decocc_vo.pretrain import draw_cluster, example, field_for_simulation
from decocc_vo.simulate import SimulatedCluster, simulate_field

REGION = ClusterRegion(SkyCoord(120.0, -35.0, unit="deg"), 30 * u.arcmin)


@pytest.fixture(scope="module")
def field():
    return simulate_field(REGION, 900, seed=3)


def test_a_field_for_simulation_is_dealt_out_anew(field):
    dealt = field_for_simulation(field, np.random.default_rng(0))
    assert sorted(dealt["ra"]) == sorted(field["ra"])
    assert np.mean(dealt["ra"] == field["ra"]) < 0.02
    np.testing.assert_array_equal(dealt["pmra"], field["pmra"])


def test_a_large_field_is_thinned():
    thinned = field_for_simulation(simulate_field(REGION, 4500, seed=1), np.random.default_rng(0))
    assert 1200 <= len(thinned) <= 4000
    assert len(np.unique(thinned["source_id"])) == len(thinned)


def test_drawn_clusters_could_be_open_clusters(field):
    rng = np.random.default_rng(1)
    drawn = [draw_cluster(field, REGION, rng) for _ in range(200)]
    assert {c.profile for c in drawn} == {"plummer", "king", "powerlaw"}
    assert all(8 <= c.n_members <= 540 for c in drawn)
    assert all(0.12 <= c.parallax <= 4 for c in drawn)
    # The scale radius is ten parsecs at most, and the centre within the footprint.
    assert all(np.radians(c.radius / 60) * 1000 / c.parallax <= 10.01 for c in drawn)
    assert all(np.hypot(c.xi, c.eta) < 12 for c in drawn)
    assert draw_cluster(field, REGION, np.random.default_rng(2)) == draw_cluster(
        field, REGION, np.random.default_rng(2)
    )


@pytest.fixture(scope="module")
def made(field):
    return example(field, REGION, SimulatedCluster(80, -6.0, 5.0, 1.5, 4.0), seed=1)


def test_an_example_is_what_the_head_sees(made):
    assert made["X"].shape == (len(made["near"]), len(FEATURES))
    assert made["lab"].sum() == 80
    np.testing.assert_array_equal(made["y"], made["lab"][made["near"]])
    assert np.all(made["X"][:, 0] > NEAR)
    np.testing.assert_allclose(made["p"][made["near"]], 1 / (1 + np.exp(-made["X"][:, 0])), rtol=1e-6)
    assert made["E"] > 100


def test_a_lost_cluster_teaches_nothing(field):
    faint = SimulatedCluster(3, 0.0, 0.0, 0.2, 20.0)
    assert example(field, REGION, faint, seed=1) is None
