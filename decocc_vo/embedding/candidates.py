"""Where a cluster may be: peaks of the density of motions and parallaxes, ranked by contrast and concentration."""

from dataclasses import dataclass

import numpy as np

from .perspective import AU_YR

__all__ = ["Peak", "find_peaks", "intrinsic_dispersion", "thin"]

_NEIGHBOURS = (8, 16, 32)
_INNER, _OUTER = 2.5, 5.0  # sigma: a group's core, and the shell around it that stands for the field
_SHELL_VOLUME = (_OUTER / _INNER) ** 3 - 1
_RADII = (0.05, 0.12, 0.25, 0.5)  # Plummer radii tried, in footprint radii
_PEAKS = 30  # kept of each number of neighbours


@dataclass(frozen=True)
class Peak:
    """
    One place where a cluster may be.

    ``x`` (3,): pmra, pmdec, parallax; ``xy`` (2,): sky offset of its stars' median [arcmin]; ``count``: stars above the
    field's expectation; ``contrast``: Poisson log likelihood ratio of the core against its shell; ``concentration``:
    log likelihood ratio of the core's positions against the field's.
    """

    x: np.ndarray
    xy: np.ndarray
    count: float
    contrast: float
    concentration: float

    @property
    def score(self):
        """Evidence from motions and positions together."""
        return self.contrast + self.concentration


def intrinsic_dispersion(parallax):
    """
    Expected intrinsic dispersion of a cluster at a parallax: shape (3,) for pmra, pmdec [mas/yr], parallax [mas].

    1 km/s and 0.05 mas/yr in motion; 1 % depth and 0.02 mas in parallax.

    Examples
    --------
    >>> from decocc_vo.embedding.candidates import intrinsic_dispersion
    >>> intrinsic_dispersion(10.0).round(2)
    array([2.11, 2.11, 0.1 ])
    """
    parallax = np.maximum(parallax, 0.05)
    motion = np.hypot(parallax / AU_YR, 0.05)
    return np.stack([motion, motion, np.hypot(0.01 * parallax, 0.02)], axis=-1)


def thin(n, keep, seed):
    """
    Sorted indices of ``keep`` of ``n`` rows, drawn without replacement; all of them if there are no more.

    Examples
    --------
    >>> from decocc_vo.embedding.candidates import thin
    >>> len(thin(100, 10, seed=0)), thin(4, 10, seed=0)
    (10, array([0, 1, 2, 3]))
    """
    if n <= keep:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:keep])


def _peaks_of(points):
    """
    Neighbours (m, k), for each k, of the points denser than all their k nearest neighbours.

    Of each k the best are kept, by the Poisson log likelihood ratio of the ball of k neighbours in that of 4k.
    """
    from sklearn.neighbors import NearestNeighbors

    n, dim = points.shape
    most = min(4 * _NEIGHBOURS[-1], n - 1)
    distance, neighbour = NearestNeighbors(n_neighbors=most).fit(points).kneighbors()
    distance += 1e-9
    row = np.arange(n)[:, None]
    for k in _NEIGHBOURS:
        if k >= most:
            break
        radius, around = distance[:, k - 1], neighbour[:, :k]
        # Of equals, the row that comes first in the canonical order is the peak.
        denser = (radius[:, None] < radius[around]) | ((radius[:, None] == radius[around]) & (row < around))
        peak = np.flatnonzero(denser.all(axis=1))
        wide = min(4 * k, most)
        ratio = (distance[peak, wide - 1] / radius[peak]) ** dim
        expected = (wide - k) / np.maximum(ratio - 1, 1e-6)
        excess = k * np.log(k / expected) - (k - expected)
        yield around[peak[np.argsort(-np.where(expected < k, excess, 0), kind="stable")[:_PEAKS]]]


def _concentration(obs, centre, core, excluded):
    """Log likelihood ratio of a Plummer profile against the field's own distribution for the core's positions."""
    a2 = (np.array(_RADII) * obs.footprint)[:, None] ** 2
    r2, field2 = (np.sum((obs.xy[rows] - centre) ** 2, axis=1) for rows in (core, excluded))
    norm = np.maximum(np.mean((1 + field2 / a2) ** -2, axis=1, keepdims=True), 1e-6)
    excess = (1 + r2 / a2) ** -2 / norm - 1
    return max(0.0, *(float(np.log1p(share * excess).sum(axis=1).max()) for share in (0.3, 0.6, 0.95)))


def find_peaks(obs, z, seed=0, most=6, search=12_000):
    """
    Find the places where a cluster may be.

    Stars denser than all their nearest neighbours are peaks, at several numbers of neighbours, in the embedding alone
    and together with the position on the sky. Each peak's core is compared with the shell around it, both widened by
    the stars' own errors, and its stars' positions with those of the field.

    Parameters
    ----------
    obs : `~decocc_vo.embedding.features.Observables`
        The stars.
    z : `~numpy.ndarray`, shape (n, 3)
        Their embedding.
    seed : int
        For the thinning of tables of more than ``search`` stars.
    most : int
        How many to return.
    search : int
        How many stars to search at most; of a larger table so many random ones, and then so many of the brightest,
        whose small errors make a sparse cluster stand out.

    Returns
    -------
    peaks : list of Peak
        Distinct ones, best first.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.embedding.candidates import find_peaks
    >>> from decocc_vo.embedding.features import arcsinh_features, observables
    >>> from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field
    >>> region = ClusterRegion.from_text("120 -30", "20arcmin")
    >>> stars = inject_cluster(simulate_field(region, 500), region, SimulatedCluster(80, -3.0, 2.0, 1.1, 4.0))
    >>> obs = observables(stars, region)
    >>> find_peaks(obs, arcsinh_features(obs.x, obs.cov)[0])[0].x.round()
    array([-3.,  2.,  1.])
    """
    n = len(obs)
    samples = [thin(n, search, seed)]
    if n > search and np.isfinite(obs.mag).sum() > search // 2:
        samples.append(np.sort(np.argsort(obs.mag, kind="stable")[:search]))
    error = np.sqrt(np.median(np.einsum("nii->ni", obs.cov), axis=0))
    peaks = []
    for rows in samples:
        part = obs.take(rows)
        centres = []
        for points in (z[rows], np.hstack([z[rows], 1.5 * part.xy / obs.footprint])):
            centres += [np.median(part.x[around], axis=1) for around in _peaks_of(points)]
        if centres:
            peaks += _measure(part, _merge(np.concatenate(centres), error), seed)
    return _distinct(peaks, error, most)


def _merge(centres, error):
    """One of the centres of each cell half as wide as a cluster there would be."""
    cell = 0.5 * np.hypot(intrinsic_dispersion(centres[:, 2]), 0.3 * error)
    _, first = np.unique(np.round(centres / cell).astype(np.int64), axis=0, return_index=True)
    return centres[np.sort(first)]


def _measure(obs, centres, seed):
    """Recentre each trial centre on its core's median once, and measure what stands out there."""
    variance = np.einsum("nii->ni", obs.cov)
    peaks = []
    for centre in centres:
        for last in (False, True):
            s2 = intrinsic_dispersion(centre[2]) ** 2
            distance2 = np.sum((obs.x - centre) ** 2 / (variance + s2), axis=1)
            core = distance2 < _INNER**2
            inner = int(core.sum())
            if inner < 5:
                break
            if not last:
                centre = np.median(obs.x[core], axis=0)
        else:
            expected = np.sum((distance2 >= _INNER**2) & (distance2 < _OUTER**2)) / _SHELL_VOLUME + 1.0
            contrast = max(inner * np.log(inner / expected) - (inner - expected), 0.0) if inner > expected else 0.0
            excluded = np.flatnonzero(distance2 >= _OUTER**2)
            excluded = excluded[thin(len(excluded), 1024, seed)]
            xy = np.median(obs.xy[core], axis=0)
            concentration = _concentration(obs, xy, core, excluded) if len(excluded) > 20 else 0.0
            peaks.append(Peak(centre, xy, max(inner - expected, 3.0), contrast, concentration))
    return peaks


def _distinct(peaks, error, most):
    """The best by concentration, by contrast and by both, in turn, each further than 3 sigma from the others."""
    kept = []
    rankings = [
        sorted(peaks, key=key, reverse=True)
        for key in (lambda p: p.score, lambda p: p.concentration, lambda p: p.contrast)
    ]

    def is_new(peak):
        width = 3 * np.hypot(error, intrinsic_dispersion(peak.x[2]))
        return all(np.max(np.abs(peak.x - other.x) / width) > 1 for other in kept)

    while len(kept) < most and any(rankings):
        for ranking in rankings:
            while ranking:
                peak = ranking.pop(0)
                if is_new(peak):
                    kept.append(peak)
                    break
            if len(kept) >= most:
                break
    return kept
