"""
Ctrl-C in the middle of a fit.

Python raises KeyboardInterrupt wherever it is, which may be a callback of JAX: there it is lost, or the process dies of
it. In a fit nothing is open and nothing half written, so the process ends at once instead.
"""

import os
import signal
import threading
from contextlib import contextmanager

__all__ = ["INTERRUPTED", "TOLD", "check", "fitting", "terminable", "watch"]

INTERRUPTED = 130
TOLD = "interrupted; files that were named as written are complete"

_fits = []
_asked = []


@contextmanager
def fitting(command):
    """While a command fits."""
    _fits.append(command)
    try:
        yield
    finally:
        _fits.pop()


def watch():
    """Take Ctrl-C over for the whole process, unless it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def check():
    """End a command that was interrupted where Python lost the exception, as in what JAX does when memory is freed."""
    if _asked:
        raise KeyboardInterrupt


@contextmanager
def terminable():
    """While a command runs: SIGTERM, too, ends it as Ctrl-C does, so that nothing is left half written or open."""
    before = signal.getsignal(signal.SIGTERM)
    _asked.clear()
    ours = before is signal.SIG_DFL and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, before)


def _interrupt(number, frame):
    if _fits:
        os.write(2, f"decocc-vo {_fits[-1]}: {TOLD}\n".encode())
        os._exit(INTERRUPTED)
    _asked.append(number)
    signal.default_int_handler(number, frame)
