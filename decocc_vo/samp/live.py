"""A live session: stay on the hub, fit the tables that come, and follow what the user does in the programs."""

import itertools
import logging
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from ..columns import COLUMNS, check_mapping
from ..exceptions import DecoccError, InputError, ServiceError
from . import _messages as messages
from ._inbox import Inbox
from ._mail import Mail, owes
from ._matching import TableBook
from ._tables import SELECTIONS, Job, LiveTable
from ._telling import Telling
from .client import NAME, connect
from .sending import table_file, table_key

__all__ = ["LiveSession"]

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often the hub is looked after."""

_ANNOUNCED = (1, 5, 15)  # polls after which we say again who we are


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
        if not isinstance(client, str):
            msg = f"'client' must be the name of one program, or 'all', not {client!r}"
            raise InputError(msg)
        check_mapping(columns or {}, COLUMNS)
        self.hub, self.name, self.client, self.columns = bool(hub), name, client, columns
        self.fit = fit if columns is None else partial(fit, columns=columns)
        self.selection = selection
        self._telling = Telling(
            table=on_table,
            result=on_result,
            selection=on_selection,
            highlight=on_highlight,
            point=on_point,
            problem=on_problem,
            line=on_line,
        )
        self._book, self._mail = TableBook(), Mail(client, timeout, self._telling.problem, self._telling.line)
        self._inbox = Inbox(
            self._book,
            self._telling,
            accept=self._accept,
            enqueue=self._enqueue,
            selection=lambda: self.selection,
            columns=columns,
        )
        self._connection, self._folder, self._joining = None, None, threading.Lock()
        self._jobs, self._busy, self._work = {}, False, threading.Condition()
        self._closing, self._threads, self._count = threading.Event(), [], itertools.count(1)

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

    @property
    def busy(self):
        """Whether a fit is being made now."""
        with self._work:
            return self._busy

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
            for entry in self.tables:  # of before the session was closed
                if entry.membership is not None:
                    self._write_result(entry)
                    self._book.add(entry, table_id=entry.result_id, url=entry.result_url)
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
        with self._joining:
            self._closing.set()
            connection, self._connection = self._connection, None
            self._mail.connect(None, self.tables)
        with self._work:
            self._work.notify_all()
        try:
            if connection is not None:
                connection.close()
            for thread in self._threads:
                thread.join(timeout)
        finally:  # also when the user does not want to wait
            self._threads = []
            if self._folder is not None:
                self._folder.cleanup()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def run_forever(self, timeout=10.0):
        """Work until Ctrl-C or `close`; then a fit that is running is waited for up to ``timeout`` seconds."""
        self.start()
        try:
            while not self._closing.wait(0.5):
                pass
        except KeyboardInterrupt:
            self._telling.line("leaving the hub")
        finally:
            self.close(timeout)

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
        connection = connect(self.name, hub=self.hub, receive=self._inbox.receive, subscriptions=self._inbox.mtypes)
        with self._joining:
            closed = self._closing.is_set()
            if not closed:
                self._connection = connection
                self._mail.connect(connection)
        if closed:  # while we waited for the hub: nobody else knows of this connection
            connection.close()
            return
        hub = "a SAMP hub of its own" if connection.hub is not None else "the SAMP hub"
        self._telling.line(f"{self.name} is on {hub}; send it a table, or select rows (they are the {self.selection})")

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
                    self._telling.problem("the SAMP hub is gone; waiting for the next one")
                threading.Thread(target=connection.close, name="leave dead hub", daemon=True).start()
            else:
                if polls in _ANNOUNCED:
                    connection.announce()
                self._mail.settle(self.tables)

    # -- work ----------------------------------------------------------------------------------------------------

    def _accept(self, entry):
        entry.used = time.monotonic()
        with self._work:
            before = self._book.find(entry.table_id)
            if before is not None and entry.sender and before.sender and before.table_id == entry.table_id:
                self._forget(before)
            self._book.add(entry, table_id=entry.table_id, url=entry.url)
        self._telling.line(f"{entry.name}: {len(entry.table)} stars in {entry.region}")
        self._telling.call("table", entry)
        self._enqueue(Job(entry, "all"))
        return entry

    def _forget(self, entry):
        """A program sent the table anew: what was made of it before is no longer known."""
        self._jobs.pop(id(entry), None)
        self._book.remove(entry)
        if entry.result_id and not owes(entry):
            self._result_file(entry).unlink(missing_ok=True)

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
                self._telling.problem(f"{job.entry.name}: {exc}")
            except Exception as exc:
                log.exception("the fit of %s failed", job.entry.name)
                self._telling.problem(f"{job.entry.name}: the fit failed: {exc}")

    def _run(self, job):
        entry, began = job.entry, time.monotonic()
        membership = job.run(self.fit)
        seconds = time.monotonic() - began
        entry.result_id = entry.result_id or f"{table_key(membership.table)}-{next(self._count)}"
        path = self._write_result(entry)  # after a refit, too: for programs that join later
        with self._work:
            known = entry in self.tables
            if known:
                self._book.add(entry, table_id=entry.result_id, url=entry.result_url)
        if not known:  # it was sent anew during the fit
            path.unlink(missing_ok=True)
            return
        if len(membership.summary):
            found = f"{len(entry.rows)} members"
        else:
            reason = str(membership.diagnostics.get("stop_reason", "the fit gave no reason"))
            found = f"no cluster: {reason.removeprefix('no cluster: ')}"
        self._telling.line(f"{entry.name}: {found} ({seconds:.1f} s)")
        self._telling.call("result", entry)
        if entry in self.tables:
            self._mail.post(entry)

    def _write_result(self, entry):
        path = self._result_file(entry)
        entry.result_url = path.as_uri()
        table_file(entry.membership.table, path)
        return path

    def _result_file(self, entry):
        return Path(self._folder.name) / f"{entry.result_id}.vot"
