"""The door: a table of stars is checked here once, and everything behind it can trust what it sees."""

import re
from collections import Counter
from collections.abc import Mapping

import astropy.units as u
import numpy as np

from ..exceptions import InputError
from ._numbers import floats, is_number, says_none
from ._registry import ASTROMETRY, COLUMNS, RESULTS, SPELT, describe
from ._statements import designated_release, stated_release


def degrees(values):
    """Degrees as float64; NaN where masked. A unit is heeded, plain numbers are degrees."""
    unit = getattr(values, "unit", None)
    try:
        factor = 1.0 if unit is None or unit == u.dimensionless_unscaled else _unit(unit).to(u.deg)
        return floats(getattr(values, "value", values)) * factor
    except (u.UnitConversionError, TypeError, ValueError) as err:
        msg = f"positions must be numbers or angles, in degrees where they have no unit: {err}"
        raise InputError(msg) from None


def _kind(column):
    """Kind of a column's values as NumPy has it; that of objects for coordinates, times and their like."""
    return getattr(getattr(column, "dtype", None), "kind", "O")


def check_mapping(columns, names):
    """Refuse a mapping of registry names to a table's own that knows others than ``names``, or a column twice."""
    if not isinstance(columns, Mapping):
        msg = f"'columns' must map registry names to the table's own, as {{'pmra': 'pmRA'}}, not {columns!r}"
        raise InputError(msg)
    for name in columns:
        if name not in names:
            msg = f"'columns' maps {name!r}, which is no registry name; use names of decocc_vo.COLUMNS as keys"
            raise InputError(msg)
    for theirs, count in Counter(columns.values()).items():
        if count > 1:
            msg = f"'columns' maps {theirs!r} more than once; each column can be one thing only"
            raise InputError(msg)


_OF_OTHERS = {"gmag": "rmag", "g_mag": "r_mag"}
"""Names of magnitudes of other surveys that are Gaia's in another case, and what such a survey has beside."""


def _find_names(table, mapping):
    """
    Registry name -> name in the table: as the user says, else the same, else another case or an alias.

    A column of text has no alias unless it holds numbers: a ``Source`` may be where the star was taken from. Neither
    has the g of a survey of g and r, which is not Gaia's G. What methods add is not looked for: a table's own ``group``
    may be anything.
    """
    names = table.colnames
    wanted = {name: info for name, info in COLUMNS.items() if name not in RESULTS}
    check_mapping(mapping, wanted)
    lower = {}
    for name in sorted(names, key=lambda name: name not in SPELT):  # of two that differ in case, the one as published
        if name.lower() in wanted or _kind(table[name]) in "iuf" or _is_of_numbers(table[name], name.lower(), wanted):
            lower.setdefault(name.lower(), name)
    for name in [name for name, beside in _OF_OTHERS.items() if lower.get(name) == name and beside in names]:
        del lower[name]
    found = {}
    for info in wanted.values():
        if info.name in mapping:
            if mapping[info.name] not in names:
                msg = f"'columns' says {info.name} is {mapping[info.name]!r}, but the table has no such column"
                raise InputError(msg)
            found[info.name] = mapping[info.name]
        elif info.name in names:
            found[info.name] = info.name
        else:
            spelling = next((s for s in (info.name, *info.aliases) if s in lower), None)
            if spelling is not None:
                found[info.name] = lower[spelling]
    if found.get("source_id", "").lower() == "hip" and "phot_g_mean_mag" in found and "source_id" not in mapping:
        del found["source_id"]  # of a cross-match: most of Gaia's stars have none
    for theirs, count in Counter(found.values()).items():
        if count > 1:
            meanings = " and ".join(name for name in found if found[name] == theirs)
            msg = f"'columns' makes {theirs!r} {meanings}; each column can be one thing only: say which the others are"
            raise InputError(msg)
    return found


def _is_of_numbers(column, name, wanted):
    """Whether a column of text has a name of a measured one, and numbers in most of its cells."""
    if not any(name in info.aliases for info in wanted.values() if np.dtype(info.dtype).kind == "f"):
        return False  # numbers under "Source" may be those of a list of references
    if _kind(column) not in "SUO" or getattr(column, "dtype", None) is None:
        return False
    cells = np.ma.compressed(np.ma.asarray(column[:: len(column) // 1000 + 1]))  # some of many are enough
    cells = cells[~says_none(cells)]
    return len(cells) > 0 and sum(map(is_number, cells.tolist())) > len(cells) / 2


def _to_registry(column, info, source):
    """Return the values of ``column`` in the registry's unit and dtype, masked where not a number."""
    unit = getattr(column, "unit", None)
    factor = 1.0
    if unit is not None and unit != u.dimensionless_unscaled:
        try:
            factor = _unit(unit).to(info.unit or u.dimensionless_unscaled)
        except (u.UnitConversionError, TypeError, ValueError):
            if info.unit is not None:  # where there is none, people write "---" and the like
                msg = (
                    f"'{source}' has the unit {unit!s}, which does not convert to {info.unit!s}; "
                    f"set table[{source!r}].unit, or correct it in the file"
                )
                raise InputError(msg) from None
    values = np.ma.asarray(getattr(column, "value", column))
    if values.ndim != 1:
        msg = (
            f"'{source}' must have one value a row, and has an array of the shape {values.shape[1:]}; of a "
            "FITS file that holds each column as one array make one with a row for each star"
        )
        raise InputError(msg)
    dtype = np.dtype(info.dtype)
    if dtype.kind == "i":
        if values.dtype.kind == "f" and info.name == "source_id" and not _keeps_digits(values):
            msg = f"'{source}' is stored as floating point, which loses digits of a 64-bit identifier; read it as int64"
            raise InputError(msg)
        try:
            if values.dtype.kind == "f":
                values = np.ma.masked_invalid(values)
            if values.dtype.kind in "SU":
                values = np.ma.masked_where(says_none(values), values)
            filled = np.ma.filled(values, 0)
            integers = filled.astype(dtype)
            if filled.dtype.kind in "iuf" and np.any(integers != filled):
                raise ValueError
            mask = np.ma.getmaskarray(values)
            if info.name == "source_id":
                # As catalogues have it for stars without an identifier, 0 or -1; simulated stars have others below 0.
                low, counts = np.unique(integers[~mask & (integers <= 0)], return_counts=True)
                mask = mask | np.isin(integers, low[counts > 1])
            return np.ma.masked_array(integers, mask=mask)
        except (ValueError, TypeError, OverflowError):
            wrong = _first_not_integer(values, dtype)
            msg = f"'{source}' must hold integers that {dtype.name} can hold, and holds {wrong!r}"
            raise InputError(msg) from None
    try:
        values = floats(values)
    except (ValueError, TypeError):
        angles = " in degrees" if info.unit == u.deg else ""
        msg = f"'{source}' must hold numbers{angles}, and holds {_first_text(values)!r}"
        raise InputError(msg) from None
    if info.name in _MEASURED:
        values[np.isin(values, _NOT_MEASURED)] = np.nan
    values *= factor
    return np.ma.masked_invalid(np.where(np.abs(values) <= info.largest, values, np.nan).astype(dtype))


_MEASURED = "pmra", "pmdec", "parallax"
_NOT_MEASURED = -999.0, -9999.0, -99999.0  # what stands for "no value" in many a table


def _keeps_digits(values):
    """Whether these floating-point numbers can be integers that lost no digit."""
    largest = 2.0 ** (np.finfo(values.dtype).nmant + 1)
    values = np.ma.compressed(values)
    return bool(np.all(np.abs(values[np.isfinite(values)]) < largest))


def _unit(unit):
    """A unit as astropy knows it: magnitudes of any system are magnitudes, and a year may be spelled out."""
    unit = u.Unit(unit)
    if isinstance(unit, u.MagUnit):
        return u.mag
    text = unit.to_string()
    if isinstance(unit, u.UnrecognizedUnit):
        for pattern, spelling in _SPELLINGS:
            text = re.sub(pattern, spelling, text, flags=re.IGNORECASE)
        return u.mag if re.match(r"mag(?![a-z])", text, flags=re.IGNORECASE) else u.Unit(text)
    # As another format spells them, such as "degree" in a VOTable, units are others than astropy's of that name.
    spelt = u.Unit(text, parse_strict="silent")
    return unit if isinstance(spelt, u.UnrecognizedUnit) else spelt


# How people write units that astropy does not know.
_SPELLINGS = (
    (r"milli-?arc-?sec(ond)?s?", "mas"),
    (r"arc-?seconds?|''", "arcsec"),
    (r'"', "arcsec"),
    (r"degrees?|\bdeg\b", "deg"),
    (r"^\[(.*)\]$", r"\1"),
    (r"\bmas(?=yr)", "mas "),
    (r"\bmas\b", "mas"),
    (r"\b(years?|yrs?|y)\b", "yr"),
    (r"\bkm\b", "km"),
    (r"\b(seconds?|sec|s)\b", "s"),
)


def _first_text(values):
    """The first value that is no number."""
    return _first_not(lambda value: [float(value)], values)


def _first_not_integer(values, dtype):
    """The first value that is no integer, or none of the type."""
    info = np.iinfo(dtype)

    def good(value):
        whole = not isinstance(value, float) or value.is_integer()
        return whole and info.min <= int(value) <= info.max

    return _first_not(good, values)


def _first_not(good, values):
    for value in np.ma.compressed(values).tolist():
        try:
            if not good(value):
                return value
        except (ValueError, TypeError, OverflowError):
            return value
    return values.dtype.name


def conform(table, columns=None):
    """
    Check a table of stars and bring the columns the package knows to the registry's names, units and types.

    This is the one place where data is checked. The rows stay as they are, in number and order; columns the
    registry does not know are left out of the copy.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Stars, one a row. Columns are found by their registry name (`decocc_vo.COLUMNS`), in any case, or by the
        spelling VizieR uses. A column without unit is taken to be in the registry's unit.
    columns : mapping of str to str, optional
        Registry name to the name in ``table``, where they differ: ``{"pmra": "pmRA"}``.

    Returns
    -------
    `~astropy.table.Table`
        The known columns but for those that methods add (``membership_prob`` and its like), with unit, UCD and
        description, masked where a value is missing, not finite, or one that no star has, as 1e20: beyond 1e5 mas/yr,
        60 mag, a parallax of 1e3 mas, and a correlation of one; motions and parallaxes of -999, -9999 and -99999, too.
        ``table.meta`` is copied; a release that it does not state is read off Gaia's designations.

    Raises
    ------
    InputError
        If ``table`` has no rows, lacks a column of `ASTROMETRY`, or holds one with a unit, type or range that
        makes no sense.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import Table
    >>> from decocc_vo.columns import conform
    >>> raw = Table({"RA_ICRS": [56.7], "DE_ICRS": [24.1], "pmRA": [0.02], "pmDE": [-0.045], "Plx": [7.4]})
    >>> raw["pmRA"].unit = raw["pmDE"].unit = u.arcsec / u.yr
    >>> stars = conform(raw)
    >>> stars["pmra"][0], str(stars["pmra"].unit)
    (np.float64(20.0), 'mas / yr')
    """
    plain = _plain_table(table)
    if plain is None:
        kind = type(table).__name__
        made = "; make one with " + _MADE[kind] if kind in _MADE else ""
        msg = f"'table' must be an astropy Table of stars, not {kind}{made}"
        raise InputError(msg)
    found = _find_names(table, columns or {})
    missing = [name for name in ASTROMETRY if name not in found]
    if missing:
        aliases = {alias for name in missing for alias in COLUMNS[name].aliases}
        textual = [repr(name) for name in table.colnames if name.lower() in aliases]
        msg = (
            f"'table' lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            "rename, or say columns={'pmra': 'your_name', ...}, on the command line --columns pmra=your_name,..."
            + (f" ({', '.join(textual)}: text, not numbers)" if textual else "")
        )
        raise InputError(msg)
    if len(table) == 0:
        msg = "'table' has no rows; a cluster needs stars"
        raise InputError(msg)
    stars = plain(masked=True, meta=dict(table.meta))
    release = stated_release(table) or designated_release(table)
    if release is not None:
        stars.meta |= {"release": release.name, "release_key": release.key}
    for name, source in found.items():
        stars[name] = _to_registry(table[source], COLUMNS[name], source)
        describe(stars[name])
    if "bp_rp" not in stars.colnames and {"phot_bp_mean_mag", "phot_rp_mean_mag"} <= set(stars.colnames):
        stars["bp_rp"] = stars["phot_bp_mean_mag"] - stars["phot_rp_mean_mag"]
        describe(stars["bp_rp"])
    for name, low, high in (("ra", -360.0, 720.0), ("dec", -90.0, 90.0)):
        values = floats(stars[name])
        if np.any((values < low) | (values > high)):
            msg = f"'{found[name]}' leaves {low:g} to {high:g} deg; is it in another unit?"
            raise InputError(msg)
    return stars


_MADE = {
    "DataFrame": "Table.from_pandas",
    "ndarray": "Table",
    "str": "decocc_vo.read_stars",
    "PosixPath": "decocc_vo.read_stars",
    "WindowsPath": "decocc_vo.read_stars",
}


def _plain_table(table):
    """The class Table behind a table, found without importing astropy.table here; None where it is no table."""
    bases = (c for c in type(table).__mro__ if c.__module__ == "astropy.table.table" and c.__name__ == "Table")
    return next(bases, None)


def registry_names(table, columns=None):
    """
    Names of the registry, and those of the columns of a table that are meant.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Stars, or the result of a fit, which says in its provenance how columns were read.
    columns : mapping of str to str, optional
        Registry name to the table's own, where they differ; by default what the provenance says.

    Returns
    -------
    names : dict of str to str
        Registry name to the table's own, results included.
    """
    if columns is None:
        provenance = table.meta.get("decocc")
        said = provenance.get("columns") if isinstance(provenance, Mapping) else None
        columns = {ours: theirs for ours, theirs in dict(said or {}).items() if theirs in table.colnames}
    return _find_names(table, columns) | {name: name for name in RESULTS if name in table.colnames}


def unused_name(table, name):
    """Name under which a column is kept that has to give way: ``NAME_original``, with underscores if that is there."""
    kept = f"{name}_original"
    while kept in table.colnames:
        kept += "_"
    return kept


def canonical_order(stars):
    """
    Row indices of a `conform` table in the one order all computations use, whatever order the user's rows have.

    Sorted by source_id, then position, motion and parallax, and where these are all the same by the other columns.
    """
    names = [name for name in ("source_id", *ASTROMETRY) if name in stars.colnames]
    every = [*names, *(name for name in stars.colnames if name not in names)]
    for count in (1, len(names), len(every)):  # further columns cost time, and matter only to rows that are equal
        keys = [_sortable(stars[name]) for name in every[:count]]
        order = np.lexsort(keys[::-1])
        if not np.any(np.all([key[order[1:]] == key[order[:-1]] for key in keys], axis=0)):
            break
    return order


def _sortable(column):
    """Values with what is masked last, and equal to itself."""
    values = np.ma.asarray(column)
    return np.ma.filled(values, np.inf if values.dtype.kind == "f" else np.iinfo(values.dtype).max)


def usable_rows(stars):
    """
    Which rows of a `conform` table can be used: all of `ASTROMETRY` is there, and the star was not seen before.

    Of rows that share a source_id, or all of `ASTROMETRY`, the first in the canonical order counts: a join may have
    brought a star in more than once, and row numbers are no identifiers.
    """
    good = np.all([~np.ma.getmaskarray(stars[name]) for name in ASTROMETRY], axis=0)
    if "source_id" in stars.colnames:
        known = np.flatnonzero(good & ~np.ma.getmaskarray(stars["source_id"]))
        _keep_first(good, known, stars, np.ma.getdata(stars["source_id"])[known])
    rows = np.flatnonzero(good)
    _, place, count = np.unique(floats(stars["ra"])[rows], return_inverse=True, return_counts=True)
    rows = rows[count[place] > 1]  # few, as a rule
    _keep_first(good, rows, stars, np.stack([floats(stars[name])[rows] for name in ASTROMETRY], axis=1))
    return good


def _keep_first(good, rows, stars, keys):
    """Of the rows that have one key only the first in the canonical order stays ``good``."""
    axis = 0 if keys.ndim > 1 else None
    if len(rows) == 0 or len(np.unique(keys, axis=axis)) == len(rows):  # the order, which takes time, does not matter
        return
    order = canonical_order(stars[rows])
    _, first = np.unique(keys[order], axis=axis, return_index=True)
    good[rows] = False
    good[rows[order[first]]] = True


def requires(stars, used, minimum):
    """Refuse a table with fewer than ``minimum`` usable stars, saying what is missing."""
    if len(used) < minimum:
        missing = [np.ma.getmaskarray(stars[name]) for name in ASTROMETRY]
        lacking = [f"{name} in {rows.sum()}" for name, rows in zip(ASTROMETRY, missing, strict=True) if rows.any()]
        why = [f"values are missing, or no star's (another unit?): {', '.join(lacking)}"] if lacking else []
        repeated = int(np.sum(~np.any(missing, axis=0)) - np.sum(usable_rows(stars)))
        if repeated:
            why.append(
                f"'source_id', or all of the astrometry, repeats in {repeated} row{'s' * (repeated != 1)}, "
                "and each star counts once"
            )
        msg = (
            f"'table' has {len(used)} usable star{'s' * (len(used) != 1)} of {len(stars)} rows, "
            f"and at least {minimum} are needed; " + ("; ".join(why) or "take a larger region")
        )
        raise InputError(msg)
