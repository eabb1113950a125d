"""The parallax zero point of each star, by its release's rule."""

import numpy as np

from ..exceptions import InputError
from ._numbers import floats
from ._releases import get_release
from ._statements import stated_release

_UNKNOWN = 0.05  # mas
_NO_MAGNITUDE = 16.0  # a star whose magnitude is missing: those that say most of a cluster's parallax are bright


def values_or_nan(stars, name):
    """Values of a column as float64, NaN where masked or where there is no such column."""
    return floats(stars[name]) if name in stars.colnames else np.full(len(stars), np.nan)


def zero_point_uncertainty(release):
    """
    How far the mean parallax of a cluster may be off after the zero point.

    Parameters
    ----------
    release : str
        Key or name.

    Returns
    -------
    uncertainty : float
        In mas; for a release that is not known as large as the zero points that releases have.
    """
    try:
        return get_release(release).zero_point_uncertainty
    except InputError:
        return _UNKNOWN


def _effective_wavenumber(colour):
    """Effective wavenumber [1/um] from BP-RP (Lindegren et al. 2021, A&A 649, A2, equation 3)."""
    return np.where(np.isfinite(colour), 1.76 - 1.61 / np.pi * np.arctan(0.531 * colour), 1.48)


def parallax_zero_point(stars, rule=None, value=0.0):
    """
    Parallax zero point of each star, to be subtracted from the published parallax.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        As `~decocc_vo.columns.conform` gives them.
    rule : str, optional
        Default: the one of the release in ``stars.meta``, none for a release that is not known.
        ``"lindegren2021"``: Lindegren et al. 2021, A&A 649, A4, by magnitude, colour and ecliptic latitude; a
        missing latitude is computed, a missing wavenumber comes from BP-RP, a star without magnitude is taken as
        G = 16, and one outside the recipe's range gets the value at its edge. ``"constant"``: ``value``. ``"none"``:
        zero.
    value : float
        The constant in mas.

    Returns
    -------
    zero_point : `~numpy.ndarray`, shape (n,)
        In mas.

    Raises
    ------
    InputError
        If there is no such rule.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from decocc_vo.columns import parallax_zero_point
    >>> stars = Table({"ra": [56.7], "dec": [24.1], "phot_g_mean_mag": [15.0], "bp_rp": [1.0]})
    >>> parallax_zero_point(stars, "lindegren2021", 0.0).round(3)
    array([-0.043])
    """
    n = len(stars)
    if rule is None:
        release = stated_release(stars)
        rule, value = ("none", 0.0) if release is None else (release.zero_point, release.zero_point_value)
    if rule == "none":
        return np.zeros(n)
    if rule == "constant":
        return np.full(n, value)
    if rule != "lindegren2021":
        msg = f"'rule' must be lindegren2021, constant or none, not {rule!r}"
        raise InputError(msg)
    from astropy.coordinates import BarycentricMeanEcliptic, SkyCoord
    from zero_point import zpt

    mag = values_or_nan(stars, "phot_g_mean_mag")
    latitude = values_or_nan(stars, "ecl_lat")
    if not np.all(np.isfinite(latitude)):
        sky = SkyCoord(floats(stars["ra"]), floats(stars["dec"]), unit="deg")
        latitude = np.where(np.isfinite(latitude), latitude, sky.transform_to(BarycentricMeanEcliptic()).lat.deg)
    wavenumber = values_or_nan(stars, "nu_eff_used_in_astrometry")
    pseudocolour = values_or_nan(stars, "pseudocolour")
    six = (values_or_nan(stars, "astrometric_params_solved") == 95) & np.isfinite(pseudocolour)
    wavenumber = np.where(np.isfinite(wavenumber), wavenumber, _effective_wavenumber(values_or_nan(stars, "bp_rp")))
    zpt.load_tables()
    return np.asarray(
        zpt.get_zpt(
            np.clip(np.where(np.isfinite(mag), mag, _NO_MAGNITUDE), 6.01, 20.99),
            np.where(six, 1.48, np.clip(wavenumber, 1.11, 1.89)),
            np.where(six, np.clip(pseudocolour, 1.25, 1.71), 1.48),
            latitude,
            np.where(six, 95, 31),
            _warnings=False,
        ),
        float,
    )
