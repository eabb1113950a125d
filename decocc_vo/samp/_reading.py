"""Fetch the table a message points to."""

import gzip
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from ..columns import state_release
from ..exceptions import DecoccError, ServiceError

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
        Its ``meta`` states release and epoch as that of `~decocc_vo.read_stars` does.

    Raises
    ------
    ServiceError
        If nothing can be fetched there, or it is not a table of that format, or the error of a service.
    """
    if urlsplit(url).scheme.lower() not in _SCHEMES:
        msg = f"the table's url {url!r} is not one of {', '.join(s + ':' for s in _SCHEMES)}"
        raise ServiceError(msg)
    from ..columns._fits import read_fits

    with tempfile.TemporaryDirectory(prefix="decocc-samp-") as folder:
        path = Path(folder) / "table"
        try:
            with _opener(url).open(url, timeout=timeout) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except (OSError, ValueError, urllib.error.URLError) as exc:
            msg = f"the table at {url} cannot be fetched: {getattr(exc, 'reason', exc)}"
            raise ServiceError(msg) from exc
        try:
            table = read_fits(path) if mtype.endswith("fits") else _read_votable(path, f"the VOTable at {url}")
        except DecoccError as exc:
            raise ServiceError(str(exc)) from exc
        except Exception as exc:
            msg = f"what is at {url} is no table that {mtype} promises: {exc}"
            raise ServiceError(msg) from exc
    state_release(table)
    return table


def _opener(url):
    """How to open a URL: a program on this machine serves its tables itself, which no proxy can reach."""
    host = urlsplit(url).hostname or ""
    local = host in ("localhost", "::1") or host.startswith("127.")
    return urllib.request.build_opener(*[urllib.request.ProxyHandler({})] if local else [])


def _read_votable(path, name):
    from ..votable import parse_votable

    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    if not content.lstrip()[:15].lower().startswith((b"<?xml", b"<votable")):
        # A page with a VOTable in it, such as this package's report, which the programs read as one, too.
        start, end = content.find(b"<VOTABLE"), content.rfind(b"</VOTABLE>")
        if start < 0 <= end or end < 0:
            msg = "there is no VOTABLE in it"
            raise ValueError(msg)
        content = content[start : end + len(b"</VOTABLE>")]
    return parse_votable(content, name=name)
