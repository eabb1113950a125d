"""Rows of a table of stars: their one order, which of them can be used, and how many are needed."""

import numpy as np

from ..exceptions import InputError
from ._numbers import floats
from ._registry import ASTROMETRY


def canonical_order(stars):
    """
    Row indices of a `conform` table in the one order all computations use, whatever order the user's rows have.

    Sorted by source_id, then position, motion and parallax, and where these are all the same by the other columns.
    """
    names = [name for name in ("source_id", *ASTROMETRY) if name in stars.colnames]
    every = [*names, *(name for name in stars.colnames if name not in names)]
    for count in (1, len(names), len(every)):  # further columns cost time, and matter only to rows that are equal
        keys = [_sortable(stars[name]) for name in every[:count]]
        order = np.lexsort(keys[::-1])
        if not np.any(np.all([key[order[1:]] == key[order[:-1]] for key in keys], axis=0)):
            break
    return order


def _sortable(column):
    """Values with what is masked last, and equal to itself."""
    values = np.ma.asarray(column)
    return np.ma.filled(values, np.inf if values.dtype.kind == "f" else np.iinfo(values.dtype).max)


def usable_rows(stars):
    """
    Which rows of a `conform` table can be used: all of `ASTROMETRY` is there, and the star was not seen before.

    Of rows that share a source_id, or all of `ASTROMETRY`, the first in the canonical order counts: a join may have
    brought a star in more than once, and row numbers are no identifiers.
    """
    good = np.all([~np.ma.getmaskarray(stars[name]) for name in ASTROMETRY], axis=0)
    if "source_id" in stars.colnames:
        known = np.flatnonzero(good & ~np.ma.getmaskarray(stars["source_id"]))
        _keep_first(good, known, stars, np.ma.getdata(stars["source_id"])[known])
    rows = np.flatnonzero(good)
    _, place, count = np.unique(floats(stars["ra"])[rows], return_inverse=True, return_counts=True)
    rows = rows[count[place] > 1]  # few, as a rule
    _keep_first(good, rows, stars, np.stack([floats(stars[name])[rows] for name in ASTROMETRY], axis=1))
    return good


def _keep_first(good, rows, stars, keys):
    """Of the rows that have one key only the first in the canonical order stays ``good``."""
    axis = 0 if keys.ndim > 1 else None
    if len(rows) == 0 or len(np.unique(keys, axis=axis)) == len(rows):  # the order, which takes time, does not matter
        return
    order = canonical_order(stars[rows])
    _, first = np.unique(keys[order], axis=axis, return_index=True)
    good[rows] = False
    good[rows[order[first]]] = True


def requires(stars, used, minimum):
    """Refuse a table with fewer than ``minimum`` usable stars, saying what is missing."""
    if len(used) < minimum:
        missing = [np.ma.getmaskarray(stars[name]) for name in ASTROMETRY]
        lacking = [f"{name} in {rows.sum()}" for name, rows in zip(ASTROMETRY, missing, strict=True) if rows.any()]
        why = [f"values are missing, or no star's (another unit?): {', '.join(lacking)}"] if lacking else []
        repeated = int(np.sum(~np.any(missing, axis=0)) - np.sum(usable_rows(stars)))
        if repeated:
            why.append(
                f"'source_id', or all of the astrometry, repeats in {repeated} row{'s' * (repeated != 1)}, "
                "and each star counts once"
            )
        msg = (
            f"'table' has {len(used)} usable star{'s' * (len(used) != 1)} of {len(stars)} rows, "
            f"and at least {minimum} are needed; " + ("; ".join(why) or "take a larger region")
        )
        raise InputError(msg)
