"""Give a membership table to a program, mark the members in it and point it at the cluster."""

import hashlib
import logging
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..columns import degrees, floats, positions_of, registry_names, unit_vectors
from ..exceptions import InputError, ServiceError
from ..membership import MEMBER
from .client import NAME, Refused, connect

__all__ = [
    "ATTEMPT_SECONDS",
    "deliver",
    "find_programs",
    "mark",
    "member_rows",
    "send_table",
    "table_file",
    "table_key",
]

log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 8.0
"""Longest wait for one answer before the message is sent again; Aladin loses messages in its first seconds."""

START_SECONDS = 3.0
"""How long a program may take from its registration to its first subscription."""

_LOAD, _SELECT = "table.load.votable", "table.select.rowList"


def send_table(table, client=None, *, name=None, table_id=None, members=None, center=None, hub=False, timeout=60.0):
    """
    Send a table to TOPCAT, Aladin or every program that takes tables, with its members marked.

    The table arrives as a VOTable under a table-id that is the same whenever the same table is sent. Then the members
    are sent as a row list, which TOPCAT shows as the row subset ``DECOCC`` and Aladin as a selection, and the
    cluster's centre, to which the programs turn. Each message is repeated until the program has it.

    Parameters
    ----------
    table : `~astropy.table.Table` or `~decocc_vo.membership.Membership`
        Stars, one a row.
    client : str, optional
        ``"topcat"``, ``"aladin"``, the start of another program's name, or ``"all"``, the default.
    name : str, optional
        Name of the table in the program; by default that of the region in the table's provenance.
    table_id : str, optional
        The table-id; by default made from the table's contents.
    members : array of bool or of int, optional
        Rows to mark, shape (n,) or (n_members,); by default those with ``membership_prob >= 0.5``, if the column
        is there.
    center : `~astropy.coordinates.SkyCoord` or `~decocc_vo.ClusterRegion`, optional
        Where to point; by default the mean position of the members.
    hub : bool
        Start a hub in this process if none runs, and wait for the program to join it. The hub ends with the call.
    timeout : float
        Seconds to wait for the programs in all.

    Returns
    -------
    names : list of str
        The programs that have the table now; the log warns of others that did not take it.

    Raises
    ------
    InputError
        If ``table`` is none, or ``members`` does not fit it.
    ServiceError
        If there is no hub, no such program, or none took the table in time.

    Examples
    --------
    >>> from decocc_vo import send_table
    >>> send_table(result.table, client="topcat", name="Hyades")  # doctest: +SKIP
    ['topcat']
    """
    table = getattr(table, "table", table)
    if not hasattr(table, "colnames") or len(table) == 0:
        msg = "'table' must be an astropy Table with rows, or a Membership"
        raise InputError(msg)
    if client is not None and not isinstance(client, str):
        msg = f"'client' must be the name of one program, or 'all', not {client!r}"
        raise InputError(msg)
    rows = member_rows(table, members)
    point = _center(table, rows, center)
    name = name or _default_name(table)
    key = table_key(table)
    table_id = table_id or key
    deadline = time.monotonic() + timeout
    with connect(NAME, hub=hub) as connection, tempfile.TemporaryDirectory(prefix="decocc-samp-") as folder:
        patience = timeout if connection.hub is not None else START_SECONDS
        programs = find_programs(connection, client, patience=min(patience, timeout))
        url = table_file(table, Path(folder) / f"{key}.vot").as_uri()

        def give(program):
            left = deadline - time.monotonic()
            deliver(connection, program, url, table_id, name, rows, timeout=left)
            if point is not None and program.takes("coord.pointAt.sky"):
                _attempt_point(connection, program, point)

        with ThreadPoolExecutor(len(programs)) as pool:
            outcomes = [(program, pool.submit(give, program)) for program in programs]
        failures = [(p, f.exception()) for p, f in outcomes if f.exception() is not None]
        for _, error in failures:
            if not isinstance(error, (ServiceError, TimeoutError)):
                raise error
        if len(failures) == len(programs):
            msg = "; ".join(str(error) for _, error in failures)
            raise ServiceError(msg)
        for _, error in failures:
            log.warning("%s", error)
    return [program.name for program, future in outcomes if future.exception() is None]


def member_rows(table, members=None, threshold=MEMBER):
    """
    Row numbers of the members, from a mask, from row numbers, or from ``membership_prob``.

    Raises
    ------
    InputError
        If ``members`` does not fit the table.
    """
    if members is None:
        if "membership_prob" not in table.colnames:
            return np.array([], int)
        return np.flatnonzero(np.nan_to_num(floats(table["membership_prob"]), nan=0.0) >= threshold)
    members = np.asarray(members)
    if members.dtype == bool and members.shape == (len(table),):
        return np.flatnonzero(members)
    if members.ndim == 1 and (members.dtype.kind in "iu" or members.size == 0):
        members = members.astype(int)
        if members.size == 0 or (members.min() >= 0 and members.max() < len(table)):
            return np.unique(members)
    msg = f"'members' must be a mask of {len(table)} booleans, or row numbers from 0 to {len(table) - 1}"
    raise InputError(msg)


def table_key(table):
    """Make a table-id that depends only on what is in the table: ``decocc-`` and twelve digits."""
    digest, names = hashlib.sha256(), registry_names(table)
    for column in ("source_id", "ra", "dec", "membership_prob"):
        if column in names:
            digest.update(column.encode())
            digest.update(np.ascontiguousarray(np.ma.filled(np.ma.asarray(table[names[column]]), 0)).tobytes())
    digest.update(f"{len(table)} {table.colnames}".encode())
    return f"decocc-{digest.hexdigest()[:12]}"


def table_file(table, path):
    """Write the table as the VOTable the programs get, and return its path."""
    from ..votable import write_votable

    write_votable(table, path, overwrite=True)
    return Path(path)


def find_programs(connection, client=None, *, mtype=_LOAD, patience=START_SECONDS):
    """
    Programs of that name which take messages of a type, after waiting up to ``patience`` seconds for the first.

    Raises
    ------
    ServiceError
        If none is there.
    """
    wanted = (client or "all").lower()
    deadline, first = time.monotonic() + patience, None
    while True:
        everyone = connection.programs()
        named = [p for p in everyone if wanted == "all" or p.name.lower().startswith(wanted)]
        ready = [p for p in named if p.takes(mtype)]
        if ready:
            # Programs subscribe to one message type after another: see whether row lists follow.
            first = first or time.monotonic()
            if all(p.takes(_SELECT) for p in ready) or time.monotonic() > first + 1.0 or mtype != _LOAD:
                return ready
        elif time.monotonic() > deadline:
            break
        time.sleep(0.1)
    there = ", ".join(sorted(p.name for p in everyone)) or "none"
    who = "program that takes tables" if wanted == "all" else f"program named {client!r} that takes tables"
    msg = f"no {who} is connected to the SAMP hub (connected: {there}); start it, or connect it in its Interop menu"
    raise ServiceError(msg)


def deliver(connection, program, url, table_id, name, rows, *, timeout):
    """
    Load a table into a program and mark rows of it, repeating until the program really has both.

    A program may lose the message (Aladin while it starts), and may say that it has the table before it can find it
    (TOPCAT, by half a second); that it accepts a row list of the table is the proof.

    Raises
    ------
    ServiceError
        If that did not happen in time; the message has the program's last words on the table, else on its rows.
    """
    deadline = time.monotonic() + timeout
    wait, words, selects = ATTEMPT_SECONDS, "it did not answer", program.takes(_SELECT)
    params = {"url": url, "table-id": table_id, "name": name}
    while (left := deadline - time.monotonic()) > 0:
        loaded = False
        try:
            connection.call(program, _LOAD, params, min(wait, left))
            if not selects:
                return
            loaded, grace = True, 3.0
        except TimeoutError as exc:  # a large table may have arrived all the same, and twice is too often
            words, grace = str(exc), 1.0
        except Refused as exc:
            words, grace = str(exc), 0.0
        grace = min(time.monotonic() + grace, deadline)
        while selects:
            try:
                left = max(deadline - time.monotonic(), 0.1)
                return mark(connection, program, url, table_id, rows, min(wait / 2, left))
            except (Refused, TimeoutError) as exc:
                if loaded:
                    words = str(exc)
            if time.monotonic() > grace:
                break
            time.sleep(0.1)
        time.sleep(max(min(wait / 8, deadline - time.monotonic()), 0.0))
        wait *= 2  # a program that is slow, not deaf, gets more time
    msg = f"{program.name} did not take the table within {timeout:.0f} s: {words}"
    raise ServiceError(msg)


def mark(connection, program, url, table_id, rows, timeout):
    """Send the row list that marks ``rows`` of a table the program has."""
    params = {"url": url, "table-id": table_id, "row-list": [str(int(row)) for row in rows]}
    connection.call(program, _SELECT, params, timeout)


def _attempt_point(connection, program, point):
    """Turn the program to a position; the table is there already, so that this may fail with a warning in the log."""
    try:
        params = {"ra": repr(float(point[0])), "dec": repr(float(point[1]))}
        connection.call(program, "coord.pointAt.sky", params, ATTEMPT_SECONDS)
    except (ServiceError, TimeoutError) as exc:
        log.warning("%s did not turn to the cluster: %s", program.name, exc)


def _center(table, rows, center):
    """Right ascension and declination in degrees to point at, or None when the table has no positions."""
    if center is not None:
        center = getattr(center, "center", center)
        try:
            return center.icrs.ra.deg, center.icrs.dec.deg
        except AttributeError:
            msg = "'center' must be a SkyCoord or a ClusterRegion"
            raise InputError(msg) from None
    names = registry_names(table)
    if not {"ra", "dec"} <= set(names):
        return None
    chosen = table[rows] if len(rows) else table
    ra, dec = (np.radians(degrees(chosen[names[name]])) for name in ("ra", "dec"))
    return tuple(np.degrees(positions_of(np.nanmean(unit_vectors(ra, dec), axis=0))).tolist())


def _default_name(table):
    region = table.meta.get("decocc", {}).get("region") if isinstance(table.meta.get("decocc"), dict) else None
    name = str(region or "").partition(": ICRS ")[0]
    return str(table.meta.get("name") or name or "DECOCC members")
