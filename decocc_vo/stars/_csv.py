"""CSV files as people, TOPCAT and VizieR write them: comments, separators, lines of units, encodings."""

import codecs
import gzip
import logging
from contextlib import suppress
from typing import NamedTuple

from ..columns import COLUMNS, NO_VALUE, is_number
from ..exceptions import ServiceError

log = logging.getLogger(__name__)

# Words that stand for "no value" in the CSV files of archives and of TOPCAT.
_NULLS = ("", "null", "NULL", "NaN", "nan", "--", "N/A", "None", "\\N")
_UTF16 = ("\xff\xfe", "\xfe\xff")  # its byte order marks, as Latin-1
# Names that columns of stars may have.
_KNOWN = {spelling for name, info in COLUMNS.items() for spelling in (name, *info.aliases)}


def read_csv(path):
    """
    Read a CSV file.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file; it may be compressed.

    Returns
    -------
    table : `pyarrow.Table`
    units : list of str
        Of the columns, where a line below their names has them, else empty.

    Raises
    ------
    ServiceError
        If there is hardly a column in it.
    """
    layout = _layout(path)
    encoding = "utf-8"
    raw = _arrow(path, layout, encoding)
    if raw.num_columns < 2:
        msg = f"{path.name!r} is no CSV file: its first line must hold the columns' names, separated by commas"
        raise ServiceError(msg)
    if not _is_utf8(raw):
        log.warning("%s is not in UTF-8; its text is read as Latin-1", path.name)
        encoding = "latin-1"
        raw = _arrow(path, layout, encoding)
    if len(set(raw.column_names)) == raw.num_columns:  # else it is refused
        raw = _with_long_integers(_with_numbers(raw), path, layout, encoding)
    return raw, layout.units


def _with_numbers(raw):
    """Columns of text that hold numbers beside blanks and other words for "no value" are of numbers."""
    import pyarrow as pa
    from pyarrow import compute

    for name in [field.name for field in raw.schema if pa.types.is_string(field.type)]:
        text = compute.utf8_trim_whitespace(raw[name])
        text = compute.if_else(compute.is_in(compute.utf8_lower(text), pa.array(NO_VALUE)), None, text)
        if text.null_count == len(text):
            continue
        # Floating point would lose digits of an identifier that no int64 holds: such a column stays text.
        long = compute.any(compute.match_substring_regex(text, "^[+-]?[0-9]{16,}$")).as_py()
        for kind in [pa.int64()] if long else [pa.int64(), pa.float64()]:
            with suppress(pa.ArrowInvalid):
                raw = raw.set_column(raw.column_names.index(name), name, text.cast(kind))
                break
    return raw


def _with_long_integers(raw, path, layout, encoding):
    """Integers that int64 cannot hold, of which Arrow makes floating-point numbers, are text: no digit is lost."""
    import pyarrow as pa
    from pyarrow import compute

    def is_long(column):
        return pa.types.is_float64(column.type) and (compute.max(compute.abs(column)).as_py() or 0) >= 2.0**63

    suspect = [name for name, column in zip(raw.column_names, raw.columns, strict=True) if is_long(column)]
    if not suspect:
        return raw
    texts = _arrow(path, layout, encoding, dict.fromkeys(suspect, pa.string()))
    for name in suspect:
        trimmed = compute.utf8_trim_whitespace(texts[name])
        if compute.all(compute.match_substring_regex(trimmed, "^[+-]?[0-9]+$")).as_py():
            raw = raw.set_column(raw.column_names.index(name), name, trimmed)
    return raw


def _is_utf8(raw):
    """Whether Arrow could decode the names and the text of a CSV file."""
    import pyarrow as pa

    try:
        return bool(raw.column_names) and not any(map(pa.types.is_binary, raw.schema.types))
    except UnicodeDecodeError:
        return False


class _Layout(NamedTuple):
    """Lines before the columns' names, the names where they are one of these, the separator, and a line of units."""

    skipped: int
    names: list[str] | None
    separator: str
    units: list[str]


def _arrow(path, layout, encoding, types=None):
    from pyarrow import csv

    below = 2 if layout.units else 0
    return csv.read_csv(
        path,
        read_options=csv.ReadOptions(
            skip_rows=layout.skipped, column_names=layout.names, skip_rows_after_names=below, encoding=encoding
        ),
        parse_options=csv.ParseOptions(
            delimiter=layout.separator,
            invalid_row_handler=lambda row: "skip" if row.text.startswith("#") else "error",  # as VizieR ends its own
        ),
        convert_options=csv.ConvertOptions(
            null_values=(*_NULLS, *(f" {null}" for null in _NULLS)), strings_can_be_null=True, column_types=types
        ),
    )


def _layout(path):
    """
    What stands in the lines before the stars.

    Comments, the last of which may be the columns' names where the next line has numbers; and in VizieR's files lines
    of units and of dashes below the names.
    """
    comments, told = 0, ""
    with path.open("rb") as file, gzip.open(file) if path.suffix.lower() == ".gz" else file as lines:
        for raw in lines:
            line = _as_text(raw)
            if line.strip() and not line.startswith("#"):
                break
            comments, told = comments + 1, line if line.startswith("#") else told
        below = [_as_text(next(lines, b"")) for _ in range(2)]
    if line.startswith(_UTF16):
        msg = f"{path.name!r} is in UTF-16; save it in UTF-8 (in Excel: CSV UTF-8)"
        raise ServiceError(msg)
    separator = next((c for c in ",;\t" if c in line), ",")
    first, names = line.split(separator), [name.strip() for name in told.lstrip("# ").split(separator)]
    known = any(name.lower() in _KNOWN for name in names)
    if known and len(names) == len(first) > 1 and is_number(first[0]):
        return _Layout(comments, names, separator, [])
    units, dashes = (row.split(separator) for row in below)
    # A row of nulls may be dashes, too, but none of the rows before it is without a number then.
    of_vizier = all(cell.strip() and not cell.strip(" -") for cell in dashes) and not any(map(is_number, units))
    return _Layout(comments, None, separator, units if of_vizier else [])


def _as_text(line):
    line = line.removeprefix(codecs.BOM_UTF8).strip(b"\r\n")
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")
