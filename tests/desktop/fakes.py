"""Stand-ins for the programs of a desktop and for the method, on a real hub."""

import threading
import time
import uuid
from contextlib import contextmanager

import numpy as np
from astropy.table import Table
from pyvo.samp import SAMPHubServer, SAMPIntegratedClient, conf

from decocc_vo.membership import Candidate, assemble
from decocc_vo.samp._reading import fetch_table


def until(condition, timeout=20.0, step=0.02):
    """Wait for a condition to give something true, and give it."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {timeout} s in vain for {condition}"
        time.sleep(step)


@contextmanager
def a_hub(**kwargs):
    """A hub in this process; the caller has set SAMP_HUB."""
    with conf.set_temp("use_internet", False):
        hub = SAMPHubServer(addr="127.0.0.1", web_profile=False, **kwargs)
        hub.start()
    try:
        yield hub
    finally:
        hub.stop()


class Program:
    """
    A client that behaves as TOPCAT does: it takes tables, row lists and positions, refuses row lists of tables it
    does not have, and keeps every message it got. ``deaf`` message types are never answered, and the first
    ``refuse_first`` messages whose type starts with ``refuse`` are refused.
    """

    def __init__(self, name="topcat", *, deaf=(), refuse_first=0, refuse="", mtypes=None):
        self.tables, self.selected, self.points, self.messages = {}, {}, [], []
        self.deaf, self.refusals, self.refuse, self.lock = set(deaf), refuse_first, refuse, threading.Lock()
        self.name = name
        self.mtypes = mtypes or ("table.load.votable", "table.select.rowList", "coord.pointAt.sky")
        self.client = self.ours = None

    def connect(self):
        with conf.set_temp("use_internet", False):
            self.client = SAMPIntegratedClient(name=self.name, addr="127.0.0.1")
            self.client.connect()
        self.ours = None
        for mtype in self.mtypes:
            self.client.bind_receive_call(mtype, self._call)
            self.client.bind_receive_notification(mtype, self._note)
        return self

    def __enter__(self):
        return self.connect()

    def __exit__(self, *_):
        if self.client.is_connected:
            try:
                self.client.disconnect()
            except OSError:  # the hub went before
                self.client.client.stop()

    def _note(self, private_key, sender_id, mtype, params, extra):
        with self.lock:
            self.messages.append((mtype, params))

    def _call(self, private_key, sender_id, msg_id, mtype, params, extra):
        with self.lock:
            self.messages.append((mtype, params))
            if mtype in self.deaf or "*" in self.deaf:
                return
            error = None
            if self.refusals > 0 and mtype.startswith(self.refuse):
                self.refusals -= 1
                error = "not yet"
            elif mtype == "table.load.votable":
                self.tables[params["table-id"]] = fetch_table(params["url"], mtype)
            elif mtype == "table.select.rowList":
                if params["table-id"] in self.tables:
                    self.selected[params["table-id"]] = [int(row) for row in params["row-list"]]
                else:
                    error = f"No table with table-id={params['table-id']}"
            elif mtype == "coord.pointAt.sky":
                self.points.append((float(params["ra"]), float(params["dec"])))
        reply = {"samp.status": "samp.ok", "samp.result": {}}
        if error:
            reply = {"samp.status": "samp.error", "samp.result": {}, "samp.error": {"samp.errortxt": error}}
        self.client.reply(msg_id, reply)

    def decocc(self):
        """The public id of the package's client, once it is subscribed."""

        def find():
            for client_id in self.client.get_registered_clients():
                if self.client.get_metadata(client_id).get("samp.name") == "DECOCC":
                    return "table.load.votable" in self.client.get_subscriptions(client_id) and client_id

        return until(find)

    def ask(self, mtype, timeout=20, **params):
        """Send a message to the package and return its whole response."""
        params = {name.replace("_", "-"): value for name, value in params.items()}
        return self.ask_raw({"samp.mtype": mtype, "samp.params": params}, timeout)

    def ask_raw(self, message, timeout=20):
        """
        Send a whole message to the package and return the response.

        Not by call_and_wait: pyvo's hub (1.9.1) drops a reply that comes before it has noted that it waits for one.
        """
        if self.ours not in self.client.get_registered_clients():
            self.ours = self.decocc()
        tag, answers = uuid.uuid4().hex, []

        def answered(private_key, sender_id, msg_id, response):
            answers.append(response)

        self.client.bind_receive_response(tag, answered)
        self.client.call(self.ours, tag, message)
        return until(lambda: answers, timeout)[0]


def cluster_table(n=400, n_members=80, seed=1, center=(130.0, 19.7)):
    """Stars of a field with a cluster in the first rows."""
    rng = np.random.default_rng(seed)
    member = np.arange(n) < n_members
    offset = np.where(member, rng.normal(0, 0.08, (2, n)), rng.uniform(-0.6, 0.6, (2, n)))
    g = rng.uniform(8, 18, n)
    stars = Table(
        {
            "source_id": rng.integers(2**53, 2**62, n),
            "ra": center[0] + offset[0],
            "dec": center[1] + offset[1],
            "pmra": np.where(member, -36 + 0.3 * rng.normal(size=n), 15 * rng.normal(size=n)),
            "pmdec": np.where(member, -13 + 0.3 * rng.normal(size=n), 15 * rng.normal(size=n)),
            "parallax": np.where(member, 5.4 + 0.05 * rng.normal(size=n), rng.gamma(2.0, 0.6, n)),
            "parallax_error": np.full(n, 0.05),
            "phot_g_mean_mag": g,
            "bp_rp": np.where(member, (g - 8) / 4 + 0.1 * rng.normal(size=n), rng.uniform(0, 3, n)),
        }
    )
    stars.meta["release"] = "Gaia DR3"
    return stars


def renamed(table, names):
    """A result's table under names of its user (registry name to theirs), with the provenance that says so."""
    table = table.copy()
    for ours, theirs in names.items():
        table.rename_column(ours, theirs)
    table.meta["decocc"] = {**table.meta["decocc"], "columns": names}
    return table


class QuickFit:
    """A fit that takes a moment: stars near the mean motion of ``start``, or near (-36, -13); it keeps its calls."""

    def __init__(self, seconds=0.0):
        self.calls, self.seconds = [], seconds

    def __call__(self, table, region, *, start=None, field_only=None):
        self.calls.append({"n": len(table), "region": region, "start": start, "field_only": field_only})
        time.sleep(self.seconds)
        pm = np.array([table["pmra"], table["pmdec"]], float)
        mean = np.array([-36.0, -13.0]) if start is None else np.average(pm, weights=start, axis=1)
        probability = np.exp(-0.5 * ((pm - mean[:, None]) ** 2).sum(0) / 2.0**2)
        if field_only is not None:
            probability[field_only] = 0.0
        return assemble(
            table,
            table,
            region,
            np.arange(len(table)),
            [Candidate(probability, significance=10.0, accepted=bool((probability > 0.5).any()))],
            group=np.where(probability > 0.5, 0, -1),
            method="quick",
            stop_reason="the stand-in is always done at once",
        )
