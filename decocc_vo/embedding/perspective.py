"""
The perspective of one space motion over a wide field.

Stars that move together in space do not share a proper motion where the field is wide: it is the projection of the
velocity on each star's own tangent plane, times its own parallax. Motions are in the axes of the field's centre, as
`~decocc_vo.embedding.features.observables` gives them. For a nearby cluster that spread is many times its
intrinsic dispersion.
"""

from dataclasses import dataclass

import numpy as np

from ..columns import AU_YR

__all__ = ["Perspective", "fit_perspective"]

_VR_PRIOR = 60.0  # km/s: the radial velocity is known to be a star's of the disc, and no more


@dataclass(frozen=True)
class Perspective:
    """
    One space velocity in the triad (east, north, outward) at the centre of the field, and the mean parallax.

    Attributes
    ----------
    velocity : `~numpy.ndarray`, shape (3,)
        In km/s.
    parallax : float
        In mas.
    """

    velocity: np.ndarray
    parallax: float

    def motion_per_parallax(self, xy):
        """Motion a mas of parallax in the centre's axes, shape (n, 2), at tangent plane offsets ``xy`` in arcmin."""
        return _projections(xy) @ self.velocity / AU_YR

    def straighten(self, x, cov, xy):
        """
        Take the perspective out: all members of the cluster then share a motion.

        The motions become ``pm - parallax t + parallax_0 t_0``, with ``t`` the motion a unit of parallax at the star
        and ``t_0`` at the centre: a map of determinant 1, so that densities stay densities.

        Parameters
        ----------
        x : `~numpy.ndarray`, shape (n, 3)
            pmra, pmdec, parallax.
        cov : `~numpy.ndarray`, shape (n, 3, 3)
            Their covariance.
        xy : `~numpy.ndarray`, shape (n, 2)
            Tangent plane offsets in arcmin.

        Returns
        -------
        x, cov : `~numpy.ndarray`
            Of the same shapes.
        """
        t = self.motion_per_parallax(xy)
        shear = np.tile(np.eye(3), (len(x), 1, 1))
        shear[:, :2, 2] = -t
        shift = np.append(self.parallax * self.velocity[:2] / AU_YR, 0.0)
        return np.einsum("nij,nj->ni", shear, x) + shift, shear @ cov @ shear.transpose(0, 2, 1)

    def amplitude(self, xy):
        """Largest change of the proper motion over the field, in mas/yr."""
        t = self.motion_per_parallax(xy) - self.velocity[:2] / AU_YR
        return float(self.parallax * np.sqrt(np.max(np.sum(t**2, axis=1), initial=0.0)))


def _projections(xy):
    """The centre's east and north, moved to each star along a great circle, in the triad at the centre: (n, 2, 3)."""
    xi, eta = np.radians(xy / 60.0).T
    outward = np.stack([xi, eta, np.ones_like(xi)], axis=1)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    along = outward[:, :2] / (1 + outward[:, 2:])
    return np.eye(3)[:2] - along[:, :, None] * (outward + np.array([0.0, 0.0, 1.0]))[:, None, :]


def fit_perspective(x, cov, xy, weight, depth):
    """
    Fit one space velocity to members by generalised least squares.

    Parameters
    ----------
    x, cov, xy : `~numpy.ndarray`
        pmra, pmdec [mas/yr], parallax [mas], shape (n, 3); their covariance; tangent plane offsets [arcmin].
    weight : `~numpy.ndarray`, shape (n,)
        Membership probability.
    depth : float
        Intrinsic dispersion of the parallax in mas: how far a star's own parallax may differ from the mean.

    Returns
    -------
    perspective : Perspective

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.embedding.perspective import Perspective, fit_perspective
    >>> xy = np.random.default_rng(0).uniform(-300, 300, (200, 2))
    >>> truth = Perspective(np.array([10.0, -20.0, 40.0]), 20.0)
    >>> x = np.column_stack([20.0 * truth.motion_per_parallax(xy), np.full(200, 20.0)])
    >>> cov = np.tile(0.01 * np.eye(3), (200, 1, 1))
    >>> fit_perspective(x, cov, xy, np.ones(200), depth=1.0).velocity.round()
    array([ 10., -20.,  40.])
    """
    rows = np.flatnonzero(weight > 0.01)
    x, cov, xy, weight = x[rows], cov[rows], xy[rows], weight[rows]
    precision = weight / (cov[:, 2, 2] + depth**2)
    parallax = max(float(np.sum(precision * x[:, 2]) / np.sum(precision)), 1e-3)
    # A star's own parallax, drawn towards the mean by as much as its error is larger than the depth.
    own = (x[:, 2] * depth**2 + parallax * cov[:, 2, 2]) / (depth**2 + cov[:, 2, 2])
    design = _projections(xy) * np.maximum(own, 0.0)[:, None, None] / AU_YR
    motion_cov = cov[:, :2, :2] + np.eye(2) * (0.8 * parallax / AU_YR) ** 2
    weighted = np.linalg.solve(motion_cov, design) * weight[:, None, None]
    normal = np.einsum("nij,nik->jk", weighted, design) + np.diag([0.0, 0.0, _VR_PRIOR**-2])
    velocity = np.linalg.solve(normal + 1e-12 * np.eye(3), np.einsum("nij,ni->j", weighted, x[:, :2]))
    return Perspective(velocity, parallax)
