"""Rows in pieces of few sizes, so that tables of similar size share one compiled program."""

import numpy as np

__all__ = ["AT_A_TIME", "bucket", "bucket_size", "pad", "slices"]

AT_A_TIME = 65_536
"""Stars that are scored or corrected at a time: the device's memory does not grow with the table."""


def bucket(n, smallest=1024):
    """Rows a table is padded to, so that tables of similar size share one compiled program: powers of two."""
    size = smallest
    while size < n:
        size *= 2
    return size


def bucket_size(n, *, multiple=128, ratio=1.25, smallest=1024):
    """
    Rows a table is padded to for a training in batches.

    The sizes grow by ``ratio`` from ``smallest`` and are whole numbers of batches of ``multiple`` rows: from
    ``smallest`` on about a fifth of the rows is padding at most, where powers of two would make it half.

    Examples
    --------
    >>> from decocc_vo.embedding.padding import bucket_size
    >>> bucket_size(900), bucket_size(17_000), bucket_size(18_000)
    (1024, 18688, 18688)
    """
    size = smallest
    while size < n:
        size *= ratio
    return int(-(-size // multiple) * multiple)


def slices(n, size):
    """Parts of ``n`` rows, of ``size`` each but for the last."""
    return [slice(first, first + size) for first in range(0, n, size)]


def pad(array, n, value=0.0):
    """Append rows of ``value`` up to ``n``; to float32."""
    array = np.asarray(array, np.float32)
    missing = n - len(array)
    return np.concatenate([array, np.full((missing, *array.shape[1:]), value, np.float32)]) if missing else array
