"""Which table is meant: by its table-id, else by its URL in every spelling programs use."""

import os
import socket
import threading
from urllib.parse import unquote, urlsplit

__all__ = ["TableBook", "url_key"]

_LOCAL = {"", "localhost", "127.0.0.1", "::1"}


def url_key(url):
    """
    Bring a URL to one spelling, so that two that mean the same file compare equal.

    TOPCAT writes ``file:/tmp/a``, Python ``file:///tmp/a``, others ``file://localhost/tmp/a`` or the bare path; blanks
    come as ``%20`` or as they are; loopback has three names.

    Examples
    --------
    >>> from decocc_vo.samp._matching import url_key
    >>> url_key("file:/tmp/a%20b.vot") == url_key("file://localhost/tmp/a b.vot") == url_key("/tmp/a b.vot")
    True
    """
    text = str(url).strip()
    parts = urlsplit(text)
    scheme = parts.scheme.lower()
    if len(scheme) <= 1 or scheme == "file":  # a bare path, or a Windows drive
        if scheme != "file":
            path = text
        elif (parts.hostname or "") in _LOCAL | {socket.gethostname().lower()}:
            path = unquote(parts.path)
        else:
            path = f"//{parts.hostname}{unquote(parts.path)}"
        return "file:" + os.path.realpath("/" + path.lstrip("/") if path.startswith("/") else path)
    host = (parts.hostname or "").lower()
    host = "127.0.0.1" if host in _LOCAL else host
    default = {"http": 80, "https": 443, "ftp": 21}.get(scheme)
    try:
        port = parts.port or default
    except ValueError:  # not a number
        port = None
    query = f"?{unquote(parts.query)}" if parts.query else ""
    return f"{scheme}://{host}:{port}{unquote(parts.path) or '/'}{query}"


class TableBook:
    """
    The tables a session knows, each under any number of table-ids and URLs; safe from several threads.

    A table-id decides where there is one; the URL counts only where the id is missing or unknown.
    """

    def __init__(self):
        self._ids, self._urls, self._lock = {}, {}, threading.Lock()

    def add(self, entry, *, table_id=None, url=None):
        """Let ``entry`` be found by an id and a URL from now on, in place of what was found by them before."""
        with self._lock:
            for entries, key in ((self._ids, table_id), (self._urls, url and url_key(url))):
                if key:
                    entries.pop(key, None)  # so that the newest comes last
                    entries[key] = entry
        return entry

    def remove(self, entry):
        """Let ``entry`` be found no more."""
        with self._lock:
            for entries in (self._ids, self._urls):
                for key in [key for key, known in entries.items() if known is entry]:
                    del entries[key]

    def find(self, table_id=None, url=None):
        """The entry, or None when neither the id nor the URL is known."""
        with self._lock:
            if table_id and table_id in self._ids:
                return self._ids[table_id]
            return self._urls.get(url_key(url)) if url else None

    def entries(self):
        """Every entry once, the oldest first."""
        with self._lock:
            return list(dict.fromkeys([*self._ids.values(), *self._urls.values()]))
