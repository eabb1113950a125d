"""Tables to and from files: the format follows the ending."""

import io
import os
import re
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table

from .. import __version__
from ..columns import COLUMNS, describe, registry_names
from ..columns._arrow import arrow_values
from ..columns._fits import read_fits
from ..columns._provenance import flatten, is_plain, unflatten
from ..exceptions import InputError, ServiceError
from ._atomic import atomic_path
from ._reading import parse_votable, read_votable
from ._votable import as_texts, is_spelt, plain_table, to_votable, write_votable

_ENDINGS = {
    ".vot": "votable",
    ".xml": "votable",
    ".votable": "votable",
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ecsv",
    ".parquet": "parquet",
}
_PARQUET_KEY = b"IVOA.VOTable-Parquet.content"


def file_format(path, argument="path"):
    """Which format a file's ending asks for; an InputError, which names the caller's argument, where none is known."""
    try:
        suffix = Path(path).suffix.lower()
    except TypeError:
        msg = f"'{argument}' must be a file's name, not {type(path).__name__}"
        raise InputError(msg) from None
    if suffix not in _ENDINGS:
        msg = f"'{argument}' {os.fspath(path)} has no ending that is known; end it in .vot, .fits, .ecsv or .parquet"
        raise InputError(msg)
    return _ENDINGS[suffix]


def write_table(table, path, *, overwrite=True):
    """
    Write a table in the format of the file's ending, with units, UCDs, descriptions and provenance.

    ``.vot``, ``.xml``, ``.votable``
        VOTable 1.5, see `write_votable`.
    ``.fits``, ``.fit``
        Binary table; UCDs as ``TUCDn``, descriptions as ``TCOMMn``, each meta value as a card ``INFOn =
        'name = value'``. FITS has no null for floats and strings: masked ones are NaN and empty, and what is NaN or
        empty is read back as masked.
    ``.ecsv``
        Astropy's text format. Empty text is null there, too, and is read back as masked; blanks around text are lost,
        and its line ends may change.
    ``.parquet``
        Masked values are nulls, and the file carries the data-less VOTable of the IVOA's VOParquet note.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The table, usually ``result.table``.
    path : str or path-like
        Where to write; the file appears only when it is complete.
    overwrite : bool, optional
        Whether an existing file is replaced.

    Raises
    ------
    InputError
        If the ending is not known, the format cannot hold a column, or the file exists and ``overwrite`` is false.
    ServiceError
        If the folder does not exist or the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> from astropy.table import Table
    >>> from decocc_vo.votable import read_table, write_table
    >>> path = os.path.join(tempfile.mkdtemp(), "stars.parquet")
    >>> write_table(Table({"source_id": [66733552578791296]}, meta={"release": "Gaia DR3"}), path)
    >>> read_table(path).meta
    {'release': 'Gaia DR3'}
    """
    kind = file_format(path)
    if kind == "votable":
        write_votable(table, path, overwrite=overwrite)
        return
    stars = _described(table)
    with atomic_path(path, overwrite) as temporary:
        {"fits": _write_fits, "ecsv": _write_ecsv, "parquet": _write_parquet}[kind](stars, temporary)


def read_table(path):
    """
    Read a table that `write_table` wrote; the format follows the ending.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    table : `~astropy.table.Table`
        With units, UCDs, descriptions and meta.

    Raises
    ------
    InputError
        If the ending is not known or the file is not of that format.
    ServiceError
        If the file cannot be read.
    """
    kind = file_format(path)
    if kind == "votable":
        return read_votable(path)
    path = Path(path).expanduser()
    try:
        return {"fits": read_fits, "ecsv": _read_ecsv, "parquet": _read_parquet}[kind](path)
    except OSError as error:
        msg = f"'path' {path} cannot be read: {error.strerror or error}"
        raise ServiceError(msg) from error
    except (ValueError, KeyError) as error:
        msg = f"'path' {path} is not a {kind} table that can be read: {' '.join(str(error).split())}"
        raise InputError(msg) from error


def _described(table):
    """A copy of plain columns, each of the registry's with unit, UCD and description."""
    stars = plain_table(table).copy()
    for ours, theirs in registry_names(stars).items():
        describe(stars[theirs], COLUMNS[ours], missing_only=True)
    return stars


# What a FITS column cannot be: masked logical, and these types; the type is noted and restored.
_FITS_LARGER = {"i1": "i2", "f2": "f4"}
_FITS_WIDEST = {"f": 8, "c": 16}  # bytes


def _write_fits(stars, path):
    meta, columns, notes, told = dict(stars.meta), [], {}, []
    for name in stars.colnames:
        if not is_plain(name, ascii_only=True):
            msg = f"'table' has a column {name!r}, and FITS knows only ASCII in names; rename it, or write a .vot"
            raise InputError(msg)
        told.append({"TUCD": stars[name].meta.get("ucd"), "TCOMM": stars[name].description})
        column, note = _fits_column(stars[name])
        columns.append(column)
        if note:
            notes[name] = note
    buffer = io.BytesIO()
    Table(columns).write(buffer, format="fits")
    buffer.seek(0)
    with fits.open(buffer) as hdus:
        header = hdus[1].header
        header["EXTNAME"] = "STARS"
        header["ORIGIN"] = f"decocc_vo {__version__}"
        header["RADESYS"] = "ICRS"
        for i, texts in enumerate(told, start=1):
            for key, text in texts.items():
                if isinstance(text, str):
                    header[f"{key}{i}"] = "".join(c if " " <= c <= "~" else "?" for c in text)
        for key, name in (("RELEASE", "release"), ("REFEPOCH", "ref_epoch")):
            if isinstance(meta.get(name), float | int) or (
                isinstance(meta.get(name), str) and is_plain(meta[name], ascii_only=True)
            ):
                header[key] = meta[name]
        for keyword, items in (("INFO", meta), ("CNOTE", notes)):
            for i, (name, text) in enumerate(flatten(items, ascii_only=True), start=1):
                header[f"{keyword}{i}"] = f"{name} = {text}"
        hdus.writeto(path)


def _fits_column(column):
    """The column as FITS can hold it, and notes on its unit and type where that is not as it was."""
    note, unit = {}, column.unit
    if unit is not None and not is_spelt(unit, "fits"):
        note["unit"], unit = unit.to_string(), None
    mask = np.ma.getmaskarray(column)
    values = np.asarray(np.ma.getdata(np.ma.asarray(column)))  # a Column would bring its description with it
    dtype = values.dtype
    code = "i2" if dtype.kind == "b" and mask.any() else _FITS_LARGER.get(dtype.str[1:])
    if code is not None:
        note["dtype"], values = dtype.name, values.astype(code)
    elif dtype.kind in "mM" or dtype.itemsize > _FITS_WIDEST.get(dtype.kind, np.inf):
        msg = f"'table' column {column.name!r} has values of type {dtype}, which FITS cannot hold; make it text"
        raise InputError(msg)
    elif dtype.kind == "O":
        note["dtype"], values = dtype.name, as_texts(column.name, np.ma.masked_array(values, mask), mask)[0].data
    if dtype.kind == "S":
        note["dtype"] = dtype.str[1:]
    elif values.dtype.kind == "U" and not all(text.isascii() and text.isprintable() for text in values.ravel()):
        # FITS knows printable ASCII only.
        note["escaped"] = True
        values = np.strings.encode(values, "unicode_escape")
    # In the header, for what astropy would make of them there, STIL cannot write as a VOTable that can be read.
    own = dict(column.meta)
    if _is_card(own.get("ucd")):
        del own["ucd"]  # it stands in TUCDn
    if column.description and not _is_card(column.description):
        note["description"] = column.description
    note |= {key: item for key, item in (("meta", own), ("format", column.format)) if item}
    kwargs = {"name": column.name, "unit": unit}
    if not mask.any():
        return Column(values, **kwargs), note
    fill_value = _unused(values[~mask]) if values.dtype.kind in "iu" else None
    return MaskedColumn(values, mask=mask, fill_value=fill_value, **kwargs), note


def _is_card(text):
    """Whether a FITS header can hold a text as it is."""
    return isinstance(text, str) and is_plain(text, ascii_only=True) and text == text.strip() != ""


def _unused(values):
    """An integer that does not occur, to stand for null: the type's lowest where that is free."""
    info = np.iinfo(values.dtype)
    if info.min not in values and info.min < 0:
        return info.min
    taken = np.unique(values)
    free = np.setdiff1d(np.arange(info.max, info.max - len(taken) - 1, -1, dtype=object), taken.astype(object))
    free = [n for n in free if n >= info.min]
    if not free:
        msg = f"'table' has a masked column of {values.dtype} in which every value occurs: FITS has none left for null"
        raise InputError(msg)
    return free[-1]


def _write_ecsv(stars, path):
    stars.meta = unflatten(flatten(stars.meta))
    simple = all(c.ndim == 1 and c.dtype.kind in "biufU" for c in stars.itercols())
    text = io.StringIO()
    (stars[:0] if simple else stars).write(text, format="ascii.ecsv")
    if simple and stars.colnames:
        # astropy writes the header; cell by cell it would take 45 s for the rows of 50 000 stars.
        columns = [_ecsv_cells(column) for column in stars.itercols()]
        text.writelines(" ".join(row) + "\n" for row in zip(*columns, strict=True))
    path.write_bytes(text.getvalue().encode("utf-8"))  # whatever the locale


_ECSV_QUOTED = re.compile(r"[\s\"\\,#']|^$")


def _ecsv_cells(column):
    """Texts of a column; an empty one is null."""
    cells = np.ma.getdata(np.ma.asarray(column)).astype(str).tolist()
    if column.dtype.kind == "U":
        cells = ['"' + c.replace('"', '""') + '"' if _ECSV_QUOTED.search(c) else c for c in cells]
    mask = np.ma.getmaskarray(column)
    return ['""' if null else cell for cell, null in zip(cells, mask, strict=True)] if mask.any() else cells


def _read_ecsv(path):
    return Table.read(path, format="ascii.ecsv", encoding="utf-8")


def _write_parquet(stars, path):
    import pyarrow as pa
    from pyarrow import parquet

    header = io.BytesIO()
    to_votable(stars[:0]).to_xml(header)
    arrays = {column.name: _arrow(column) for column in stars.itercols()}
    content = pa.table(arrays).replace_schema_metadata(
        {"IVOA.VOTable-Parquet.version": "1.0", "IVOA.VOTable-Parquet.content": header.getvalue()}
    )
    parquet.write_table(content, path, compression="zstd")


def _arrow(column):
    import pyarrow as pa

    mask = np.ma.getmaskarray(column)
    values = np.ma.getdata(np.ma.asarray(column))
    if values.dtype.kind in "SUO":
        values = as_texts(column.name, np.ma.masked_array(values, mask), mask)[0].data.astype(object)
        return pa.array(values, mask=mask, type=pa.string())
    if values.dtype.kind == "c":
        msg = f"'table' column {column.name!r} is complex, which Parquet cannot hold; write real and imaginary parts"
        raise InputError(msg)
    values = values.astype(values.dtype.newbyteorder("="))
    if values.ndim == 1:
        return pa.array(values, mask=mask)
    cells = pa.array(values.ravel(), mask=mask.ravel())
    null = pa.array(mask.all(axis=tuple(range(1, mask.ndim))))
    return pa.FixedSizeListArray.from_arrays(cells, int(np.prod(values.shape[1:])), mask=null)


def _read_parquet(path):
    from pyarrow import lib, parquet

    try:
        content = parquet.read_table(path)
    except lib.ArrowException as error:
        raise ValueError(str(error)) from error
    header = (content.schema.metadata or {}).get(_PARQUET_KEY)
    if header is None:
        msg = "it carries no VOTable header; decocc_vo.read_stars reads plain Parquet files"
        raise ValueError(msg)
    return parse_votable(header, list(map(arrow_values, content.columns)))
