"""A method's findings become a `Membership`: the user's own rows and columns, and what was found beside them."""

import logging
from dataclasses import replace

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from .. import __version__
from ..columns import (
    ASTROMETRY,
    COLUMNS,
    RESULTS,
    SIMULATED,
    describe,
    floats,
    registry_names,
    release_name,
    standard_errors,
    stated_release,
    unused_name,
    usable_rows,
)
from ._result import MEMBER, Membership
from ._summary import characterise, summary_table

log = logging.getLogger(__name__)

_CUT = 3  # stars: below the least of a whole sample one is to be expected, and so many by a chance of 5 %
_FEW = 3
_MANY = 0.01  # of the rows: so many repeated stars are no accident of a join


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
    used = np.asarray(used)
    accepted = [c for c in candidates if c.accepted]
    result = _with_results(table, used, accepted, group, spread)
    release = _release(stars, result.meta)
    zero_point, taken = np.broadcast_to(np.asarray(zero_point, float), (len(used),)), stars[used]
    rows = [
        characterise(taken, c.probability, region, zero_point=zero_point, significance=c.significance, release=release)
        for c in candidates
    ]
    if accepted and calibrated:  # a group of K-Means has an edge of its own
        _tell_of_a_cut(taken, accepted[0].probability)
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
        "stars_not_used": len(table) - len(used),
        "not_used": _not_used(stars, used),
    }
    names = registry_names(table, columns or {})
    _tell_of_repeated(provenance["not_used"].get("repeated", 0), len(table), names.get("source_id", "source_id"))
    renamed = {ours: theirs for ours, theirs in names.items() if ours != theirs}
    if renamed:
        provenance["columns"] = renamed
        _describe(result, renamed)
    result.meta["decocc"] = provenance
    summary = summary_table([row for row, c in zip(rows, candidates, strict=True) if c.accepted][:1])
    return Membership(result, summary, listed, {**provenance, **(diagnostics or {})})


def _with_results(table, used, accepted, group, spread):
    """The user's table with the four results; ``accepted`` are the candidates that hold, best first."""
    n = len(table)
    probability = np.ma.masked_array(np.zeros(n, np.float32), mask=True)
    probability[used] = np.clip(accepted[0].probability, 0, 1) if accepted else 0.0
    code = np.full(len(used), -1, np.int16)
    for number in range(len(accepted) - 1, -1, -1):
        code[np.float32(accepted[number].probability) >= MEMBER] = number  # as in the table
    added = {
        "membership_prob": probability,
        "group": _scatter(group, used, n, np.int16),
        "candidate": _scatter(code, used, n, np.int16),
        "membership_prob_std": _scatter(spread, used, n, np.float32) if spread is not None and accepted else None,
    }
    result = make_room(table)
    for name, kept in zip(table.colnames, result.colnames, strict=True):
        if name != kept:
            log.warning("'table' has a column %r of its own, which comes back as %r", name, kept)
    for name, values in added.items():
        values = np.ma.masked_array(np.zeros(n, np.float32), mask=True) if values is None else values
        result[name] = MaskedColumn(values, name=name)
        describe(result[name])
    return result


def _release(stars, meta):
    """Name of the stars' release; its citation goes to the metadata of the result, and one not known is told."""
    release, known = release_name(stars), stated_release(stars)
    if known is not None:
        meta.setdefault("citation", known.citation)
    elif release != SIMULATED:
        said = f"the stars are from {release!r}, which is not known here"
        log.warning(
            "%s: no zero point is taken off their parallaxes, and the distance may be wrong; set "
            "table.meta['release'] to 'Gaia DR3', or what it is (--release)",
            "the stars do not say which release they are from" if release == "unknown" else said,
        )
    return release


def _tell_of_repeated(repeated, n, name):
    """Warn of a table many of whose rows repeat a star: the column ``name`` may be no identifier."""
    if repeated > max(_MANY * n, _FEW):
        log.warning(
            "%d of %d rows repeat a star, by %r or by all of their astrometry, and do not take part; if that column is "
            "no identifier, rename it",
            repeated,
            n,
            name,
        )


def _tell_of_a_cut(stars, probability):
    """Warn of a table that was cut in parallax where the cluster's own begin: their mean is too large."""
    from scipy.special import ndtr

    member = np.float32(probability) >= MEMBER
    if not member.any():
        return
    parallax, error = floats(stars["parallax"]), standard_errors(stars)[member, 2]
    least = np.min(parallax)
    pull = (parallax[member] - np.median(parallax[member])) / error
    # Errors may be too large, or the cluster be deep: seen in the parallaxes on the side that no cut is at.
    scale = 1.4826 * np.median(pull[pull > 0]) if np.any(pull > 0) else 1.0
    below = float(np.nansum(ndtr((least - np.median(parallax[member])) / (error * max(scale, 1e-3)))))
    if below > _CUT:
        log.warning(
            "no parallax is below %.3g mas, where %.0f members were to be expected by their errors: if the table was "
            "cut there, the mean parallax is too large, and the distance too small",
            least,
            below,
        )


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
    _describe(full, result.table.meta["decocc"].get("columns", {}))
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


def _describe(table, renamed):
    """Units, UCDs and descriptions for columns of other names, where they have none of their own."""
    for name, theirs in renamed.items():
        describe(table[theirs], COLUMNS[name], missing_only=True)


def _scatter(values, used, n, dtype):
    full = np.ma.masked_array(np.zeros(n, dtype), mask=True)
    full[used] = values
    return full
