"""Some rows in the place of many: which, how evenly, and what they stand for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from decocc_vo.embedding.thinning import thin, thin_apart


@given(st.integers(0, 500), st.integers(1, 500), st.integers(0, 2**32 - 1))
def test_thin_draws_sorted_distinct_rows(n, keep, seed):
    rows = thin(n, keep, seed)
    assert len(rows) == min(n, keep)
    assert np.all(np.diff(rows) > 0)
    assert np.all((rows >= 0) & (rows < n))
    np.testing.assert_array_equal(rows, thin(n, keep, seed))


def test_thin_draws_evenly():
    counts = np.zeros(50)
    for seed in range(600):
        counts[thin(50, 10, seed)] += 1
    assert counts.min() > 80
    assert counts.max() < 165


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.integers(1, 40))
def test_thin_apart_stands_for_all_rows_of_each_part(first, second, keep, others):
    parts = np.arange(first), first + np.arange(second)
    rows, weight = thin_apart(parts, (keep, others), 0)
    for part, most in zip(parts, (keep, others), strict=True):
        own = np.isin(rows, part)
        assert own.sum() == min(len(part), most)
        np.testing.assert_allclose(weight[own].sum(), len(part))
    assert np.all(np.diff(rows) > 0)
