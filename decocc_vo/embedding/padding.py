"""Rows in pieces of few sizes, so that tables of similar size share one compiled program."""

import numpy as np

__all__ = ["AT_A_TIME", "bucket", "pad", "slices"]

AT_A_TIME = 65_536
"""Stars that are scored or corrected at a time: the device's memory does not grow with the table."""


def bucket(n, smallest=1024):
    """Rows a table is padded to, so that tables of similar size share one compiled program."""
    size = smallest
    while size < n:
        size *= 2
    return size


def slices(n, size):
    """Parts of ``n`` rows, of ``size`` each but for the last."""
    return [slice(first, first + size) for first in range(0, n, size)]


def pad(array, n, value=0.0):
    """Append rows of ``value`` up to ``n``; to float32."""
    array = np.asarray(array, np.float32)
    missing = n - len(array)
    return np.concatenate([array, np.full((missing, *array.shape[1:]), value, np.float32)]) if missing else array
