"""A file that appears under its name only when it is complete."""

import contextlib
import os
import shutil
import uuid
from pathlib import Path

from ..exceptions import InputError, ServiceError


@contextlib.contextmanager
def atomic_path(path, overwrite=True):
    """
    Name of a temporary file beside ``path`` that takes its place when the block ends well, else is removed.

    A link stays one, and the file that it leads to is replaced; who may read and write a file stays as it was.

    Raises
    ------
    InputError
        If ``path`` is a folder, or exists and ``overwrite`` is false.
    ServiceError
        If the folder does not exist, or writing fails.
    """
    try:
        path = Path(path).expanduser()
    except TypeError:
        msg = f"'path' must be a file's name, not {type(path).__name__}"
        raise InputError(msg) from None
    if not path.name:
        msg = f"'path' {path} is a folder; give a file's name"
        raise InputError(msg)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        if path.is_dir():
            msg = f"'path' {path} is a folder; give a file's name"
            raise InputError(msg)
        if path.exists() and not overwrite:
            msg = f"'path' {path} exists; say overwrite=True, or give another name"
            raise InputError(msg)
        if not target.parent.is_dir():
            msg = f"'path' {path}: the folder {target.parent} does not exist; create it first"
            raise ServiceError(msg)
        yield temporary
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except ServiceError:
        raise
    except OSError as error:
        msg = f"'path' {path} cannot be written: {error.strerror or error}"
        raise ServiceError(msg) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
