"""What JAX compiled, kept between processes."""

from pathlib import Path

__all__ = ["keep_compiled"]


def keep_compiled(folder):
    """
    Let JAX keep what it compiles in a folder, and take it from there.

    For programs such as the command line to call, once and before the first fit; no import of the package does.

    Parameters
    ----------
    folder : str or path-like
        Made if need be.
    """
    import jax

    jax.config.update("jax_compilation_cache_dir", str(Path(folder).expanduser()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
