"""
The local archive of stars, so that nothing is asked for twice.

A region is put in whole, in one transaction, and is found again by ranges of the nested HEALPix index of order 12,
which every star has from its position. (The one in a Gaia source_id comes from an early position: up to 9 stars in
1000 are in the next pixel by now, so it cannot serve to find all stars of a cone.)
"""

import json
import logging
from datetime import UTC, datetime

import numpy as np

from ..columns import COLUMNS, RELEASES, floats, get_release
from ..config import cache_folder, conf
from ..exceptions import InputError, ServiceError
from . import _healpix, adql
from ._engines import open_engine

__all__ = ["StarArchive"]

log = logging.getLogger(__name__)

_SQL_TYPES = {"int64": "BIGINT", "int16": "SMALLINT", "float32": "REAL", "float64": "DOUBLE PRECISION"}
_STORED = tuple(name for name in COLUMNS if any(name in release.columns for release in RELEASES.values()))

# Step i brings an archive from version i to version i + 1. A step that was published is never changed.
_STEPS = (
    (
        """CREATE TABLE selections (id INTEGER PRIMARY KEY, release TEXT NOT NULL, area TEXT NOT NULL,
           conditions TEXT NOT NULL, column_names TEXT NOT NULL)""",
        """CREATE TABLE regions (selection INTEGER NOT NULL, name TEXT, ra DOUBLE PRECISION NOT NULL,
           "dec" DOUBLE PRECISION NOT NULL, radius DOUBLE PRECISION NOT NULL, n_rows BIGINT NOT NULL,
           service TEXT NOT NULL, query TEXT NOT NULL, retrieved TEXT NOT NULL)""",
        """CREATE TABLE stars (selection INTEGER NOT NULL, healpix BIGINT NOT NULL,
           source_id BIGINT NOT NULL{key})""",
    ),
)


class StarArchive:
    """
    An archive of stars: a DuckDB file, or a PostgreSQL database that a group shares.

    Stars are kept by *selection*: a release with the conditions it was asked with. A cone is answered by any fetched
    cone that holds it, of the same selection.

    Parameters
    ----------
    url : str or path-like, optional
        Path of a DuckDB file, or ``postgresql://user@host/database``; by default ``conf.archive_url``, else the file
        ``stars.duckdb`` in the cache folder.
    wait : float, optional
        Seconds to wait for another process that writes it.

    Examples
    --------
    >>> import tempfile
    >>> from decocc_vo import ClusterRegion, query_region
    >>> from decocc_vo.stars.archive import StarArchive
    >>> region = ClusterRegion.from_name("Melotte 25")
    >>> archive = StarArchive(f"{tempfile.mkdtemp()}/stars.duckdb")
    >>> archive.add(region, query_region(region, survey="hipparcos2"))
    169
    >>> len(archive.query_region(region, "hipparcos2"))
    169
    """

    def __init__(self, url=None, wait=60.0):
        self._engine = open_engine(url or conf.archive_url or _default_path(), wait)
        self._ready = False

    @classmethod
    def of(cls, archive):
        """An archive from what an argument may be: one already, its URL, or True for the default."""
        return archive if isinstance(archive, cls) else cls(None if archive is True else archive)

    @property
    def url(self):
        """Where it is, without a password."""
        return self._engine.url

    def __repr__(self):
        return f"StarArchive({self.url!r})"

    def query_region(self, region, release=None, *, columns=None, where=None):
        """
        The stars of a region, when the archive has all of them.

        Parameters
        ----------
        region : `~decocc_vo.ClusterRegion`, `regions.SkyRegion` or `mocpy.MOC`
            A cone lies within one that was fetched; any other shape was fetched as it is.
        release : str or `~decocc_vo.columns.Release`, optional
            By default ``conf.survey``.
        columns : iterable of str, optional
            Registry names beside the astrometry; by default all of the fetch that has most.
        where : str or iterable of str, optional
            The conditions the stars were fetched with.

        Returns
        -------
        stars : `~astropy.table.Table` or None
            Rows in the order of source_id; None when the archive does not have the whole region.

        Raises
        ------
        InputError
            If the release does not have one of the columns.
        """
        release = _release(release)
        columns = None if columns is None else list(columns)
        if missing := [name for name in columns or () if name not in release.columns]:
            msg = f"'columns' names {', '.join(missing)}, which {release.name} does not have"
            raise InputError(msg)
        area, conditions = _filed(region, where)
        found = self._look_up(region, release, area, conditions, columns)
        if found is None:
            return None
        rows, row = found
        return _as_table(rows, release, row, self.url)

    def add(self, region, stars, release=None, *, where=None):
        """
        Put a table of all stars of a region into the archive: those of Hipparcos, or of a file.

        Parameters
        ----------
        region : `~decocc_vo.ClusterRegion`, `regions.SkyRegion` or `mocpy.MOC`
            What the table is complete for.
        stars : `~astropy.table.Table`
            Stars with ``source_id``, each once, and a position; none where the region is empty.
        release : str, optional
            By default what ``stars`` say.
        where : str or iterable of str, optional
            The conditions the stars were chosen by.

        Returns
        -------
        rows : int
            How many of them were new.
        """
        from astropy.table import Table

        from ..columns import conform, stated_release

        empty = isinstance(stars, Table) and len(stars) == 0
        table = stars if empty else conform(stars)
        release = release or getattr(stated_release(table), "key", None)
        if release is None:
            msg = "'release' is needed: the stars do not say which release they are from"
            raise InputError(msg)
        release = _release(release)
        source = {"service": str(stars.meta.get("source", "a table")), "query": str(stars.meta.get("query", ""))}
        if empty:  # which is known of every column
            return self.ingest(region, release, [], columns=release.columns, where=where, **source)
        if "source_id" not in table.colnames or np.ma.getmaskarray(table["source_id"]).any():
            msg = "'stars' must have a source_id in every row, by which the archive knows them"
            raise InputError(msg)
        _, first = np.unique(np.asarray(table["source_id"]), return_index=True)
        table = table[np.sort(first)]
        names = [name for name in release.columns if name in table.colnames]
        return self.ingest(region, release, [table], columns=names, where=where, **source)

    def ingest(self, region, release, tables, *, columns, where=None, service, query, total=None):
        """
        Put a region into the archive, all of it or nothing; what is there already stays as it is.

        Parameters
        ----------
        region, release, where
            As in `query_region`.
        tables : iterable of `~astropy.table.Table`
            The stars, in as many parts as there are.
        columns : iterable of str
            Registry names the tables have.
        service, query : str
            Who sent them, and what was asked.
        total : int, optional
            Rows that must come.

        Returns
        -------
        rows : int
            How many of them were new.
        """
        from ._arrow import to_arrow

        release, (area, conditions) = _release(release), _filed(region, where)
        names = [name for name in _STORED if name in columns]
        center, radius = adql.bounding_cone(region)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._prepare()
        with self._engine.writing() as session:
            selection = _selection(session, release.key, area, conditions, names)
            rows = new = 0
            for table in tables:
                if not all(np.isfinite(floats(table[name])).all() for name in ("ra", "dec")):
                    msg = "'stars' must have ra and dec in every row, by which the archive finds them; drop the others"
                    raise InputError(msg)
                rows += len(table)
                if len(table):
                    new += _insert(session, selection, names, to_arrow(table, names))
            if total is not None and rows != total:
                msg = f"{rows} rows came where {total} were counted; nothing was put into {self.url}"
                raise ServiceError(msg)
            place = {"s": selection, "ra": center.ra.deg, "d": center.dec.deg, "r": radius}
            session.execute(
                'DELETE FROM regions WHERE selection = :s AND ra = :ra AND "dec" = :d AND radius = :r', **place
            )
            session.execute(
                "INSERT INTO regions VALUES (:s, :name, :ra, :d, :r, :n, :service, :query, :t)",
                **place,
                name=getattr(region, "name", None),
                n=rows,
                service=service,
                query=query,
                t=now,
            )
        log.info("%s: %d rows, %d of them new", self.url, rows, new)
        return new

    def regions(self):
        """
        What was put in.

        Returns
        -------
        regions : `~astropy.table.Table`
            name, release, ra, dec and radius in degrees, rows, conditions, service, retrieved.
        """
        from astropy.table import Table

        names = ("name", "release", "ra", "dec", "radius", "rows", "conditions", "service", "retrieved")
        kinds = (str, str, float, float, float, int, str, str, str)
        rows = []
        if self._prepare(create=False):
            with self._engine.reading() as session:
                rows = session.rows(
                    "SELECT coalesce(name, ''), release, ra, \"dec\", radius, n_rows, conditions, service, retrieved"
                    " FROM regions JOIN selections ON selections.id = regions.selection ORDER BY retrieved, name"
                )
        table = Table(rows=rows or None, names=names, dtype=kinds)
        for name in ("ra", "dec", "radius"):
            table[name].unit = "deg"
        return table

    def _look_up(self, region, release, area, conditions, columns):
        if not self._prepare(create=False):
            return None
        center, radius = adql.bounding_cone(region)
        ra, dec = center.ra.deg, center.dec.deg
        with self._engine.reading() as session:
            candidates = session.rows(
                'SELECT id, column_names, ra, "dec", radius, service, query, retrieved FROM regions'
                " JOIN selections ON selections.id = regions.selection"
                " WHERE release = :r AND area = :a AND conditions = :c ORDER BY retrieved DESC",
                r=release.key,
                a=area,
                c=conditions,
            )
            # The fetch with most columns, of those the latest.
            for stored, row in sorted(((json.loads(row[1]), row) for row in candidates), key=lambda one: -len(one[0])):
                names = stored if columns is None else [n for n in stored if n in adql.NEEDED or n in columns]
                if columns is not None and set(columns) - set(names):
                    continue
                # A margin for the rounding of the separation, far below the error of any position.
                if area or _healpix.separation(*row[2:4], ra, dec) + radius <= row[4] + 1e-10:
                    return self._read(session, row[0], names, None if area else (ra, dec, radius)), row
        return None

    @staticmethod
    def _read(session, selection, names, cone):
        ranges = _healpix.cover(*cone) if cone else np.array([[0, 12 << 24]])
        near = " OR ".join(f"healpix BETWEEN {a} AND {b - 1}" for a, b in ranges)
        arrow = session.arrow(
            names,
            f"FROM stars WHERE selection = {int(selection)}"
            f" AND healpix BETWEEN {ranges[0, 0]} AND {ranges[-1, 1] - 1} AND ({near})",
        )
        keep = np.argsort(arrow["source_id"].to_numpy(), kind="stable")
        if cone:
            away = _healpix.separation(arrow["ra"].to_numpy(), arrow["dec"].to_numpy(), *cone[:2])
            keep = keep[(away <= cone[2])[keep]]
        return arrow.take(keep)

    def _prepare(self, create=True):
        """Bring the archive to this version's schema; False when there is none and ``create`` is not set."""
        if self._ready:
            return True
        if not self._engine.exists and not create:
            return False
        if self._engine.exists:
            with self._engine.reading() as session:
                version, missing = _state(session)
            if version == len(_STEPS) and not missing:
                self._ready = True
                return True
            if version == 0 and not create:
                return False
        with self._engine.writing() as session:
            version, _ = _state(session)  # another process may have been quicker
            if version > len(_STEPS):
                msg = f"'archive' {self.url} was made by a newer decocc_vo (version {version}); update, or use another"
                raise InputError(msg)
            if version == 0:
                session.execute("CREATE TABLE archive (version INTEGER NOT NULL)")
                session.execute("INSERT INTO archive VALUES (0)")
            for statement in (statement for step in _STEPS[version:] for statement in step):
                session.execute(statement.replace("{key}", self._engine.key))
            session.execute("UPDATE archive SET version = :v", v=len(_STEPS))
            # A column that is new in the registry is added, and stays empty for what was fetched without it.
            for name in _state(session)[1]:
                session.execute(f'ALTER TABLE stars ADD COLUMN "{name}" {_SQL_TYPES[COLUMNS[name].dtype]}')
        self._ready = True
        return True


def _default_path():
    return cache_folder() / "stars.duckdb"


def _release(release):
    return release if hasattr(release, "key") else get_release(release or conf.survey)


def _filed(region, where):
    """Under what a region is filed: its shape unless it is a cone, and the conditions, in one order."""
    is_cone = hasattr(region, "radius") and hasattr(region, "center")
    conditions = sorted(" ".join(text.split()) for text in adql.predicates(where))
    return "" if is_cone else adql.area(region), json.dumps(conditions)


def _list(names):
    return ", ".join(f'"{name}"' for name in names)


def _state(session):
    """Version of the schema, 0 for none, and the registry's columns the table of stars lacks."""
    if not session.columns("archive"):
        return 0, _STORED
    ((version,),) = session.rows("SELECT version FROM archive")
    there = session.columns("stars")
    return version, [name for name in _STORED if name not in there]


def _selection(session, release, area, conditions, names):
    """The number under which this selection's stars are kept."""
    key = {"r": release, "a": area, "c": conditions, "n": json.dumps(list(names))}
    found = session.rows(
        "SELECT id FROM selections WHERE release = :r AND area = :a AND conditions = :c AND column_names = :n", **key
    )
    if found:
        return found[0][0]
    ((number,),) = session.rows("SELECT coalesce(max(id), 0) + 1 FROM selections")
    session.execute("INSERT INTO selections VALUES (:i, :r, :a, :c, :n)", i=number, **key)
    return number


def _insert(session, selection, names, arrow):
    """Add the rows of one part that are not there; how many."""
    import pyarrow as pa

    pixels = _healpix.pixel_of(arrow["ra"].to_numpy(), arrow["dec"].to_numpy())
    order = np.argsort(pixels, kind="stable")
    session.stage(
        arrow.append_column("selection", pa.array(np.full(len(arrow), selection, np.int32)))
        .append_column("healpix", pa.array(pixels))
        .take(order)
    )
    columns = _list(("selection", "healpix", *names))
    return session.insert(
        f"INSERT INTO stars ({columns}) SELECT {columns} FROM stage WHERE NOT EXISTS (SELECT 1 FROM stars AS old"
        f" WHERE old.selection = {selection} AND old.healpix BETWEEN {pixels.min()} AND {pixels.max()}"
        " AND old.healpix = stage.healpix AND old.source_id = stage.source_id) ORDER BY healpix"
    )


def _as_table(arrow, release, row, url):
    from ._arrow import from_arrow

    *_, service, query, retrieved = row
    return from_arrow(
        arrow,
        {
            "release": release.name,
            "release_key": release.key,
            "ref_epoch": release.ref_epoch,
            "citation": release.citation,
            "query": query,
            "retrieved": retrieved,
            "source": f"the archive {url}, from {service} on {retrieved[:10]}",
        },
    )
