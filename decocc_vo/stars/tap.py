"""
Stars from a TAP service: completely, or with a clear failure.

Every query is an asynchronous job under one deadline. How far it came is kept in the cache folder, so that a run that
was killed goes on where it stopped. A count made first says how many rows must come; a region with too many rows for
one job is split by ranges of source_id.
"""

import re
from dataclasses import dataclass

from ..columns import Release, Service, get_release
from ..config import conf
from ..exceptions import InputError, ServiceError
from . import adql
from ._arguments import is_url, limits, whole
from ._download import Fetch
from ._partition import Part

__all__ = ["PART_ROWS", "Query", "find_service", "query_region"]

_OR = re.compile(r"\bor\b", re.IGNORECASE)

PART_ROWS = 500_000
"""Rows one job asks for at most; a service that allows fewer says so, and the part is split further."""


def find_service(release, url=None):
    """
    Which service to ask for a release.

    Parameters
    ----------
    release : `~decocc_vo.columns.Release`
    url : str, optional
        A mirror the release knows (``esa``, ``aip``, ``gavo``, ``vizier``), or the URL of any TAP service; by default
        ``conf.tap_url``, else the release's first. A URL the release does not know is taken to have ESA's table.

    Returns
    -------
    service : `~decocc_vo.columns.Service`

    Examples
    --------
    >>> from decocc_vo.columns import get_release
    >>> from decocc_vo.stars.tap import find_service
    >>> find_service(get_release("gaia_dr3"), "aip").url
    'https://gaia.aip.de/tap'
    """
    services = release.services
    if not services:
        msg = f"'survey' {release.key} is served by no TAP service; use another survey"
        raise InputError(msg)
    wanted = str(url or conf.tap_url).rstrip("/")
    first = next(iter(services.values()))
    if not wanted:
        return first
    if wanted in services:
        return services[wanted]
    for service in services.values():
        if service.url.rstrip("/") == wanted:
            return service
    if not is_url(wanted):
        msg = f"'url' must be the URL of a TAP service or one of {', '.join(services)}, not {wanted!r}"
        raise InputError(msg)
    return Service(wanted, first.table, first.names)


@dataclass(frozen=True)
class Query:
    """
    What is asked for, resolved: the text that ``--show-query`` prints, and what an archive files it under.

    Parameters
    ----------
    region : `~decocc_vo.ClusterRegion`, `regions.SkyRegion` or `mocpy.MOC`
        The area; see `decocc_vo.stars.adql.area`.
    release : `~decocc_vo.columns.Release`
    service : `~decocc_vo.columns.Service`
    columns : tuple of str
        Registry names.
    where : tuple of str
        The user's predicates, with the registry's names.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.stars.tap import Query
    >>> region = ClusterRegion(SkyCoord("56.6d +24.1d"), 2 * u.deg)
    >>> print(Query.of(region, "gaia_dr3", columns=["ruwe"], where="ruwe < 1.4").text)
    SELECT source_id, ra, dec, parallax, pmra, pmdec, ruwe
    FROM gaiadr3.gaia_source
    WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 56.6, 24.1, 2.0))
    AND ruwe < 1.4
    """

    region: object
    release: Release
    service: Service
    columns: tuple[str, ...]
    where: tuple[str, ...]

    @classmethod
    def of(cls, region, release=None, *, columns=None, where=None, url=None):
        """Resolve what a user says; ``release`` is a key, a `~decocc_vo.columns.Release`, or None for the default."""
        if not isinstance(release, Release):
            release = get_release(release or conf.survey)
        service = find_service(release, url)
        return cls(
            region, release, service, tuple(adql.columns_of(release, service, columns)), tuple(adql.predicates(where))
        )

    @property
    def conditions(self):
        """Predicates in the service's spelling: the area and what the user added."""
        added = (f"({text})" if _OR.search(text) else text for text in self.where)
        return [adql.area(self.region, self.service), *(adql.translate(text, self.service) for text in added)]

    @property
    def text(self):
        """The query for all rows."""
        return adql.select(self.service, self.columns, self.conditions)

    def part(self, part):
        """The query for the rows of one `~decocc_vo.stars._partition.Part`."""
        return adql.select(self.service, self.columns, self.conditions + self._range(part.first, part.last))

    def counts(self, first, last, width):
        """The query for the number of rows by ranges of source_id."""
        return adql.histogram(self.service, self.conditions + self._range(first, last), width)

    def _range(self, first, last):
        if Part(first, last, 0).is_all:
            return []
        return [adql.between(first, last, self.service.spelling("source_id"))]

    def meta(self, **more):
        """What every table of its stars says about itself."""
        release = self.release
        return {
            "release": release.name,
            "release_key": release.key,
            "ref_epoch": release.ref_epoch,
            "citation": release.citation,
            "query": self.text,
            **more,
        }


def query_region(
    region,
    release=None,
    *,
    columns=None,
    where=None,
    maxrec=None,
    url=None,
    archive=None,
    offline=False,
    deadline=None,
    timeout=None,
    tries=8,
    backoff=1.0,
    part_rows=PART_ROWS,
    progress=None,
    login=False,
    cache=None,
):
    """
    Fetch the stars of a region from a TAP service, or from an archive that has them.

    Parameters
    ----------
    region : `~decocc_vo.ClusterRegion`, `regions.SkyRegion` or `mocpy.MOC`
        The area of the sky.
    release : str or `~decocc_vo.columns.Release`, optional
        By default ``conf.survey``.
    columns : iterable of str, optional
        Registry names of columns beside the astrometry; by default all the release has there. An archive answers
        with these, or the service is asked; with ``offline`` the default is all that the archive has.
    where : str or iterable of str, optional
        ADQL conditions with the registry's names, all of which must hold: ``"phot_g_mean_mag < 18"``. See also
        `decocc_vo.stars.adql.quality`.
    maxrec : int, optional
        Take at most so many rows, whichever they are. Without it all rows come, or the query fails.
    url : str, optional
        A mirror's key or the URL of a TAP service; see `find_service`.
    archive : `~decocc_vo.stars.archive.StarArchive`, str, or True, optional
        Archive to look in first, and to keep what comes; True for that of the settings (``conf.archive_url``), by
        default none. Not used with ``maxrec``.
    offline : bool, optional
        Never open a connection: the archive has the stars, or the query fails.
    deadline : float, optional
        Seconds everything may take, the service's queue included; by default ``conf.deadline``.
    timeout : float, optional
        Seconds the service may stay silent within one request; by default ``conf.timeout``.
    tries, backoff : int and float, optional
        Failures in a row after which to give up, half as many of a service that never answered; and seconds before the
        second try, doubled each time.
    part_rows : int, optional
        Rows to ask for in one job at most.
    progress : bool, optional
        Show a progress bar; by default only on a terminal.
    login : bool, optional
        Take credentials from the keyring; those in the environment are used in any case.
    cache : path-like, optional
        Folder in which unfinished queries are kept; by default in astropy's cache folder.

    Returns
    -------
    stars : `~astropy.table.Table`
        Rows in the order of source_id, with unit, UCD and description, masked where the release has no value.
        ``meta["source"]`` says where they came from. A region without stars gives a table without rows.

    Raises
    ------
    InputError
        If an argument makes no sense.
    ServiceError
        If not every row came. What came is kept, and the same call goes on from there.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion, query_region
    >>> region = ClusterRegion.from_name("NGC 2632")
    >>> stars = query_region(region, "gaia_dr3", where="phot_g_mean_mag < 18")  # doctest: +SKIP
    """
    query = Query.of(region, release, columns=columns, where=where, url=url)
    maxrec, part_rows = None if maxrec is None else whole(maxrec, "maxrec"), whole(part_rows, "part_rows")
    patience = limits(deadline, timeout, tries, backoff)
    if archive is not None and archive is not False and maxrec is None:
        from .archive import StarArchive

        archive, names = StarArchive.of(archive), None if offline and columns is None else query.columns

        def look():
            return archive.query_region(region, query.release, columns=names, where=query.where)

        if (stars := look()) is not None:
            return stars
        # An archive keeps all columns, so that nothing is asked for twice.
        query = Query.of(region, query.release, where=query.where, url=url)
    else:
        archive = None
    if offline:
        msg = f"'offline' forbids to ask {query.service.url} for the stars of {query.release.name}, "
        if archive is None:
            msg += "without an archive (archive=True takes that of the settings)"
        else:
            msg += f"which {archive.url} does not have"
        raise ServiceError(msg)
    with Fetch(query, maxrec, part_rows, cache, progress, login, **patience) as fetch:
        if archive is None:
            stars = fetch.stars()
        elif (stars := look()) is None:  # nor has another run brought them, which was waited for
            fetch.keep_in(archive)
            stars = look()
            stars.meta["source"] = f"{query.service.url} ({query.service.table}), kept in {archive.url}"
        fetch.done()
    return stars
