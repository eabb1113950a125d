"""Settings of the site: where services, caches and archives are. Settings of the science are keyword arguments."""

from astropy import config as _config

__all__ = ["Conf", "conf"]


class Conf(_config.ConfigNamespace):
    """Configuration of `decocc_vo`, read from ``decocc_vo.cfg`` in astropy's configuration folder."""

    rootname = "decocc_vo"

    survey = _config.ConfigItem(
        "gaia_dr3", "Survey that is asked when none is named: a key of `decocc_vo.columns.RELEASES`."
    )
    tap_url = _config.ConfigItem("", "TAP service to ask instead of the release's own; empty: the release's own.")
    archive_url = _config.ConfigItem(
        "", "Star archive: a DuckDB file's path or a postgresql:// URL; empty: a DuckDB file in the cache folder."
    )
    timeout = _config.ConfigItem(60.0, "Seconds one request to a service may take.", cfgtype="float(min=1)")
    deadline = _config.ConfigItem(
        7200.0, "Seconds a whole query may take, waiting in the service's queue included.", cfgtype="float(min=1)"
    )
    resolve_names_online = _config.ConfigItem(
        True, "Ask CDS Sesame for names the installed catalogue does not know.", cfgtype="boolean"
    )
    compilation_cache = _config.ConfigItem(
        "", "Folder in which JAX keeps compiled programs between runs of the command line; empty: none kept."
    )


conf = Conf()
