"""From a table of stars to the numbers the methods work on: motions, parallaxes, covariances, tangent plane."""

import logging
from dataclasses import dataclass

import numpy as np

from ..columns import (
    astrometry,
    correlations,
    expected_errors,
    floats,
    footprint_radius,
    magnitudes,
    standard_errors,
    values_or_nan,
)

__all__ = ["Observables", "arcsinh_features", "observables", "straightened"]

log = logging.getLogger(__name__)

_LIKELY_STEPS = 12  # of Gauss-Newton: enough but for stars that are outliers by their own large errors, too


@dataclass(frozen=True)
class Observables:
    """
    What is known of each usable star, in the canonical order, float64.

    Attributes
    ----------
    x : `~numpy.ndarray`, shape (n, 3)
        Motions in the axes of the centre, to the east and to the north [mas/yr], and parallax with the zero point
        subtracted [mas].
    cov : `~numpy.ndarray`, shape (n, 3, 3)
        Covariance of the errors of ``x``.
    xy : `~numpy.ndarray`, shape (n, 2)
        Tangent plane offsets from the region's centre [arcmin], east and north.
    mag, colour : `~numpy.ndarray`, shape (n,)
        G (or Hp) and BP-RP (or B-V), NaN where missing.
    ruwe : `~numpy.ndarray`, shape (n,)
        Renormalised unit weight error, NaN where missing.
    footprint : float
        Radius of the footprint: 99.9 % of the stars are nearer to the centre, but for stray ones far out [arcmin].
    """

    x: np.ndarray
    cov: np.ndarray
    xy: np.ndarray
    mag: np.ndarray
    colour: np.ndarray
    ruwe: np.ndarray
    footprint: float

    def __len__(self):
        return len(self.x)

    def take(self, rows):
        """The same for some of the stars; the footprint stays."""
        arrays = (self.x, self.cov, self.xy, self.mag, self.colour, self.ruwe)
        return Observables(*(a[rows] for a in arrays), self.footprint)


def _covariance(stars):
    """Standard errors, and the correlations where there are any."""
    sigma = standard_errors(stars)
    unknown = ~np.isfinite(sigma)
    if np.any(unknown):
        how_many = "all" if unknown.any(axis=1).all() else "some"
        log.warning(
            "%s stars have neither errors nor a magnitude: the errors of a G = 18 star of Gaia EDR3 are assumed for "
            "them; add the columns pmra_error, pmdec_error, parallax_error",
            how_many,
        )
        sigma = np.where(unknown, expected_errors(np.array([18.0])), sigma)
    return correlations(stars) * sigma[:, :, None] * sigma[:, None, :]


def observables(stars, region, zero_point=0.0):
    """
    Turn stars into arrays, in the rows' order.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Usable rows as `~decocc_vo.columns.conform` gives them.
    region : `~decocc_vo.region.ClusterRegion`
        Whose centre is the origin of the tangent plane.
    zero_point : float or `~numpy.ndarray`
        Parallax zero point in mas.

    Returns
    -------
    observables : Observables

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.embedding.features import observables
    >>> from decocc_vo.simulate import simulate_field
    >>> region = ClusterRegion.from_text("120 -30", "20arcmin")
    >>> obs = observables(simulate_field(region, 500), region)
    >>> obs.x.shape, obs.cov.shape
    ((500, 3), (500, 3, 3))
    """
    ra, dec = floats(stars["ra"]), floats(stars["dec"])
    x, turn = astrometry(stars, (region.center.ra.deg, region.center.dec.deg))
    x[:, 2] -= zero_point
    xy = np.stack(region.offsets(ra, dec), axis=1)
    colour = values_or_nan(stars, "bp_rp")
    colour = np.where(np.isfinite(colour), colour, values_or_nan(stars, "b_v"))
    return Observables(
        x,
        turn @ _covariance(stars) @ turn.transpose(0, 2, 1),
        xy,
        magnitudes(stars),
        colour,
        values_or_nan(stars, "ruwe"),
        max(footprint_radius(np.hypot(*xy.T)), 1e-6),
    )


def _likely(unit, variance):
    """Likeliest true places in the embedding, if all are a standard normal; any on the way to them serves."""
    end = np.arcsinh(unit)
    place, low, high = end, np.minimum(end, 0), np.maximum(end, 0)
    for _ in range(_LIKELY_STEPS):
        slope = np.cosh(place)
        step = (slope * (unit - np.sinh(place)) - variance * place) / (slope**2 + variance)
        place = np.clip(place + step, low, high)
    return place


def arcsinh_features(x, cov):
    """
    The embedding every table starts from: arcsinh of robustly scaled motions and parallaxes.

    Each axis is centred on its median and scaled by its interquartile range before the arcsinh, so that outliers
    do not set the scale; unlike pm/parallax it stays finite at parallax zero. Covariances follow to first order.
    That order is taken about the likeliest true place of a star, not about the measured one: a star whose error is
    as wide as the field was measured far out, where the arcsinh is flat, and its error would seem small there.

    Parameters
    ----------
    x : `~numpy.ndarray`, shape (n, 3)
        pmra, pmdec, parallax.
    cov : `~numpy.ndarray`, shape (n, 3, 3)
        Their covariance.

    Returns
    -------
    z : `~numpy.ndarray`, shape (n, 3)
        ``about + (unit - sinh(about)) / cosh(about)`` with ``unit = (x - centre) / scale``: `numpy.arcsinh` of it
        where errors are small.
    z_cov : `~numpy.ndarray`, shape (n, 3, 3)
    about : `~numpy.ndarray`, shape (n, 3)
        Where the embedding of each star is linear.
    centre, scale : `~numpy.ndarray`, shape (3,)

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.embedding.features import arcsinh_features
    >>> x = np.random.default_rng(0).normal([5.0, -2.0, 1.0], [3.0, 2.0, 0.5], (1000, 3))
    >>> z, z_cov, about, centre, scale = arcsinh_features(x, np.tile(0.01 * np.eye(3), (1000, 1, 1)))
    >>> np.allclose(centre + scale * (np.sinh(about) + (z - about) * np.cosh(about)), x)
    True
    """
    centre = np.median(x, axis=0)
    low, high = np.quantile(x, [0.25, 0.75], axis=0)
    scale = (high - low) / 1.349
    scale = np.where(scale > 0, scale, np.maximum(np.std(x, axis=0), 1e-6))
    unit = (x - centre) / scale
    about = _likely(unit, np.einsum("nii->ni", cov) / scale**2)
    slope = 1 / np.cosh(about)
    z = about + (unit - np.sinh(about)) * slope
    slope = slope / scale
    return z, cov * slope[:, :, None] * slope[:, None, :], about, centre, scale


def straightened(z, cov, about, place, xp=np):
    """
    Stars in the embedding as if it were linear about one place for all of them.

    There a cluster's motions and parallaxes are a Gaussian, and the errors of its faintest stars are as they were
    measured. At the place itself nothing changes.

    Parameters
    ----------
    z, cov, about : array, shapes (n, 3), (n, 3, 3) and (n, 3)
        From `arcsinh_features`.
    place : array, shape (3,)
        In the embedding.
    xp : module
        `numpy`, or `jax.numpy` inside of a compiled function.

    Returns
    -------
    straight, straight_cov : array, shapes (n, 3) and (n, 3, 3)
    log_slope : array, shape (n,)
        To be added to the log of a density there: the log of that density in ``z``.

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.embedding.features import straightened
    >>> straight, _, log_slope = straightened(np.full((1, 3), 0.5), np.eye(3)[None], np.full((1, 3), 0.5), np.zeros(3))
    >>> print(straight[0, 0].round(3), log_slope[0].round(3))
    0.521 0.36
    """
    slope = xp.cosh(about) / xp.cosh(place)
    straight = place + (xp.sinh(about) - xp.sinh(place)) / xp.cosh(place) + (z - about) * slope
    return straight, cov * slope[:, :, None] * slope[:, None, :], xp.log(slope).sum(-1)
