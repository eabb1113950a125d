"""``decocc-vo live`` and ``run --send`` as processes of their own, beside a program that behaves as TOPCAT does."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from desktop.fakes import Program, a_hub, cluster_table, until

from decocc_vo.samp import hub_running
from decocc_vo.votable import write_votable

pytestmark = pytest.mark.filterwarnings("ignore::pyvo.samp.SAMPWarning")

HYADES = ("run", "Melotte 25", "--survey", "hipparcos2", "--send", "topcat")


@pytest.fixture(autouse=True)
def ctrl_c():
    """Let the children have Ctrl-C, which what a shell runs in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def hub(samp_home):
    with a_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """What is compiled once is kept for the next process."""
    return ("--compilation-cache", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def table(tmp_path):
    stars = cluster_table()
    write_votable(stars, tmp_path / "stars.vot")
    return stars, (tmp_path / "stars.vot").as_uri()


@contextmanager
def command(*args):
    """A running ``decocc-vo``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "decocc_vo", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process, by=None):
    """Wait for its end, perhaps after Ctrl-C; its exit code, lines of output, and lines of errors."""
    if by is not None:
        process.send_signal(by)
    out, err = process.communicate(timeout=200)
    return process.returncode, out.splitlines(), err.splitlines()


def test_live_marks_the_members_until_ctrl_c(hub, table, cache):
    stars, url = table
    with Program() as topcat, command("live", "--selection", "seed", *cache) as live:
        response = topcat.ask("table.load.votable", url=url, name="M 44", table_id="t1")
        assert response["samp.status"] == "samp.ok"
        until(lambda: topcat.selected, 200)
        ((key, rows),) = topcat.selected.items()
        assert (topcat.tables[key]["source_id"] == stars["source_id"]).all()
        assert rows == np.flatnonzero(topcat.tables[key]["membership_prob"] >= 0.5).tolist()
        assert len(set(rows) & set(range(80))) >= 70
        topcat.selected.clear()
        topcat.ask("table.select.rowList", table_id=key, row_list=[str(row) for row in range(40)])
        until(lambda: topcat.selected, 200)
        session = topcat.ours
        code, out, err = end(live, signal.SIGINT)
        assert session not in topcat.client.get_registered_clients()
    assert code == 0
    assert err == []
    assert out[0].startswith("DECOCC is on the SAMP hub; send it a table")
    assert out[1].startswith("M 44: 400 stars in M 44: ICRS 130.0")
    assert out[2].startswith(f"M 44: {len(rows)} members (")
    assert {f"M 44: topcat shows {len(rows)} members", "M 44: 40 rows selected, taken as the seed"} <= set(out)
    assert "leaving the hub" in out


def test_ctrl_c_in_the_middle_of_a_fit_is_no_crash(hub, table):
    with Program() as topcat, command("live") as live:
        topcat.ask("table.load.votable", url=table[1], name="M 44")
        code, out, err = end(live, signal.SIGINT)
        assert topcat.ours not in topcat.client.get_registered_clients()
    assert (code, err) == (0, [])
    assert "leaving the hub" in out


def test_live_needs_a_hub(samp_home):
    with command("live") as live:
        code, out, err = end(live)
    assert (code, out, len(err)) == (3, [], 1)
    assert err[0].startswith("decocc-vo live: no SAMP hub is running; start TOPCAT or Aladin first, or add --hub")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_live_starts_a_hub_where_told_to(samp_home, tmp_path, monkeypatch, number):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    with command("live", "--hub") as live:
        until(hub_running, 60)
        with Program() as topcat:
            topcat.ask("table.load.votable", url="file:///no/such/table.vot")
        code, out, _ = end(live, number)
    assert code == 0
    assert out[0].startswith("DECOCC is on a SAMP hub of its own; send it a table")
    assert out[1].startswith("table.load.votable refused: the table at file:///no/such/table.vot cannot be fetched: [E")
    assert out[2:] == ["leaving the hub"]
    assert not samp_home.exists(), "the hub ends with the session"
    assert not list((tmp_path / "temporary").glob("decocc-*"))


def test_live_quiet_tells_only_what_could_not_be_done(hub):
    with Program() as topcat, command("live", "--quiet") as live:
        topcat.ask("table.highlight.row", table_id="t1", row="1")
        code, out, err = end(live, signal.SIGINT)
    assert (code, out, len(err)) == (0, [], 1)
    assert err[0].startswith("decocc-vo live: table.highlight.row refused: no table with table-id=t1")


def test_run_sends_its_table(hub, cache):
    with Program() as topcat, command(*HYADES, *cache) as run:
        code, out, err = end(run)
        assert code == 0
        ((key, table),) = topcat.tables.items()
        assert topcat.selected[key] == np.flatnonzero(table["membership_prob"] >= 0.5).tolist()
        assert out[0] == f"Melotte 25: an open cluster of {len(topcat.selected[key])} members"
        assert topcat.points[0] == pytest.approx((66.7, 16.0), abs=0.5)
        (load,) = (params for mtype, params in topcat.messages if mtype == "table.load.votable")
        assert load["name"] == "Melotte 25"
    assert out[-1].split() == ["sent", "to", "topcat"]
    assert len(table) == 169
    assert len(err) == 1, "how many stars there are"


def test_run_asks_for_a_hub_before_the_work(samp_home):
    with command(*HYADES) as run:
        code, out, err = end(run)
    assert (code, out, len(err)) == (3, [], 1)
    assert err[0].startswith("decocc-vo run: no SAMP hub is running; start TOPCAT or Aladin first, or add --hub")


def test_run_shows_what_it_found_where_the_program_is_missing(hub):
    with Program("ds9", mtypes=("image.load.fits",)), command(*HYADES, "--method", "kmeans") as run:
        code, out, err = end(run)
    assert code == 3
    assert out[0].startswith("Melotte 25: ")
    assert not any("sent to" in line for line in out)
    assert err[-1].startswith("decocc-vo run: no program named 'topcat' that takes tables is connected")
    assert "(connected: ds9)" in err[-1]


def test_run_with_a_hub_of_its_own_prints_nothing_but_its_result(samp_home):
    with command(*HYADES, "--method", "kmeans", "--hub", "--format", "json") as run:
        until(hub_running, 60)
        with Program() as topcat:
            code, out, err = end(run)
            assert [len(table) for table in topcat.tables.values()] == [169]
    assert code == 1
    assert json.loads("\n".join(out))["found"] is False, "the table is sent all the same"
    assert "decocc-vo: a SAMP hub starts; it waits a minute for topcat to join" in err
    assert not hub_running()
