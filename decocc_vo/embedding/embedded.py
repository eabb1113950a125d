"""Stars in the arcsinh embedding, where the field's Gaussians start in it, and how wide a cluster is."""

from dataclasses import dataclass, replace

import numpy as np

from .._groups import kmeans
from ..columns import AU_YR
from .features import arcsinh_features
from .mixture import GRADES
from .thinning import thin

__all__ = ["Embedding", "intrinsic_dispersion"]

_COMPONENTS = 8  # Gaussians of the field
_GROUPED = 8_000  # stars at most that are grouped by K-Means
_STARTS = 20_000  # stars in all starts of K-Means together: a small table needs many for the best of them not to vary
_OF_A_GRADE = 60  # stars at least: in a small table a field that depends on the errors takes the outer members
_AWAY = 4.0  # sigma: stars that the field may start from are this far from the candidate
# Sigma: where motions end nearer to their middle a table was cut. Those of 62 fields reach 16 and more; of few stars
# the last is not as far out: of 20 times so many of each field's, of 30 to 300, one in a hundred ends nearer.
_REACH, _REACH_OF_30 = 7.0, 3.0


def intrinsic_dispersion(parallax):
    """
    Expected intrinsic dispersion of a cluster: 1 km/s and 0.05 mas/yr in motion, 1 % depth and 0.02 mas in parallax.

    Parameters
    ----------
    parallax : float or `~numpy.ndarray`
        Of the cluster [mas].

    Returns
    -------
    dispersion : `~numpy.ndarray`, shape (..., 3)
        Of pmra, pmdec [mas/yr] and parallax [mas].

    Examples
    --------
    >>> from decocc_vo.embedding.embedded import intrinsic_dispersion
    >>> intrinsic_dispersion(10.0).round(2)
    array([2.11, 2.11, 0.1 ])
    """
    parallax = np.maximum(parallax, 0.05)
    motion = np.hypot(parallax / AU_YR, 0.05)
    return np.stack([motion, motion, np.hypot(0.01 * parallax, 0.02)], axis=-1)


@dataclass(frozen=True)
class Embedding:
    """
    Stars in the arcsinh embedding, on the host; see `~decocc_vo.embedding.features.arcsinh_features`.

    ``x`` and ``cov`` are what was embedded; ``groups`` are rows that stand for all, and which of the groups of K-Means
    each of them is in: from these the field's Gaussians start. ``grade`` is that of each star's measurement.
    """

    x: np.ndarray
    cov: np.ndarray
    z: np.ndarray
    z_cov: np.ndarray
    about: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    sky: np.ndarray
    groups: tuple[np.ndarray, np.ndarray]
    footprint: float
    grade: np.ndarray

    @classmethod
    def of(cls, x, cov, sky, footprint, seed=0):
        """Embed stars, and group them."""
        z, z_cov, about, centre, scale = arcsinh_features(x, cov)
        return cls(x, cov, z, z_cov, about, centre, scale, sky, _group(z, seed), footprint, _grades(cov))

    def regrouped(self, seed):
        """The same with groups of another seed, so that the field starts elsewhere."""
        return replace(self, groups=_group(self.z, seed))

    @property
    def cut(self):
        """Whether the motions end near their middle: those of all stars of a field have long tails."""
        sigma = np.sqrt(self.scale**2 + np.einsum("nii->ni", self.cov))
        reach = min(_REACH, _REACH_OF_30 * (len(self.x) / 30) ** 0.55)
        return bool(np.max(np.abs((self.x - self.centre) / sigma)[:, :2]) < reach)

    def slope(self, place):
        """Derivative of the embedding at a place, shape (3,)."""
        return 1 / np.sqrt(1 + ((place - self.centre) / self.scale) ** 2) / self.scale

    def forward(self, place):
        """Embed a place."""
        return np.arcsinh((place - self.centre) / self.scale)

    def inverse(self, place):
        """Back from the embedding."""
        return self.centre + self.scale * np.sinh(place)

    def as_of(self, rows, place, dispersion):
        """Whether stars may be of a cluster at a place by their motions and parallaxes, four sigma wide."""
        width2 = np.einsum("nii->ni", self.z_cov[rows]) + (self.slope(place) * dispersion) ** 2
        return np.sum((self.z[rows] - self.forward(place)) ** 2 / width2, axis=1) <= _AWAY**2

    def field(self, place, dispersion):
        """
        Means, covariances and weights, of each grade, of the field's Gaussians to start from, for a cluster at a place.

        Those of the groups of K-Means, without the stars that may be of the cluster: a rich one is a group, or
        several, and a Gaussian that starts on it may not leave.
        """
        rows, group = self.groups
        away = ~self.as_of(rows, place, dispersion)
        z = self.z[rows][away]
        centre = np.mean(z if len(z) else self.z, axis=0)
        means, covs = np.tile(centre, (_COMPONENTS, 1)), np.tile(np.eye(3), (_COMPONENTS, 1, 1))
        counts = np.bincount(group[away], minlength=_COMPONENTS)
        for number in np.flatnonzero(counts):
            part = z[group[away] == number]
            means[number] = part.mean(0)
            if len(part) > 5:
                covs[number] = np.cov(part.T) + 1e-3 * np.eye(3)
        weights = np.maximum(counts / max(len(z), 1), 1e-3)
        return means, covs, np.tile(weights / weights.sum(), (GRADES, 1))


def _grades(cov):
    """Grade of each measurement by its errors: equal parts of all stars, where they differ and are many."""
    # The determinant does not depend on the axes, which turn over a field, nor on a perspective that is taken out; what
    # is left of that in the last digits would make grades of places on the sky where all errors are the same.
    error, grades = np.linalg.slogdet(cov)[1].round(6), int(np.clip(len(cov) // _OF_A_GRADE, 1, GRADES))
    edges = np.unique(np.quantile(error, np.arange(1, grades) / grades))
    return np.searchsorted(edges, error).astype(np.int32)


def _group(z, seed):
    """Rows that stand for all, and their groups by K-Means."""
    rows = thin(len(z), _GROUPED, seed)
    k = min(_COMPONENTS, len(np.unique(z[rows], axis=0)))
    starts = int(np.clip(_STARTS // max(len(rows), 1), 2, 200))
    return rows, kmeans(z[rows], k, seed=seed, n_init=starts)[0]
