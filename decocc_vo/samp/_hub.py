"""Hubs: is one there, start one, and ask the user before a web page joins it."""

import logging
import queue
import socket
import sys
import threading
import xmlrpc.client

from ..exceptions import ServiceError
from ._bounded import bounded

__all__ = ["hub_parameters", "hub_running", "offline", "start_hub"]

log = logging.getLogger(__name__)

CONSENT_SECONDS = 60.0

_LOCK_FILE = "SAMP_HUB must be unset or 'std-lockurl:file:///FILE', and the file's folder, or home, writable"

WEB_PORT = 21012
"""Port of the web profile; the standard fixes it."""


def offline():
    """Keep pyvo from asking a public web site for this machine's name; hubs and clients here live on loopback."""
    from pyvo.samp import conf

    return conf.set_temp("use_internet", False)


def hub_parameters(timeout=5.0):
    """
    What the lock file of the running hub says, or None when no hub answers.

    A lock file that is half written or left behind by a dead hub counts as none.
    """
    from pyvo.samp import SAMPHubError
    from pyvo.samp.lockfile_helpers import get_main_running_hub

    try:
        return bounded(get_main_running_hub, timeout=timeout)
    except (SAMPHubError, OSError, KeyError, ValueError, xmlrpc.client.Error) as exc:
        log.debug("no hub: %s", exc)
        return None


def hub_running(timeout=5.0):
    """
    Whether a SAMP hub answers on this machine.

    Parameters
    ----------
    timeout : float
        Seconds to wait for its answer.

    Returns
    -------
    running : bool

    Examples
    --------
    >>> from decocc_vo.samp import hub_running
    >>> isinstance(hub_running(), bool)
    True
    """
    return hub_parameters(timeout) is not None


def start_hub(web_profile=True, consent=None):
    """
    Start a SAMP hub in this process; programs on this machine find it by its lock file.

    Parameters
    ----------
    web_profile : bool
        Let pages in a browser join through port 21012, which the standard fixes. When that port is taken the hub
        runs without.
    consent : callable, optional
        ``consent(name, origin) -> bool`` is asked before a page joins, since a page that joined can send anything
        to the programs. By default the question is put on the terminal, and refused where there is none.

    Returns
    -------
    hub : `pyvo.samp.SAMPHubServer`
        The running hub; end it with ``hub.stop()``.

    Raises
    ------
    ServiceError
        If a hub runs already, or the lock file by which programs find it cannot be written.
    """
    from pyvo.samp import SAMPHubServer

    if hub_running():
        msg = "a SAMP hub runs already; use it (leave 'hub' out), or end it first"
        raise ServiceError(msg)
    if web_profile and not _port_is_free(WEB_PORT):
        log.warning("port %d is taken: the hub runs without the web profile, and no page can join it", WEB_PORT)
        web_profile = False
    dialog = _Consent(consent or _terminal.ask) if web_profile else None
    with offline():
        hub = SAMPHubServer(
            addr="127.0.0.1", label="decocc_vo", web_profile=web_profile, web_profile_dialog=dialog, mode="single"
        )
        try:
            _start(hub)
        except BaseException:  # Ctrl-C, too: no hub, and no lock file, stays behind
            hub.stop()
            raise
    if dialog is not None:
        threading.Thread(target=dialog.serve, args=(hub,), name="SAMP consent", daemon=True).start()
    return hub


def _start(hub):
    """Start a hub that programs find, or say why that is not so."""
    try:
        hub.start()
    except (OSError, AttributeError) as exc:  # AttributeError: pyvo found no file's name in SAMP_HUB
        msg = f"the SAMP hub did not start: {exc}; {_LOCK_FILE}"
        raise ServiceError(msg) from exc
    if (hub_parameters(timeout=20.0) or {}).get("samp.secret") != hub.params["samp.secret"]:
        msg = f"the SAMP hub was ended, since no program would find it: it has no lock file; {_LOCK_FILE}"
        raise ServiceError(msg)


def _port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class _Consent:
    """Answer pyvo's hub when a page asks to join; pyvo sets ``queue_request`` and ``queue_result``."""

    def __init__(self, ask):
        self.ask = ask

    def serve(self, hub):
        while hub.is_running:
            try:
                identity, _, origin = self.queue_request.get(timeout=0.2)
            except queue.Empty:
                continue
            name = identity.get("samp.name", "unknown") if isinstance(identity, dict) else str(identity)
            try:  # a second more than the terminal takes, which ends in time by itself
                allowed = bool(bounded(self.ask, name, origin, timeout=CONSENT_SECONDS + 1.0))
            except Exception as exc:
                log.warning("the page %r was refused: no consent (%s)", name, exc)
                allowed = False
            self.queue_result.put(allowed)


class _Terminal:
    """
    Put the question on the terminal; refuse where nobody can answer.

    A line that is being read cannot be given up: the reader of a question that nobody answered reads for the next.
    """

    def __init__(self):
        self._lines, self._reader = queue.SimpleQueue(), None

    def ask(self, name, origin):
        if not sys.stdin or not sys.stdin.isatty():
            log.warning(
                "the page %r from %s asks to join the hub; refused, since there is no terminal to ask", name, origin
            )
            return False
        if self._reader is None or not self._reader.is_alive():
            self._lines = queue.SimpleQueue()  # without an answer that came too late
            self._reader = threading.Thread(target=self._read, args=(self._lines,), name="SAMP answer", daemon=True)
            self._reader.start()
        sys.stderr.write(f"A web page asks to join the SAMP hub: {name!r} from {origin}. Allow? [yes/no] ")
        sys.stderr.flush()
        try:
            return self._lines.get(timeout=CONSENT_SECONDS).strip().lower() in ("y", "yes")
        except queue.Empty:
            msg = f"no answer within {CONSENT_SECONDS:g} s"
            raise TimeoutError(msg) from None

    def _read(self, lines):
        lines.put(sys.stdin.readline())


_terminal = _Terminal()
