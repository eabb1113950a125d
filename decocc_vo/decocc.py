"""DECOCC: the estimator, from a table of stars to a `~decocc_vo.membership.Membership`."""

import sys
import time
from dataclasses import asdict, dataclass

import numpy as np

from ._checks import check_integer, check_seed
from .columns import astrometry, floats, parallax_zero_point, requires
from .embedding.candidates import FIRST
from .embedding.evidence import THRESHOLD
from .exceptions import InputError
from .membership import Candidate, assemble
from .region import usable_stars

__all__ = ["DECOCC", "ThesisDECOCC"]

_FEWEST = 20  # stars under which no field can be told from a cluster
_FEWEST_THESIS = 50  # stars under which ten groups are too many


@dataclass(frozen=True)
class DECOCC:
    """
    Find an open cluster's members, without labels and without parameters to guess.

    Places where proper motions and parallaxes crowd together are found in an arcsinh embedding; a cluster in a mixed
    field is fitted to each, every star with its own covariance, and the best by evidence is the cluster, if it holds
    as one. Where the field is so wide that perspective matters, one space velocity is fitted. A small network, trained
    beforehand on simulated and published clusters, corrects the probabilities by what surrounds each star: its
    neighbours, and its colour where there is one.

    Parameters
    ----------
    seed : int
        Seed of the random draws: the thinning of large tables and the start of the field's model.
    threshold : float
        Significance from which on a candidate holds as a cluster, in natural log units: its log evidence, less the
        logarithm of the number of places where chance could have made it. At the default some 0.8 % of real fields
        without their clusters, of shuffled positions, hold one, and no simulated ones (see "Limits" in the
        documentation).
    first : {"density", "hdbscan", "kmeans"}
        First clustering, which says where to look: peaks of the density, the groups of HDBSCAN, or those of K-Means.
    photometry : bool
        Whether magnitudes and colours take part: a star where no member is in the colour-magnitude diagram is then less
        probable, which is a selection to think of when the diagram itself is studied.

    Raises
    ------
    InputError
        If a setting makes no sense.

    References
    ----------
    Bovy, Hogg & Roweis 2011, AnAS 5, 1657: mixtures of noisy data. Xie, Girshick & Farhadi 2016, PMLR 48, 478: deep
    embedded clustering.

    Examples
    --------
    >>> from decocc_vo import DECOCC, ClusterRegion
    >>> from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field
    >>> region = ClusterRegion.from_text("120 -30", "20arcmin", "made up")
    >>> stars = inject_cluster(simulate_field(region, 500), region, SimulatedCluster(80, -3.0, 2.0, 1.1, 4.0))
    >>> result = DECOCC().fit(stars, region)
    >>> result.found, result.summary["pmra"].round().item()
    (True, -3.0)
    """

    seed: int = 0
    threshold: float = THRESHOLD
    first: str = "density"
    photometry: bool = True

    def __post_init__(self):
        check_seed(self.seed)
        if not _is_number(self.threshold) or not 0 <= self.threshold <= sys.float_info.max:
            msg = f"'threshold' must be a number of zero or more, not {self.threshold!r}"
            raise InputError(msg)
        if not isinstance(self.photometry, (bool, np.bool_)):
            msg = f"'photometry' must be True or False, not {self.photometry!r}"
            raise InputError(msg)
        if self.first not in FIRST:
            msg = f"'first' must be one of {', '.join(FIRST)}, not {self.first!r}"
            raise InputError(msg)

    @staticmethod
    def thesis(n_clusters=None, seed=0, **settings):
        """The published recipe: see `ThesisDECOCC`."""
        return ThesisDECOCC(n_clusters=n_clusters, seed=seed, **settings)

    def fit(self, table, region=None, columns=None, *, start=None, field_only=None):
        """
        Find the members of the cluster in a table of stars.

        Parameters
        ----------
        table : `~astropy.table.Table`
            Stars with the columns ra, dec, pmra, pmdec, parallax at least; errors, correlations and magnitudes are
            used where they are there. Rows in which one of the five is missing come back masked.
        region : `~decocc_vo.region.ClusterRegion`, optional
            The cluster is the best candidate, or a comparable one that is surely nearer to its centre; all stars of
            the table take part, those outside its radius, too. Default: the footprint of the table.
        columns : mapping of str to str, optional
            Registry name to the table's own, where they differ.
        start : `~numpy.ndarray`, optional
            Per row, true or a weight from 0 for the stars to start from, which is the middle of those of more than half
            the largest weight: only the cluster they belong to is fitted.
        field_only : `~numpy.ndarray` of bool, optional
            Per row, true where the stars are known to be field: they are no members, and describe the field.

        Returns
        -------
        membership : `~decocc_vo.membership.Membership`

        Raises
        ------
        InputError
            If the table cannot be used: see `~decocc_vo.columns.conform`; or has fewer than 20 usable stars; or if the
            region is somewhere else; or if ``start`` and ``field_only`` contradict each other.
        """
        began = time.perf_counter()
        stars, region, used = usable_stars(table, region, columns, _FEWEST)
        from .embedding.search import search_clusters

        start, known = _start(start, len(table), used), _known_field(field_only, len(table), used)
        if start is not None and known is not None and np.any(known & (start > 0.5 * start.max())):
            msg = "'start' and 'field_only' say the opposite of the same stars; leave them out of one"
            raise InputError(msg)
        zero_point = parallax_zero_point(stars[used])
        found = search_clusters(
            stars[used],
            region,
            zero_point,
            seed=int(self.seed),
            threshold=self.threshold,
            first=self.first,
            photometry=bool(self.photometry),
            start=start,
            field_only=known,
        )
        return assemble(
            table,
            stars,
            region,
            used,
            [Candidate(*candidate) for candidate in found.candidates],
            group=found.group,
            method="decocc",
            stop_reason=found.stop_reason,
            settings=asdict(self),
            spread=found.spread,
            zero_point=zero_point,
            columns=columns,
            diagnostics={"seed": self.seed, "seconds": time.perf_counter() - began, **found.diagnostics},
        )


@dataclass(frozen=True)
class ThesisDECOCC:
    """
    DECOCC as published: an autoencoder, K-Means in its latent space, and Deep Embedded Clustering.

    After C. D. Alvaro Yunta, Machine Learning Tools for Open Cluster Characterization with Gaia DR2 Data, and Xie,
    Girshick & Farhadi 2016, PMLR 48, 478. Made by `DECOCC.thesis`; in the thesis the group that is the cluster was
    picked by eye, here a rule picks it, and ``diagnostics["picked"]`` says how.

    Parameters
    ----------
    n_clusters : int, optional
        Number of groups; default: the best silhouette of K-Means over 3 to 10.
    seed : int
        Seed of weights, batches and K-Means.
    width : int
        Width of the network's widest layer: 200, 60 or 40 in the thesis, by hand.
    quantile : float
        Stars of the group outside this quantile of parallax, at either end, are filtered out; 0 keeps all.

    Raises
    ------
    InputError
        If a setting makes no sense.
    """

    n_clusters: int | None = None
    seed: int = 0
    width: int = 60
    quantile: float = 0.1

    def __post_init__(self):
        check_seed(self.seed)
        for name, fewest in (("n_clusters", 2), ("width", 1)):
            if name != "n_clusters" or self.n_clusters is not None:
                check_integer(name, getattr(self, name), fewest)
        if not _is_number(self.quantile) or not 0 <= self.quantile < 0.5:
            msg = f"'quantile' must be at least 0 and below 0.5, not {self.quantile!r}"
            raise InputError(msg)

    def fit(self, table, region=None, columns=None):
        """
        Find the members.

        ``membership_prob`` weighs the picked group against its strongest rival; 0 outside the quantile filter.

        Parameters
        ----------
        table : `~astropy.table.Table`
            Stars with the columns ra, dec, pmra, pmdec, parallax; those of parallax zero cannot be used and come back
            masked.
        region : `~decocc_vo.region.ClusterRegion`, optional
            Whose centre positions are measured from. Default: the footprint of the table.
        columns : mapping of str to str, optional
            Registry name to the table's own, where they differ.

        Returns
        -------
        membership : `~decocc_vo.membership.Membership`

        Raises
        ------
        InputError
            If the table cannot be used: see `~decocc_vo.columns.conform`; or has fewer than 50 usable stars; or if the
            region is somewhere else.
        """
        began = time.perf_counter()
        stars, region, used = usable_stars(table, region, columns, _FEWEST_THESIS)
        from ._groups import group_candidates, pick_group
        from .embedding.thesis import run_thesis

        used = used[floats(stars["parallax"])[used] != 0]
        requires(stars, used, _FEWEST_THESIS)
        motion = astrometry(stars[used], (region.ra_deg, region.dec_deg))[0].T
        groups = run_thesis(*motion, n_clusters=self.n_clusters, width=self.width, seed=int(self.seed))
        xi, eta = region.offsets(floats(stars["ra"])[used], floats(stars["dec"])[used])
        pick = pick_group(groups.labels, *motion, xi, eta, 60 * region.radius_deg)
        strength = np.zeros(len(used))
        for group in pick.evidence:
            kept = groups.quantile_filter(motion[2], group, self.quantile)
            strength[kept] = groups.membership(group)[kept]
        candidates = group_candidates(groups.labels, strength, pick.evidence)
        return assemble(
            table,
            stars,
            region,
            used,
            [Candidate(*candidate) for candidate in candidates],
            group=groups.labels,
            method="decocc-thesis",
            stop_reason=f"{groups.stop_reason.value} {pick.sentence}",
            settings=asdict(self),
            zero_point=parallax_zero_point(stars[used]),
            columns=columns,
            calibrated=False,
            diagnostics={
                "seed": self.seed,
                "seconds": time.perf_counter() - began,
                "picked": pick.sentence,
                "n_clusters": groups.n_clusters,
                "silhouettes": groups.silhouettes,
                "iterations": groups.iterations,
                "pretrain_loss": groups.pretrain_loss.tolist(),
                "loss": groups.loss.tolist(),
                "label_change": groups.label_change.tolist(),
            },
        )


def _is_number(value):
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _per_row(values, name, rows, used):
    """Bring a per-row argument into the order of the used stars."""
    if values is None:
        return None
    values = np.asarray(np.ma.filled(values, 0))
    if values.dtype.kind not in "biuf" or not np.all(np.isfinite(values)):
        msg = f"'{name}' must have a number, or true or false, for each row"
        raise InputError(msg)
    if values.shape != (rows,):
        msg = f"'{name}' must have one value for each of the {rows} rows, not the shape {values.shape}"
        raise InputError(msg)
    if np.any(values < 0):
        msg = f"'{name}' must not be negative; give true or false, or weights"
        raise InputError(msg)
    return values[used]


def _start(values, rows, used):
    """The weights to start from, which some star must have."""
    start = _per_row(values, "start", rows, used)
    if start is not None and not start.any():
        msg = "'start' picks no usable star"
        raise InputError(msg)
    return start


def _known_field(values, rows, used):
    """Which stars are known to be field; None where none is."""
    known = _per_row(values, "field_only", rows, used)
    return None if known is None or not known.any() else known > 0
