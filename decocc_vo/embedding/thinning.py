"""Some rows in the place of many."""

import numpy as np

__all__ = ["thin", "thin_apart"]


def thin(n, keep, seed):
    """
    Draw some rows of many without replacement.

    Parameters
    ----------
    n : int
        How many rows there are.
    keep : int
        How many to keep at most.
    seed : int
        Of the draws.

    Returns
    -------
    rows : `~numpy.ndarray` of int
        Sorted indices.

    Examples
    --------
    >>> from decocc_vo.embedding.thinning import thin
    >>> len(thin(100, 10, seed=0)), thin(4, 10, seed=0)
    (10, array([0, 1, 2, 3]))
    """
    if n <= keep:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:keep])


def thin_apart(parts, keeps, seed):
    """
    Thin parts of a table each to its own number of rows.

    Parameters
    ----------
    parts : sequence of `~numpy.ndarray`
        Rows of each part, disjoint.
    keeps : sequence of int
        How many of each to keep at most.
    seed : int
        Of the draws.

    Returns
    -------
    rows, weight : `~numpy.ndarray`
        The rows kept, sorted, and how many rows each stands for.

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.embedding.thinning import thin_apart
    >>> rows, weight = thin_apart((np.array([0, 5]), np.array([1, 2, 3, 4])), (2, 1), seed=0)
    >>> len(rows), weight.sum(), weight[rows == 5]
    (3, np.float64(6.0), array([1.]))
    """
    kept = [part[thin(len(part), keep, seed)] for part, keep in zip(parts, keeps, strict=True)]
    weight = [np.full(len(few), len(part) / max(len(few), 1)) for part, few in zip(parts, kept, strict=True)]
    rows, weight = np.concatenate(kept), np.concatenate(weight)
    order = np.argsort(rows)
    return rows[order], weight[order]
