"""A headless Chromium on a leash: its debugging protocol over two pipes, which needs no port and no library."""

import base64
import json
import os
import select
import time
from contextlib import contextmanager

from .programs import need, running


class Page:
    """One tab."""

    def __init__(self, send, receive):
        self._send, self._receive, self._number, self._buffer = send, receive, 0, b""
        self._session = None

    def ask(self, method, timeout=30, **params):
        """Call a method of the DevTools protocol and wait for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            answer = self._next(end - time.monotonic())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self, timeout):
        while b"\0" not in self._buffer:
            assert select.select([self._receive], [], [], max(timeout, 0))[0], "Chromium does not answer"
            piece = os.read(self._receive, 1 << 16)
            assert piece, "Chromium has ended"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, url, size=(1300, 1000)):
        """Show a page in a window of some size and wait until it is there."""
        self._session = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False)
        self.ask("Page.enable")
        self.ask("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def value(self, expression):
        """What a JavaScript expression gives, as plain data."""
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression, timeout=30):
        end = time.monotonic() + timeout
        while not (value := self.value(expression)):
            assert time.monotonic() < end, f"waited {timeout} s in vain for {expression}"
            time.sleep(0.1)
        return value

    def click(self, selector):
        """Press the mouse in the middle of an element, as a person would."""
        self.value(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.value(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def photograph(self, path, whole=False):
        """Write a picture of the window, or of the whole page."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium(folder, *more):
    """A Chromium with a profile of its own, and perhaps more flags; gives a `Page`."""
    need("chromium")
    to_child, send = os.pipe()
    receive, from_child = os.pipe()
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'chromium'}",
        "--remote-debugging-pipe",
        *more,
    ]
    # The protocol is spoken on file descriptors 3 and 4.
    command = ["bash", "-c", f'exec chromium "$@" 3<&{to_child} 4>&{from_child}', "bash", *flags]
    with running(command, folder / "chromium.log", pass_fds=[to_child, from_child]):
        os.close(to_child)
        os.close(from_child)
        try:
            yield Page(send, receive)
        finally:
            os.close(send)
            os.close(receive)
