"""Stars from a file the user has: FITS, VOTable, ECSV, CSV or Parquet."""

import codecs
import gzip
import logging
from pathlib import Path

import astropy.units as u
from astropy.table import Table

from .._quietly import listening
from ..columns import (
    ASTROMETRY,
    COLUMNS,
    check_mapping,
    check_status,
    describe,
    get_release,
    parse_document,
    state_release,
    unused_name,
    votable_statements,
)
from ..columns._arrow import arrow_values
from ..columns._votable import parse_written
from ..exceptions import DecoccError, InputError, ServiceError
from ._csv import read_csv

__all__ = ["ENDINGS", "read_stars"]

log = logging.getLogger(__name__)

ENDINGS = {
    ".fits": "FITS",
    ".fit": "FITS",
    ".fts": "FITS",
    ".vot": "VOTable",
    ".votable": "VOTable",
    ".xml": "VOTable",
    ".ecsv": "ECSV",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".parquet": "Parquet",
    ".parq": "Parquet",
}
"""Endings of the files that can be read, and what they stand for."""
_GZIP = b"\x1f\x8b"


def read_stars(path, columns=None, release=None):
    """
    Read stars from a file.

    The format follows the ending (``.fits .fit .fts .vot .votable .xml .ecsv .csv .parquet .parq``, all but Parquet
    also with ``.gz``), and the content where that plainly is another of these formats. Of several tables in a file the
    first with positions, motions and parallaxes is read.

    Parameters
    ----------
    path : str or path-like
        The file.
    columns : mapping of str to str, optional
        Registry name to the file's name, where they differ: ``{"pmra": "pmRA"}``. These columns are renamed; one that
        had the registry name already is kept as ``NAME_original``.
    release : str, optional
        Release the stars come from, a key of `decocc_vo.RELEASES`; by default what the file states (``RELEASE`` and
        ``REFEPOCH`` in a FITS header, INFO, PARAM or COOSYS in a VOTable, columns ``designation`` and ``ref_epoch``).

    Returns
    -------
    `~astropy.table.Table`
        All rows and all columns of the file. Columns of the registry get its unit, UCD and description where the
        file gives none. ``meta`` states ``release`` and ``release_key`` ("unknown" where the file does not say: it
        is never guessed), ``ref_epoch`` where known, ``source``, ``query``, which is that of the service where the file
        has it, and ``citation``.

    Raises
    ------
    InputError
        If the ending is none of these, ``columns`` does not fit the file, two columns have one name, or ``release`` is
        unknown.
    ServiceError
        If the file is not there, empty, damaged, holds no table, or the error of a service.

    Examples
    --------
    >>> from decocc_vo import read_stars
    >>> stars = read_stars("pleiades.vot", columns={"parallax": "plx_corrected"})  # doctest: +SKIP
    """
    try:
        path = Path(path).expanduser()
    except TypeError:
        msg = f"'path' must be a file's name, not {type(path).__name__}"
        raise InputError(msg) from None
    form, ending = _format(path)
    known = None if release is None else get_release(release, argument="release")
    content = _content(path)
    if content not in (None, form):
        log.info("%s ends in %s and holds %s; it is read as %s", path.name, ending, content, content)
        form = content
    try:
        # Readers warn of units they do not know and of sloppy headers: that is no news to act on, damage is.
        with listening() as caught:
            stars = _READERS[form](path)
    except DecoccError:
        raise
    except Exception as err:
        # astropy's own are ("sentence", {settings of the parser})
        words = err.args[0] if err.args and isinstance(err.args[0], str) else str(err)
        reason = words.strip().split("\n")[0][:160] or type(err).__name__
        if "cannot reshape array" in reason:  # what astropy says of a FITS file that ends within its table
            _refuse_incomplete(path, reason)
        msg = f"{path.name!r} cannot be read as {form}: {reason}"
        raise ServiceError(msg) from None
    for warning in caught:
        text = str(warning.message).split("\n")[0]
        if "truncated" in text:
            _refuse_incomplete(path, text)
        log.debug("%s: %s", path.name, text)
    _rename(stars, columns or {})
    for name in set(stars.colnames) & set(COLUMNS):
        describe(stars[name], missing_only=True)
    state_release(stars, known)
    # Where a file says what its stars were asked for with, that stays; of several files the last is named.
    before = str(stars.meta.get("source", ""))
    origin = before.partition(", from ")[2] if before.startswith("file ") else before
    stars.meta["source"] = f"file {path.name} ({form})" + (f", from {origin}" if origin else "")
    stars.meta.setdefault("query", f"all {len(stars)} rows of {path.name}")
    return stars


def _refuse_incomplete(path, reason):
    msg = f"{path.name!r} is incomplete ({reason}); fetch it again"
    raise ServiceError(msg)


def _refuse_empty(path):
    """Say why a file holds no table: a compressed one may end before it."""
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except EOFError as err:
        _refuse_incomplete(path, err)
    except OSError:  # not compressed
        pass
    msg = f"{path.name!r} holds no table"
    raise ServiceError(msg)


def _of_stars(tables, names):
    """The first of several tables in which all of the astrometry is, or the first one."""
    wanted = [{name, *COLUMNS[name].aliases} for name in ASTROMETRY]
    there = [{name.lower() for name in names(table)} for table in tables]
    good = [table for table, found in zip(tables, there, strict=True) if all(found & names for names in wanted)]
    if len(good) > 1:
        log.warning("the file holds %d tables of stars, and the first is read", len(good))
    return good[0] if good else tables[0]


def _format(path):
    if path.is_dir():
        msg = f"{path.name or str(path)!r} cannot be read: it is a folder; give a file's name"
        raise ServiceError(msg)
    if path.exists() and not path.is_file():  # a pipe, of which a second reader waits for ever
        msg = f"{path.name!r} is no regular file; write the stars to one first"
        raise InputError(msg)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    ending = "".join(suffixes[-2:]) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])
    form = ENDINGS.get(ending.removesuffix(".gz"))
    if form is None or (form == "Parquet" and ending.endswith(".gz")):
        msg = f"'path' {path.name!r} has no ending that is known; use one of {', '.join(ENDINGS)} (or .csv.gz and such)"
        raise InputError(msg)
    return form, ending


def _content(path):
    """What the first bytes say the file holds; None where they do not say."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
        if head.startswith(_GZIP):
            with gzip.open(path) as file:
                head = file.read(512)
    except (OSError, EOFError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        msg = f"{path.name!r} cannot be read: {reason}"
        raise ServiceError(msg) from None
    if not head.strip():
        msg = f"{path.name!r} is empty"
        raise ServiceError(msg)
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith(b"SIMPLE  ="):
        return "FITS"
    if head.startswith(b"PAR1"):
        return "Parquet"
    if text.startswith(b"# %ECSV"):
        return "ECSV"
    if text.startswith((b"<?xml", b"<VOTABLE", b"<!--")):
        return "VOTable"
    return None


def _read_fits(path):
    from ..columns._fits import read_fits

    def choose(tables):
        return _of_stars(tables, lambda hdu: hdu.columns.names) if tables else _refuse_empty(path)

    return read_fits(path, choose)


def _read_votable(path):
    content = path.read_bytes()
    content = gzip.decompress(content) if content.startswith(_GZIP) else content
    written = parse_written(content, name=repr(path.name))
    if written is not None:
        return written
    document = parse_document(content, repr(path.name))
    check_status(document, repr(path.name))
    tables = list(document.iter_tables())
    if not tables:
        _refuse_empty(path)
    chosen = _of_stars(tables, lambda table: [field.name for field in table.fields])
    stars = chosen.to_table(use_names_over_ids=True)
    for name in ("ID", "name", "description"):  # of the TABLE element
        stars.meta.pop(name, None)
    stars.meta |= votable_statements(document, chosen) | stars.meta
    return stars


def _read_ecsv(path):
    return Table.read(path, format="ascii.ecsv", encoding="utf-8")


def _read_csv(path):
    raw, units = read_csv(path)
    stars = _from_arrow(raw)
    for name, unit in zip(stars.colnames, units, strict=False):
        stars[name].unit = u.Unit(unit.strip(), parse_strict="silent") if unit.strip(" -") else None
    return stars


def _read_parquet(path):
    from pyarrow import parquet

    raw = parquet.ParquetFile(path).read()
    notes = raw.schema.metadata or {}
    header = notes.get(b"IVOA.VOTable-Parquet.content")
    if header is not None and (written := parse_written(header, list(map(arrow_values, raw.columns)))) is not None:
        return written
    stars = _from_arrow(raw)
    if header is not None:
        return _with_votable_header(stars, header)
    if b"table_meta_yaml" in notes:
        return _with_astropy_header(stars, notes[b"table_meta_yaml"].decode())
    return stars


def _with_votable_header(stars, header):
    """Units, UCDs and what is stated, from the header of a VOTable in Parquet (IVOA Note VOParquet)."""
    document = parse_document(header)
    table = next(document.iter_tables())
    for field in table.fields:
        if field.name in stars.colnames:
            field.to_table_column(stars[field.name])
    stars.meta |= votable_statements(document, table) | stars.meta
    return stars


def _with_astropy_header(stars, header):
    """Units, masks and meta as `astropy.table.Table.write` keeps them; its own reader would need pandas."""
    from astropy.table import meta, serialize

    notes = meta.get_header_from_yaml(header.split("\n"))
    stars.meta.update(notes.get("meta", {}))
    for note in notes["datatype"]:
        for key in {"description", "format", "unit", "meta"} & set(note):
            setattr(stars[note["name"]], key, note[key])
    return Table(serialize._construct_mixins_from_columns(stars), copy=False)  # no Quantities, as of other formats


def _from_arrow(raw):
    """A Table of an Arrow table; a column with nulls is masked and keeps its type, integers their digits."""
    stars = Table()
    for name, column in zip(map(str.strip, raw.column_names), raw.columns, strict=True):
        if name in stars.colnames:
            msg = f"'path' holds two columns named {name!r}; give one of them another name"
            raise InputError(msg)
        stars[name] = arrow_values(column)
    return stars


_READERS = {
    "FITS": _read_fits,
    "VOTable": _read_votable,
    "ECSV": _read_ecsv,
    "CSV": _read_csv,
    "Parquet": _read_parquet,
}


def _rename(stars, columns):
    check_mapping(columns, COLUMNS)
    for name, theirs in columns.items():
        if theirs not in stars.colnames:
            msg = f"'columns' says {name} is {theirs!r}, but the file has no such column"
            raise InputError(msg)
    moved = {name: theirs for name, theirs in columns.items() if name != theirs}
    for name in moved:
        if name in stars.colnames and name not in moved.values():
            stars.rename_column(name, unused_name(stars, name))
    # In two steps, so that two columns can change places.
    for name, theirs in moved.items():
        stars.rename_column(theirs, f"{name} of {theirs}")
    for name, theirs in moved.items():
        stars.rename_column(f"{name} of {theirs}", name)
