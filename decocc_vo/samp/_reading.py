"""Fetch the table a message points to."""

import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from ..exceptions import ServiceError

__all__ = ["fetch_table"]

_SCHEMES = ("file", "http", "https")


def fetch_table(url, mtype, timeout=60.0):
    """
    Read the table at a URL, as a message of type ``table.load.votable`` or ``table.load.fits`` announces it.

    Parameters
    ----------
    url : str
        A ``file:`` URL in any spelling, ``http:`` or ``https:``.
    mtype : str
        Its last word says the format.
    timeout : float
        Seconds without data after which the transfer is given up.

    Returns
    -------
    table : `~astropy.table.Table`

    Raises
    ------
    ServiceError
        If nothing can be fetched there, or it is not a table of that format.
    """
    if urlsplit(url).scheme.lower() not in _SCHEMES:
        msg = f"the table's url {url!r} is not one of {', '.join(s + ':' for s in _SCHEMES)}"
        raise ServiceError(msg)
    with tempfile.TemporaryDirectory(prefix="decocc-samp-") as folder:
        path = Path(folder) / "table"
        try:
            with _opener(url).open(url, timeout=timeout) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except (OSError, ValueError, urllib.error.URLError) as exc:
            msg = f"the table at {url} cannot be fetched: {getattr(exc, 'reason', exc)}"
            raise ServiceError(msg) from exc
        try:
            return _read_fits(path) if mtype.endswith("fits") else _read_votable(path)
        except Exception as exc:
            msg = f"what is at {url} is no table that {mtype} promises: {exc}"
            raise ServiceError(msg) from exc


def _opener(url):
    """How to open a URL: a program on this machine serves its tables itself, which no proxy can reach."""
    host = urlsplit(url).hostname or ""
    local = host in ("localhost", "::1") or host.startswith("127.")
    return urllib.request.build_opener(*[urllib.request.ProxyHandler({})] if local else [])


def _read_votable(path):
    from ..votable import read_votable

    content = path.read_bytes()
    if not content.lstrip()[:15].lower().startswith((b"<?xml", b"<votable")):
        # A page with a VOTable in it, such as this package's report, which the programs read as one, too.
        start, end = content.find(b"<VOTABLE"), content.rfind(b"</VOTABLE>")
        if start < 0 <= end or end < 0:
            msg = "there is no VOTABLE in it"
            raise ValueError(msg)
        path.write_bytes(content[start : end + len(b"</VOTABLE>")])
    return read_votable(path)


def _read_fits(path):
    from astropy.io import fits
    from astropy.table import Table

    with fits.open(path, memmap=False) as hdus:
        number = next((i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)), None)
        if number is None:
            msg = "no extension of the file is a table"
            raise ValueError(msg)
        return Table.read(hdus, hdu=number, format="fits")
