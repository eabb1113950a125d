"""
Warnings of libraries that are no news to the user.

The filters of `warnings` are those of the whole process, and threads that change them at once leave them changed:
here they take turns.
"""

import threading
import warnings
from contextlib import contextmanager

__all__ = ["listening", "quietly"]

_TURN = threading.RLock()


@contextmanager
def quietly(*categories):
    """Without warnings of these categories."""
    with _TURN, warnings.catch_warnings():
        for category in categories:
            warnings.simplefilter("ignore", category)
        yield


@contextmanager
def listening():
    """With all warnings in a list, in the place of their being shown."""
    with _TURN, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield heard
