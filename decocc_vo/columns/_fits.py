"""Tables out of FITS files, with what the headers say of columns, release and epoch."""

import logging

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table

from ._provenance import unflatten
from ._registry import COLUMNS
from ._statements import parse_document, votable_statements

log = logging.getLogger(__name__)

__all__ = ["read_fits"]


def _first(tables):
    if not tables:
        msg = "no extension of the file is a table"
        raise ValueError(msg)
    return tables[0]


def read_fits(path, choose=_first):
    """
    Read a table of a FITS file; one that `~decocc_vo.votable.write_table` wrote comes back as it was.

    Parameters
    ----------
    path : path-like
        The file.
    choose : callable, optional
        Picks one of the HDUs that are tables; default: the first.

    Returns
    -------
    `~astropy.table.Table`
        Text is str, UCDs are in the columns' ``meta``, units that nobody knows stay as they are, and ``meta`` has what
        the first HDU states of release and epoch.

    Raises
    ------
    ValueError
        If no HDU is a table.
    """
    with fits.open(path, memmap=False, character_as_bytes=True) as hdus:
        hdu = choose([hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)])
        stars = Table.read(hdu, format="fits", unit_parse_strict="silent")
        if str(hdu.header.get("ORIGIN", "")).startswith("decocc_vo"):
            return _as_written(stars, hdu.header)
        # Of some astropy makes coordinates.
        plain = [name for name in stars.colnames if isinstance(stars[name], Column)]
        text = Table([stars[name] for name in plain if stars[name].dtype.kind == "S"])
        text.convert_bytestring_to_unicode()
        for name in text.colnames:
            stars.replace_column(name, text[name])
        for i, name in enumerate(hdu.columns.names, start=1):  # as TOPCAT and this package write them
            ucd, comment = (stars.meta.pop(f"{key}{i}", None) for key in ("TUCD", "TCOMM"))
            if name not in plain:
                continue
            column = stars[name]
            if ucd:
                column.meta["ucd"] = ucd
            if comment and column.name not in COLUMNS:
                column.description = comment
        for key in ("RELEASE", "REFEPOCH"):
            if key not in stars.meta and key in hdus[0].header:
                stars.meta[key] = hdus[0].header[key]
        if hdus[0].header.get("VOTMETA") is True:
            stars.meta |= _fits_plus(hdus, hdu) | stars.meta
    return stars


def _fits_plus(hdus, hdu):
    """Statements of the VOTable that STIL keeps in the first HDU, a TABLE for each of the following HDUs."""
    try:
        tables = list((document := parse_document(np.asarray(hdus[0].data).tobytes())).iter_tables())
    except Exception as error:  # whoever wrote it: the table itself is in another HDU
        log.debug("the first HDU is no VOTable: %s", error)
        return {}
    number = next(i for i, other in enumerate(hdus) if other is hdu) - 1
    return votable_statements(document, tables[number]) if number < len(tables) else {}


def _as_written(stars, header):
    """Undo what `~decocc_vo.votable.write_table` had to do to meta and columns, by its notes in the header."""
    stars.meta = _from_cards(header, "INFO")
    notes = _from_cards(header, "CNOTE")
    for i, name in enumerate(stars.colnames, start=1):
        note, column = notes.get(name, {}), stars[name]
        dtype = note.get("dtype")
        if column.dtype.kind in "SU" and not str(dtype).startswith("S"):
            encoding = "unicode_escape" if note.get("escaped") else "ascii"
            texts = np.strings.decode(np.asarray(np.ma.getdata(column), dtype="S"), encoding)
            column = type(column)(texts, name=name, unit=column.unit)
            if isinstance(column, MaskedColumn):
                column.mask = stars[name].mask
        if dtype is None:
            dtype = column.dtype.newbyteorder("=")
        if column.dtype != dtype:
            column = column.astype(dtype)
        if "unit" in note:
            column.unit = u.Unit(note["unit"], parse_strict="silent")
        ucd = {"ucd": header[f"TUCD{i}"]} if f"TUCD{i}" in header else {}
        column.meta = {**ucd, **note.get("meta", {})}
        column.description = note.get("description", header.get(f"TCOMM{i}"))
        column.format = note.get("format")
        stars[name] = column
    return stars


def _from_cards(header, keyword):
    texts = [text for key, text in header.items() if key.startswith(keyword) and key[len(keyword) :].isdigit()]
    return unflatten(tuple(text.split(" = ", 1)) for text in texts)
