"""How much dust there is in front of a cluster: what reddens the field's own stars at its distance."""

import numpy as np

from ..columns import floats, parallax_zero_point
from ..simulate import REDDENING, main_sequence_colour

_SURE = 8.0  # errors: parallaxes from which a distance follows
_DWARFS = 2.0, 8.0  # absolute G of stars whose colour tells their reddening; brighter ones may be giants
_AROUND = 25  # dwarfs next in distance whose median is taken
_FEWEST = 12
_SCATTER = 0.25  # of a cluster's own extinction about it, in the logarithm
_DUST = 150.0  # pc: scale height of the dust, beyond the farthest dwarfs
_LEAST, _MOST = 0.03, 3.5  # mag


def field_extinction(stars, latitude, distance):
    """
    Extinction of a field's stars at a distance.

    Dwarfs with good parallaxes are redder than the main sequence by what the dust does to them. Beyond the farthest of
    them the dust thins out with its height above the plane.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        With parallax, parallax_error, phot_g_mean_mag and bp_rp.
    latitude : float
        Galactic latitude [deg].
    distance : float
        In pc.

    Returns
    -------
    extinction : float or None
        In G [mag]; None where too few stars tell.
    """
    if not {"parallax_error", "phot_g_mean_mag", "bp_rp"} <= set(stars.colnames):
        return None
    parallax = floats(stars["parallax"]) - parallax_zero_point(stars)
    mag, colour = floats(stars["phot_g_mean_mag"]), floats(stars["bp_rp"])
    sure = (parallax > _SURE * floats(stars["parallax_error"])) & np.isfinite(mag + colour)
    absolute, colour, far = mag[sure] + 5 * np.log10(parallax[sure]) - 10, colour[sure], 1000 / parallax[sure]
    grid = np.linspace(0, 5, 101)
    reddened = main_sequence_colour(absolute[:, None] - grid) + REDDENING * grid
    extinction = grid[np.argmin(np.abs(reddened - colour[:, None]), axis=1)]
    dwarfs = (absolute - extinction > _DWARFS[0]) & (absolute - extinction < _DWARFS[1])
    if dwarfs.sum() < _FEWEST:
        return None
    extinction, far = extinction[dwarfs], far[dwarfs]
    next_to = np.argsort(np.abs(np.log(far / distance)), kind="stable")[:_AROUND]
    told = float(np.median(far[next_to]))
    return float(np.median(extinction[next_to]) * max(_column(distance, latitude) / _column(told, latitude), 1.0))


def _column(distance, latitude):
    """Dust along the line of sight, in pc of the plane's."""
    climb = max(abs(np.sin(np.radians(latitude))), 0.01) / _DUST
    return (1 - np.exp(-distance * climb)) / climb


def cluster_extinction(stars, latitude, distance, rng):
    """
    Draw the extinction of a cluster in a field: about what the field's stars have at its distance.

    Parameters
    ----------
    stars, latitude, distance
        See `field_extinction`.
    rng : `~numpy.random.Generator`
        For the draws.

    Returns
    -------
    extinction : float or None
        In G [mag]; None where the field does not tell.
    """
    about = field_extinction(stars, latitude, distance)
    return None if about is None else float(np.clip(about * np.exp(_SCATTER * rng.normal()), _LEAST, _MOST))
