"""Padding: few sizes, little of it, and nothing changed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decocc_vo.embedding.padding import bucket, bucket_size, pad, slices


@given(st.integers(1, 3_000_000), st.sampled_from([32, 128, 500]))
def test_buckets_hold_the_stars_in_whole_batches_with_little_padding(n, multiple):
    size = bucket_size(n, multiple=multiple)
    assert size >= n
    assert size % multiple == 0
    assert size <= max(1024, 1.25 * n) + multiple


def test_there_are_few_buckets():
    assert len({bucket_size(n) for n in range(1, 100_000, 50)}) < 30


def test_padding_adds_rows_of_zeros():
    padded = pad(np.ones((3, 2)), 5)
    np.testing.assert_array_equal(padded, [[1, 1], [1, 1], [1, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(pad([1, 2], 3), [1, 2, 0])


@pytest.mark.parametrize(("n", "size"), [(1, 1024), (1024, 1024), (1025, 2048), (70_000, 131_072)])
def test_buckets_of_what_is_scored(n, size):
    assert bucket(n) == size


def test_slices_are_all_rows_once():
    rows = np.arange(10)
    np.testing.assert_array_equal(np.concatenate([rows[part] for part in slices(10, 4)]), rows)
    assert [len(rows[part]) for part in slices(10, 4)] == [4, 4, 2]
