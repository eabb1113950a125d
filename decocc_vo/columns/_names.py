"""Which column of a table is meant by a name of the registry."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from ..exceptions import InputError
from ._numbers import is_number, says_none
from ._registry import COLUMNS, RESULTS, SPELT

_OF_OTHERS = {"gmag": "rmag", "g_mag": "r_mag"}
"""Names of magnitudes of other surveys that are Gaia's in another case, and what such a survey has beside."""


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


def find_names(table, mapping):
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


def _kind(column):
    """Kind of a column's values as NumPy has it; that of objects for coordinates, times and their like."""
    return getattr(getattr(column, "dtype", None), "kind", "O")


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
    return find_names(table, columns) | {name: name for name in RESULTS if name in table.colnames}


def unused_name(table, name):
    """Name under which a column is kept that has to give way: ``NAME_original``, with underscores if that is there."""
    kept = f"{name}_original"
    while kept in table.colnames:
        kept += "_"
    return kept
