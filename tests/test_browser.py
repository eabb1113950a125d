"""
The report in a real Chromium: its button, through the web profile of either hub, to a program on the desktop; and
Aladin Lite in a page, on our hub.
"""

import os
import shutil
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from desktop.browser import chromium
from desktop.fakes import Program, QuickFit, cluster_table, until
from desktop.programs import jsamp_hub, need, npm_package, screen, topcat

from decocc_vo.region import ClusterRegion
from decocc_vo.report import write_report
from decocc_vo.samp import client as samp_client
from decocc_vo.samp import hub_running, start_hub
from decocc_vo.samp._hub import WEB_PORT, _port_is_free
from decocc_vo.samp.sending import table_key

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::pyvo.samp.SAMPWarning")]

TOPCAT_BUTTON = "button[data-program=topcat]"


@pytest.fixture(scope="module")
def result():
    stars = cluster_table()
    return QuickFit()(stars, ClusterRegion.from_table(stars, name="M 44"))


@pytest.fixture(scope="module")
def site(tmp_path_factory, result):
    """The report in a folder, served by this machine."""
    folder = tmp_path_factory.mktemp("site")
    write_report(result, folder / "report.html")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/report.html"
        server.shutdown()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    need("chromium")
    with chromium(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def web_port():
    """The standard fixes the port, so that only one hub of a machine has the web profile: wait for our turn."""
    try:
        until(lambda: _port_is_free(WEB_PORT), 60)
    except AssertionError:
        pytest.skip(f"port {WEB_PORT}, which the web profile needs, is held by another program")


@pytest.fixture
def hub(samp_home, web_port):
    asked = []

    def consent(name, origin):
        asked.append((name, origin))
        return len(asked) == 1  # the second page is refused

    hub = start_hub(consent=consent)
    hub.asked = asked
    yield hub
    hub.stop()


def status(page, kind):
    """What the page says once it has succeeded, or failed."""
    said = page.until(f"(s => s.className === '{kind}' && s.textContent)(document.getElementById('status'))", 60)
    page.until("!document.querySelector('button:disabled')")
    return said


@pytest.mark.parametrize("address", ["file", "http"])
def test_the_button_sends_the_table_through_our_hub(page, site, hub, result, address):
    folder, url = site
    with Program() as program:
        page.open((folder / "report.html").as_uri() if address == "file" else url)
        page.click(TOPCAT_BUTTON)
        members = len(result.members)
        assert status(page, "good") == f"topcat has the table, with its {members} members marked."
        key = table_key(result.table)
        assert (program.tables[key]["source_id"] == result.table["source_id"]).all()
        assert program.selected[key] == np.flatnonzero(result.table["membership_prob"] >= 0.5).tolist()
        assert program.points[-1] == pytest.approx((result.summary["ra"][0], result.summary["dec"][0]))
        assert hub.asked == [("DECOCC report", "null" if address == "file" else url.removesuffix("/report.html"))]
        until(lambda: len(program.client.get_registered_clients()) == 1)  # the page has left; the hub itself is one
        page.click(TOPCAT_BUTTON)
        assert "rejected by the user" in status(page, "bad")


def test_the_button_works_through_the_hub_of_jsamp(page, site, samp_home, web_port, result, tmp_path):
    need("jsamp")
    with jsamp_hub(tmp_path, os.environ, web=True):
        until(hub_running, 60)
        with Program() as program:
            page.open(site[1])
            page.click(TOPCAT_BUTTON)
            assert status(page, "good").startswith("topcat has the table")
            assert len(program.selected[table_key(result.table)]) == len(result.members)


def test_a_real_topcat_takes_the_page_for_a_table(page, site, samp_home, web_port, result, tmp_path):
    need("topcat", "Xvfb", "javac")
    hub = start_hub(consent=lambda *_: True)
    try:
        with screen(tmp_path) as environment, topcat(tmp_path, environment) as window:
            with samp_client.connect("watcher") as watcher:
                until(lambda: any(p.takes("table.load.votable") for p in watcher.programs()), 90)
            page.open((site[0] / "report.html").as_uri())
            page.click(TOPCAT_BUTTON)
            assert status(page, "good").startswith("topcat has the table")
            assert "1: M 44" in window("cells", "TOPCAT")
            window("press", "TOPCAT", "Row Subsets")
            until(lambda: f"DECOCC\t{len(result.members)}\t" in window("cells", "Row Subsets"))
    finally:
        hub.stop()


def test_what_is_missing_is_told(page, site, samp_home, web_port):
    page.open(site[1])
    page.click(TOPCAT_BUTTON)
    assert status(page, "bad") == (
        "Not sent: no SAMP hub answers on this machine; start TOPCAT, or run: decocc-vo live --hub."
    )
    hub = start_hub(consent=lambda *_: True)
    try:
        page.click("button[data-program=aladin]")
        page.until("document.getElementById('status').textContent.includes('no program named aladin')")
        page.until("!document.querySelector('button:disabled')")
    finally:
        hub.stop()


def test_the_hub_runs_without_the_web_where_its_port_is_taken(samp_home, web_port, caplog):
    with socket.create_server(("127.0.0.1", WEB_PORT)):
        hub = start_hub()
        try:
            assert hub_running()
            assert "runs without the web profile" in caplog.text
        finally:
            hub.stop()


def test_nobody_joins_where_nobody_can_be_asked(page, site, samp_home, web_port, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    hub = start_hub()
    try:
        page.open(site[1])
        page.click(TOPCAT_BUTTON)
        assert "rejected" in status(page, "bad")
    finally:
        hub.stop()


def test_members_are_sorted_by_a_click(page, site):
    page.open(site[1])
    column = "Array.from(document.querySelectorAll('#members tbody tr'), row => row.cells[%d].textContent)"
    page.click("#members th:first-child button")
    ids = page.value(column % 0)
    assert ids == sorted(ids, key=int)
    page.click("#members th:nth-child(2) button")
    page.click("#members th:nth-child(2) button")
    ra = page.value(column % 1)
    assert ra == sorted(ra, key=float, reverse=True)


def test_the_page_looks_well_and_needs_no_network(page, site, tmp_path):
    page.open((site[0] / "report.html").as_uri(), size=(1300, 1500))
    assert page.value("Array.from(document.images).every(image => image.complete && image.naturalWidth > 100)")
    assert page.value("performance.getEntriesByType('resource').every(e => e.name.startsWith('data:'))")
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth"), "it is wider than the window"
    assert "VOTABLE" not in page.value("document.body.innerText"), "the table shows as text"
    folder = Path(os.environ.get("DECOCC_SCREENSHOTS", tmp_path))
    page.photograph(folder / "report.png")
    assert (folder / "report.png").stat().st_size > 20_000
    page.open((site[0] / "report.html").as_uri(), size=(400, 800))
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth"), "it does not fit a small screen"


ALADIN_LITE = """<!DOCTYPE html><html><body><div id="sky" style="width: 600px; height: 400px"></div>
<script type="module">
import A from "./aladin.js";
A.init.then(() => {
  window.aladin = A.aladin("#sky", {samp: true, target: "10 -10", fov: 5, survey: []});
  window.aladin.samp.register();
});
</script></body></html>
"""


def test_aladin_lite_follows_and_leads_through_our_hub(site, hub, tmp_path):
    folder, url = site
    shutil.copy(npm_package("aladin-lite") / "dist" / "aladin.js", folder)
    (folder / "lite.html").write_text(ALADIN_LITE)
    webgl = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # without a graphics card
    # It would fetch lists of surveys from the network.
    no_network = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
    with (
        chromium(tmp_path, *webgl, no_network) as page,
        Program() as program,
        samp_client.connect("DECOCC") as connection,
    ):
        page.open(url.replace("report.html", "lite.html"))
        (lite,) = until(lambda: [p for p in connection.programs() if p.name == "Aladin Lite" and p.subscriptions], 60)
        connection.call(lite, "coord.pointAt.sky", {"ra": "130.1", "dec": "19.67"}, timeout=20)
        page.until("(([ra, dec]) => Math.hypot(ra - 130.1, dec - 19.67) < 1e-6)(aladin.getRaDec())")
        page.value("aladin.samp.centerAtRaDec(56.75, 24.12)")
        assert until(lambda: program.points) == [(56.75, 24.12)]
