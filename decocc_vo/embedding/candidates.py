"""Where a cluster may be: peaks of the density of motions, parallaxes and positions, ranked by a matched filter."""

import numpy as np

from .._groups import kmeans
from ..columns import AU_YR
from .features import arcsinh_features
from .matched_filter import MatchedFilter, distinct
from .thinning import thin

__all__ = ["FIRST", "find_peaks"]

_NEIGHBOURS = (8, 16, 32)
_SKY_WEIGHTS = (0.0, 1.5, 6.0)  # units of the embedding a footprint radius counts for, when peaks are looked for
_PEAKS = 30  # kept of each number of neighbours
_FIELD_GAUSSIANS, _FIELD_STARS, _FIELD_VARIANCE = 8, 6_000, 0.04  # of the field's density; units of the embedding
_GROUPS = 12, 30  # K-Means, where it is asked for
_SMALLEST_GROUPS = 8, 20, 50  # HDBSCAN
_NEARBY, _PRECISE = 2.0, 5.0  # mas, and sigma: stars whose space motion says more than their proper motion


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
    embedding : `~decocc_vo.embedding.embedded.Embedding`
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
    peaks : list of `~decocc_vo.embedding.matched_filter.Peak`
        Distinct ones, best first.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.embedding.candidates import find_peaks
    >>> from decocc_vo.embedding.embedded import Embedding
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
    z = embedding.forward(obs.x)  # where stars were measured, whatever their errors: see `MatchedFilter`
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
            matched = MatchedFilter(embedding, rows, sky, log_field, seed)
            peaks += matched.peaks(np.unique(np.stack(trials).round(9), axis=0), obs.footprint, total)
    return distinct(peaks, obs.footprint, np.sqrt(np.median(np.einsum("nii->ni", obs.cov), axis=0)), most)


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
