"""One registration on a hub: say who we are, list the programs, call them and wait no longer than agreed."""

import logging
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from ..exceptions import ServiceError
from ._bounded import bounded
from ._hub import hub_parameters, offline, start_hub

__all__ = ["NAME", "Connection", "Program", "Refused", "connect"]

log = logging.getLogger(__name__)

NAME = "DECOCC"
"""Name under which the programs know us; TOPCAT names the row subsets it gets after it."""

NO_HUB = "no SAMP hub is running; start TOPCAT or Aladin first, or add --hub (in Python hub=True) to start one"

RPC_SECONDS = 10.0
"""Longest wait for the hub itself, which answers in milliseconds when it lives."""

REPLY_AFTER = 0.01
"""Pause before a reply: pyvo's hub (1.9.1) drops a reply to callAndWait that comes before it waits for one."""


class Refused(ServiceError):
    """A program answered that it cannot do what it was asked."""


@dataclass(frozen=True)
class Program:
    """A client of the hub: its public id, name, and whether it takes tables already."""

    id: str
    name: str
    subscriptions: frozenset[str]

    def takes(self, mtype):
        """Whether it is subscribed to a message type, wildcards included."""
        parts = mtype.split(".")
        return not self.subscriptions.isdisjoint(
            {mtype, "*", *(".".join(parts[:i]) + ".*" for i in range(1, len(parts)))}
        )


def metadata(name=NAME):
    """What the hub tells other programs about us."""
    return {
        "samp.name": name,
        "samp.description.text": "Members of open clusters with Deep Embedded Clustering: send a table, get members",
        "samp.documentation.url": "https://decocc-vo.readthedocs.io/en/latest/live.html",
        "samp.icon.url": Path(__file__).with_name("icon.png").as_uri(),
        "author.name": "The decocc_vo developers",
        "decocc.version": __version__,
    }


def connect(name=NAME, *, hub=False, receive=None, subscriptions=(), timeout=RPC_SECONDS):
    """
    Join the running hub, or, when asked to and there is none, a new one.

    Parameters
    ----------
    name : str
        Name to register under.
    hub : bool
        Start a hub in this process if none runs.
    receive : callable, optional
        ``receive(mtype, params, sender) -> dict or None`` is called for every message; it returns the result of the
        reply, and what it raises becomes an error reply.
    subscriptions : iterable of str
        Message types to subscribe to.
    timeout : float
        Seconds to wait for the hub.

    Returns
    -------
    connection : Connection

    Raises
    ------
    ServiceError
        If there is no hub, or it does not let us in.
    """
    own, parameters = None, hub_parameters(timeout)
    if parameters is None:
        if not hub:
            raise ServiceError(NO_HUB)
        own = start_hub()
        parameters = own.params
    try:
        return bounded(Connection, name, parameters, own, receive, subscriptions, timeout=timeout)
    except BaseException as exc:
        if own is not None:
            own.stop()
        if not isinstance(exc, Exception):  # Ctrl-C; pyvo's own errors derive from Exception only
            raise
        msg = f"the SAMP hub does not let us in: {exc}; restart it (in TOPCAT: Interop menu), or remove its lock file"
        raise ServiceError(msg) from exc


class Connection:
    """
    A registration on a hub.

    Made by `connect`. Attributes: ``name``; ``hub``, the hub we run ourselves, or None; ``lost``, an event that is
    set when the hub says that it ends or throws us out.
    """

    def __init__(self, name, parameters, hub, receive, subscriptions):
        from pyvo.samp import SAMPHubProxy

        self.name, self.hub, self.lost = name, hub, threading.Event()
        self._proxy = SAMPHubProxy()
        self._proxy.connect(hub_params=parameters)
        with offline():
            self._client = _make_client(self._proxy, name, receive, self.lost, subscriptions)
        self._client.start()
        try:
            self._client.register()
        except BaseException:
            self._client.stop()
            self._proxy.disconnect()
            raise

    @property
    def _key(self):
        return self._client.get_private_key()

    def alive(self):
        """Whether the hub is there and still knows us."""
        if self.lost.is_set():
            return False
        try:
            bounded(self._proxy.get_registered_clients, self._key, timeout=RPC_SECONDS)
        except Exception as exc:
            log.debug("hub lost: %s", exc)
            return False
        return True

    def announce(self):
        """
        Say once more who we are and what we take.

        The hub's events about a new client may reach a program in any order, so that it may have missed one.
        """
        try:
            bounded(self._client.declare_metadata, timeout=RPC_SECONDS)
            bounded(self._client.declare_subscriptions, timeout=RPC_SECONDS)
        except Exception as exc:
            log.debug("not announced again: %s", exc)

    def programs(self):
        """
        Every other client of the hub, as `Program`, but for the hub itself and other runs of this package.

        Raises
        ------
        ServiceError
            If the hub does not answer.
        """
        try:
            ids = bounded(self._proxy.get_registered_clients, self._key, timeout=RPC_SECONDS)
        except Exception as exc:
            msg = f"the SAMP hub does not answer: {exc}; restart it and try again"
            raise ServiceError(msg) from exc
        found = []
        for client_id in ids:
            try:
                info = bounded(self._proxy.get_metadata, self._key, client_id, timeout=RPC_SECONDS)
                mtypes = bounded(self._proxy.get_subscriptions, self._key, client_id, timeout=RPC_SECONDS)
            except Exception as exc:  # it left between the two calls
                log.debug("client %s left: %s", client_id, exc)
                continue
            name = str(info.get("samp.name", client_id))
            if client_id != self._client.hub_id and name != self.name and "decocc.version" not in info:
                found.append(Program(client_id, name, frozenset(mtypes)))
        return found

    def call(self, program, mtype, params, timeout):
        """
        Send one message to one program and wait for its reply.

        Parameters
        ----------
        program : Program
        mtype : str
        params : dict
            Values are strings, lists and dicts, as SAMP wants.
        timeout : float
            Seconds to wait.

        Returns
        -------
        result : dict
            The reply's ``samp.result``.

        Raises
        ------
        Refused
            If the program answers with an error, with its words.
        TimeoutError
            If it does not answer in time.
        ServiceError
            If the hub cannot deliver: it is gone, or the program is.
        """
        tag, answered = f"decocc-{uuid.uuid4().hex}", threading.Event()
        slot = self._client.expect(tag, answered)
        deadline = time.monotonic() + timeout
        try:
            try:
                bounded(
                    self._proxy.call,
                    self._key,
                    program.id,
                    tag,
                    {"samp.mtype": mtype, "samp.params": params},
                    timeout=min(timeout, RPC_SECONDS),
                )
            except TimeoutError:
                raise
            except Exception as exc:
                msg = f"the SAMP hub cannot deliver {mtype} to {program.name}: {exc}; is the program still running?"
                raise ServiceError(msg) from exc
            if not answered.wait(max(deadline - time.monotonic(), 0.0)):
                msg = f"{program.name} did not answer {mtype} within {timeout:g} s"
                raise TimeoutError(msg)
        finally:
            self._client.forget(tag)
        response = slot[0]
        if response.get("samp.status") not in ("samp.ok", "samp.warning"):
            error = response.get("samp.error") or {}
            text = str(error.get("samp.errortxt", "")) if isinstance(error, dict) else str(error)
            msg = f"{program.name} refused {mtype}: {text or 'it gave no reason'}"
            raise Refused(msg)
        result = response.get("samp.result")
        return result if isinstance(result, dict) else {}

    def close(self):
        """Leave the hub; a hub of our own ends."""
        for step in (self._client.unregister, self._client.stop, self._proxy.disconnect):
            try:
                bounded(step, timeout=RPC_SECONDS)
            except Exception as exc:  # a dead hub cannot be left politely
                log.debug("while leaving the hub: %s", exc)
        if self.hub is not None:
            bounded(self.hub.stop, timeout=3 * RPC_SECONDS)
            self.hub = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _make_client(proxy, name, receive, lost, subscriptions):
    """The callable side of a registration, on pyvo's server; defined here since pyvo is imported late."""
    from pyvo.samp import SAMPClient

    class Client(SAMPClient):
        """Takes raw messages, so that a broken one gets an error reply instead of ending in the hub's retries."""

        def __init__(self):
            super().__init__(proxy, metadata=metadata(name), addr="127.0.0.1")
            # Subscribed to once, with the registration: of two declarations in a row a program may see the first last.
            # And only to what we handle: pyvo would also serve client.env.get, our environment variables, to anyone.
            self.unbind_receive_call("client.env.get", declare=False)
            for mtype in ("samp.hub.event.shutdown", "samp.hub.disconnect", *subscriptions):
                self.bind_receive_call(mtype, self.receive_call, declare=False)
            self._waiting, self._lock = {}, threading.Lock()

        @property
        def hub_id(self):
            return self._hub_id  # the hub is a client of itself

        def expect(self, tag, answered):
            slot = []
            with self._lock:
                self._waiting[tag] = (slot, answered)
            return slot

        def forget(self, tag):
            with self._lock:
                self._waiting.pop(tag, None)

        def receive_response(self, private_key, responder_id, msg_tag, response):
            with self._lock:
                waiting = self._waiting.get(msg_tag) if private_key == self.get_private_key() else None
            if waiting is not None:
                waiting[0].append(response if isinstance(response, dict) else {})
                waiting[1].set()
            return ""

        def receive_notification(self, private_key, sender_id, message):
            if private_key == self.get_private_key():
                self._handle(sender_id, message)
            return ""

        def receive_call(self, private_key, sender_id, msg_id, message):
            if private_key == self.get_private_key():
                response = self._handle(sender_id, message)
                time.sleep(REPLY_AFTER)
                try:
                    proxy.reply(private_key, msg_id, response)
                except Exception as exc:
                    log.warning("the reply to %s could not be given: %s", sender_id, exc)
            return ""

        def _handle(self, sender_id, message):
            """Act on a message; whatever happens, there is a reply to give."""
            try:
                mtype = message.get("samp.mtype") if isinstance(message, dict) else None
                if mtype in ("samp.hub.event.shutdown", "samp.hub.disconnect"):
                    lost.set()
                    return {"samp.status": "samp.ok", "samp.result": {}}
                if mtype == "samp.app.ping":
                    return {"samp.status": "samp.ok", "samp.result": {}}
                if receive is None or not isinstance(mtype, str):
                    return _error(f"cannot handle {mtype!r}")
                params = message.get("samp.params")
                if not isinstance(params, dict):
                    return _error(f"{mtype} came without samp.params")
                return {"samp.status": "samp.ok", "samp.result": receive(mtype, params, sender_id) or {}}
            except Exception as exc:
                log.debug("message refused", exc_info=True)
                return _error(str(exc) or type(exc).__name__)

    return Client()


def _error(text):
    return {"samp.status": "samp.error", "samp.result": {}, "samp.error": {"samp.errortxt": text}}
