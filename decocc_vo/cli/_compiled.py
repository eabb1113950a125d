"""What JAX compiled, kept between runs of the command line."""

from pathlib import Path


def keep_compiled(folder=None):
    """Keep it in ``folder``, or where ``conf.compilation_cache`` says; only a command decides that, never an import."""
    from ..config import conf

    folder = folder or conf.compilation_cache
    if folder:
        import jax

        jax.config.update("jax_compilation_cache_dir", str(Path(folder).expanduser()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
