"""Tables out of VOTables, as they were written."""

import xml.etree.ElementTree as ET
from pathlib import Path

from astropy.io import votable

from ..columns import check_status, parse_document, resources_around, votable_statements
from ..columns._votable import parse_written
from ..exceptions import DecoccError, InputError, ServiceError


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
        If the file cannot be read, holds the error of a service, or has its rows elsewhere or as FITS inside.
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
    except DecoccError:
        raise
    except (ET.ParseError, votable.exceptions.VOTableSpecError, IndexError, ValueError) as error:
        msg = f"'path' {path} is not a VOTable that can be read: {' '.join(str(error).split())}"
        raise InputError(msg) from error


def parse_votable(content, columns=None, name="the VOTable"):
    """Table of a VOTable's bytes; ``columns`` are its data where they are not in the document (Parquet)."""
    written = parse_written(content, columns, name)
    if written is not None:
        return written
    document = parse_document(content, name)
    check_status(document, name)
    element = next(document.iter_tables(), None)
    if element is None:
        msg = f"{name} holds no table"
        raise InputError(msg)
    table = element.to_table(use_names_over_ids=True)
    table.meta.update((info.name, info.value) for info in resources_around(document, element)[0].infos)
    table.meta |= votable_statements(document, element) | table.meta
    return table
