"""K-Means on the features of the published recipe: what DECOCC was first compared with."""

from dataclasses import dataclass

import numpy as np

from .. import _groups
from .._checks import check_integer, check_seed
from ._field import Field

__all__ = ["KMeansClassifier"]


@dataclass(frozen=True)
class KMeansClassifier:
    """
    K-Means on the features of the published DECOCC.

    The stars are grouped by proper motion over parallax and parallax, scaled to [0, 1]; the group that is the
    cluster is picked by its concentration on the sky and its dense core (`diagnostics["picked"]` says how).
    The answer is hard: ``membership_prob`` is 1 in the group and 0 outside, and not a calibrated probability.

    Parameters
    ----------
    n_clusters : int, optional
        Number of groups; by default the one of 3 to 10 with the best silhouette.
    seed : int
        Seed of the starting centres.

    Examples
    --------
    >>> from decocc_vo import KMeansClassifier, ClusterRegion
    >>> from decocc_vo.stars.hipparcos import query_region
    >>> region = ClusterRegion.from_name("Melotte 25")
    >>> result = KMeansClassifier(n_clusters=8).fit(query_region(region), region)
    >>> "membership_prob" in result.table.colnames
    True
    """

    n_clusters: int | None = None
    seed: int = 0

    def __post_init__(self):
        check_seed(self.seed)
        if self.n_clusters is not None:
            check_integer("n_clusters", self.n_clusters, 2)

    def fit(self, table, region=None, columns=None):
        """
        Group the stars and pick the group that is the cluster.

        Parameters
        ----------
        table : `~astropy.table.Table`
            Stars; a star of parallax zero has no features here and comes back masked.
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
            If the table has fewer than 20 usable stars, or fewer than ``n_clusters``.
        """
        field = Field.from_table(table, region, columns, usable=lambda *motion: _groups.thesis_features(*motion)[1])
        features = _groups.min_max(_groups.thesis_features(field.pmra, field.pmdec, field.parallax)[0])
        seed = int(self.seed)
        scores = _groups.silhouettes(features, seed=seed) if self.n_clusters is None else {}
        k = int(self.n_clusters or max(scores, key=scores.get))
        labels, _ = _groups.kmeans(features, k, seed=seed)
        pick = _groups.pick_group(labels, *field.motion)
        return field.membership(
            "kmeans",
            self,
            _groups.group_candidates(labels, np.ones(len(labels)), pick.evidence),
            labels,
            f"Groups of K-Means: {len(set(labels.tolist()))}. {pick.sentence}",
            picked=pick.sentence,
            evidence=pick.evidence,
            n_clusters=k,
            silhouettes=scores,
            seed=seed,
        )
