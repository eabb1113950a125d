"""Tables out of VOTables that this package wrote, as they were; votable/ writes them."""

import base64
import xml.etree.ElementTree as ET

import astropy.units as u
import numpy as np
from astropy.table import Column, MaskedColumn, Table

from ._provenance import unflatten
from ._statements import check_status, parse_document, resources_around

__all__ = ["CHARACTERS", "MARK", "parse_written", "row_dtype"]

MARK = "decocc_vo"
"""Name of the INFO that says who wrote the file."""
_NUMBERS = {
    "unsignedByte": "u1",
    "short": ">i2",
    "int": ">i4",
    "long": ">i8",
    "float": ">f4",
    "double": ">f8",
    "floatComplex": ">c8",
    "doubleComplex": ">c16",
}
CHARACTERS = {"char": ("ascii", 1), "unicodeChar": ("utf_16_be", 2)}
"""Datatypes of text: encoding and bytes a character."""
_FIELD_META = ("ucd", "utype", "xtype")


def parse_written(content, columns=None, name="the VOTable"):
    """
    Table of a VOTable that this package wrote.

    Parameters
    ----------
    content : bytes
        The document.
    columns : list of `~numpy.ndarray`, optional
        Its data where they are not in the document (Parquet).
    name : str
        What an error calls it.

    Returns
    -------
    table : `~astropy.table.Table` or None
        Columns with nulls are masked columns, the others plain ones; NaN stays NaN. None where another program wrote
        the document.
    """
    if MARK.encode() not in content:
        return None
    root = ET.fromstring(content)
    if not any(info.get("name") == MARK for info in root.findall("{*}INFO")):
        return None
    stream = root.find(".//{*}TABLE/{*}DATA/{*}BINARY2/{*}STREAM")
    rows = None
    if stream is not None:
        # The rows are decoded here: astropy does it cell by cell, and takes NaN for null.
        rows, stream.text = base64.b64decode(stream.text or ""), ""
        document = parse_document(ET.tostring(root), name)
        if row_dtype(next(document.iter_tables()).fields) is None:
            rows = None  # another program wrote the file again, with fields of variable size
    if rows is None:
        document = parse_document(content, name)
    check_status(document, name)
    element = next(document.iter_tables(), None)
    if element is None:
        return None
    if columns is not None:
        shapes = row_dtype(element.fields)
        columns = [v.reshape(len(v), *shapes[f"c{i}"].shape) for i, v in enumerate(columns)]
    elif rows is not None:
        columns = _decode_rows(element.fields, rows)
    else:
        columns = [element.array[field.ID] for field in element.fields]
    notes = unflatten((info.name, info.value) for info in element.infos)
    resource = resources_around(document, element)[0]
    table = Table(meta=unflatten((info.name, info.value) for info in resource.infos))
    for field, values in zip(element.fields, columns, strict=True):
        column = _column(field, values, notes)
        table.add_column(column, name=column.name)
    return table


def row_dtype(fields):
    """Record type of one row: ``flags``, then ``c0``, ``c1``, ...; None where a field's size or type is not fixed."""
    members = [("flags", "u1", ((len(fields) + 7) // 8,))]
    for i, field in enumerate(fields):
        size = field.arraysize or "1"
        if field.datatype in CHARACTERS and size.isdigit():
            members.append((f"c{i}", f"S{int(size) * CHARACTERS[field.datatype][1]}"))
        elif field.datatype in _NUMBERS and "*" not in size:
            # VOTable's first axis runs fastest, numpy's last.
            shape = tuple(int(n) for n in reversed(size.split("x"))) if field.arraysize else ()
            members.append((f"c{i}", _NUMBERS[field.datatype], shape))
        else:
            return None
    return np.dtype(members)


def _decode_rows(fields, stream):
    """Masked columns of a BINARY2 stream, in the order of ``fields``; strings as str."""
    rows = np.frombuffer(stream, dtype=row_dtype(fields))
    null = np.unpackbits(rows["flags"], axis=1, count=len(fields)).astype(bool)
    columns = []
    for i, field in enumerate(fields):
        values = rows[f"c{i}"]
        if field.datatype in CHARACTERS:
            encoding, width = CHARACTERS[field.datatype]
            # numpy cut the zero bytes at the end, one of which may belong to a character.
            texts = [(v + b"\0" * (-len(v) % width)).decode(encoding) for v in values.tolist()]
            values = np.array(texts, dtype=str) if texts else np.empty(0, dtype="U1")
        else:
            values = values.astype(values.dtype.newbyteorder("="))
        mask = np.broadcast_to(null[:, i].reshape((-1,) + (1,) * (values.ndim - 1)), values.shape)
        columns.append(np.ma.masked_array(values, mask=mask.copy()))
    return columns


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
