"""Standard errors of the astrometry: the published ones, and what stands in where a table has none."""

import numpy as np

from ._registry import CORRELATIONS
from ._statements import stated_release
from ._zero_point import values_or_nan

__all__ = ["correlations", "expected_errors", "magnitudes", "standard_errors"]

# Median standard errors of parallax in Gaia EDR3 by G (Lindegren et al. 2021, A&A 649, A2, table 4), mas; those of
# pmra and pmdec are 1.03 and 0.95 times as large in mas/yr.
_ERROR_G = (6.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0, 20.0, 21.0)
_ERROR_PARALLAX = (0.025, 0.018, 0.016, 0.019, 0.027, 0.042, 0.07, 0.13, 0.24, 0.5, 1.1)
_ERROR_PMRA, _ERROR_PMDEC = 1.03, 0.95
# EDR3 against DR2: errors of parallax 0.80 times, of proper motion 0.51 times as large (same paper, section 5.1).
_DR2_PARALLAX, _DR2_PM = 1 / 0.80, 1 / 0.51
# Medians over the sky of Hipparcos-2 (van Leeuwen 2007, A&A 474, 653) by Hp: parallax; pmra and pmdec are 0.94 and 0.79
# times as large.
_ERROR_HP = (2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0)
_ERROR_HIPPARCOS = (0.29, 0.22, 0.29, 0.41, 0.56, 0.77, 1.05, 1.47, 2.15, 3.34, 5.24)
_HIPPARCOS_PMRA, _HIPPARCOS_PMDEC = 0.94, 0.79
_LARGEST, _LEAST_EIGENVALUE = 0.98, 0.01  # of a matrix of correlations


def magnitudes(stars):
    """G of each star, or Hp; NaN where it has neither."""
    mag = values_or_nan(stars, "phot_g_mean_mag")
    return np.where(np.isfinite(mag), mag, values_or_nan(stars, "hp_mag"))


def expected_errors(mag, *, dr2=False):
    """
    Typical standard errors of Gaia's pmra, pmdec [mas/yr] and parallax [mas] at a magnitude.

    Stands in for the published errors where a table has none: the medians of Gaia EDR3 by G (Lindegren et al.
    2021, A&A 649, A2), or with ``dr2`` the larger ones of DR2. A star without magnitude is taken as G = 18.

    Parameters
    ----------
    mag : `~numpy.ndarray`, shape (n,)
        G.
    dr2 : bool
        Whether the stars come from Gaia DR2.

    Returns
    -------
    errors : `~numpy.ndarray`, shape (n, 3)

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.columns import expected_errors
    >>> expected_errors(np.array([15.0])).round(3)
    array([[0.028, 0.026, 0.027]])
    """
    parallax = np.interp(np.where(np.isfinite(mag), mag, 18.0), _ERROR_G, _ERROR_PARALLAX)
    errors = parallax[:, None] * np.array([_ERROR_PMRA, _ERROR_PMDEC, 1.0])
    return errors * np.array([_DR2_PM, _DR2_PM, _DR2_PARALLAX]) if dr2 else errors


def standard_errors(stars):
    """
    Standard errors of pmra, pmdec [mas/yr] and parallax [mas] of every star.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        As `conform` gives them.

    Returns
    -------
    errors : `~numpy.ndarray`, shape (n, 3)
        The published ones; where there is none `expected_errors` by G, or the medians of Hipparcos-2 by Hp; NaN where
        there is no magnitude either.
    """
    published = np.stack([values_or_nan(stars, f"{name}_error") for name in ("pmra", "pmdec", "parallax")], axis=1)
    absent = ~(np.isfinite(published) & (published > 0))
    release = stated_release(stars)
    mag = values_or_nan(stars, "phot_g_mean_mag")
    of_gaia = expected_errors(mag, dr2=release is not None and release.key == "gaia_dr2")
    of_hipparcos = np.interp(values_or_nan(stars, "hp_mag"), _ERROR_HP, _ERROR_HIPPARCOS)  # NaN stays NaN
    of_hipparcos = of_hipparcos[:, None] * np.array([_HIPPARCOS_PMRA, _HIPPARCOS_PMDEC, 1.0])
    return np.where(absent, np.where(np.isfinite(mag)[:, None], of_gaia, of_hipparcos), published)


def correlations(stars):
    """
    Correlations of the errors of pmra, pmdec and parallax of every star.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        As `conform` gives them.

    Returns
    -------
    matrices : `~numpy.ndarray`, shape (n, 3, 3)
        Positive definite; zero beside the diagonal where the table has none.
    """
    matrix = np.tile(np.eye(3), (len(stars), 1, 1))
    for (i, j), name in zip(((0, 1), (0, 2), (1, 2)), CORRELATIONS, strict=True):
        values = values_or_nan(stars, name)
        values = np.clip(np.where(np.isfinite(values), values, 0.0), -_LARGEST, _LARGEST)
        matrix[:, i, j] = matrix[:, j, i] = values
    # Three correlations that no distribution can have together are drawn towards zero until one can.
    lowest = np.linalg.eigvalsh(matrix)[:, 0]
    shrink = (1 - _LEAST_EIGENVALUE) / np.maximum(1 - lowest, 1 - _LEAST_EIGENVALUE)
    return np.eye(3) + shrink[:, None, None] * (matrix - np.eye(3))
