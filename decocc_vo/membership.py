"""The result of every method: the user's table with probabilities, the cluster's characterisation, and why."""

import logging
import warnings
from dataclasses import dataclass, field, replace

import astropy.units as u
import numpy as np
from astropy.table import Column, MaskedColumn, Table
from astropy.utils.exceptions import AstropyUserWarning

from . import __version__
from .columns import (
    ASTROMETRY,
    COLUMNS,
    RESULTS,
    astrometry,
    describe,
    expected_errors,
    floats,
    registry_names,
    standard_errors,
    unit_vectors,
    unused_name,
    usable_rows,
    zero_point_uncertainty,
)
from .exceptions import InputError

__all__ = [
    "Candidate",
    "Membership",
    "assemble",
    "characterise",
    "check_integer",
    "check_seed",
    "make_room",
    "with_rows_outside",
]

log = logging.getLogger(__name__)

MEMBER = 0.5
"""A star counts as a member from this probability on."""

_SUMMARY = (
    ("name", None, "meta.id;meta.main", "Name of the region"),
    ("ra", u.deg, "pos.eq.ra;meta.main", "Right ascension of the centre, weighted by probability"),
    ("dec", u.deg, "pos.eq.dec;meta.main", "Declination of the centre, weighted by probability"),
    ("n_members", None, "meta.number", "Stars with membership_prob >= 0.5"),
    ("n_expected", None, "meta.number", "Sum of membership_prob"),
    ("pmra", u.mas / u.yr, "pos.pm;pos.eq.ra;stat.mean", "Mean proper motion in right ascension, times cos(dec)"),
    ("pmra_error", u.mas / u.yr, "stat.error;pos.pm;pos.eq.ra", "Standard error of the mean pmra"),
    (
        "pmra_dispersion",
        u.mas / u.yr,
        "stat.stdev;pos.pm;pos.eq.ra",
        "Dispersion of pmra, measurement errors taken out; in a wide field it has the perspective in it",
    ),
    ("pmdec", u.mas / u.yr, "pos.pm;pos.eq.dec;stat.mean", "Mean proper motion in declination"),
    ("pmdec_error", u.mas / u.yr, "stat.error;pos.pm;pos.eq.dec", "Standard error of the mean pmdec"),
    (
        "pmdec_dispersion",
        u.mas / u.yr,
        "stat.stdev;pos.pm;pos.eq.dec",
        "Dispersion of pmdec, measurement errors taken out; in a wide field it has the perspective in it",
    ),
    ("parallax", u.mas, "pos.parallax;stat.mean", "Mean parallax, zero point not subtracted"),
    ("parallax_error", u.mas, "stat.error;pos.parallax", "Standard error of the mean parallax"),
    (
        "parallax_dispersion",
        u.mas,
        "stat.stdev;pos.parallax",
        "Intrinsic dispersion of parallax, measurement errors taken out",
    ),
    (
        "parallax_zero_point",
        u.mas,
        "arith.zp;pos.parallax",
        "Zero point used for the distance: subtract it from parallax",
    ),
    (
        "distance",
        u.pc,
        "pos.distance",
        "Inverse of the mean parallax after the zero point; masked where that is not positive",
    ),
    (
        "distance_low",
        u.pc,
        "pos.distance;stat.min",
        "Lower end of the 68 % interval of distance, systematics of the zero point included",
    ),
    (
        "distance_high",
        u.pc,
        "pos.distance;stat.max",
        "Upper end of the 68 % interval of distance, systematics of the zero point included",
    ),
    ("r50", u.deg, "phys.angSize", "Radius around the centre that holds half of the members"),
    (
        "significance",
        None,
        "stat.likelihood",
        "Evidence for the cluster in natural log units, as the method defines it",
    ),
    (
        "purity",
        None,
        "stat.value",
        "Expected fraction of true members among stars with membership_prob >= 0.5; masked where a method's "
        "membership_prob is not calibrated",
    ),
    (
        "completeness",
        None,
        "stat.value",
        "Expected fraction of the members that have membership_prob >= 0.5; masked as purity is",
    ),
    ("release", None, "meta.version", "Release the stars come from"),
)


@dataclass(frozen=True)
class Candidate:
    """
    A group that may be a cluster, as a method hands it over.

    Attributes
    ----------
    probability : `~numpy.ndarray`
        Membership probability of each usable star, shape (n,).
    significance : float
        Evidence for the group, in natural log units where the method has one, else NaN.
    accepted : bool
        Whether it holds as a cluster.
    """

    probability: np.ndarray
    significance: float = float("nan")
    accepted: bool = True


@dataclass(frozen=True)
class Membership:
    """
    What a method found.

    Attributes
    ----------
    table : `~astropy.table.Table`
        The user's rows in the user's order, with the columns ``membership_prob``, ``group``, ``candidate`` and
        ``membership_prob_std``; masked where a star could not be used. A column of the user's own with one of these
        names is kept as ``NAME_original``.
    summary : `~astropy.table.Table`
        One row that characterises the cluster, or no row when there is none.
    candidates : `~astropy.table.Table`
        Every group that holds as a cluster or came close, best first, with the columns of the summary.
    diagnostics : dict
        ``stop_reason`` (a sentence), ``not_used`` (stars that did not take part, by the reason), seed, settings,
        version, seconds, and what else the method tells.
    """

    table: Table
    summary: Table
    candidates: Table
    diagnostics: dict = field(default_factory=dict)

    def __repr__(self):
        """One line: the tables are long."""
        return f"<Membership of {len(self.table)} stars: {self.stop_reason}>"

    @property
    def found(self):
        """Whether there is a cluster."""
        return len(self.summary) > 0

    @property
    def stop_reason(self):
        """The sentence that says how the fit ended."""
        return self.diagnostics["stop_reason"]

    @property
    def members(self):
        """The rows with ``membership_prob >= 0.5``."""
        return self.table[np.ma.filled(self.table["membership_prob"], 0) >= MEMBER]


def _mean_and_dispersion(x, error, weight):
    """
    Mean, its standard error, and intrinsic dispersion of values with known errors, by maximum likelihood.

    Fixed-point iteration of the normal equations of ``sum w ln N(x; mean, error^2 + s^2)``; the variance that it gives
    for n values is (n - 1) / n of the true one. Returned beside them is the weight of each value in the mean.
    """
    weights = np.zeros(len(x))
    good = np.isfinite(x) & (weight > 0)
    x, weight = x[good], weight[good]
    if x.size == 0:
        return np.nan, np.nan, np.nan, weights
    error = error[good]
    mean = np.average(x, weights=weight)
    s2 = max(np.average((x - mean) ** 2, weights=weight) - np.average(error**2, weights=weight), 0.0)
    s2 = max(s2, 1e-3 * np.average((x - mean) ** 2, weights=weight), 1e-12)
    for _ in range(200):
        v = weight / (error**2 + s2)
        mean = np.sum(v * x) / np.sum(v)
        q = weight / (error**2 + s2) ** 2
        new = max(s2 * np.sum(q * (x - mean) ** 2) / np.sum(v), 1e-12)
        done = abs(new - s2) <= 1e-6 * s2
        s2 = new
        if done:
            break
    weights[good] = v / np.sum(v)
    s2 *= max(weight.sum(), 2.0) / (max(weight.sum(), 2.0) - 1.0)
    return mean, np.sqrt(1.0 / np.sum(weight / (error**2 + s2))), np.sqrt(s2), weights


def characterise(stars, probability, region, *, zero_point=0.0, significance=float("nan"), release="unknown"):
    """
    Characterise one group of stars: centre, mean motion, parallax, counts, with errors.

    Means and dispersions weigh every star by its probability, and motions are in the axes at the group's centre, which
    near a pole are not those at each star; the intrinsic dispersion is separated from the measurement errors by maximum
    likelihood; where a table has no errors, those expected at the magnitude stand in.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Rows as `~decocc_vo.columns.conform` gives them, all usable.
    probability : `~numpy.ndarray`
        Membership probability, shape (n,).
    region : `~decocc_vo.region.ClusterRegion`
        Whose centre is the origin of the tangent plane.
    zero_point : float or `~numpy.ndarray`
        Parallax zero point in mas, one or one a star; the summary has its mean, each star weighing as much as in that
        of the parallaxes.
    significance : float
        Evidence for the group.
    release : str
        Name of the release.

    Returns
    -------
    row : dict
        One value for each column of the summary.
    """
    p = np.asarray(probability, float)
    row = {"name": region.name or "", "release": release, "significance": significance}
    unit = unit_vectors(np.radians(floats(stars["ra"])), np.radians(floats(stars["dec"])))
    centre = (p[:, None] * unit).sum(0)
    centre /= max(np.linalg.norm(centre), 1e-300)
    row["ra"] = np.degrees(np.arctan2(centre[1], centre[0])) % 360.0
    row["dec"] = np.degrees(np.arcsin(np.clip(centre[2], -1, 1)))
    values, turn = astrometry(stars, (row["ra"], row["dec"]))
    values[:, 2] -= zero_point
    errors = np.sqrt(np.einsum("nij,nj->ni", turn**2, _errors(stars) ** 2))
    for name, value, error in zip(("pmra", "pmdec", "parallax"), values.T, errors.T, strict=True):
        *found, weights = _mean_and_dispersion(value, error, p)
        row |= dict(zip((name, f"{name}_error", f"{name}_dispersion"), found, strict=True))
    total = p.sum()
    # Of the stars that the mean parallax comes from: faint ones, which say little of it, have another zero point.
    row["parallax_zero_point"] = zero = float(np.sum(weights * zero_point)) if total > 0 else np.nan
    true, row["parallax"] = row["parallax"], row["parallax"] + zero
    sigma = np.hypot(row["parallax_error"], zero_point_uncertainty(release))
    for name, value in (("distance", true), ("distance_low", true + sigma), ("distance_high", true - sigma)):
        row[name] = 1000.0 / value if value > 0 else np.nan
    chosen = p.astype(np.float32) >= MEMBER  # as in the table
    row["n_members"] = int(chosen.sum())
    row["n_expected"] = float(total)
    row["r50"] = _weighted_median(2 * np.degrees(np.arcsin(np.linalg.norm(unit - centre, axis=1) / 2)), p)
    row["purity"] = float(p[chosen].mean()) if chosen.any() else np.nan
    row["completeness"] = float(p[chosen].sum() / total) if total > 0 else np.nan
    return row


def _errors(stars):
    """
    Standard errors, shape (n, 3): zero where nothing is known of a column's, else those of a G = 18 star stand in.

    Without any the dispersions have the errors in them; a few stars without must not weigh more than all others.
    """
    errors = standard_errors(stars)
    unknown = ~np.isfinite(errors)
    stand_in = np.where(unknown.all(axis=0), 0.0, expected_errors(np.array([18.0])))
    return np.where(unknown, stand_in, errors)


def _weighted_median(x, weight):
    if not weight.sum() > 0:
        return np.nan
    order = np.argsort(x, kind="stable")
    cumulative = np.cumsum(weight[order])
    return float(x[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def summary_table(rows):
    """The summary or candidates table of rows made by `characterise`."""
    table = Table(masked=True)
    for name, unit, ucd, description in _SUMMARY:
        values = [row[name] for row in rows]
        if name in ("name", "release"):
            table[name] = MaskedColumn(np.array(values, dtype=str if values else "U1"), description=description)
        elif name == "n_members":
            table[name] = MaskedColumn(np.array(values, dtype=np.int64), description=description)
        else:
            data = np.ma.masked_invalid(np.array(values, dtype=float))
            table[name] = MaskedColumn(data, unit=unit, description=description)
        table[name].meta["ucd"] = ucd
    return table


def assemble(
    table,
    stars,
    region,
    used,
    candidates,
    *,
    group,
    method,
    stop_reason,
    settings=None,
    spread=None,
    zero_point=0.0,
    columns=None,
    calibrated=True,
    diagnostics=None,
):
    """
    Put a method's findings into a `Membership`.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The user's table; its rows and columns all come back, a column of the name of a result's as ``NAME_original``.
        One that has all four results is that of an earlier fit, and they are replaced.
    stars : `~astropy.table.Table`
        The same rows as `~decocc_vo.columns.conform` gives them.
    region : `~decocc_vo.region.ClusterRegion`
        The region that was asked for.
    used : `~numpy.ndarray`
        Row indices of the stars that took part; all arrays below are in this order.
    candidates : sequence of Candidate
        Best first. The first is the cluster if it is accepted; without an accepted one there is no cluster, and
        every used star has probability 0.
    group : `~numpy.ndarray`
        Group of each used star, -1 for the field.
    method, stop_reason : str
        Name of the method, and the sentence that says how the fit ended.
    settings : mapping, optional
        The method's settings.
    spread : `~numpy.ndarray`, optional
        Standard deviation of the probability over repeated fits; masked in the result when not given.
    zero_point : float or `~numpy.ndarray`
        Parallax zero point of the used stars, in mas.
    columns : mapping of str to str, optional
        Registry name to the table's own, where they differ. With the spellings that were found it is kept in the
        result, so that figures and writers find the columns.
    calibrated : bool
        Whether the probabilities are meant to be those of being a member; else purity and completeness, which come
        from them, are masked.
    diagnostics : mapping, optional
        More of what the method wants to tell.

    Returns
    -------
    membership : Membership
    """
    n, used = len(table), np.asarray(used)
    accepted = [c for c in candidates if c.accepted]
    probability = np.ma.masked_array(np.zeros(n, np.float32), mask=True)
    probability[used] = np.clip(accepted[0].probability, 0, 1) if accepted else 0.0
    code = np.full(len(used), -1, np.int16)
    for number in range(len(accepted) - 1, -1, -1):
        code[accepted[number].probability >= MEMBER] = number
    added = {
        "membership_prob": probability,
        "group": _scatter(group, used, n, np.int16),
        "candidate": _scatter(code, used, n, np.int16),
        "membership_prob_std": _scatter(spread, used, n, np.float32) if spread is not None and accepted else None,
    }
    result = make_room(table)
    for name, kept in zip(table.colnames, result.colnames, strict=True):
        if name != kept:
            told = f"'table' has a column {name!r} of its own, which comes back as {kept!r}"
            warnings.warn(told, AstropyUserWarning, stacklevel=3)
    for name, values in added.items():
        values = np.ma.masked_array(np.zeros(n, np.float32), mask=True) if values is None else values
        result[name] = MaskedColumn(values, name=name)
        describe(result[name])

    release = str(stars.meta.get("release") or stars.meta.get("RELEASE") or "unknown")
    if release == "unknown":
        log.warning(
            "the stars do not say which release they are from: no zero point is taken off their parallaxes, and the "
            "distance may be wrong; set table.meta['release'] to 'Gaia DR3', or what it is (--release)"
        )
    zero_point = np.broadcast_to(np.asarray(zero_point, float), (len(used),))
    rows = [
        characterise(
            stars[used], c.probability, region, zero_point=zero_point, significance=c.significance, release=release
        )
        for c in candidates
    ]
    if not calibrated:
        rows = [row | {"purity": np.nan, "completeness": np.nan} for row in rows]
    listed = summary_table(rows)
    listed.add_column(Column([c.accepted for c in candidates], dtype=np.int16), name="accepted")
    listed["accepted"].description = "1 if the group holds as a cluster, 0 if it does not"
    listed["accepted"].meta["ucd"] = "meta.code"
    provenance = {
        "method": method,
        "version": __version__,
        "settings": dict(settings or {}),
        "stop_reason": stop_reason,
        "region": str(region),
        "release": release,
        "stars_used": len(used),
        "stars_not_used": n - len(used),
        "not_used": _not_used(stars, used),
    }
    renamed = {ours: theirs for ours, theirs in registry_names(table, columns or {}).items() if ours != theirs}
    if renamed:
        provenance["columns"] = renamed
        for name, theirs in renamed.items():
            describe(result[theirs], COLUMNS[name], missing_only=True)
    result.meta["decocc"] = provenance
    summary = summary_table([row for row, c in zip(rows, candidates, strict=True) if c.accepted][:1])
    return Membership(result, summary, listed, {**provenance, **(diagnostics or {})})


def _not_used(stars, used):
    """How many stars did not take part, by the reason."""
    missing = np.any([np.ma.getmaskarray(stars[name]) for name in ASTROMETRY], axis=0)
    repeated = ~missing & ~usable_rows(stars)
    counts = {"missing": int(missing.sum()), "repeated": int(repeated.sum())}
    counts["other"] = len(stars) - len(used) - sum(counts.values())
    return {reason: count for reason, count in counts.items() if count}


def with_rows_outside(result, table, inside):
    """
    Give the result of some rows of a table all of its rows: the others come back masked, as all that were not used.

    Parameters
    ----------
    result : Membership
        Of ``table[inside]``.
    table : `~astropy.table.Table`
        The user's.
    inside : `~numpy.ndarray` of bool
        Which rows were fitted.

    Returns
    -------
    result : Membership
    """
    if inside.all():
        return result
    full, outside = make_room(table), int(np.count_nonzero(~inside))
    for column in (result.table[name] for name in RESULTS):
        full[column.name] = _scatter(column, inside, len(table), column.dtype)
        describe(full[column.name])
    unused = {
        "stars_not_used": result.diagnostics["stars_not_used"] + outside,
        "not_used": {**result.diagnostics["not_used"], "outside": outside},
    }
    full.meta = {**result.table.meta, "decocc": {**result.table.meta["decocc"], **unused}}
    return replace(result, table=full, diagnostics={**result.diagnostics, **unused})


def make_room(table):
    """
    Copy a table, so that results can be added.

    A user's own column of a result's name is kept as ``NAME_original``. A table with all four results is that of an
    earlier fit, and they are left to be replaced.
    """
    result = Table(table, masked=True)
    taken = [name for name in RESULTS if name in result.colnames]
    for name in taken if len(taken) < len(RESULTS) else ():
        result.rename_column(name, unused_name(result, name))
    return result


def _scatter(values, used, n, dtype):
    full = np.ma.masked_array(np.zeros(n, dtype), mask=True)
    full[used] = values
    return full


def check_seed(seed):
    """Refuse a seed that is no integer of 32 bits, which is what the random generators take."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        msg = f"'seed' must be an integer from 0 to 4294967295, not {seed!r}"
        raise InputError(msg)


def check_integer(name, value, fewest):
    """Refuse a setting that is no integer of ``fewest`` or more."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < fewest:
        msg = f"'{name}' must be an integer of {fewest} or more, not {value!r}"
        raise InputError(msg)
