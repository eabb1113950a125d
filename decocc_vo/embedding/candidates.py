"""Where a cluster may be: peaks of the density of motions, parallaxes and positions, ranked by a matched filter."""

from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from .._groups import kmeans
from ..columns import AU_YR
from .features import arcsinh_features

__all__ = ["FIRST", "Peak", "find_peaks", "intrinsic_dispersion", "thin", "thin_apart"]

_NEIGHBOURS = (8, 16, 32)
_SKY_WEIGHTS = (0.0, 1.5, 6.0)  # units of the embedding a footprint radius counts for, when peaks are looked for
_PEAKS = 30  # kept of each number of neighbours
_RADII = (0.04, 0.1, 0.25, 0.6)  # Plummer radii tried, in footprint radii
_COUNTS = (6, 15, 40, 100, 250, 600, 1500, 4000)  # members tried
_NEAR2 = 25.0  # squared distance from which on a star cannot be a member
_FIELD_GAUSSIANS, _FIELD_STARS, _FIELD_VARIANCE = 8, 6_000, 0.04  # of the field's density; units of the embedding
_GROUPS = 12, 30  # K-Means, where it is asked for
_SMALLEST_GROUPS = 8, 20, 50  # HDBSCAN
_NEARBY, _PRECISE = 2.0, 5.0  # mas, and sigma: stars whose space motion says more than their proper motion
_RECENTRED = 16  # of the best distinct trials are looked at again from where they lead
_APART = 0.25  # footprint radii: peaks of one motion that are further from each other are two
_ROUNDS = 3


@dataclass(frozen=True)
class Peak:
    """
    One place where a cluster may be.

    ``x`` (3,): pmra, pmdec, parallax; ``xy`` (2,): its centre on the sky [arcmin]; ``count``: members; ``gain``: log
    evidence of a cluster there over the field alone; ``concentration``: the part of it that the positions give.
    """

    x: np.ndarray
    xy: np.ndarray
    count: float
    gain: float
    concentration: float


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
    >>> from decocc_vo.embedding.candidates import intrinsic_dispersion
    >>> intrinsic_dispersion(10.0).round(2)
    array([2.11, 2.11, 0.1 ])
    """
    parallax = np.maximum(parallax, 0.05)
    motion = np.hypot(parallax / AU_YR, 0.05)
    return np.stack([motion, motion, np.hypot(0.01 * parallax, 0.02)], axis=-1)


def thin(n, keep, seed):
    """
    Draw some rows of many without replacement.

    Parameters
    ----------
    n : int
        How many rows there are.
    keep : int
        How many to keep at most.
    seed : int
        Of the draws.

    Returns
    -------
    rows : `~numpy.ndarray` of int
        Sorted indices.

    Examples
    --------
    >>> from decocc_vo.embedding.candidates import thin
    >>> len(thin(100, 10, seed=0)), thin(4, 10, seed=0)
    (10, array([0, 1, 2, 3]))
    """
    if n <= keep:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:keep])


def thin_apart(parts, keeps, seed):
    """
    Thin parts of a table each to its own number of rows.

    Parameters
    ----------
    parts : sequence of `~numpy.ndarray`
        Rows of each part, disjoint.
    keeps : sequence of int
        How many of each to keep at most.
    seed : int
        Of the draws.

    Returns
    -------
    rows, weight : `~numpy.ndarray`
        The rows kept, sorted, and how many rows each stands for.

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.embedding.candidates import thin_apart
    >>> rows, weight = thin_apart((np.array([0, 5]), np.array([1, 2, 3, 4])), (2, 1), seed=0)
    >>> len(rows), weight.sum(), weight[rows == 5]
    (3, np.float64(6.0), array([1.]))
    """
    kept = [part[thin(len(part), keep, seed)] for part, keep in zip(parts, keeps, strict=True)]
    weight = [np.full(len(few), len(part) / max(len(few), 1)) for part, few in zip(parts, kept, strict=True)]
    rows, weight = np.concatenate(kept), np.concatenate(weight)
    order = np.argsort(rows)
    return rows[order], weight[order]


def _peaks_of(points, _seed):
    """
    Neighbours of the points denser than all their k nearest neighbours, for each k.

    Of each k the best are kept, by the Poisson log likelihood ratio of the ball of k neighbours in that of 4k.
    """
    from scipy.spatial import cKDTree

    n, dim = points.shape
    most = min(4 * _NEIGHBOURS[-1], n - 1)
    distance, neighbour = cKDTree(points, leafsize=40).query(points, most + 1, workers=-1)
    # The first is the point itself, or another one at its place.
    distance, neighbour = distance[:, 1:] + 1e-9, neighbour[:, 1:]
    row = np.arange(n)[:, None]
    for k in _NEIGHBOURS:
        if k >= most:
            break
        radius, around = distance[:, k - 1], neighbour[:, :k]
        # Of equals, the row that comes first in the canonical order is the peak.
        denser = (radius[:, None] < radius[around]) | ((radius[:, None] == radius[around]) & (row <= around))
        peak = np.flatnonzero(denser.all(axis=1))
        wide = min(4 * k, most)
        ratio = (distance[peak, wide - 1] / radius[peak]) ** dim
        expected = (wide - k) / np.maximum(ratio - 1, 1e-6)
        excess = k * np.log(k / expected) - (k - expected)
        yield from around[peak[np.argsort(-np.where(expected < k, excess, 0), kind="stable")[:_PEAKS]]]


def _groups_of(labels):
    """Rows of each group; of none, labelled -1, there is none."""
    return [np.flatnonzero(labels == number) for number in range(labels.max(initial=-1) + 1)]


def _kmeans_of(points, seed):
    """Groups of K-Means."""
    for k in _GROUPS:
        if k < len(points):
            yield from _groups_of(kmeans(points, k, seed=seed, n_init=2)[0])


def _hdbscan_of(points, _seed):
    """Groups of HDBSCAN."""
    from sklearn.cluster import HDBSCAN

    for smallest in _SMALLEST_GROUPS:
        if smallest < len(points):
            yield from _groups_of(HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(points))


_FIRST = {"density": _peaks_of, "hdbscan": _hdbscan_of, "kmeans": _kmeans_of}
FIRST = tuple(_FIRST)
"""Names of the first clusterings."""


def find_peaks(obs, embedding, seed=0, most=8, search=12_000, first="density"):
    """
    Find the places where a cluster may be.

    Stars denser than all their nearest neighbours are peaks, at several numbers of neighbours: in the embedding alone,
    and together with the position on the sky, which counts a little or much. Nearby stars, whose proper motions differ
    widely where they move together, are searched once more by themselves, in tangential velocity and distance. At each
    peak a filter is matched to the stars: a cluster of the dispersion clusters have, widened by each star's own errors,
    with a Plummer profile, against the field's own density of motions. It is moved to where its members are, and the
    best by evidence are kept.

    Parameters
    ----------
    obs : `~decocc_vo.embedding.features.Observables`
        The stars.
    embedding : `~decocc_vo.embedding.detection.Embedding`
        The same, embedded.
    seed : int
        For the thinning of tables of more than ``search`` stars.
    most : int
        How many to return.
    search : int
        How many stars to search at most; of a larger table so many random ones, and then so many of those measured
        best, among which a sparse cluster stands out.
    first : {"density", "hdbscan", "kmeans"}
        The first clustering, which gives the places to try: peaks of the density as above, or the medians of the groups
        of HDBSCAN or K-Means in the same spaces.

    Returns
    -------
    peaks : list of Peak
        Distinct ones, best first.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.embedding.candidates import find_peaks
    >>> from decocc_vo.embedding.detection import Embedding
    >>> from decocc_vo.embedding.features import observables
    >>> from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field
    >>> region = ClusterRegion.from_text("120 -30", "20arcmin")
    >>> stars = inject_cluster(simulate_field(region, 500), region, SimulatedCluster(80, -3.0, 2.0, 1.1, 4.0))
    >>> obs = observables(stars, region)
    >>> embedding = Embedding.of(obs.x, obs.cov, obs.xy / obs.footprint, obs.footprint)
    >>> find_peaks(obs, embedding)[0].x.round()
    array([-3.,  2.,  1.])
    """
    n = len(obs)
    samples = [thin(n, search, seed)]
    if n > search:
        samples.append(np.sort(np.argsort(obs.cov[:, 2, 2], kind="stable")[:search]))
    z = embedding.forward(obs.x)  # where stars were measured, whatever their errors: see `_Filter`
    log_density = _field_density(z, seed)
    samples = [(rows, z[rows], log_density(z[rows]), n) for rows in samples]
    nearby = np.flatnonzero(obs.x[:, 2] > np.maximum(_NEARBY, _PRECISE * np.sqrt(obs.cov[:, 2, 2])))
    if len(nearby) > _NEIGHBOURS[0]:
        rows = nearby[thin(len(nearby), search, seed)]
        log_field = log_density(z[rows]) - np.log(len(nearby) / n)
        samples.append((rows, _velocities(obs.x[rows]), log_field, len(nearby)))
    peaks = []
    for rows, motions, log_field, total in samples:
        sky = obs.xy[rows] / obs.footprint
        both, trials = np.hstack([z[rows], sky]), []
        for weight in _SKY_WEIGHTS:
            points = np.hstack([motions, weight * sky]) if weight else motions
            trials += [np.median(both[around], axis=0) for around in _FIRST[first](points, seed)]
        if trials:
            matched = _Filter(embedding, rows, sky, log_field, seed)
            peaks += matched.peaks(np.unique(np.stack(trials).round(9), axis=0), obs.footprint, total)
    return _distinct(peaks, obs.footprint, np.sqrt(np.median(np.einsum("nii->ni", obs.cov), axis=0)), most)


def _velocities(x):
    """Tangential velocity and log distance, scaled as the embedding is: a cluster is as wide at any distance."""
    velocity = np.column_stack([AU_YR * x[:, :2] / x[:, 2:], np.log(x[:, 2])])
    return arcsinh_features(velocity, np.zeros((len(x), 3, 3)))[0]


def _field_density(z, seed):
    """Log density of stars as a function of their place in the embedding: a few Gaussians too wide for a cluster."""
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    sample = z[thin(len(z), _FIELD_STARS, seed)]
    k = min(_FIELD_GAUSSIANS, max(1, len(np.unique(sample, axis=0)) // 20))
    smooth = GaussianMixture(k, reg_covar=_FIELD_VARIANCE, max_iter=30, tol=1e-2, random_state=seed)
    with threadpool_limits(limits=1):  # it starts from K-Means: see `kmeans`
        return smooth.fit(sample).score_samples


class _Match(NamedTuple):
    """
    What the filter finds at a place.

    Evidence in nats, the part of it that comes from the concentration on the sky, the number of members, and which rows
    may be members, with their probability.
    """

    gain: float
    concentration: float
    count: float
    near: np.ndarray
    share: np.ndarray


class _Filter:
    """
    The matched filter over one sample of the stars.

    A place is an array of five: the embedding's three coordinates, and the position in footprint radii. Stars are where
    they were measured: the field's density is that of stars of all errors, and those of wide ones drawn to the middle
    would make bumps there that it does not have.
    """

    def __init__(self, embedding, rows, sky, log_field, seed):
        self.embedding, self.sky, self.log_field, self.seed = embedding, sky, log_field, seed
        x, variance = embedding.x[rows], np.einsum("nii->ni", embedding.cov[rows])
        self.z, self.variance = embedding.forward(x), variance * embedding.slope(x) ** 2
        self.error = np.sqrt(np.median(variance, axis=0))
        n = len(rows)
        self.fractions = np.array([count / n for count in _COUNTS if count <= 0.6 * n] or [0.5])

    def match(self, place):
        """
        The `_Match` at a place; None where there are no stars.

        The log evidence of a cluster that has the fraction f of the stars is the sum of ln(1 + f (C P / F - 1)), with
        the densities C of the cluster's and F of the field's motions at each star, and the profile P over the
        footprint; the best of some f and of some radii, a flat profile among them, counts.
        """
        z0, centre = place[:3], place[3:]
        x = self.embedding.inverse(z0)
        scatter = (self.embedding.slope(x) * intrinsic_dispersion(x[2])) ** 2
        width2 = self.variance + scatter
        distance2 = np.sum((self.z - z0) ** 2 / width2, axis=1)
        near = np.flatnonzero(distance2 < _NEAR2)
        if len(near) < 5:
            return None
        log_cluster = -0.5 * (distance2[near] + np.sum(np.log(2 * np.pi * width2[near]), axis=1))
        ratio = np.exp(np.clip(log_cluster - self.log_field[near], -30, 30))
        far = np.flatnonzero(distance2 >= _NEAR2)
        far = far[thin(len(far), 1024, self.seed)] if len(far) > 20 else np.arange(len(self.z))
        r2, far2 = (np.sum((self.sky[part] - centre) ** 2, axis=1) for part in (near, far))
        a2 = np.square(_RADII)[:, None]
        profile = (1 + r2 / a2) ** -2 / np.maximum(np.mean((1 + far2 / a2) ** -2, axis=1, keepdims=True), 1e-6)
        profile = np.vstack([np.ones(len(near)), profile])
        others = (len(self.z) - len(near)) * np.log1p(-self.fractions)
        excess = ratio * profile - 1
        gains = np.stack([np.log1p(f * excess).sum(axis=1) for f in self.fractions], axis=1) + others
        radius, fraction = np.unravel_index(np.argmax(gains), gains.shape)
        gain = max(float(gains[radius, fraction]), 0.0)
        odds = self.fractions[fraction] * ratio
        share = odds * profile[radius] / (odds * profile[radius] + 1 - self.fractions[fraction])
        kinematic = odds / (odds + 1 - self.fractions[fraction])
        concentration = float(np.log1p(kinematic * (profile[radius] - 1)).sum())
        return _Match(gain, concentration, float(share.sum()), near, share)

    def members_place(self, match):
        """The place of the stars that the filter takes for members."""
        near, share = match.near, match.share
        weight = share[:, None] / (self.variance[near] + 1e-6)
        z0 = np.sum(weight * self.z[near], axis=0) / np.sum(weight, axis=0)
        return np.append(z0, np.sum(share[:, None] * self.sky[near], axis=0) / share.sum())

    def peaks(self, trials, footprint, n):
        """
        The trials that lead to something, from where they lead; counts are of the ``n`` stars the sample stands for.

        Those of much evidence and of much concentration take turns: where the field's density is not described well,
        all its bumps have much evidence.
        """
        first = [
            (match.gain, match.concentration, tuple(place))
            for place in trials
            if (match := self.match(place)) is not None
        ]
        by_gain, by_concentration = (sorted(first, key=lambda t: (t[i], t), reverse=True) for i in (0, 1))
        peaks, tried = [], []
        for _, _, place in chain.from_iterable(zip(by_gain, by_concentration, strict=True)):
            here = self._physical(np.array(place))
            if any(_same_place(here, other, self.error) for other in tried):
                continue
            tried.append(here)
            place, match = self._climb(np.array(place))
            if match is not None:
                x, centre = self._physical(place)
                count = max(match.count, 3.0) * n / len(self.z)
                peaks.append(Peak(x, centre * footprint, count, match.gain, match.concentration))
                tried.append((x, centre))
            if len(peaks) == _RECENTRED:
                break
        return peaks

    def _physical(self, place):
        """Motions and parallax of a place, and its position."""
        return self.embedding.inverse(place[:3]), place[3:]

    def _climb(self, place):
        """From a place to that of its members, some times: the best on the way, with its match, None where none is."""
        best = place, None
        for _ in range(_ROUNDS):
            match = self.match(place)
            if match is None or match.count < 1:
                break
            if best[1] is None or match.gain > best[1].gain:
                best = place, match
            place = self.members_place(match)
        return best


def _same_place(one, other, error):
    """Whether two places, each motions and parallax and a position in footprint radii, are of one cluster."""
    width = 3 * np.hypot(0.5 * error, intrinsic_dispersion(one[0][2]))
    return np.max(np.abs(one[0] - other[0]) / width) < 1 and np.hypot(*(one[1] - other[1])) < _APART


def _distinct(peaks, footprint, error, most):
    """The best by evidence and by concentration, in turn, each away from the others in motion or position."""
    kept = []
    rankings = [sorted(peaks, key=key, reverse=True) for key in (lambda p: p.gain, lambda p: p.concentration)]

    def is_new(peak):
        return not any(
            _same_place((peak.x, peak.xy / footprint), (other.x, other.xy / footprint), error) for other in kept
        )

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
