"""Where stars come from: every source answers ``query_region(region) -> Table`` with the same columns and units."""

from ..columns import get_release
from ..config import conf
from ..exceptions import InputError
from ..region import ClusterRegion

__all__ = ["query_region", "read_stars"]


def query_region(region, survey=None, **options):
    """
    Fetch the stars of a cone from a survey.

    Parameters
    ----------
    region : `~decocc_vo.region.ClusterRegion`
        The cone.
    survey : str, optional
        ``hipparcos2`` (comes with the install, needs no network), ``gaia_dr2``, ``gaia_edr3``, ``gaia_dr3`` (by TAP);
        by default ``conf.survey``.
    **options
        Options of the survey's source: those of ``decocc_vo.stars.tap.query_region`` for Gaia, none for Hipparcos-2.

    Returns
    -------
    `~astropy.table.Table`
        Columns of `decocc_vo.COLUMNS` the release has, with unit, UCD and description; ``meta`` says where they come
        from (``release``, ``release_key``, ``ref_epoch``, ``source``, ``query``, ``citation``).

    Raises
    ------
    InputError
        If ``region`` is no `~decocc_vo.region.ClusterRegion`, the survey is unknown or not open yet, or an option is
        not the source's.
    ServiceError
        If the service fails.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion, query_region
    >>> stars = query_region(ClusterRegion.from_name("Melotte 25"), survey="hipparcos2")
    >>> print(len(stars), stars.meta["release"], stars["parallax"].unit)
    169 Hipparcos-2 mas
    """
    if not isinstance(region, ClusterRegion):
        msg = (
            f"'region' must be a ClusterRegion, not {type(region).__name__}; ClusterRegion.from_name('M 44') makes one"
        )
        raise InputError(msg)
    release = get_release(conf.survey if survey is None else survey)
    if release.key == "hipparcos2":
        from .hipparcos import query_region as query

        if options:
            msg = f"'{next(iter(options))}' is no option of the survey hipparcos2; it takes none"
            raise InputError(msg)
        return query(region)
    from .tap import query_region as query

    return query(region, release, **options)


def __getattr__(name):
    if name == "read_stars":
        from .files import read_stars

        return read_stars
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
