"""Tables out of VOTables, as they were written."""

import base64
import xml.etree.ElementTree as ET
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import votable
from astropy.table import Column, MaskedColumn, Table

from ..columns import check_status, parse_document, resources_around, votable_statements
from ..columns._provenance import unflatten
from ..exceptions import InputError, ServiceError
from ._binary2 import decode_rows, row_dtype
from ._votable import MARK

_FIELD_META = ("ucd", "utype", "xtype")


def read_votable(path):
    """
    Read a VOTable; of one written by `write_votable` everything comes back as it was, but for
    angles in hours, which are in degrees.

    Of any other VOTable the first table is read, and the INFO elements of its RESOURCE become ``table.meta``, with what
    stands elsewhere of release and epoch.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    table : `~astropy.table.Table`
        Columns with nulls are masked columns, the others plain ones; NaN stays NaN.

    Raises
    ------
    ServiceError
        If the file cannot be read, or holds the error of a service.
    InputError
        If it is not a VOTable, or holds no table.
    """
    try:
        content = Path(path).expanduser().read_bytes()
    except OSError as error:
        msg = f"'path' {path} cannot be read: {error.strerror or error}"
        raise ServiceError(msg) from error
    try:
        return parse_votable(content, name=f"'path' {path}")
    except InputError:
        raise
    except (ET.ParseError, votable.exceptions.VOTableSpecError, IndexError, ValueError) as error:
        msg = f"'path' {path} is not a VOTable that can be read: {' '.join(str(error).split())}"
        raise InputError(msg) from error


def parse_votable(content, columns=None, name="the VOTable"):
    """Table of a VOTable's bytes; ``columns`` are its data where they are not in the document (Parquet)."""
    root = ET.fromstring(content)
    stream = root.find(".//{*}TABLE/{*}DATA/{*}BINARY2/{*}STREAM")
    ours = any(info.get("name") == MARK for info in root.findall("{*}INFO"))
    rows = None
    if ours and stream is not None:
        # The rows are decoded here: astropy does it cell by cell, and takes NaN for null.
        rows, stream.text = base64.b64decode(stream.text or ""), ""
        document = parse_document(ET.tostring(root))
        if row_dtype(next(document.iter_tables()).fields) is None:
            rows = None  # another program wrote the file again, with fields of variable size
    if rows is None:
        document = parse_document(content)
    check_status(document, name)
    element = next(document.iter_tables(), None)
    if element is None:
        msg = f"{name} holds no table"
        raise InputError(msg)
    infos = [(info.name, info.value) for info in resources_around(document, element)[0].infos]
    if not ours:
        table = element.to_table(use_names_over_ids=True)
        table.meta.update(infos)
        table.meta |= votable_statements(document, element) | table.meta
        return table
    if columns is None:
        if rows is not None:
            columns = decode_rows(element.fields, rows)
        else:
            columns = [element.array[field.ID] for field in element.fields]
    else:
        shapes = row_dtype(element.fields)
        columns = [v.reshape(len(v), *shapes[f"c{i}"].shape) for i, v in enumerate(columns)]
    notes = unflatten((info.name, info.value) for info in element.infos)
    table = Table(meta=unflatten(infos))
    for field, values in zip(element.fields, columns, strict=True):
        column = _column(field, values, notes)
        table.add_column(column, name=column.name)
    return table


def _column(field, values, notes):
    """The column that was written: values, dtype, mask, unit, description and meta."""
    name = next((key for key, note in notes.items() if note.get("id") == field.ID), field.name)
    note = notes.get(name, {})
    mask = np.ma.getmaskarray(values)
    data = np.ma.getdata(values)
    dtype = note.get("dtype")
    if dtype is not None and dtype[:1] == "S":
        data = np.array([text.encode() for text in data.tolist()], dtype=dtype)
    elif dtype is not None:
        data = data.astype(dtype)
    mask = note.get("mask", mask)
    column = MaskedColumn(data, mask=mask) if np.any(mask) else Column(data)
    column.name = name
    added = note.get("added", [])
    if "description" not in added:
        column.description = note.get("description", " ".join((field.description or "").split()) or None)
    column.unit = u.Unit(note["unit"], parse_strict="silent") if "unit" in note else field.unit
    column.format = note.get("format")
    column.meta.update(note.get("meta", {}))
    for key in _FIELD_META:
        if key == "ucd" and "ucd" in note:
            column.meta[key] = note[key]
        elif getattr(field, key) is not None and key not in added:
            column.meta[key] = getattr(field, key)
    return column
