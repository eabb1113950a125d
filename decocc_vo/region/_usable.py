"""The stars of a table that a method can work on, and the region they are looked at in."""

import logging

import numpy as np

from ..columns import canonical_order, conform, floats, footprint_radius, requires, unit_vectors, usable_rows
from ..exceptions import InputError
from ._region import ClusterRegion

log = logging.getLogger(__name__)

_FAR = 3  # footprint radii: a cluster's own halo is within
_CELL = 0.5  # arcsec
_DOUBLED = 0.1  # share of stars that have another in one cell: Gaia resolves fewer even in the bulge
_WIDE = 3  # errors cannot be so many times as large as the spread of what they are errors of


def check_region(region):
    """Refuse what is neither a `ClusterRegion` nor None."""
    if region is not None and not isinstance(region, ClusterRegion):
        msg = f"'region' must be a ClusterRegion, not {type(region).__name__}; make one with ClusterRegion.from_name"
        raise InputError(msg)


def usable_stars(table, region, columns, fewest):
    """
    Check a table, and put its usable rows in canonical order.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Stars.
    region : `~decocc_vo.region.ClusterRegion` or None
        Where the cluster is thought to be.
    columns : mapping of str to str or None
        Registry name to the table's own, where they differ.
    fewest : int
        Usable stars that there must be.

    Returns
    -------
    stars : `~astropy.table.Table`
        The rows as `~decocc_vo.columns.conform` gives them.
    region : `~decocc_vo.region.ClusterRegion`
        The one given, or the table's footprint.
    used : `~numpy.ndarray`
        Indices of the usable rows, in canonical order; those 90 degrees and more from the centre are none.

    Raises
    ------
    InputError
        If the table cannot be used, has too few usable stars, or the region is none or somewhere else.
    """
    stars = conform(table, columns)
    check_region(region)
    order = canonical_order(stars)
    used = order[usable_rows(stars)[order]]
    requires(stars, used, fewest)
    if region is None:
        region = ClusterRegion.from_table(stars[used])
    else:
        region.check_stars(stars["ra"][used], stars["dec"][used])
    # Stars on the other side of the sky are on no tangent plane.
    used = used[np.isfinite(region.offsets(floats(stars["ra"])[used], floats(stars["dec"])[used])[0])]
    requires(stars, used, fewest)
    lon, lat = np.radians([floats(stars[name])[used] for name in ("ra", "dec")])
    _tell_of_stray(lon, lat)
    _tell_of_doubled(lon, lat)
    _tell_of_wide_errors(stars, used)
    return stars, region, used


def _tell_of_stray(lon, lat):
    """Warn of a few stars far outside the field that all others are in."""
    unit = unit_vectors(lon, lat)
    distance = np.linalg.norm(unit - np.median(unit, axis=0), axis=1)
    far = int(np.sum(distance > _FAR * footprint_radius(distance)))
    if far:
        log.warning(
            "of the %d stars %d lie far outside the field of all others, and count as its stars; leave them out if "
            "they are another field's",
            len(lon),
            far,
        )


def _tell_of_doubled(lon, lat):
    """Warn of a catalogue that has its stars twice, under other identifiers."""
    cell = np.radians(_CELL / 3600)
    east, north = (np.round(angle / cell).astype(np.int64) for angle in (lon * np.cos(lat), lat))
    stars = np.unique(east * 2**32 + north, return_counts=True)[1]
    doubled = int(stars[stars > 1].sum())
    if doubled > max(_DOUBLED * len(lon), 10):
        log.warning(
            "of the %d stars %d lie within %g arcsec of another: if catalogues were put together, each star of several "
            "counts as several members; keep one row of each",
            len(lon),
            doubled,
            _CELL,
        )


def _tell_of_wide_errors(stars, used):
    """Warn of errors that cannot be those of their column: of another unit, mostly."""
    for name in ("pmra", "pmdec", "parallax"):
        if f"{name}_error" not in stars.colnames:
            continue
        low, high = np.quantile(floats(stars[name])[used], [0.25, 0.75])
        errors = floats(stars[f"{name}_error"])[used]
        errors = errors[np.isfinite(errors)]
        spread, error = (high - low) / 1.349, np.median(errors) if errors.size else 0.0
        if error > _WIDE * spread > 0:
            log.warning(
                "half of the stars have a %s_error above %.3g, but %s itself has a spread of %.3g: are they in one "
                "unit? Give both columns theirs",
                name,
                error,
                name,
                spread,
            )
