"""What a live session tells: its callbacks, none of which can break it, and the log."""

import logging

__all__ = ["Telling"]

log = logging.getLogger(__name__)


class Telling:
    """The callbacks of a live session by kind: ``table``, ``result``, ``line``, ..., each None where nobody listens."""

    def __init__(self, **callbacks):
        self._callbacks = callbacks

    def call(self, kind, *args):
        """Call back; what fails there is the listener's, and only logged."""
        callback = self._callbacks[kind]
        if callback is None:
            return
        try:
            callback(*args)
        except Exception:
            log.exception("the callback on_%s failed", kind)

    def line(self, text):
        """Tell of something that happened."""
        log.info(text)
        self.call("line", text)

    def problem(self, text):
        """Tell of something that could not be done; a warning where nobody listens."""
        told = self._callbacks["problem"] or self._callbacks["line"]
        log.log(logging.INFO if told else logging.WARNING, text)
        self.call("problem", text)
        self.call("line", text)
