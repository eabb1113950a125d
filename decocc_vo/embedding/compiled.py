"""What JAX compiled, kept between processes."""

import zlib
from contextlib import suppress
from pathlib import Path

__all__ = ["keep_compiled"]

_ZLIB = b"\x78"  # first byte of what zlib compressed


def keep_compiled(folder):
    """
    Let JAX keep what it compiles in a folder, and take it from there.

    For programs such as the command line to call, once and before the first fit; no import of the package does. What a
    full disk left there half written, as far as zlib compressed it, is removed: JAX would neither read nor replace it.

    Parameters
    ----------
    folder : str or path-like
        Made if need be.
    """
    import jax

    folder = Path(folder).expanduser()
    for entry in folder.glob("*-cache"):
        with suppress(OSError):
            if _is_damaged(entry.read_bytes()):
                entry.unlink()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    # Those of XLA itself know the folder by its name, so that one that was moved would be of no use.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def _is_damaged(content):
    """Whether an entry is empty, or ends too early."""
    if not content.startswith(_ZLIB):  # another compression, of which JAX has to judge
        return not content
    try:
        zlib.decompress(content)
    except zlib.error:
        return True
    return False
