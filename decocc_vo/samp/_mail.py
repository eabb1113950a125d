"""Deliveries: each program gets the newest result of each table from a thread of its own; a deaf one holds up none."""

import logging
import threading
import time

from ..exceptions import ServiceError
from .client import Refused
from .sending import ATTEMPT_SECONDS, deliver, mark

__all__ = ["Mail"]

log = logging.getLogger(__name__)

_ANYONE = ("anyone", "")


def owes(entry):
    """Whether a program that is there still waits for the table's result."""
    return bool(entry.owed - {_ANYONE})


class Mail:
    """
    What is to be delivered to whom.

    A table's ``owed`` says who is still to get its result: a program by its public id, or, since ids do not outlive
    a hub, by its name, or whoever comes first. Its ``holders`` have it, likewise by id or by name.
    """

    def __init__(self, client, timeout, on_problem, on_line):
        self.client, self.timeout = client.lower(), timeout
        self.on_problem, self.on_line = on_problem, on_line
        self._connection, self._boxes, self._lock = None, {}, threading.Lock()

    def connect(self, connection, entries=()):
        """Use another hub from now on, or none; what was owed to ids of the old one is owed to names."""
        with self._lock:
            self._connection = connection
            boxes, self._boxes = self._boxes, {}
        for box in boxes.values():
            box.close()
        names = {("id", box.program.id): ("name", box.program.name) for box in boxes.values()}
        for entry in entries:
            with entry.lock:
                entry.owed = {names.get(key, key) for key in entry.owed if key[0] != "id" or key in names}
                entry.holders = {names.get(key, key) for key in entry.holders if key[0] != "id" or key in names}

    def idle(self):
        with self._lock:
            return all(box.idle() for box in self._boxes.values())

    def post(self, entry):
        """Send a table's newest members to every program that wants tables, now or when there is one."""
        with entry.lock:
            entry.owed.add(_ANYONE)
        self.settle([entry])

    def highlight(self, entry, row):
        """Let the holders of a table highlight a row; gives the names of those that did."""
        connection, done = self._connection, []
        if connection is None:
            return done
        params = {"url": entry.result_url, "table-id": entry.result_id, "row": str(row)}
        for program in connection.programs():
            if ("id", program.id) in entry.holders and program.takes("table.highlight.row"):
                try:
                    connection.call(program, "table.highlight.row", params, ATTEMPT_SECONDS)
                    done.append(program.name)
                except (ServiceError, TimeoutError) as exc:
                    self.on_problem(f"{entry.name}: {exc}")
        return done

    def settle(self, entries):
        """Hand what is owed to the programs that are there."""
        connection = self._connection
        entries = [entry for entry in entries if entry.owed]
        if connection is None or not entries:
            return
        try:
            programs = [p for p in connection.programs() if p.takes("table.load.votable")]
        except ServiceError as exc:
            log.debug("not delivered yet: %s", exc)
            return
        programs = [p for p in programs if self.client == "all" or p.name.lower().startswith(self.client)]
        for entry in entries:
            with entry.lock:
                if _ANYONE in entry.owed and programs:
                    entry.owed.discard(_ANYONE)
                    entry.owed.update(("id", p.id) for p in programs)
                gone = {key for key in entry.owed if key[0] == "id"} - {("id", p.id) for p in programs}
                entry.owed -= gone
                due = [p for p in programs if entry.owed & {("id", p.id), ("name", p.name)}]
            for program in due:
                box = self._box(connection, program)
                if box is not None:
                    box.program = program  # it may have subscribed to more since
                    box.put(entry)

    def _box(self, connection, program):
        with self._lock:
            if connection is not self._connection:
                return None
            if program.id not in self._boxes:
                self._boxes[program.id] = _Box(connection, program, self)
            return self._boxes[program.id]


class _Box:
    """
    The deliveries to one program on one hub, one after another, each table once with its newest members.

    The thread ends when there is nothing more to deliver, so that programs that left leave none behind.
    """

    def __init__(self, connection, program, mail):
        self.connection, self.program, self.mail = connection, program, mail
        self._entries, self._open, self._active = {}, True, None
        self._serving, self._lock = False, threading.Lock()

    def put(self, entry):
        with self._lock:
            if not self._open or self._active == (entry, entry.fits):
                return
            self._entries[id(entry)] = entry
            if not self._serving:
                self._serving = True
                threading.Thread(target=self._serve, name=f"SAMP to {self.program.name}", daemon=True).start()

    def close(self):
        with self._lock:
            self._open = False
            self._entries.clear()

    def idle(self):
        with self._lock:
            return not self._entries and self._active is None

    def _serve(self):
        while True:
            with self._lock:
                self._active = None
                if not self._entries:
                    self._serving = False
                    return
                entry = self._entries.pop(next(iter(self._entries)))
                version = entry.fits
                self._active = (entry, version)
            try:
                self._give(entry)
            except (ServiceError, TimeoutError) as exc:
                if not self.connection.alive():  # still owed, to the program of this name on the next hub
                    continue
                self.mail.on_problem(f"{entry.name}: {exc}")
            except Exception as exc:
                log.exception("delivery to %s failed", self.program.name)
                self.mail.on_problem(f"{entry.name}: delivery to {self.program.name} failed: {exc}")
            with entry.lock:
                if entry.fits == version and self._open:
                    entry.owed -= {("id", self.program.id), ("name", self.program.name)}

    def _give(self, entry):
        program, connection, deadline = self.program, self.connection, time.monotonic() + self.mail.timeout
        rows, region = entry.rows, entry.region
        names = {("id", program.id), ("name", program.name)}
        if names & entry.holders:
            try:
                mark(connection, program, entry.result_url, entry.result_id, rows, ATTEMPT_SECONDS)
            except (Refused, TimeoutError) as exc:
                log.debug("%s lost the table: %s", program.name, exc)
                with entry.lock:
                    entry.holders -= names
        if not names & entry.holders:
            name = f"{entry.name} members"
            deliver(
                connection, program, entry.result_url, entry.result_id, name, rows, timeout=deadline - time.monotonic()
            )
            with entry.lock:
                entry.holders.add(("id", program.id))
            self._try("coord.pointAt.sky", {"ra": repr(region.ra_deg), "dec": repr(region.dec_deg)})
        if program.id == entry.sender:
            # The table the user sent is lit up, too; it may be gone there.
            params = {"url": entry.url, "table-id": entry.table_id, "row-list": [str(int(row)) for row in rows]}
            self._try("table.select.rowList", params)
        self.mail.on_line(f"{entry.name}: {program.name} shows {len(rows)} members")

    def _try(self, mtype, params):
        if self.program.takes(mtype):
            try:
                self.connection.call(self.program, mtype, params, ATTEMPT_SECONDS)
            except (ServiceError, TimeoutError) as exc:
                log.debug("%s did not take %s: %s", self.program.name, mtype, exc)
