"""When a candidate holds: each fault of an otherwise good one, and the sentences about it."""

from types import SimpleNamespace

import numpy as np
import pytest

from decocc_vo.embedding.evidence import significance
from decocc_vo.embedding.reasons import why_found, why_none
from decocc_vo.embedding.verdict import enough_members, fault

PEAKS = [SimpleNamespace(x=np.array([-3.0, 2.0, 1.0]))] * 3


def candidate(*, spatial=60.0, motion=100.0, members=30.0, parallax=1.0, dispersion=1.0, radius=0.1, place=(0.0, 0.0)):
    """One of a thousand stars; its dispersion in parts of what clusters have, its radius in footprint radii."""
    n, expected = 1000, np.array([0.2, 0.2, 0.02])
    probability = np.where(np.arange(n) < members, members / np.ceil(members), 0.0)
    embedding = SimpleNamespace(
        cov=np.tile(1e-4 * np.eye(3), (n, 1, 1)),
        sky=np.tile(place, (n, 1)),
        footprint=30.0,
        cut=False,
        slope=lambda _: np.ones(3),
        as_of=lambda *_: np.arange(n) < members,
    )
    per_star = SimpleNamespace(spatial_gain=np.full(n, spatial / n), gain=np.full(n, (spatial + motion) / n))
    return SimpleNamespace(
        model=SimpleNamespace(scatter=np.diag((dispersion * expected) ** 2), radius=radius, centre=np.array(place)),
        embedding=embedding,
        scores=per_star,
        probability=probability,
        n_expected=float(probability.sum()),
        rows=np.arange(n),
        weight=np.ones(n),
        free=np.ones(n),
        mean=np.array([-3.0, 2.0, parallax]),
        dispersion=expected,
        explained=0.0,
    )


def test_a_good_candidate_has_no_fault():
    assert fault(candidate(), 6.0) == ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"spatial": 5.0, "motion": 10.0}, "under the threshold of 6"),
        ({"members": 6.0}, "but fewer than 8 stars"),
        ({"parallax": -0.5}, "but a mean parallax of -0.50 mas, which no star has"),
        ({"spatial": 4.0, "motion": 200.0, "dispersion": 12.0, "radius": 1.5}, "but too large a dispersion"),
    ],
)
def test_each_fault_is_told(changes, told):
    assert told in fault(candidate(**changes), 6.0)


def test_what_is_wide_and_concentrated_holds():
    assert fault(candidate(motion=200.0, dispersion=12.0, radius=1.5), 6.0) == ""


def test_eight_stars_are_enough_though_their_probabilities_add_to_less():
    assert [enough_members(candidate(members=n)) for n in (7.4, 7.6)] == [False, True]


def test_what_was_found_is_counted_and_where_it_is():
    one, two = candidate(), candidate(place=(0.8, 0.0))
    assert f"{significance(one):.1f}" == "78.5"
    assert why_found(one.embedding, [one], PEAKS[:1]) == "found 1 cluster among 1 candidate; significance 78.5"
    told = why_found(one.embedding, [two, one], PEAKS)
    assert told.startswith("found 2 clusters among 3 candidates; significance 78.5, 78.5; it is 24.0 arcmin from")
    assert told.endswith("may be another cluster: candidate 1 is at 0.0 arcmin")


def test_why_none_names_the_fault_of_the_best_and_what_to_do():
    poor = candidate(members=6.0)
    told = why_none(poor.embedding, [poor], PEAKS, 6.0)
    assert told.startswith("no cluster: the best of 3 candidates has a significance of ")
    assert told.endswith("but fewer than 8 stars; try a larger region, or fainter stars")
    assert why_none(poor.embedding, [], [], 6.0).startswith("no cluster: no stars move together; try a larger region")


def test_a_table_without_a_field_is_told():
    nearly_all = candidate(members=900.0)
    assert "so there is no field to tell members from" in why_found(nearly_all.embedding, [nearly_all], PEAKS)
    cut = candidate()
    cut.embedding.cut = True
    assert why_found(cut.embedding, [cut], PEAKS).endswith("give stars of all motions")
