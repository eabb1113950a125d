"""Sending a table over SAMP: to programs that behave, that are late, that are deaf, and to nobody."""

import gzip
import io
import queue
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits, votable
from astropy.table import Table
from desktop.fakes import Program, QuickFit, a_hub, cluster_table, renamed, until
from desktop.programs import need
from hypothesis import given
from hypothesis import strategies as st
from pyvo.samp import SAMPHubServer

from decocc_vo import read_stars
from decocc_vo.columns import conform, parallax_zero_point
from decocc_vo.exceptions import InputError, ServiceError
from decocc_vo.region import ClusterRegion
from decocc_vo.samp import _hub, hub_running, overlay_script, send_script, send_table, sending, start_hub
from decocc_vo.samp import client as samp_client
from decocc_vo.samp._matching import TableBook, url_key
from decocc_vo.samp._reading import fetch_table
from decocc_vo.samp.sending import _center, member_rows, table_key
from decocc_vo.votable import write_table

pytestmark = pytest.mark.filterwarnings("ignore::pyvo.samp.SAMPWarning")


@pytest.fixture
def hub(samp_home):
    with a_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def result():
    stars = cluster_table()
    return QuickFit()(stars, ClusterRegion.from_table(stars, name="Praesepe"))


def test_the_table_arrives_with_its_members_and_its_centre(hub, result):
    with Program() as topcat:
        assert send_table(result.table, client="topcat", name="M 44") == ["topcat"]
    (table_id,) = topcat.tables
    table = topcat.tables[table_id]
    assert (table["source_id"] == result.table["source_id"]).all()
    assert table["source_id"].dtype == np.int64
    assert str(table["pmra"].unit) == "mas / yr"
    members = np.flatnonzero(result.table["membership_prob"] >= 0.5)
    assert topcat.selected[table_id] == members.tolist()
    assert len(members) >= 70
    ra, dec = topcat.points[-1]
    assert np.hypot(ra - 130, dec - 19.7) < 0.1
    load = next(params for mtype, params in topcat.messages if mtype == "table.load.votable")
    assert load["name"] == "M 44"
    assert not Path(load["url"].removeprefix("file://")).exists(), "the file that carried the table is left behind"


def test_the_table_id_is_that_of_the_contents(hub, result):
    with Program() as topcat:
        send_table(result, client="topcat")
        send_table(result.table.copy(), client="topcat")
        other = result.table.copy()
        other["membership_prob"][3] = 0.01
        send_table(other, client="topcat", members=[1, 2], center=SkyCoord(130, 19, unit="deg"))
        send_table(other, client="topcat", table_id="mine")
    assert list(topcat.tables) == [table_key(result.table), table_key(other), "mine"]
    assert topcat.selected[table_key(other)] == [1, 2]
    assert topcat.points[2] == (130.0, 19.0)


def test_all_programs_that_take_tables_are_served_and_no_others(hub, result):
    image_viewer = Program("viewer", mtypes=("image.load.fits",))
    positions_only = Program("loader", mtypes=("table.load.votable",))
    with Program("topcat") as topcat, Program("Aladin") as aladin, image_viewer, positions_only:
        assert sorted(send_table(result, client="all")) == ["Aladin", "loader", "topcat"]
        assert topcat.selected == aladin.selected != {}
        assert not image_viewer.messages
        assert len(positions_only.tables) == 1
        assert send_table(result, client="aladin") == ["Aladin"]


def test_row_lists_are_repeated_until_the_table_can_be_found(hub, result):
    # TOPCAT says that it has the table some tenths of a second before it finds it.
    with Program(refuse_first=3, refuse="table.select") as topcat:
        send_table(result, client="topcat", timeout=20)
    assert [mtype for mtype, _ in topcat.messages].count("table.select.rowList") == 4
    assert len(topcat.tables) == 1
    assert topcat.selected[table_key(result.table)]


def test_a_lost_load_is_sent_again(hub, result, monkeypatch):
    monkeypatch.setattr("decocc_vo.samp.sending.ATTEMPT_SECONDS", 0.3)

    class Starting(Program):
        def _call(self, *args):
            if args[3] == "table.load.votable" and not self.messages:
                self.messages.append(("lost", {}))
                return
            super()._call(*args)

    with Starting("Aladin") as aladin:
        send_table(result, client="aladin", timeout=20)
    assert aladin.selected[table_key(result.table)]


def test_a_deaf_program_ends_in_a_clear_error_in_time(hub, result, monkeypatch):
    monkeypatch.setattr("decocc_vo.samp.sending.ATTEMPT_SECONDS", 0.3)
    with Program("Aladin", deaf=["*"]):
        began = time.monotonic()
        with pytest.raises(ServiceError, match=r"Aladin did not take the table within 2 s: Aladin did not answer"):
            send_table(result, timeout=2)
        assert time.monotonic() - began < 8


def test_of_all_programs_a_deaf_one_is_only_warned_of(hub, result, monkeypatch, caplog):
    monkeypatch.setattr("decocc_vo.samp.sending.ATTEMPT_SECONDS", 0.3)
    with Program("Aladin", deaf=["*"]), Program("topcat") as topcat:
        assert send_table(result, timeout=2) == ["topcat"]
        assert topcat.selected, "the deaf program kept the table from the other"
    assert "Aladin did not take the table within 2 s: Aladin did not answer" in caplog.text


@pytest.mark.parametrize("mtypes", [["table.load.votable"], ["table.load.votable", "table.select.rowList"]])
def test_a_program_that_refuses_a_table_is_not_hammered_and_its_reason_is_told(monkeypatch, mtypes):
    clock, calls = SimpleNamespace(now=0.0), []

    def sleep(seconds):
        clock.now += seconds

    def call(program, mtype, params, timeout):
        calls.append(mtype)
        sleep(0.01)
        raise samp_client.Refused("disk full" if mtype == "table.load.votable" else "no such table")

    monkeypatch.setattr(sending, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    program = samp_client.Program("c1", "topcat", frozenset(mtypes))
    with pytest.raises(ServiceError, match=r"topcat did not take the table within 60 s: disk full$"):
        sending.deliver(SimpleNamespace(call=call), program, "file:/t", "t", "M 44", [1], timeout=60.0)
    assert 3 < calls.count("table.load.votable") < 10
    assert clock.now < 70


def test_a_table_id_need_not_be_a_file_name(hub, result):
    with Program() as topcat:
        assert send_table(result, client="topcat", table_id="ivo://me/members?a=1") == ["topcat"]
    assert topcat.selected["ivo://me/members?a=1"]


def test_a_refusal_is_told_in_the_program_s_words(hub, result):
    with (
        Program(refuse_first=10**6),
        pytest.raises(ServiceError, match=r"topcat did not take the table within 1 s: .*not yet"),
    ):
        send_table(result, client="topcat", timeout=1)


def test_without_a_hub_it_says_what_to_do(samp_home, result):
    assert not hub_running()
    with pytest.raises(ServiceError, match=r"no SAMP hub is running; start TOPCAT or Aladin.*--hub"):
        send_table(result)
    with pytest.raises(ServiceError, match="no SAMP hub"):
        send_script("draw circle(1,2,3)")


@pytest.mark.parametrize(
    "lock_file",
    [
        "",
        "samp.secret=abc\n",
        "garbage",
        "\n\n",
        "samp.secret=a=b\nsamp.hub.xmlrpc.url=http://127.0.0.1:9/\n",
        "samp.secret=a\nsamp.hub.xmlrpc.url=http://127.0.0.1:9/\nsamp.profile.version=1.3\n",
        "samp.hub.xmlrpc.url=http://[broken/\n",
    ],
)
def test_a_lock_file_without_a_hub_behind_it_counts_as_none(samp_home, result, lock_file):
    samp_home.write_text(lock_file)
    with pytest.raises(ServiceError, match="no SAMP hub is running"):
        send_table(result)


def test_a_hub_that_hangs_does_not_hold_us(samp_home, result, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        samp_home.write_text(f"samp.secret=a\nsamp.hub.xmlrpc.url=http://127.0.0.1:{port}/\nsamp.profile.version=1.3\n")
        monkeypatch.setattr(samp_client, "RPC_SECONDS", 0.5)
        began = time.monotonic()
        assert not hub_running(timeout=0.5)
        assert time.monotonic() - began < 5


def test_no_such_program_is_an_error_that_names_those_there(hub, result):
    with Program("ds9", mtypes=("image.load.fits",)):
        with pytest.raises(ServiceError, match=r"no program named 'topcat' .*\(connected: .*ds9.*\); start it"):
            send_table(result, client="topcat", timeout=0.5)
        with pytest.raises(ServiceError, match=r"no program that takes tables is connected"):
            send_table(result, client="all", timeout=0.5)


def test_it_starts_a_hub_when_told_to_and_waits_for_the_program(samp_home, result):
    topcat, outcome = Program(), {}
    thread = threading.Thread(target=lambda: outcome.update(names=send_table(result, client="topcat", hub=True)))
    thread.start()
    until(hub_running)
    with topcat:
        thread.join(30)
        assert outcome == {"names": ["topcat"]}
        assert topcat.selected
    assert not hub_running(), "the hub ends with the call"


def test_a_second_hub_is_refused(hub):
    with pytest.raises(ServiceError, match="a SAMP hub runs already"):
        start_hub()


def test_ctrl_c_while_it_joins_leaves_no_hub_behind(samp_home, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(samp_client, "Connection", interrupt)
    with pytest.raises(KeyboardInterrupt):
        samp_client.connect(hub=True)
    assert not hub_running()
    assert not samp_home.exists()


@pytest.mark.parametrize("place", ["std-lockurl:http://127.0.0.1:9/samp", "elsewhere", "std-lockurl:file:///no/such/x"])
def test_a_hub_that_no_program_would_find_is_ended(monkeypatch, place):
    hubs = []

    class Server(SAMPHubServer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            hubs.append(self)

    monkeypatch.setattr("pyvo.samp.SAMPHubServer", Server)
    monkeypatch.setenv("SAMP_HUB", place)
    with pytest.raises(ServiceError, match="SAMP_HUB must be unset or 'std-lockurl:file:///FILE'"):
        start_hub(web_profile=False)
    (hub,) = hubs
    assert not hub.is_running
    hub._server.server_close()  # pyvo leaves it open where it could not start


class Terminal:
    """A stdin on which nobody types until ``type`` is called."""

    def __init__(self):
        self.lines = queue.Queue()

    def isatty(self):
        return True

    def readline(self):
        return self.lines.get()


def test_an_answer_is_taken_for_the_page_that_asks(monkeypatch):
    terminal, running = Terminal(), SimpleNamespace(is_running=True)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    dialog = _hub._Consent(_hub._Terminal().ask)
    dialog.queue_request, dialog.queue_result = queue.Queue(), queue.Queue()

    def ask(page, seconds, answer=None):
        monkeypatch.setattr(_hub, "CONSENT_SECONDS", seconds)
        dialog.queue_request.put(({"samp.name": page}, None, "here"))
        until(lambda: repr(page) in sys.stderr.getvalue())
        if answer is not None:
            terminal.lines.put(answer)
        return dialog.queue_result.get(timeout=20)

    thread = threading.Thread(target=dialog.serve, args=(running,))
    thread.start()
    try:
        assert ask("page 1", 0.05) is False
        assert ask("page 2", 20, "yes\n") is True, "the question for page 1 ate the answer"
        assert ask("page 3", 0.05) is False
        terminal.lines.put("yes\n")  # too late
        until(lambda: "SAMP answer" not in {thread.name for thread in threading.enumerate()})
        assert ask("page 4", 0.05) is False, "what was meant for page 3 let page 4 in"
        assert ask("page 5", 20, "no\n") is False
    finally:
        running.is_running = False
        thread.join(20)
        terminal.lines.put("")


def test_other_runs_of_the_package_get_no_tables(hub, result):
    with samp_client.connect(subscriptions=["table.load.votable"]), Program() as topcat:
        assert send_table(result, timeout=10) == ["topcat"]
        assert topcat.selected


def test_our_environment_is_not_given_away_and_we_present_ourselves(hub):
    with samp_client.connect(), Program() as topcat:
        (ours,) = [
            c for c in topcat.client.get_registered_clients() if topcat.client.get_metadata(c)["samp.name"] == "DECOCC"
        ]
        assert "client.env.get" not in topcat.client.get_subscriptions(ours)
        metadata = topcat.client.get_metadata(ours)
        assert Path(metadata["samp.icon.url"].removeprefix("file://")).read_bytes().startswith(b"\x89PNG")
        assert metadata["samp.documentation.url"].startswith("https://")
        assert metadata["samp.description.text"]
        message = {"samp.mtype": "samp.app.ping", "samp.params": {}}
        assert topcat.client.call_and_wait(ours, message, "10")["samp.status"] == "samp.ok"


@pytest.mark.parametrize("members", [[400], [-1], [0.5], np.ones(3, bool), [[1, 2]], "all", [True]])
def test_members_that_do_not_fit_the_table_are_refused(result, members):
    with pytest.raises(InputError, match="'members' must be a mask of 400 booleans, or row numbers from 0 to 399"):
        member_rows(result.table, members)


def test_what_is_no_table_is_refused(hub):
    for table in (None, [1], Table(), "stars.vot"):
        with pytest.raises(InputError, match="'table' must be an astropy Table with rows"):
            send_table(table)
    with pytest.raises(InputError, match="'center' must be a SkyCoord"):
        send_table(cluster_table(), center="here")
    with pytest.raises(InputError, match="'client' must be the name of one program"):
        send_table(cluster_table(), client=["topcat"])


def test_masked_probabilities_are_no_members(result):
    table = result.table.copy()
    table["membership_prob"].mask[:10] = True
    rows = member_rows(table)
    assert set(range(10)).isdisjoint(rows)
    assert len(rows) > 60
    assert len(member_rows(cluster_table())) == 0


def test_every_spelling_of_a_file_is_one_key(tmp_path):
    path = tmp_path / "M 44 é.vot"
    path.touch()
    (tmp_path / "link").symlink_to(path)
    quoted = path.as_uri().removeprefix("file://")
    spellings = [
        str(path),
        path.as_uri(),
        f"file:{path}",
        f"file:{quoted}",
        f"file://localhost{quoted}",
        f"FILE://127.0.0.1{quoted}",
        f"file:////{str(path).lstrip('/')}",
        str(tmp_path / "." / "link"),
        f" {path.as_uri()}\n",
    ]
    assert len({url_key(s) for s in spellings}) == 1
    assert url_key(tmp_path.as_uri()) != url_key(path.as_uri())


def test_every_spelling_of_a_loopback_address_is_one_key():
    same = ["http://localhost:80/a%20b", "HTTP://127.0.0.1/a b", "http://[::1]/a%20b#part"]
    assert len({url_key(s) for s in same}) == 1
    different = ["http://127.0.0.1:8080/a", "http://127.0.0.1/a", "https://127.0.0.1/a", "http://127.0.0.1/a?x=1"]
    assert len({url_key(s) for s in different}) == len(different)


@given(st.text(min_size=1))
def test_any_text_has_one_stable_key_or_is_refused(url):
    try:
        key = url_key(url)
    except ValueError:
        return
    assert key == url_key(url)


def test_the_table_id_decides_before_the_url():
    book = TableBook()
    book.add("first", table_id="1", url="file:/tmp/a")
    book.add("second", table_id="2", url="file:/tmp/b")
    assert book.find("1", "file:///tmp/b") == "first"
    assert book.find("unknown", "file:///tmp/b") == "second"
    assert book.find("", "file://localhost/tmp/a") == "first"
    assert book.find("3", "file:/tmp/c") is None
    assert book.find() is None
    book.add("third", table_id="1", url="file:/tmp/a")
    assert book.find("1") == "third"
    assert book.entries() == ["second", "third"]


def test_the_overlay_draws_each_member_once(result):
    region = ClusterRegion.from_table(result.table)
    lines = overlay_script(result.table, region, color="orange", size="5arcsec", name="M 44").splitlines()
    circles = [line for line in lines if line.startswith("draw circle(")]
    assert len(circles) == len(member_rows(result.table))
    assert lines[0].startswith("get hips(CDS/P/DSS2/color) ")
    assert 'draw newtool("M 44")' in lines
    assert 'set "M 44" color=orange' in lines
    assert not any(line.startswith("get") for line in overlay_script(result.table, region, image=None).splitlines())
    with pytest.raises(InputError, match="'name'"):
        overlay_script(result.table, region, name='a" ; quit')
    with pytest.raises(InputError, match="'size' must be an angle with its unit"):
        overlay_script(result.table, region, size=20)
    assert overlay_script(result) == overlay_script(result.table)


def test_a_script_reaches_aladin_in_pieces(hub, monkeypatch):
    monkeypatch.setattr("decocc_vo.samp.aladin._PER_MESSAGE", 3)
    with Program("Aladin", mtypes=("script.aladin.send",)) as aladin:
        send_script("\n".join(f"draw circle({i},0,1)" for i in range(8)))
    scripts = [params["script"] for _, params in aladin.messages]
    assert "\n".join(scripts).splitlines() == [f"draw circle({i},0,1)" for i in range(8)]
    assert len(scripts) == 3


def test_a_table_of_other_names_is_drawn_and_pointed_at(result):
    stars = renamed(result.table, {"ra": "RA_ICRS", "dec": "delta"})
    assert overlay_script(stars) == overlay_script(result.table)
    rows = member_rows(stars)
    assert _center(stars, rows, None) == pytest.approx(_center(result.table, rows, None))
    with pytest.raises(InputError, match="'table' has no positions"):
        overlay_script(stars["source_id", "membership_prob"])


def same_statements(path, mtype):
    """The table at a file's URL, which states its release and epoch as `read_stars` says."""
    table, stars = fetch_table(path.as_uri(), mtype), read_stars(path)
    for key in ("release", "release_key", "ref_epoch", "citation"):
        assert table.meta.get(key) == stars.meta.get(key), key
    return table


@pytest.mark.parametrize("first", ["vot", "fits"])
@pytest.mark.parametrize("again", ["vot", "fits"])
def test_a_table_that_topcat_wrote_again_keeps_its_release(field, tmp_path, first, again):
    need("stilts")
    path, form = tmp_path / f"again.{again}", {"vot": "votable-binary2", "fits": "fits-plus"}[again]
    write_table(field("edr3_king5")[:50], tmp_path / f"ours.{first}")
    command = ["stilts", "tcopy", str(tmp_path / f"ours.{first}"), str(path), f"ofmt={form}"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    table = same_statements(path, f"table.load.{'votable' if again == 'vot' else again}")
    assert table.meta["release_key"] == "gaia_edr3"
    assert (parallax_zero_point(conform(table)) < 0).all()


def nested(tmp_path, *infos, release="Gaia DR2"):
    """A VOTable as TOPCAT nests them: the table in a RESOURCE of a RESOURCE, with what it states in PARAMs."""
    document = votable.from_table(cluster_table())
    inner = document.resources[0]
    inner.tables[0].params.append(
        votable.tree.Param(document, name="release", value=release, datatype="char", arraysize="*")
    )
    system, around = votable.tree.Resource(), votable.tree.Resource()
    system.coordinate_systems.append(votable.tree.CooSys(ID="sys", system="ICRS", epoch="J2015.5"))
    around.resources.extend([system, inner])
    document.resources[:] = [around]
    for name, value, content in infos:
        inner.infos.append(votable.tree.Info(name=name, value=value))
        inner.infos[-1].content = content
    document.to_xml(str(tmp_path / "nested.vot"))
    return tmp_path / "nested.vot"


def test_params_and_nested_resources_state_the_release(tmp_path):
    path = nested(tmp_path)
    table = same_statements(path, "table.load.votable")
    assert (table.meta["release_key"], table.meta["ref_epoch"]) == ("gaia_dr2", 2015.5)
    assert len(table) == len(cluster_table())
    packed = tmp_path / "nested.vot.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert same_statements(packed, "table.load.votable").meta["release_key"] == "gaia_dr2"


def test_what_a_service_says_of_a_table_is_told(tmp_path, caplog):
    path = nested(tmp_path, ("QUERY_STATUS", "OVERFLOW", None))
    fetch_table(path.as_uri(), "table.load.votable")
    assert f"the VOTable at {path.as_uri()} is incomplete" in caplog.text
    path = nested(tmp_path, ("QUERY_STATUS", "ERROR", "Quota\n exceeded"))
    with pytest.raises(ServiceError, match=r"nested\.vot holds no stars but an error of the service: Quota exceeded"):
        fetch_table(path.as_uri(), "table.load.votable")
    path.write_text('<?xml version="1.0"?><VOTABLE version="1.4"><RESOURCE><RESOURCE/></RESOURCE></VOTABLE>')
    with pytest.raises(ServiceError, match=r"the VOTable at .*nested\.vot holds no table"):
        fetch_table(path.as_uri(), "table.load.votable")


def test_the_headers_of_a_fits_table_state_its_release(tmp_path):
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(Table({**cluster_table(), "label": ["a"] * 400}))])
    hdus[0].header["RELEASE"] = "Gaia EDR3"
    hdus.writeto(tmp_path / "a.fits")
    table = same_statements(tmp_path / "a.fits", "table.load.fits")
    assert table.meta["release_key"] == "gaia_edr3"
    assert table["label"].dtype.kind == "U"
    fits.PrimaryHDU().writeto(tmp_path / "none.fits")
    with pytest.raises(ServiceError, match="no extension of the file is a table"):
        fetch_table((tmp_path / "none.fits").as_uri(), "table.load.fits")


def test_a_table_has_the_name_of_its_region(result):
    assert sending._default_name(result.table) == "Praesepe"
    assert sending._default_name(Table({"a": [1]})) == "DECOCC members"
