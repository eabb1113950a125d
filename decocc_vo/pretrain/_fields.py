"""Real fields, and what is published of their stars."""

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from ..columns import canonical_order, conform, floats, usable_rows
from ..region import ClusterRegion
from ..stars.files import read_stars

LISTS = ("p_cg20", "p_t22", "p_d21", "p_b18")
"""Columns of the published lists' own probabilities."""


def read_field(entry, fields):
    """
    Read a field of the manifest.

    Parameters
    ----------
    entry : dict
        Of the manifest.
    fields : `~pathlib.Path`
        Folder with ``stars``.

    Returns
    -------
    stars : `~astropy.table.Table`
        Its usable stars in canonical order.
    region : `~decocc_vo.region.ClusterRegion`
        The circle around the cluster.
    """
    stars = conform(read_stars(fields / "stars" / f"{entry['name']}.fits"))
    order = canonical_order(stars)
    stars = stars[order[usable_rows(stars)[order]]]
    centre = SkyCoord(entry["ra"], entry["dec"], unit="deg")
    return stars, ClusterRegion(centre, entry["radius_arcmin"] * u.arcmin, entry["name"])


def read_truth(entry, fields, stars):
    """
    Read what is published of a field's stars.

    Parameters
    ----------
    entry : dict
        Of the manifest.
    fields : `~pathlib.Path`
        Folder with ``truth``.
    stars : `~astropy.table.Table`
        The field's, with ``source_id``.

    Returns
    -------
    label : `~numpy.ndarray`, shape (n,)
        1 member, 0 field, -1 not scored.
    lists : `~numpy.ndarray`, shape (n, number of `LISTS`)
        Probability that each list gives a star: 0 for one that the list leaves out; NaN where there is no such list of
        the cluster, and for stars that no list has and that are not scored, since lists end at some magnitude.
    """
    truth = read_stars(fields / "truth" / f"{entry['name']}.fits")
    row = {number: n for n, number in enumerate(truth["source_id"].tolist())}
    rows = np.array([row.get(number, len(row)) for number in stars["source_id"].tolist()])
    label = np.append(np.asarray(truth["label"], int), -1)[rows]
    given = [floats(truth[name]) if name in truth.colnames else np.full(len(row), np.nan) for name in LISTS]
    given = np.append(np.stack(given, axis=1), np.full((1, len(LISTS)), np.nan), axis=0)
    exists = np.isfinite(given).any(axis=0)
    given = given[rows]
    known = np.isfinite(given).any(axis=1) | (label >= 0)
    return label, np.where(known[:, None] & exists, np.nan_to_num(given), np.nan)


def without_cluster(stars, label, probability):
    """
    Leave out the listed and the probable members of a real field.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Of the field, shape (n,).
    label : `~numpy.ndarray`, shape (n,)
        Published labels; 1 member.
    probability : `~numpy.ndarray`, shape (n,)
        Membership probability; stars of 0.05 and more are left out.

    Returns
    -------
    field : `~astropy.table.Table`
        The others.
    """
    return stars[(label != 1) & (probability < 0.05)]
