"""Many regions, one after the other, unattended."""

import logging
import time
from dataclasses import dataclass

from ..columns import Release
from ..exceptions import InputError, ServiceError
from .archive import StarArchive
from .tap import Query, query_region

__all__ = ["Fetched", "fetch_regions", "show_query"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """
    What became of one region.

    Attributes
    ----------
    region : `~decocc_vo.ClusterRegion`
    rows : int
        Stars it has; 0 when it failed.
    source : str
        Where they came from: a service, or the archive.
    seconds : float
        How long it took.
    error : `~decocc_vo.ServiceError` or None
        Why it failed.
    """

    region: object
    rows: int
    source: str
    seconds: float
    error: ServiceError | None = None

    def __str__(self):
        name = getattr(self.region, "name", None) or str(self.region)
        if self.error is not None:
            return f"{name}: {self.error}"
        return f"{name}: {self.rows} stars in {self.seconds:.1f} s from {self.source}"


def show_query(region, survey=None, *, columns=None, where=None, url=None):
    """
    The ADQL a region would be asked for with, and the service it goes to, as a comment: ``--show-query``.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.stars.fetch import show_query
    >>> print(show_query(ClusterRegion.from_text("56.6 24.1", "2 deg"), "gaia_dr3", columns=["ruwe"]))
    -- https://gea.esac.esa.int/tap-server/tap
    SELECT source_id, ra, dec, parallax, pmra, pmdec, ruwe
    FROM gaiadr3.gaia_source
    WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 56.6, 24.1, 2.0))
    """
    query = Query.of(region, survey, columns=columns, where=where, url=url)
    return f"-- {query.service.url}\n{query.text}"


def fetch_regions(regions, survey=None, *, archive=True, **options):
    """
    Bring the stars of regions into an archive, one region after the other.

    A region that is there already is not asked for again, so that a run that was stopped goes on by being started
    again. A region that fails is reported, and the others follow.

    Parameters
    ----------
    regions : iterable of `~decocc_vo.ClusterRegion`
    survey : str, optional
        By default ``conf.survey``; ``hipparcos2`` is put into the archive, too.
    archive : `~decocc_vo.stars.archive.StarArchive`, str or True, optional
        By default the one in the cache folder.
    **options
        Of `decocc_vo.stars.tap.query_region`: ``where``, ``url``, ``offline``, ``deadline`` (for each region),
        ``progress``, ...

    Yields
    ------
    fetched : `Fetched`

    Raises
    ------
    InputError
        If an option makes no sense; nothing is asked then.

    Examples
    --------
    >>> from decocc_vo.stars.catalogues import regions_of, select_openclust
    >>> from decocc_vo.stars.fetch import fetch_regions
    >>> for fetched in fetch_regions(regions_of(select_openclust()), "gaia_dr3"):  # doctest: +SKIP
    ...     print(fetched)
    """
    archive = StarArchive.of(archive)
    regions = list(regions)
    for region in regions:
        started = time.monotonic()
        try:
            stars = _one(region, survey, archive, options)
        except ServiceError as error:
            log.warning("%s", error)
            yield Fetched(region, 0, "", time.monotonic() - started, error)
        else:
            yield Fetched(region, len(stars), stars.meta["source"], time.monotonic() - started)


def _one(region, survey, archive, options):
    from ..columns import get_release
    from ..config import conf

    release = survey if isinstance(survey, Release) else get_release(survey or conf.survey)
    if release.services:
        return query_region(region, release, archive=archive, **options)
    if set(options) - {"progress", "offline", "deadline", "timeout"}:
        msg = f"'{min(options)}' is no option of the survey {release.key}, which comes with the install"
        raise InputError(msg)
    from .hipparcos import query_region as query

    stars = archive.query_region(region, release)
    if stars is None:
        stars = query(region)
        archive.add(region, stars, release.key)
    return stars
