"""Methods by the names the command line knows."""

from ..exceptions import InputError

METHODS = ("decocc", "kmeans", "clusterix", "dbscan", "hdbscan")
PRESETS = ("default", "thesis")
FIRST = ("density", "hdbscan", "kmeans")


def make_method(method="decocc", preset="default", seed=0, **settings):
    """
    Make the estimator for a method's name and preset.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    preset : str
        One of `PRESETS`; ``"thesis"`` is the published recipe of ``"decocc"``.
    seed : int
        Seed of the methods that draw random numbers.
    **settings
        Of `~decocc_vo.DECOCC`'s default: ``first``, ``photometry``.

    Returns
    -------
    estimator
        With ``fit(table, region=None, columns=None) -> Membership``.

    Raises
    ------
    InputError
        If a name is unknown, or the method has no such preset or setting.

    Examples
    --------
    >>> from decocc_vo.cli import make_method
    >>> make_method("decocc", seed=3).seed
    3
    """
    if preset not in PRESETS:
        msg = f"'preset' must be one of {', '.join(PRESETS)}, not {preset!r}"
        raise InputError(msg)
    if method not in METHODS:
        msg = f"'method' must be one of {', '.join(METHODS)}, not {method!r}"
        raise InputError(msg)
    if preset != "default" and method != "decocc":
        msg = f"'preset' {preset} is a recipe of the method decocc; {method} has none, leave it out"
        raise InputError(msg)
    if settings and (method != "decocc" or preset != "default"):
        msg = f"'{next(iter(settings))}' is a setting of the default of decocc; leave it out"
        raise InputError(msg)
    if method == "decocc":
        from ..decocc import DECOCC

        return DECOCC.thesis(seed=seed) if preset == "thesis" else DECOCC(seed=seed, **settings)
    if method == "kmeans":
        from ..classic.kmeans import KMeansClassifier

        return KMeansClassifier(seed=seed)
    if method == "clusterix":
        from ..classic.clusterix import Clusterix

        return Clusterix()
    from ..classic.density import DensityClassifier

    return DensityClassifier(method=method, seed=seed)
