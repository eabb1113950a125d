"""Density-based clustering of proper motions and parallaxes: HDBSCAN and DBSCAN."""

from dataclasses import dataclass, fields
from numbers import Real

import numpy as np

from .. import _groups
from .._checks import check_integer, check_seed
from ..exceptions import InputError
from ._field import Field

__all__ = ["DensityClassifier", "dbscan_epsilon"]

_MIN_SAMPLES = {"hdbscan": 3, "dbscan": 15}
_MIN_CLUSTER_SIZE = 15
_RESAMPLINGS = 10


@dataclass(frozen=True)
class DensityClassifier:
    """
    HDBSCAN or DBSCAN in proper motion and parallax.

    Each of pmra, pmdec and parallax is centred on its median, divided by 0.74 times its interquartile range, one
    standard deviation of a normal distribution, and passed through arcsinh, which keeps the far tail of the field from
    setting the scale. Positions are not in the metric: they pick the group that is the cluster, together with its dense
    core in proper motion and parallax.

    Parameters
    ----------
    method : {"hdbscan", "dbscan"}
        HDBSCAN (Campello, Moulavi & Sander 2013, PAKDD, 160), or DBSCAN with the radius of `dbscan_epsilon`.
    min_samples : int, optional
        Stars in the neighbourhood that make a star a core; by default 3 for HDBSCAN and 15 for DBSCAN.
    min_cluster_size : int
        Stars in the smallest group of HDBSCAN.
    epsilon : float, optional
        Radius of DBSCAN in scaled units; by default from the data.
    engine : {"scikit-learn", "fast-hdbscan"}
        Which HDBSCAN; the second is quicker for large tables and comes with the extra ``decocc_vo[hdbscan]``.
    seed : int
        Seed of the resamplings behind ``epsilon``; HDBSCAN draws nothing.

    Notes
    -----
    ``membership_prob`` is HDBSCAN's strength of membership, which says how deep in the group a star is and is no
    calibrated probability; with DBSCAN it is 1 in the group and 0 outside. Edges of equal length in HDBSCAN's tree are
    taken as NumPy sorts them, which differs between processors, and so can the groups.

    Examples
    --------
    >>> from decocc_vo import DensityClassifier, ClusterRegion
    >>> from decocc_vo.stars.hipparcos import query_region
    >>> region = ClusterRegion.from_name("Melotte 25")
    >>> result = DensityClassifier().fit(query_region(region), region)
    >>> result.found
    True
    """

    method: str = "hdbscan"
    min_samples: int | None = None
    min_cluster_size: int = _MIN_CLUSTER_SIZE
    epsilon: float | None = None
    engine: str = "scikit-learn"
    seed: int = 0

    def __post_init__(self):
        check_seed(self.seed)
        if not isinstance(self.method, str) or self.method not in _MIN_SAMPLES:
            msg = f"'method' must be 'hdbscan' or 'dbscan', not {self.method!r}"
            raise InputError(msg)
        if self.engine not in ("scikit-learn", "fast-hdbscan"):
            msg = f"'engine' must be 'scikit-learn' or 'fast-hdbscan', not {self.engine!r}"
            raise InputError(msg)
        if self.min_samples is not None:
            check_integer("min_samples", self.min_samples, 2)
        check_integer("min_cluster_size", self.min_cluster_size, 5)
        number = isinstance(self.epsilon, Real) and not isinstance(self.epsilon, bool)
        if self.epsilon is not None and not (number and 0 < self.epsilon < np.inf):
            msg = f"'epsilon' must be a positive number, not {self.epsilon!r}"
            raise InputError(msg)
        others = ("epsilon",) if self.method == "hdbscan" else ("min_cluster_size", "engine")
        for item in fields(self):
            if item.name in others and getattr(self, item.name) != item.default:
                msg = f"'{item.name}' is no setting of {self.method}; leave it out"
                raise InputError(msg)

    def fit(self, table, region=None, columns=None):
        """
        Group the stars and pick the group that is the cluster.

        Parameters
        ----------
        table : `~astropy.table.Table`
            Stars.
        region : `~decocc_vo.region.ClusterRegion`, optional
            Where the cluster is thought to be; by default the table's own footprint.
        columns : mapping of str to str, optional
            Registry name to the name in ``table``, where they differ.

        Returns
        -------
        membership : `~decocc_vo.membership.Membership`
            With no row in its summary if no group holds as a cluster.

        Raises
        ------
        InputError
            If the table has fewer than 20 usable stars, or the engine is not installed.
        """
        field = Field.from_table(table, region, columns)
        x = field.robust_features()
        min_samples = min(self.min_samples or _MIN_SAMPLES[self.method], len(x) - 1)
        notes = {"min_samples": min_samples, "seed": int(self.seed)}
        if self.method == "hdbscan":
            labels, strength = self._hdbscan(x, min_samples)
        else:
            notes["epsilon"] = self.epsilon or dbscan_epsilon(x, min_samples, seed=int(self.seed))
            labels, strength = _dbscan(x, notes["epsilon"], min_samples)
        pick = _groups.pick_group(labels, *field.motion)
        return field.membership(
            self.method,
            self,
            _groups.group_candidates(labels, strength, pick.evidence),
            labels,
            f"Groups of {self.method.upper()}: {labels.max() + 1}. {pick.sentence}",
            picked=pick.sentence,
            evidence=pick.evidence,
            **notes,
        )

    def _hdbscan(self, x, min_samples):
        """Labels and strengths, each of shape (n,)."""
        if self.engine == "fast-hdbscan":
            try:
                from fast_hdbscan import HDBSCAN
            except ImportError:
                msg = "'engine' fast-hdbscan is not installed; pip install 'decocc_vo[hdbscan]', or use scikit-learn"
                raise InputError(msg) from None
            fit = HDBSCAN(min_cluster_size=self.min_cluster_size, min_samples=min_samples, reproducible=True).fit(x)
        else:
            from sklearn.cluster import HDBSCAN

            # A table smaller than the smallest group is one scikit-learn refuses; no group of that size fits in it.
            size = min(self.min_cluster_size, len(x))
            fit = HDBSCAN(min_cluster_size=size, min_samples=min_samples, copy=True).fit(x)
        return np.asarray(fit.labels_, int), np.asarray(fit.probabilities_, float)


def _dbscan(x, epsilon, min_samples):
    """Labels, and 1 for every star (DBSCAN knows no strength), each of shape (n,)."""
    from sklearn.cluster import DBSCAN

    labels = DBSCAN(eps=epsilon, min_samples=min_samples).fit(x).labels_
    return np.asarray(labels, int), np.ones(len(labels))


def dbscan_epsilon(x, min_samples, *, seed=0):
    """
    Radius of DBSCAN between the densest place of the data and the densest that chance makes.

    The distance to the k-th nearest neighbour is smallest inside a cluster. The same smallest distance of ten
    resamplings, with each column shuffled on its own so that no cluster is left, says what the field alone does; the
    radius is the mean of both (Castro-Ginard et al. 2018, A&A 618, A59).

    Parameters
    ----------
    x : array-like
        Scaled features, shape (n, features).
    min_samples : int
        Stars in a core's neighbourhood, itself included; k is one less.
    seed : int
        Seed of the shuffling.

    Returns
    -------
    epsilon : float

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.classic.density import dbscan_epsilon
    >>> x = np.random.default_rng(0).normal(size=(500, 3))
    >>> bool(0 < dbscan_epsilon(x, 15) < 1)
    True
    """
    from scipy.spatial import cKDTree

    x = np.asarray(x, float)
    rng = np.random.default_rng(seed)

    def nearest(x):
        return cKDTree(x).query(x, min_samples)[0][:, -1].min()

    shuffled = [nearest(np.stack([rng.permutation(column) for column in x.T], axis=1)) for _ in range(_RESAMPLINGS)]
    epsilon = 0.5 * (nearest(x) + np.mean(shuffled))
    return float(max(epsilon, 1e-9))
