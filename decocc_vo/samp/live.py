"""A live session: stay on the hub, fit the tables that come, and follow what the user does in the programs."""

import itertools
import logging
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from ..exceptions import DecoccError, InputError, ServiceError
from . import _messages as messages
from ._mail import Mail, owes
from ._matching import TableBook
from ._reading import fetch_table
from ._tables import SELECTIONS, Job, LiveTable, star_line, star_numbers
from .client import NAME, connect
from .sending import table_file, table_key

__all__ = ["LiveSession"]

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often the hub is looked after."""

LOOK_SECONDS = 3.0
LOOK_FRACTION = 0.02
"""How soon after a highlight, and how near to the star, in radii of the table, a position is only a look at it."""

_ANNOUNCED = (1, 5, 15)  # polls after which we say again who we are

_MTYPES = (
    "table.load.votable",
    "table.load.fits",
    "table.select.rowList",
    "table.highlight.row",
    "coord.pointAt.sky",
)


class LiveSession:
    """
    Run a method live between TOPCAT, Aladin and any other SAMP client.

    The session joins the hub as ``DECOCC``. A table it is sent is fitted, and the result goes back to the programs
    with the members selected. A selection of its rows in any program starts a refit from the last result, after which
    the new members are selected in all programs; ``coord.pointAt.sky`` moves the region; a highlighted row is
    described. Messages that make no sense are refused with a reason, a program that does not answer is left alone,
    and when the hub ends the session joins the next one, with nothing forgotten.

    Parameters
    ----------
    fit : callable
        ``fit(table, region, *, start=None, field_only=None) -> Membership``, such as ``DECOCC(seed=0).fit``.
        ``start`` (float, shape (n,)) is where to start from, ``field_only`` (bool, shape (n,)) says which stars
        are field.
    selection : {"region", "field", "seed"}
        What selected rows are: the new region (the smallest cone that holds them), stars of the field, or the
        members to start from.
    hub : bool
        Start a hub when none runs.
    name : str
        Name to register under.
    client : str
        Programs that get the results: ``"all"``, ``"topcat"``, ``"aladin"``, or the start of another name.
    columns : mapping of str to str, optional
        Registry name to the name in the tables, where they differ; handed to ``fit``, too.
    timeout : float
        Seconds a program may take to accept a table.
    on_table, on_result : callable, optional
        Called with the `LiveTable` when one came, and when it was fitted.
    on_selection : callable, optional
        Called with the table and the selected row numbers.
    on_highlight : callable, optional
        Called with the table and the star's numbers, a dict with ``row``, ``source_id``, ``membership_prob``,
        ``group``, ``candidate``, ``sigma`` (by quantity) and ``separation`` in arcmin.
    on_point : callable, optional
        Called with the table and (ra, dec) in degrees.
    on_problem : callable, optional
        Called with a sentence when something could not be done; the session goes on.
    on_line : callable, optional
        Called with a line for the terminal about everything that happens.

    Attributes
    ----------
    tables : list of LiveTable
        The tables known so far.

    Examples
    --------
    >>> from decocc_vo import DECOCC
    >>> from decocc_vo.samp import LiveSession
    >>> with LiveSession(DECOCC(seed=0).fit, selection="seed", on_line=print) as session:  # doctest: +SKIP
    ...     session.run_forever()
    """

    def __init__(
        self,
        fit,
        *,
        selection="region",
        hub=False,
        name=NAME,
        client="all",
        columns=None,
        timeout=60.0,
        on_table=None,
        on_result=None,
        on_selection=None,
        on_highlight=None,
        on_point=None,
        on_problem=None,
        on_line=None,
    ):
        if not callable(fit):
            msg = "'fit' must be callable as fit(table, region, start=None, field_only=None), such as DECOCC().fit"
            raise InputError(msg)
        self.hub, self.name, self.client, self.columns = bool(hub), name, client, columns
        self.fit = fit if columns is None else partial(fit, columns=columns)
        self.selection = selection
        self._callbacks = {
            "table": on_table,
            "result": on_result,
            "selection": on_selection,
            "highlight": on_highlight,
            "point": on_point,
            "problem": on_problem,
            "line": on_line,
        }
        self._book, self._mail = TableBook(), Mail(client, timeout, self._problem, self._line)
        self._connection, self._folder = None, None
        self._jobs, self._busy, self._work = {}, False, threading.Condition()
        self._looks = {}
        self._closing, self._threads, self._count = threading.Event(), [], itertools.count(1)
        self._handlers = {
            "table.load.votable": self._load,
            "table.load.fits": self._load,
            "table.select.rowList": self._select,
            "table.highlight.row": self._highlight,
            "coord.pointAt.sky": self._point,
        }

    # -- life ----------------------------------------------------------------------------------------------------

    @property
    def selection(self):
        """What selected rows mean; may be changed while the session runs."""
        return self._selection

    @selection.setter
    def selection(self, value):
        if value not in SELECTIONS:
            msg = f"'selection' must be one of {', '.join(SELECTIONS)}, not {value!r}"
            raise InputError(msg)
        self._selection = value

    @property
    def tables(self):
        return self._book.entries()

    @property
    def connected(self):
        """Whether the session is on a hub now."""
        return self._connection is not None

    def start(self):
        """
        Join the hub and begin to work, in threads of its own.

        Raises
        ------
        ServiceError
            If there is no hub and none was asked for.
        """
        if self._threads:
            return self
        self._closing.clear()
        self._folder = tempfile.TemporaryDirectory(prefix="decocc-live-", ignore_cleanup_errors=True)
        try:
            self._join()
        except BaseException:
            self._folder.cleanup()
            raise
        for target in (self._work_off, self._look_after_hub):
            thread = threading.Thread(target=target, name=f"LiveSession{target.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def close(self, timeout=10.0):
        """Leave the hub; a fit that is running is waited for up to ``timeout`` seconds."""
        self._closing.set()
        with self._work:
            self._work.notify_all()
        self._mail.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        for thread in self._threads:
            thread.join(timeout)
        self._threads = []
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def run_forever(self):
        """Work until Ctrl-C or `close`."""
        self.start()
        try:
            while not self._closing.wait(0.5):
                pass
        except KeyboardInterrupt:
            self._line("leaving the hub")
        finally:
            self.close()

    def wait(self, timeout=60.0):
        """
        Wait until every fit is made and every program that is there has been served.

        Returns
        -------
        idle : bool
            False when ``timeout`` seconds were not enough.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with self._work:
                idle = not self._jobs and not self._busy
            if idle and self._mail.idle() and not any(owes(entry) for entry in self.tables):
                return True
            time.sleep(0.02)
        return False

    def add(self, table, *, name="table", region=None):
        """
        Take a table from Python as if a program had sent it.

        Parameters
        ----------
        table : `~astropy.table.Table`
        name : str
        region : `~decocc_vo.ClusterRegion`, optional
            By default the table's footprint.

        Returns
        -------
        entry : LiveTable
            Its ``membership`` is there once the fit is done; see `wait`.
        """
        entry = LiveTable.of(table, name=name, table_id=table_key(table), region=region, columns=self.columns)
        return self._accept(entry)

    def highlight(self, entry, row):
        """
        Show one star in every program that has the table.

        Parameters
        ----------
        entry : LiveTable
        row : int
            Its row number.

        Returns
        -------
        names : list of str
            The programs that show it.
        """
        row = messages.row_number({"row": int(row)}, len(entry.table))
        return self._mail.highlight(entry, row)

    # -- the hub -------------------------------------------------------------------------------------------------

    def _join(self):
        self._connection = connect(self.name, hub=self.hub, receive=self._receive, subscriptions=_MTYPES)
        self._mail.connect(self._connection)
        own = " of its own" if self._connection.hub is not None else ""
        self._line(
            f"{self.name} is on the SAMP hub{own}; send it a table, or select rows (they are the {self.selection})"
        )

    def _look_after_hub(self):
        """Notice that the hub is gone, join the next one, and send what is still owed."""
        polls = 0
        while not self._closing.wait(POLL_SECONDS):
            connection, polls = self._connection, polls + 1
            if connection is None:
                try:
                    self._join()
                    polls = 0
                except ServiceError as exc:
                    log.debug("no hub yet: %s", exc)
                continue
            if self._closing.is_set():
                return
            if not connection.alive():
                self._connection = None
                self._mail.connect(None, self.tables)
                if not self._closing.is_set():
                    self._problem("the SAMP hub is gone; waiting for the next one")
                threading.Thread(target=connection.close, name="leave dead hub", daemon=True).start()
            else:
                if polls in _ANNOUNCED:
                    connection.announce()
                self._mail.settle(self.tables)

    # -- messages ------------------------------------------------------------------------------------------------

    def _receive(self, mtype, params, sender):
        handler = self._handlers.get(mtype)
        if handler is None:
            msg = f"{mtype} is not handled here"
            raise InputError(msg)
        try:
            return handler(params, mtype, sender)
        except DecoccError as exc:
            self._problem(f"{mtype} refused: {exc}")
            raise
        except Exception as exc:
            log.exception("%s failed", mtype)
            self._problem(f"{mtype} failed: {exc}")
            raise

    def _load(self, params, mtype, sender):
        url = messages.text(params, "url", required=True)
        table = fetch_table(url, mtype)
        name = messages.text(params, "name") or Path(unquote(urlsplit(url).path)).stem or "table"
        table_id = messages.text(params, "table-id") or table_key(table)
        known = self._book.find(table_id)
        if known is not None and table_id == known.result_id and len(table) == len(known.table):
            self._line(f"{known.name}: its result came back; all {len(table)} stars are fitted anew")
            self._enqueue(Job(known, "all"))
            return
        entry = LiveTable.of(table, name=name, table_id=table_id, url=url, sender=sender, columns=self.columns)
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
        kind = self.selection
        self._line(f"{entry.name}: {len(rows)} rows selected, taken as the {kind}")
        self._call("selection", entry, rows)
        self._enqueue(Job(entry, kind, rows=rows))

    def _highlight(self, params, mtype, sender):
        entry = self._find(params)
        row = messages.row_number(params, len(entry.table))
        self._looks[sender] = (time.monotonic(), entry, row)
        numbers = star_numbers(entry, row)
        self._line(f"{entry.name}: {star_line(numbers)}")
        self._call("highlight", entry, numbers)

    def _point(self, params, mtype, sender):
        ra, dec = messages.position(params)
        if self._look(sender, point=(ra, dec)):
            return
        covering = [entry for entry in self.tables if entry.covers(ra, dec)]
        if not covering:
            msg = f"no table known here covers {ra:.5f} {dec:+.5f}"
            raise InputError(msg)
        entry = max(covering, key=lambda e: e.used)
        self._call("point", entry, (ra, dec))
        if entry.distance_to(ra, dec) > 1e-6:
            self._line(f"{entry.name}: the region's centre moves to {ra:.5f} {dec:+.5f}")
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

    # -- work ----------------------------------------------------------------------------------------------------

    def _accept(self, entry):
        entry.used = time.monotonic()
        self._book.add(entry, table_id=entry.table_id, url=entry.url)
        self._line(f"{entry.name}: {len(entry.table)} stars in {entry.region}")
        self._call("table", entry)
        self._enqueue(Job(entry, "all"))
        return entry

    def _enqueue(self, job):
        """Put a fit in the queue; of the fits that wait for one table only the last counts."""
        with self._work:
            self._jobs.pop(id(job.entry), None)
            self._jobs[id(job.entry)] = job
            self._work.notify_all()

    def _work_off(self):
        while True:
            with self._work:
                self._busy = False
                while not self._jobs and not self._closing.is_set():
                    self._work.wait(1.0)
                if self._closing.is_set():
                    return
                job = self._jobs.pop(next(iter(self._jobs)))
                self._busy = True
            try:
                self._run(job)
            except DecoccError as exc:
                self._problem(f"{job.entry.name}: {exc}")
            except Exception as exc:
                log.exception("the fit of %s failed", job.entry.name)
                self._problem(f"{job.entry.name}: the fit failed: {exc}")

    def _run(self, job):
        entry, began = job.entry, time.monotonic()
        membership = job.run(self.fit)
        seconds = time.monotonic() - began
        if len(membership.summary):
            found = f"{len(entry.rows)} members"
        else:
            found = f"no cluster: {membership.diagnostics.get('stop_reason', 'the fit gave no reason')}"
        self._line(f"{entry.name}: {found} ({seconds:.1f} s)")
        if not entry.result_id:
            entry.result_id = f"{table_key(membership.table)}-{next(self._count)}"
            path = table_file(membership.table, Path(self._folder.name) / f"{entry.result_id}.vot")
            entry.result_url = path.as_uri()
            self._book.add(entry, table_id=entry.result_id, url=entry.result_url)
        self._call("result", entry)
        self._mail.post(entry)

    # -- telling -------------------------------------------------------------------------------------------------

    def _call(self, kind, *args):
        callback = self._callbacks[kind]
        if callback is None:
            return
        try:
            callback(*args)
        except Exception:
            log.exception("the callback on_%s failed", kind)

    def _line(self, text):
        log.info(text)
        self._call("line", text)

    def _problem(self, text):
        told = self._callbacks["problem"] or self._callbacks["line"]
        log.log(logging.INFO if told else logging.WARNING, text)
        self._call("problem", text)
        self._call("line", text)
