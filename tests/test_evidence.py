"""What counts for a candidate: its place on the sky, a part of its motions, and the places there are for chance."""

from types import SimpleNamespace

import numpy as np
import pytest

from decocc_vo.embedding.evidence import concentration, evidence, significance

SPATIAL, MOTION = np.random.default_rng(0).uniform(0, 1, (2, 100))
GAIN = SPATIAL + MOTION


def fit(*, weight=1.0, free=1.0, explained=0.0, members=20, radius=0.3):
    """A candidate of 100 stars."""
    return SimpleNamespace(
        weight=np.broadcast_to(weight, 100),
        free=np.broadcast_to(free, 100),
        scores=SimpleNamespace(spatial_gain=SPATIAL, gain=GAIN),
        n_expected=float(np.sum(np.broadcast_to(weight, 100)) * members / 100),
        model=SimpleNamespace(radius=radius),
        explained=explained,
    )


def test_motions_count_for_three_tenths_of_each_star_by_its_weight():
    assert evidence(fit(members=0)) == pytest.approx(0.7 * SPATIAL.sum() + 0.3 * GAIN.sum())
    weight, free = np.random.default_rng(1).uniform(0, 2, (2, 100))
    expected = (weight * free) @ (0.7 * SPATIAL + 0.3 * GAIN)
    assert evidence(fit(weight=weight, free=free, members=0)) == pytest.approx(expected)


def test_of_each_members_motion_a_part_is_the_fields():
    """A field that its Gaussians do not follow gives many stars a little each; a cluster's stars have more."""
    assert evidence(fit(members=20)) == pytest.approx(evidence(fit(members=0)) - 0.3 * 0.3 * 20)
    assert evidence(fit(members=1000)) == pytest.approx(SPATIAL.sum())


def test_concentration_is_what_positions_say():
    assert concentration(fit(explained=10.0)) == pytest.approx(SPATIAL.sum())
    assert concentration(fit(weight=2.0, free=0.25)) == pytest.approx(SPATIAL.sum() / 2)


def test_what_a_field_alone_explains_is_no_evidence():
    assert evidence(fit(explained=10.0, members=0)) == pytest.approx(evidence(fit(members=0)) - 3)
    # What was found of it is not less than what is to be expected anyway: of 20 members 6.
    assert evidence(fit(explained=10.0)) == pytest.approx(evidence(fit(explained=10.0, members=0)))
    assert evidence(fit(explained=3.0)) == pytest.approx(evidence(fit()))
    # No more than all that the motions say is taken off.
    assert evidence(fit(explained=1e4)) == pytest.approx(SPATIAL.sum())


def test_significance_takes_off_the_places_that_chance_had():
    """Half the members, or half the radius below a quarter of the footprint: four times as many places."""
    assert significance(fit()) == pytest.approx(evidence(fit()) + 2 * np.log(0.2))
    many, few = fit(members=20, explained=10.0), fit(members=10, explained=10.0)
    assert significance(many) - significance(few) == pytest.approx(2 * np.log(2))
    assert significance(fit(radius=0.1)) - significance(fit(radius=0.05)) == pytest.approx(2 * np.log(2))
    assert significance(fit(radius=1.0)) == significance(fit(radius=0.5))
