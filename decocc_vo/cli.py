"""The command line: ``decocc-vo``."""

from .exceptions import InputError

METHODS = ("decocc", "kmeans", "clusterix", "dbscan", "hdbscan")
PRESETS = ("default", "thesis")


def make_method(method="decocc", preset="default", seed=0):
    """The estimator for a method's name and preset."""
    from .decocc import DECOCC

    if preset not in PRESETS:
        msg = f"'preset' must be one of {', '.join(PRESETS)}, not {preset!r}"
        raise InputError(msg)
    if method == "decocc":
        return DECOCC.thesis(seed=seed) if preset == "thesis" else DECOCC(seed=seed)
    if method == "kmeans":
        from .classic.kmeans import KMeansClassifier

        return KMeansClassifier(seed=seed)
    if method == "clusterix":
        from .classic.clusterix import Clusterix

        return Clusterix()
    if method in ("dbscan", "hdbscan"):
        from .classic.density import DensityClassifier

        return DensityClassifier(method=method)
    msg = f"'method' must be one of {', '.join(METHODS)}, not {method!r}"
    raise InputError(msg)
