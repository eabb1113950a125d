"""The way of a query from the service to the disk: counted, split, fetched part by part, resumed."""

import contextlib
import hashlib
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ..columns import COLUMNS, conform, describe
from ..config import cache_folder
from ..exceptions import InputError, ServiceError
from . import adql
from ._folder import QueryFolder, disk, forget_old
from ._partition import Part, first_width, split

log = logging.getLogger(__name__)

_BINS = 100_000  # row limit of the count query; some thousands of pixels at most are asked for


class Fetch:
    """
    The way of a query from the service to the disk, as a context that one run enters at a time.

    Its folder keeps the plan, the jobs and the parts that came, with which a later run goes on, until `done` forgets
    them; the folder's name comes from all that decides on the rows.
    """

    def __init__(self, query, maxrec, part_rows, cache, progress, login, *, deadline, timeout, tries, backoff):
        from ._http import Patience

        self.query, self.maxrec, self.part_rows, self.login = query, maxrec, part_rows, login
        self.patience = Patience(deadline, timeout, tries, backoff)
        text = json.dumps([query.service.url, query.text, maxrec, part_rows])
        cache = cache_folder() if cache is None else Path(cache)
        self.folder = QueryFolder(cache / "tap" / hashlib.sha256(text.encode()).hexdigest()[:24])
        self.progress = progress
        self._bar = None

    def __enter__(self):
        from ._http import open_session
        from ._jobs import Jobs

        with contextlib.ExitStack() as stack:
            self.folder.acquire(self.patience)
            forget_old(self.folder.path.parent)
            stack.callback(self.folder.release)
            url = self.query.service.url
            session = stack.enter_context(open_session(url, self.patience, self.query.service.login, self.login))
            self.jobs = Jobs(url, session, self.patience, self.folder.save)
            self.folder.state.setdefault("query", self.query.text)
            self.folder.state.setdefault("url", url)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exc):
        self._open.close()

    def done(self):
        """Forget the query: its rows are where they should be."""
        self.folder.discard()

    @property
    def total(self):
        """Rows that must come; None when the user gave a limit."""
        return None if self.maxrec is not None else sum(part["rows"] for part in self.folder.state["parts"])

    def stars(self):
        """All rows as one table, sorted by source_id."""
        from astropy.table import vstack

        self.download()
        tables = list(self.tables())
        stars = self._checked(vstack(tables, metadata_conflicts="silent") if tables else empty(self.query.columns))
        stars = stars[np.argsort(np.asarray(stars["source_id"]), kind="stable")]
        for name in stars.colnames:
            describe(stars[name])
        service = self.query.service
        now = datetime.now(UTC).isoformat(timespec="seconds")
        stars.meta = self.query.meta(source=f"{service.url} ({service.table})", retrieved=now)
        return stars

    def keep_in(self, archive):
        """Put all rows into an archive, once the last of them has come: a writer keeps others waiting."""
        self.download()
        query = self.query
        service = f"{query.service.url} ({query.service.table})"
        options = {"columns": query.columns, "where": query.where, "service": service, "query": query.text}
        archive.ingest(query.region, query.release, map(self._checked, self.tables()), total=self.total, **options)

    def download(self):
        """Count the rows, and bring the parts to the disk that are not yet there."""
        self._plan()
        parts = self.folder.state["parts"]
        self._open_bar(sum(part["rows"] for part in parts))
        index = 0
        while index < len(parts):
            part = parts[index]
            if not (part["done"] and self._path(part).exists()):
                self._fetch(index)
            else:
                index += 1
                # What the bar showed on the way was a guess.
                self._bar.update(sum(one["rows"] for one in parts[:index]) - self._bar.n)

    def tables(self):
        """Yield the stars part by part, from the disk."""
        from pyarrow import feather

        from ._arrow import from_arrow

        for part in self.folder.state["parts"]:
            yield from_arrow(feather.read_table(self._path(part), memory_map=False))

    def _checked(self, stars):
        """The stars, if each of them is there once."""
        if len(np.unique(np.asarray(stars["source_id"]))) != len(stars):
            msg = f"{self.query.service.url} sent a star twice; nothing is returned: tell the service"
            raise ServiceError(msg)
        return stars

    def _path(self, part):
        return self.folder.path / f"{part['first']}.arrow"

    def _open_bar(self, rows):
        from tqdm import tqdm

        off = None if self.progress is None else not self.progress
        label = getattr(self.query.region, "name", None) or self.query.release.name
        self._bar = self._open.enter_context(
            tqdm(total=rows, desc=label, unit=" rows", unit_scale=True, disable=off, leave=False)
        )

    def _plan(self):
        """Count the rows, and split them; what an earlier run planned stays."""
        state = self.folder.state
        if "parts" in state:
            return
        if self.maxrec is not None:
            parts = [Part(0, adql.LARGEST_ID, self.maxrec)]
        else:
            parts = split(self._counts, self.part_rows, first_width(_square_degrees(self.query.region)))
            rows = sum(part.rows for part in parts)
            log.info("%s: %d rows in %d parts", self.query.service.url, rows, len(parts))
        state["parts"] = [_remember(part) for part in parts]
        state.pop("counts", None)
        self.folder.save()

    def _counts(self, first, last, width):
        entry = self.folder.state.setdefault("counts", {}).setdefault(f"{first}-{last}/{width}", {})
        path = self.folder.path / "counts.vot"
        table, overflow = self.jobs.run(entry, self.query.counts(first, last, width), _BINS, path, stubborn=False)
        self.jobs.delete(entry)
        entry.clear()
        if overflow:
            if len(table) < 1:
                msg = f"{self.query.service.url} cuts off even a count; use another 'url'"
                raise ServiceError(msg)
            return None
        lower = {name.lower(): name for name in table.colnames}
        return list(zip(np.asarray(table[lower["pixel"]]), np.asarray(table[lower["n"]]), strict=True))

    def _fetch(self, index):
        """Fetch one part and keep it as an Arrow file; a part the service cuts short is split instead."""
        state = self.folder.state
        part = state["parts"][index]
        path = self._path(part)
        piece = Part(part["first"], part["last"], part["rows"])
        limit = self.maxrec or self.part_rows + 1
        seen = None
        if self.maxrec is None and piece.rows > state.get("limit", piece.rows):
            self._split(index, piece, state["limit"])
            return
        for attempt in range(self.patience.tries):
            table, overflow = self._run(part, piece, limit, path)
            if self.maxrec is not None:
                if overflow:
                    log.warning(
                        "'maxrec' = %d: the region has more stars than the %d that came", self.maxrec, len(table)
                    )
                part["rows"] = len(table)
                break
            if overflow:
                state["limit"] = len(table)
                self._split(index, piece, len(table))
                return
            if len(table) == part["rows"]:
                break
            # Either the rows or the count is wrong: both are asked for again until they agree.
            said = f"{len(table)} rows came where {part['rows']} were counted"
            log.info("%s; asking again", said)
            if seen == len(table):
                part["rows"] = sum(int(n) for _, n in self._counts(piece.first, piece.last, adql.LARGEST_ID))
                if part["rows"] == len(table):
                    break
            seen = len(table)
            self._forget(part)
            if attempt + 1 < self.patience.tries:
                self.patience.sleep(self.patience.backoff, said)
        else:
            state.pop("parts")
            self.folder.save()
            msg = f"{self.query.service.url}: {said}; run the same again later, or use another 'url'"
            raise ServiceError(msg)
        self._keep(part, table, path)

    def _run(self, part, piece, limit, path):
        shown = 0

        def show(fraction):
            nonlocal shown
            rows = int(piece.rows * min(fraction, 1.0))
            self._bar.update(rows - shown)
            shown = rows

        text = self.query.part(piece)
        table, overflow = self.jobs.run(part["job"], text, limit, path.with_suffix(".vot"), progress=show)
        show(1.0)
        return table, overflow

    def _forget(self, part):
        self.jobs.delete(part["job"])
        part["job"] = {}
        self.folder.save()

    def _split(self, index, piece, limit):
        log.info("%s sends %d rows at most; splitting", self.query.service.url, limit)
        if limit < 1 or piece.first == piece.last:
            msg = f"{self.query.service.url} cuts off even a single star; use another 'url'"
            raise ServiceError(msg)
        self._forget(self.folder.state["parts"][index])
        width = max(1, first_width(_square_degrees(self.query.region)) // 64)
        parts = split(self._counts, limit, width, piece.first, piece.last)
        self.folder.state["parts"][index : index + 1] = [_remember(part) for part in parts]
        self.folder.save()

    def _keep(self, part, table, path):
        from pyarrow import feather

        from ._arrow import to_arrow

        arrow = to_arrow(_stars(table, self.query), self.query.columns)
        new = path.with_suffix(".new")
        with disk(self.folder.path):
            feather.write_feather(arrow, str(new), compression="lz4")
            new.replace(path)
        part["done"] = True
        self.folder.save()
        self.jobs.delete(part["job"])
        with contextlib.suppress(OSError):
            path.with_suffix(".vot").unlink()


def _remember(part):
    return {"first": part.first, "last": part.last, "rows": part.rows, "done": False, "job": {}}


def _stars(table, query):
    """A service's table with the registry's names, units and types."""
    if len(table) == 0:
        return empty(query.columns)
    lower = {name.lower(): name for name in table.colnames}
    mapping = {}
    for name in query.columns:
        spelling = query.service.spelling(name).lower()
        # TAPs spell a quoted name in the result as they like: BP-RP may come as bp_rp.
        found = lower.get(spelling) or lower.get("".join(c if c.isalnum() else "_" for c in spelling))
        if found is None:
            msg = f"{query.service.url} did not send the column {query.service.spelling(name)}; use another 'url'"
            raise ServiceError(msg)
        mapping[name] = found
    try:
        return conform(table, mapping)
    except InputError as error:
        msg = f"{query.service.url} sent a table that makes no sense: {error}"
        raise ServiceError(msg) from error


def empty(columns):
    """A table of stars without rows."""
    from astropy.table import MaskedColumn, Table

    table = Table(masked=True)
    for name in columns:
        table[name] = MaskedColumn(np.zeros(0, COLUMNS[name].dtype))
        describe(table[name])
    return table


def _square_degrees(region):
    import astropy.units as u

    if hasattr(region, "sky_fraction"):
        return region.sky_fraction * 41253
    radius = adql.bounding_cone(region)[1]
    return (2 * np.pi * (1 - np.cos(radius * u.deg.to(u.rad)))) * u.sr.to(u.deg**2)
