"""A small asynchronous TAP server in this process: its stars lie in DuckDB, which runs the ADQL it is sent."""

import io
import itertools
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import duckdb
import numpy as np
from astropy.io import votable
from astropy.table import Table

from decocc_vo.columns import describe, get_release
from decocc_vo.stars._arrow import to_arrow
from decocc_vo.stars._healpix import pixel_of

_CONE = re.compile(r"1 = CONTAINS\(POINT\('ICRS', (\w+), (\w+)\), CIRCLE\('ICRS', ([^,]+), ([^,]+), ([^)]+)\)\)")
_SEPARATION = (
    "(2 * degrees(asin(least(1.0, sqrt(power(sin(radians({d} - {y}) / 2), 2)"
    " + cos(radians({d})) * cos(radians({y})) * power(sin(radians({r} - {x}) / 2), 2))))) <= {s})"
)
_JOB = """<uws:job version="1.1"
xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink">
<uws:jobId>{key}</uws:jobId><uws:phase>{phase}</uws:phase><uws:executionDuration>60</uws:executionDuration>
<uws:parameters><uws:parameter id="query">{query}</uws:parameter></uws:parameters>{more}</uws:job>"""


def make_stars(number=3000, ra=56.75, dec=24.1, spread=1.5, seed=0):
    """Stars of a made-up field with all columns of Gaia DR3; a tenth has no parallax and proper motion."""
    rng = np.random.default_rng(seed)
    stars = Table(masked=True)
    x, y = rng.uniform(-spread, spread, (2, number))
    ra, dec = ra + x / np.cos(np.radians(dec)), dec + y
    ids = pixel_of(ra, dec) * 2**35 + rng.permutation(2**20)[:number] * 128
    bare = rng.random(number) < 0.1
    for name in get_release("gaia_dr3").columns:
        values = rng.normal(1.0, 0.3, number)
        values = {"source_id": ids, "ra": ra, "dec": dec, "phot_g_mean_mag": 16 + 3 * values}.get(name, values)
        if name.endswith("_corr"):
            values = np.tanh(values - 1.0)
        if name == "astrometric_params_solved":
            values = np.where(bare, 3, 31)
        missing = bare & (name in {"parallax", "pmra", "pmdec", "parallax_error", "pmra_error", "pmdec_error"})
        stars[name] = np.ma.array(values, mask=missing)
        describe(stars[name])
    return stars


class MockTAP:
    """
    A context that serves ``stars`` as ``gaiadr3.gaia_source``.

    ``polls`` is how often a job is seen at work before it is done; ``hard_limit`` the rows a result has at most.
    ``queries`` lists what was run, ``deleted`` the jobs that were deleted, ``alive`` those that were not.
    """

    def __init__(self, stars, polls=1, hard_limit=10**9, ranges=True):
        self.base = duckdb.connect()
        arrow = to_arrow(stars)  # noqa: F841 (DuckDB finds it by its name)
        self.base.execute("CREATE SCHEMA gaiadr3; CREATE TABLE gaiadr3.gaia_source AS SELECT * FROM arrow")
        self.polls, self.hard_limit, self.ranges = polls, hard_limit, ranges
        self.queries, self.alive, self.deleted, self.requests = [], {}, [], []
        self.lock, self.keys = threading.Lock(), itertools.count(1)

    def __enter__(self):
        mock = self
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"mock": mock}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/tap"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def execute(self, query, maxrec):
        """Run ADQL; the table, and whether rows were left out."""

        def circle(match):
            r, d, x, y, s = match.groups()
            return _SEPARATION.format(r=r, d=d, x=x, y=y, s=s)

        sql = re.sub(r" / (\d+) AS pixel", r" // \1 AS pixel", _CONE.sub(circle, query))
        with self.lock:
            self.queries.append(query)
            result = self.base.sql(sql).to_arrow_table()
        limit = min(maxrec, self.hard_limit)
        table = Table(masked=True)
        for name in result.column_names:
            column = result[name].combine_chunks()
            if str(column.type) in {"string", "large_string", "string_view"}:
                table[name] = [value or "" for value in column.to_pylist()]
                continue
            values = column.fill_null(0).to_numpy(zero_copy_only=False)
            if values.dtype.kind not in "if":
                values = values.astype(np.int64)
            table[name] = np.ma.array(values, mask=column.is_null().to_numpy(zero_copy_only=False))
        return table[:limit], len(table) > limit


def as_votable(table, overflow=False):
    """The document a TAP service sends."""
    document = votable.from_table(table)
    document.resources[0].type = "results"
    document.resources[0].infos.append(votable.tree.Info(name="QUERY_STATUS", value="OVERFLOW" if overflow else "OK"))
    out = io.BytesIO()
    document.to_xml(out, tabledata_format="binary2" if len(table) else "tabledata")
    return out.getvalue()


def error_document(words):
    """The document a TAP service sends when it fails late."""
    return (
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">'
        f'<INFO name="QUERY_STATUS" value="ERROR">{words}</INFO></RESOURCE></VOTABLE>'
    ).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    mock = None

    def log_message(self, *args):
        pass

    def _send(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _job(self):
        parts = self.path.split("?")[0].split("/")
        self.mock.requests.append(f"{self.command} {self.path}")
        return (parts[3] if len(parts) > 3 else ""), parts[4:]

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        key, rest = self._job()
        if not key:
            key = f"job{next(self.mock.keys)}"
            maxrec = int(form.get("MAXREC", ["2000"])[0])
            self.mock.alive[key] = {"phase": "PENDING", "query": form["QUERY"][0], "maxrec": maxrec, "seen": 0}
            self._send(303, Location=f"{self.mock.url}/async/{key}")
        elif key in self.mock.alive and rest == ["phase"]:
            job = self.mock.alive[key]
            if job["phase"] == "EXECUTING":  # as DaCHS does
                job.update(phase="ERROR", error="No transition from EXECUTING to QUEUED")
            elif job["phase"] == "PENDING":
                job["phase"] = "EXECUTING"
                try:
                    job["body"] = as_votable(*self.mock.execute(job["query"], job["maxrec"]))
                except duckdb.Error as error:
                    job["error"] = str(error).split("\n")[0]
            self._send(303, Location=f"{self.mock.url}/async/{key}")
        else:
            self._send(404)

    def do_GET(self):
        key, rest = self._job()
        job = self.mock.alive.get(key)
        if job is None:
            self._send(404)
        elif not rest:
            more = ""
            if job["phase"] == "EXECUTING":
                job["seen"] += 1
                if job["seen"] > self.mock.polls:
                    job["phase"] = "ERROR" if "error" in job else "COMPLETED"
            if job["phase"] == "COMPLETED":
                href = f"{self.mock.url}/async/{key}/results/result"
                more = f'<uws:results><uws:result id="result" xlink:href="{href}"/></uws:results>'
            elif job["phase"] == "ERROR":
                words = job["error"].replace("<", "&lt;")
                more = (
                    '<uws:errorSummary type="fatal" hasDetail="false">'
                    f"<uws:message>{words}</uws:message></uws:errorSummary>"
                )
            query = job["query"].replace("&", "&amp;").replace("<", "&lt;")
            self._send(200, _JOB.format(key=key, phase=job["phase"], query=query, more=more).encode())
        elif job["phase"] == "COMPLETED":
            body, asked = job["body"], re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if asked and self.mock.ranges:
                start = int(asked.group(1))
                self._send(206, body[start:], Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self._send(200, body)
        else:
            self._send(404)

    def do_DELETE(self):
        key, _ = self._job()
        if self.mock.alive.pop(key, None) is None:
            self._send(404)
        else:
            self.mock.deleted.append(key)
            self._send(303, Location=f"{self.mock.url}/async")
