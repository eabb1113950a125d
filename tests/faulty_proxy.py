"""A reverse proxy on loopback that breaks what passes through it, as told: a bad connection."""

import contextlib
import http.client
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse


@dataclass
class Fault:
    """
    What to break: the requests of a ``stage`` (submit, run, poll, result, delete), after ``skip`` good ones.

    ``kind`` is the name of a method of the proxy's handler, without its underscore; ``value`` is what it needs.
    """

    stage: str
    kind: str
    times: int = 1
    skip: int = 0
    value: object = None
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)


class FaultyProxy:
    """
    A context that stands in front of the TAP server at ``backend``; its own address is ``url``.

    ``faults`` is looked through for each request, and the first that fits breaks it. ``reached`` is set when a
    stage that ``hold`` names is reached; the request then waits until the client is gone or the proxy ends.
    """

    def __init__(self, backend, *faults):
        self.backend = urlparse(backend)
        self.faults, self.lock = list(faults), threading.Lock()
        self.reached, self.ended = threading.Event(), threading.Event()
        self.hits, self.stages = [], []

    def __enter__(self):
        self._listen(0)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}{self.backend.path}"
        return self

    def __exit__(self, *exc):
        self.ended.set()
        self.refuse()

    def _listen(self, port):
        handler = type("Handler", (_Handler,), {"proxy": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def refuse(self, seconds=None):
        """Close the port, so that connections are refused; open it again after ``seconds``."""
        server, self.server = self.server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        if seconds is not None:
            timer = threading.Timer(seconds, self._reopen)
            timer.daemon = True
            timer.start()

    def _reopen(self):
        if not self.ended.is_set():
            self._listen(self.port)

    def fault_for(self, stage):
        """The fault that this request meets, if any."""
        with self.lock:
            self.stages.append(stage)
            for fault in self.faults:
                if fault.stage == stage:
                    fault.seen += 1
                    if fault.seen > fault.skip and fault.hits < fault.times:
                        fault.hits += 1
                        self.hits.append(fault.kind)
                        return fault
        return None


def stage_of(method, path):
    """Which step of a job a request is."""
    path = path.split("?")[0].rstrip("/")
    if method == "DELETE":
        return "delete"
    if method == "POST":
        return "submit" if path.endswith("/async") else "run"
    return "result" if "/results/" in path else "poll"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy = None

    def log_message(self, *args):
        pass

    def handle(self):
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def _pass_on(self):
        stage = stage_of(self.command, self.path)
        fault = self.proxy.fault_for(stage)
        if fault is not None and (early := getattr(self, f"_early_{fault.kind}", None)):
            early(fault)
            return
        backend = self.proxy.backend
        connection = http.client.HTTPConnection(backend.hostname, backend.port, timeout=60)
        try:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "connection"}}
            connection.request(self.command, self.path, self.rfile.read(length) if length else None, headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        mine, theirs = f"127.0.0.1:{self.proxy.port}", f"{backend.hostname}:{backend.port}"
        if stage == "poll":
            body = body.replace(theirs.encode(), mine.encode())
        code, out = answer.status, {}
        for name, value in answer.getheaders():
            if name.lower() in {"content-type", "content-range", "location", "retry-after"}:
                out[name] = value.replace(theirs, mine)
        if fault is None:
            self._answer(code, body, out)
        else:
            getattr(self, f"_{fault.kind}")(fault, code, body, out)

    do_GET = do_POST = do_DELETE = _pass_on

    def _answer(self, code, body, headers=None):
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drop(self):
        """Reset the connection."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    # What breaks a request before the server hears of it.
    def _early_status(self, fault):
        code, headers, body = (*fault.value, b"no")[:3]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(code, body, headers)

    def _early_refuse(self, fault):
        threading.Thread(target=self.proxy.refuse, args=(fault.value,), daemon=True).start()
        time.sleep(0.1)
        self._drop()

    def _early_silence(self, fault):
        self.proxy.ended.wait(fault.value)
        self._drop()

    def _early_hold(self, fault):
        self.proxy.reached.set()
        self.proxy.ended.wait(60)
        self._drop()

    # What breaks the answer.
    def _lost(self, fault, code, body, headers):
        self._drop()

    def _reset(self, fault, code, body, headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self._drop()

    def _truncate(self, fault, code, body, headers):
        self._answer(code, body[: len(body) * 2 // 3], headers)

    def _replace(self, fault, code, body, headers):
        self._answer(200, fault.value)

    def _phase(self, fault, code, body, headers):
        more = b"<uws:phase>" + fault.value.encode() + b"</uws:phase>"
        self._answer(code, re.sub(rb"<(?:\w+:)?phase>\w+</(?:\w+:)?phase>", more, body), headers)

    def _edit(self, fault, code, body, headers):
        self._answer(code, fault.value(body), headers)

    def _slow(self, fault, code, body, headers):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for byte in body:
            if self.proxy.ended.is_set():
                break
            self.wfile.write(bytes([byte]))
            time.sleep(fault.value)

    def _hold_half(self, fault, code, body, headers):
        """Send half of the answer and then nothing more."""
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.proxy.reached.set()
        self.proxy.ended.wait(60)
        self._drop()
