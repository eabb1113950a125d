"""Settings of the site: where services, caches and archives are. Settings of the science are keyword arguments."""

import logging
from functools import partial
from pathlib import Path

from astropy import config as _config

from .exceptions import InputError, ServiceError

__all__ = ["Conf", "cache_folder", "check_settings", "conf"]

log = logging.getLogger(__name__)

# Settings stand in the file without a section's name, as if they were defined in the package itself.
_Item = partial(_config.ConfigItem, module="decocc_vo")


class Conf(_config.ConfigNamespace):
    """Configuration of `decocc_vo`, read from ``decocc_vo.cfg`` in astropy's configuration folder."""

    survey = _Item("gaia_dr3", "Survey that is asked when none is named: a key of `decocc_vo.columns.RELEASES`.")
    tap_url = _Item("", "TAP service to ask instead of the release's own; empty: the release's own.")
    archive_url = _Item(
        "", "Star archive: a DuckDB file's path or a postgresql:// URL; empty: a DuckDB file in the cache folder."
    )
    timeout = _Item(60.0, "Seconds a service may stay silent within one request.", cfgtype="float(min=1)")
    deadline = _Item(
        7200.0, "Seconds a whole query may take, waiting in the service's queue included.", cfgtype="float(min=1)"
    )
    resolve_names_online = _Item(
        True, "Ask CDS Sesame for names the installed catalogue does not know.", cfgtype="boolean"
    )
    compilation_cache = _Item(
        "", "Folder in which JAX keeps compiled programs between runs of the command line; empty: none kept."
    )


conf = Conf()


def check_settings():
    """
    Read the file of settings, if there is one.

    Raises
    ------
    InputError
        If it cannot be read as settings, or one of them is not what it should be.
    """
    for name in conf:
        try:
            getattr(conf, name)
        except (SyntaxError, TypeError) as error:
            reason = str(error).split("\n")[0].rstrip(".")
            what = f"{name!r}: {reason}" if isinstance(error, TypeError) else reason
            msg = f"'decocc_vo.cfg' in {_config.get_config_dir()} cannot be used: {what}"
            raise InputError(msg) from None
    for name in set(_config.get_config("decocc_vo")) - set(conf):
        log.warning("'decocc_vo.cfg' has %r, which is no setting", name)


def cache_folder():
    """
    Folder in which what was fetched is kept, made if need be.

    Raises
    ------
    ServiceError
        If there is no place for it.
    """
    try:
        return Path(_config.get_cache_dir("decocc_vo"))
    except OSError as error:
        msg = (
            f"the folder of what was fetched cannot be made: {error}; set HOME, or XDG_CACHE_HOME to a folder that is "
            "there, or name an archive"
        )
        raise ServiceError(msg) from None
