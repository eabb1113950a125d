"""Members of open clusters in Gaia data with Deep Embedded Clustering, inside the Virtual Observatory."""

from importlib import import_module as _import_module
from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version

try:
    __version__ = _version("decocc_vo")
except _PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

# Public name -> the module that defines it; loaded when first used, so that the import stays quick (PEP 562).
_PUBLIC = {
    "COLUMNS": "columns",
    "RELEASES": "columns",
    "ClusterRegion": "region",
    "DECOCC": "decocc",
    "DecoccError": "exceptions",
    "InputError": "exceptions",
    "KMeansClassifier": "classic.kmeans",
    "DensityClassifier": "classic.density",
    "Clusterix": "classic.clusterix",
    "Membership": "membership",
    "ServiceError": "exceptions",
    "conf": "config",
    "query_region": "stars",
    "read_stars": "stars.files",
    "send_table": "samp",
    "write_votable": "votable",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    if name not in _PUBLIC:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(_import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_PUBLIC})
