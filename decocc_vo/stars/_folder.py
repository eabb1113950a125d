"""A folder that remembers how far a query has come, so that a killed run goes on where it stopped."""

import contextlib
import errno
import json
import os
import shutil
import time
from pathlib import Path

from ..exceptions import ServiceError

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _lock(handle):
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
else:

    def _lock(handle):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def disk(path):
    """Turn a failure to write below ``path`` into a `ServiceError` that says what to do."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ServiceError):
            raise
        msg = (
            f"cannot write to {path}: {error.strerror or error}; make room there or name another folder as 'cache', "
            "then run the same again: what came so far is kept"
        )
        raise ServiceError(msg) from error


# What a lock that another process has raises; all else says that there can be none.
_TAKEN = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
_KEPT = 30 * 86400.0  # seconds after which a query that nobody took up again is forgotten


def forget_old(parent):
    """Remove the folders of queries that nobody has touched for a month; services forget their jobs sooner."""
    with contextlib.suppress(OSError):
        for path in Path(parent).iterdir():
            if time.time() - path.stat().st_mtime > _KEPT:
                folder = QueryFolder(path)
                if folder._try():
                    folder.discard()


class QueryFolder:
    """
    The state of one query, a JSON file that is replaced in one step, and the results that came so far.

    One process works on it at a time; the lock goes with the process, however it ends.

    Parameters
    ----------
    path : path-like
        The folder; made when it is not there.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.state = {}
        self._handle = None

    def acquire(self, patience):
        """Take the lock, waiting for another process at most until the deadline, and read the state."""
        while not self._try():
            patience.sleep(0.2, "waiting for another run that fetches the same stars")
        try:
            self.state = json.loads((self.path / "state.json").read_text())
        except (OSError, ValueError):
            self.state = {}

    def _try(self):
        with disk(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = open(self.path / "lock", "a")  # noqa: SIM115 (the lock lives as long as the handle)
        try:
            _lock(handle)
        except OSError as error:
            handle.close()
            if error.errno in _TAKEN:
                return False
            msg = (
                f"cannot lock {self.path} ({error.strerror or error}); name a folder of a file system with locks "
                "as 'cache', then run the same again"
            )
            raise ServiceError(msg) from error
        try:
            # Another process may have finished and removed the folder between the opening and the lock.
            current = os.path.samestat(os.fstat(handle.fileno()), os.stat(self.path / "lock"))
        except OSError:
            current = False
        if current:
            self._handle = handle
        else:
            handle.close()
        return current

    def release(self):
        """Give the lock back; the state stays."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def save(self):
        """Write the state; it is the old one or the new one at any time, never half of it."""
        new = self.path / "state.json.new"
        with disk(self.path):
            with open(new, "w") as file:
                json.dump(self.state, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path / "state.json")

    def discard(self):
        """Remove the folder: the query is done."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()
