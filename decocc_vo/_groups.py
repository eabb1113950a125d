"""
Groups of stars in plain NumPy and scikit-learn: what the published recipe and the classic methods share.

From features to groups (`thesis_features`, `kmeans`, `silhouettes`), and from groups to the one that is the cluster
(`pick_group`).
"""

from typing import NamedTuple

import numpy as np

from ._quietly import quietly
from .columns import stray
from .exceptions import InputError

__all__ = ["group_candidates", "kmeans", "min_max", "pick_group", "silhouettes", "thesis_features"]

N_CLUSTERS = range(3, 11)
"""The numbers of groups the published recipe tries."""

_SILHOUETTE_STARS = 4000  # the silhouette needs all pairs of stars; above this many, evenly spaced rows stand for all


def thesis_features(pmra, pmdec, parallax):
    """
    The features of the published recipe: proper motions over parallax, their modulus, and the parallax.

    Parameters
    ----------
    pmra, pmdec : array-like
        Proper motion in mas/yr, shape (n,).
    parallax : array-like
        Parallax in mas, shape (n,).

    Returns
    -------
    features : `~numpy.ndarray`
        ``[pmra_corr, pmdec_corr, pmmod, parallax]`` of the usable stars, float64, shape (m, 4), where
        ``pmra_corr = 1000 pmra / parallax`` and ``pmmod = hypot(pmra_corr, pmdec_corr)``.
    usable : `~numpy.ndarray`
        Boolean, shape (n,): a star with a missing value or a parallax of zero has no such features.

    Examples
    --------
    >>> from decocc_vo._groups import thesis_features
    >>> features, usable = thesis_features([3.0, 1.0], [4.0, 1.0], [1.0, 0.0])
    >>> features
    array([[3000., 4000., 5000.,    1.]])
    >>> usable
    array([ True, False])
    """
    pmra, pmdec, parallax = (np.asarray(values, dtype=float) for values in (pmra, pmdec, parallax))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ra, dec = 1000.0 * pmra / parallax, 1000.0 * pmdec / parallax
        features = np.stack([ra, dec, np.hypot(ra, dec), parallax], axis=1)
    usable = np.all(np.isfinite(features), axis=1)
    return features[usable], usable


def min_max(features):
    """Scale each column of an array of shape (n, features) to [0, 1]; a constant column becomes 0."""
    low = features.min(axis=0)
    span = features.max(axis=0) - low
    return (features - low) / np.where(span > 0, span, 1.0)


def kmeans(x, n_clusters, *, seed, n_init=20):
    """
    K-Means of `scikit-learn`, on one thread.

    Sums are taken in one order then, whatever the number of cores, so the result is repeatable. And threads of OpenMP
    wait for each other busily: beside other work on the same cores, small tables took a hundred times as long.

    Returns
    -------
    labels : `~numpy.ndarray`
        Group of each row, shape (n,).
    centers : `~numpy.ndarray`
        Centres, shape (n_clusters, features).
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if n_clusters > len(x):
        msg = f"'n_clusters' must be at most the number of usable stars ({len(x)}), not {n_clusters}"
        raise InputError(msg)
    # Fewer distinct points than groups: the caller sees it in the labels, and says that they collapsed.
    with threadpool_limits(limits=1), quietly(ConvergenceWarning):
        fit = KMeans(n_clusters, n_init=n_init, random_state=seed).fit(x)
    return fit.labels_, fit.cluster_centers_


def silhouettes(x, *, seed, n_clusters=N_CLUSTERS):
    """
    Mean silhouette of K-Means for each number of groups (Rousseeuw 1987, J. Comput. Appl. Math. 20, 53).

    Above 4000 rows, K-Means and silhouette take 4000 of them, evenly spaced in the order given: no chance is
    involved, and the caller's canonical order makes the choice independent of the order of the user's rows.

    Returns
    -------
    scores : dict of int to float
        Silhouette by number of groups; the best one is ``max(scores, key=scores.get)``.
    """
    from sklearn.metrics import silhouette_score
    from threadpoolctl import threadpool_limits

    if len(x) > _SILHOUETTE_STARS:
        x = x[np.linspace(0, len(x) - 1, _SILHOUETTE_STARS).astype(int)]
    scores = {}
    for k in n_clusters:
        if k < len(x):
            labels, _ = kmeans(x, k, seed=seed, n_init=10)
            with threadpool_limits(limits=1):
                scores[k] = float(silhouette_score(x, labels)) if len(np.unique(labels)) > 1 else -1.0
    if not scores:
        msg = f"'table' has {len(x)} usable stars, too few for {min(n_clusters)} groups; take a larger region"
        raise InputError(msg)
    return scores


# Grid of the profile fit: Plummer radius in units of the region's radius, and fraction of the group that follows it.
_SCALES = (0.06, 0.1, 0.15, 0.22, 0.32, 0.45, 0.6)
_FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95)
_FOOTPRINT_STARS = 300  # what the footprint's area counts for, in stars, beside the stars outside the group
_SMALLEST_GROUP = 5
_CORE_RADII = (0.04, 0.07, 0.12)  # in interquartile ranges of the table
EVIDENCE = 20.0
"""
Evidence in nats from which a group is taken for a cluster. Of 197 fields without one K-Means and DBSCAN reach 15 in two
each (17.8 is the most), and HDBSCAN in four, 20 in two.
"""
_MOST = 0.5  # share of the stars above which a group is the field, or holds most of it
_CLOSEST = 3  # groups that are told where none holds


def footprint_grid(xi, eta, side=48):
    """
    Points evenly spaced over the convex hull of the stars, but for stray ones: what an even field would look like.

    Returns
    -------
    xi, eta : `~numpy.ndarray`
        Offsets of the grid points, about ``side**2`` or fewer.
    """
    from scipy.spatial import ConvexHull, QhullError

    kept = ~stray(np.hypot(xi - np.median(xi), eta - np.median(eta)))
    xi, eta = xi[kept], eta[kept]
    grid = np.stack(
        np.meshgrid(np.linspace(xi.min(), xi.max(), side), np.linspace(eta.min(), eta.max(), side)), axis=-1
    ).reshape(-1, 2)
    try:
        edges = ConvexHull(np.stack([xi, eta], axis=1)).equations
    except (QhullError, ValueError):  # fewer than three stars, or all on a line
        return xi, eta
    inside = grid[np.all(grid @ edges[:, :2].T + edges[:, 2] <= 1e-9, axis=1)]
    return inside[:, 0], inside[:, 1]


def concentration(member, xi, eta, radius, grid=None):
    r"""
    How much likelier the positions of a group are with a concentrated part than spread as the rest of the field.

    The concentrated part is a Plummer profile :math:`P(r) = (1 + r^2 / a^2)^{-2}` of fraction ``w`` about the region's
    centre or the group's own median; it is normalised over the stars outside the group and the footprint, so
    that the footprint's shape and the field's gradients cancel.

    Parameters
    ----------
    member : `~numpy.ndarray`
        Which stars are in the group, boolean, shape (n,).
    xi, eta : `~numpy.ndarray`
        Offsets of all stars from the region's centre on the tangent plane, in arcmin, shape (n,).
    radius : float
        Radius of the region in arcmin.
    grid : tuple of `~numpy.ndarray`, optional
        What `footprint_grid` gives for the stars, where it is known already.

    Returns
    -------
    gain : float
        Largest difference of the log likelihoods over a grid of a, w and the two centres; at least 0.
    """
    outside = ~member
    grid_xi, grid_eta = footprint_grid(xi, eta) if grid is None else grid
    best = 0.0
    for x, y in ((0.0, 0.0), (np.median(xi[member]), np.median(eta[member]))):
        r2 = (xi - x) ** 2 + (eta - y) ** 2
        grid_r2 = (grid_xi - x) ** 2 + (grid_eta - y) ** 2
        for scale in _SCALES:
            a2 = (scale * radius) ** 2
            profile = (1.0 + r2 / a2) ** -2
            even = np.mean((1.0 + grid_r2 / a2) ** -2)
            mean = (profile[outside].sum() + _FOOTPRINT_STARS * even) / (outside.sum() + _FOOTPRINT_STARS)
            excess = profile[member] / mean - 1.0
            best = max(best, *(np.log1p(w * excess).sum() for w in _FRACTIONS))
    return float(best)


def core_contrast(member, motion):
    """
    How much denser the core of a group is in proper motion and parallax than its surroundings, in nats.

    The core is a ball about the densest star of the group; the surroundings are the shell from one to two radii,
    which has seven times the volume. All stars are counted, whatever group they are in.

    Parameters
    ----------
    member : `~numpy.ndarray`
        Which stars are in the group, boolean, shape (n,).
    motion : `~numpy.ndarray`
        pmra, pmdec and parallax of all stars in units of their interquartile ranges, shape (n, 3).

    Returns
    -------
    gain : float
        Largest Poisson log likelihood ratio over the radii 0.04, 0.07 and 0.12 interquartile ranges; at least 0.
    """
    from scipy.spatial import cKDTree

    group = motion[member]
    neighbours = min(10, len(group) - 1)
    distance = cKDTree(group).query(group, neighbours + 1)[0][:, -1]
    r = np.linalg.norm(motion - group[np.argmin(distance)], axis=1)
    best = 0.0
    for radius in _CORE_RADII:
        inside = np.sum(r < radius)
        expected = (np.sum((r >= radius) & (r < 2 * radius)) + 1.0) / 7.0
        if inside > expected:
            best = max(best, inside * np.log(inside / expected) - (inside - expected))
    return float(best)


class GroupPick(NamedTuple):
    """The group that is the cluster (-1: none), the evidence for each group in nats, and the rule in a sentence."""

    group: int
    evidence: dict
    sentence: str


def pick_group(labels, pmra, pmdec, parallax, xi, eta, radius):
    """
    Choose the group that is the cluster, where the published recipe did it by eye.

    A cluster is concentrated on the sky and compact in proper motion and parallax. The evidence for a group is the
    sum of both in nats, `concentration` and `core_contrast`; the group with the most is taken if it has `EVIDENCE`.

    Parameters
    ----------
    labels : array-like
        Group of each star, int, shape (n,); negative for stars in no group.
    pmra, pmdec, parallax : array-like
        Proper motion in mas/yr and parallax in mas, shape (n,).
    xi, eta : array-like
        Offsets from the region's centre on the tangent plane, in arcmin, shape (n,).
    radius : float
        Radius of the region in arcmin.

    Returns
    -------
    pick : GroupPick
        The group, or -1; the evidence for every group of five stars or more; and the rule in a sentence.
    """
    labels = np.asarray(labels)
    if len(labels) and labels.min() == labels.max() >= 0:
        sentence = "All stars are in one group: no cluster was told from a field. Try another method or region."
        return GroupPick(-1, {int(labels[0]): 0.0}, sentence)
    xi, eta = np.asarray(xi, float), np.asarray(eta, float)
    motion = np.stack([np.asarray(values, float) for values in (pmra, pmdec, parallax)], axis=1)
    width = np.subtract(*np.quantile(motion, [0.75, 0.25], axis=0))
    motion = motion / np.where(width > 0, width, 1.0)
    grid = footprint_grid(xi, eta)
    sky, core = {}, {}
    for group in np.unique(labels[labels >= 0]).tolist():
        member = labels == group
        if member.sum() >= _SMALLEST_GROUP:
            sky[group] = concentration(member, xi, eta, radius, grid)
            core[group] = core_contrast(member, motion)
    evidence = {group: sky[group] + core[group] for group in sky}
    best = max(evidence, key=evidence.get, default=-1)
    if best < 0 or evidence[best] < EVIDENCE:
        return GroupPick(
            -1,
            evidence,
            "No group is concentrated on the sky and compact in proper motion and parallax: the largest evidence is "
            f"{evidence.get(best, 0.0):.1f} nats and {EVIDENCE:g} are needed. There may be no cluster here; try a "
            "region about twice the cluster's size, or the default method.",
        )
    share = np.mean(labels == best)
    return GroupPick(
        best,
        evidence,
        f"Group {best} is the cluster: of {len(evidence)} it has the most evidence, {sky[best]:.1f} nats from "
        f"its concentration on the sky and {core[best]:.1f} from its dense core in proper motion and parallax."
        + (f" It holds {100 * share:.1f} % of all stars, and most of the field with it." if share > _MOST else ""),
    )


def group_candidates(labels, strength, evidence):
    """
    The groups that hold as clusters, the one with the most evidence first, or up to three that came closest.

    Beside the first, a group of more than half of the stars is the field, and not listed.

    Parameters
    ----------
    labels : `~numpy.ndarray`
        Group of each star, shape (n,).
    strength : `~numpy.ndarray`
        Membership of each star in its own group, shape (n,).
    evidence : dict of int to float
        Evidence for each group in nats, from `pick_group`.

    Returns
    -------
    candidates : list of tuple
        Membership of each star, evidence, and whether the group holds: what `~decocc_vo.membership.Candidate` takes.
    """
    ranked = sorted(evidence, key=evidence.get, reverse=True)
    # The evidence grows with the number of stars: beside a cluster, what most of them are in is the field.
    ranked = [group for group in ranked if group == ranked[0] or np.mean(labels == group) <= _MOST]
    listed = [group for group in ranked if evidence[group] >= EVIDENCE] or ranked[:_CLOSEST]
    return [
        (np.where(labels == group, strength, 0.0), evidence[group], evidence[group] >= EVIDENCE) for group in listed
    ]
