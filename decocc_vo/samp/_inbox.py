"""What the messages of other programs make a live session do, and with what words they are refused."""

import logging
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from ..exceptions import DecoccError, InputError
from . import _messages as messages
from ._reading import fetch_table
from ._tables import Job, LiveTable, star_line, star_numbers
from .sending import table_key

__all__ = ["Inbox"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
LOOK_FRACTION = 0.02
"""How soon after a highlight, and how near to the star, in radii of the table, a position is only a look at it."""


class Inbox:
    """
    The messages a live session takes.

    Parameters
    ----------
    book : `~decocc_vo.samp._matching.TableBook`
        The tables that are known.
    telling : `~decocc_vo.samp._telling.Telling`
        Who is told what came.
    accept : callable
        ``accept(LiveTable)`` for a table that is new.
    enqueue : callable
        ``enqueue(Job)`` for a fit to make.
    selection : callable
        Gives what selected rows mean now.
    columns : mapping of str to str or None
        Registry name to the name in the tables.
    """

    def __init__(self, book, telling, *, accept, enqueue, selection, columns):
        self._book, self._telling, self._columns = book, telling, columns
        self._accept, self._enqueue, self._selection = accept, enqueue, selection
        self._looks = {}
        self._handlers = {
            "table.load.votable": self._load,
            "table.load.fits": self._load,
            "table.select.rowList": self._select,
            "table.highlight.row": self._highlight,
            "coord.pointAt.sky": self._point,
        }

    @property
    def mtypes(self):
        """The message types to subscribe to."""
        return tuple(self._handlers)

    def receive(self, mtype, params, sender):
        """Act on a message; what is raised is the reason of its refusal."""
        handler = self._handlers.get(mtype)
        if handler is None:
            msg = f"{mtype} is not handled here"
            raise InputError(msg)
        try:
            return handler(params, mtype, sender)
        except DecoccError as exc:
            self._telling.problem(f"{mtype} refused: {exc}")
            raise
        except Exception as exc:
            log.exception("%s failed", mtype)
            self._telling.problem(f"{mtype} failed: {exc}")
            raise

    def _load(self, params, mtype, sender):
        url = messages.text(params, "url", required=True)
        table = fetch_table(url, mtype)
        name = messages.text(params, "name") or Path(unquote(urlsplit(url).path)).stem or "table"
        table_id = messages.text(params, "table-id") or table_key(table)
        known = self._book.find(table_id)
        if known is not None and table_id == known.result_id and len(table) == len(known.table):
            self._telling.line(f"{known.name}: its result came back; all {len(table)} stars are fitted anew")
            self._enqueue(Job(known, "all"))
            return
        entry = LiveTable.of(table, name=name, table_id=table_id, url=url, sender=sender, columns=self._columns)
        self._accept(entry)

    def _find(self, params):
        table_id, url = messages.text(params, "table-id"), messages.text(params, "url")
        if not (table_id or url):
            msg = "the message names no table: it has neither table-id nor url"
            raise InputError(msg)
        entry = self._book.find(table_id, url)
        if entry is None:
            msg = f"no table with table-id={table_id or '?'}, url={url or '?'} is known here; send it first"
            raise InputError(msg)
        entry.used = time.monotonic()
        return entry

    def _select(self, params, mtype, sender):
        entry = self._find(params)
        rows = messages.row_numbers(params, len(entry.table))
        if len(rows) == 0 or self._look(sender, entry, rows=rows):
            return
        kind = self._selection()
        self._telling.line(f"{entry.name}: {len(rows)} rows selected, taken as the {kind}")
        self._telling.call("selection", entry, rows)
        self._enqueue(Job(entry, kind, rows=rows))

    def _highlight(self, params, mtype, sender):
        entry = self._find(params)
        row = messages.row_number(params, len(entry.table))
        self._looks[sender] = (time.monotonic(), entry, row)
        numbers = star_numbers(entry, row)
        self._telling.line(f"{entry.name}: {star_line(numbers)}")
        self._telling.call("highlight", entry, numbers)

    def _point(self, params, mtype, sender):
        ra, dec = messages.position(params)
        if self._look(sender, point=(ra, dec)):
            return
        covering = [entry for entry in self._book.entries() if entry.covers(ra, dec)]
        if not covering:
            msg = f"no table known here covers {ra:.5f} {dec:+.5f}"
            raise InputError(msg)
        entry = max(covering, key=lambda e: e.used)
        self._telling.call("point", entry, (ra, dec))
        if entry.distance_to(ra, dec) > 1e-6:
            self._telling.line(f"{entry.name}: the region's centre moves to {ra:.5f} {dec:+.5f}")
            self._enqueue(Job(entry, "center", point=(ra, dec)))

    def _look(self, sender, entry=None, *, rows=None, point=None):
        """
        Whether a message only goes with a row that the same program just highlighted.

        A click on a star in Aladin sends three: its highlight, a list of that one row, and the position clicked at.
        The user looks at a star; it is neither the selection nor the new centre.
        """
        when, looked, row = self._looks.get(sender, (-np.inf, None, 0))
        if time.monotonic() - when > LOOK_SECONDS:
            return False
        if point is None:
            return entry is looked and rows.tolist() == [row]
        return looked.separation(row, *point) < LOOK_FRACTION * looked.home.radius_deg
