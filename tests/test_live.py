"""The live session: tables in, members out, selections, highlights, and everything that may break on the way."""

import gc
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import psutil
import pytest
from astropy.table import Table
from desktop.fakes import Program, QuickFit, a_hub, cluster_table, until

from decocc_vo.exceptions import InputError, ServiceError
from decocc_vo.samp import LiveSession, hub_running
from decocc_vo.samp import live as live_module
from decocc_vo.samp._reading import fetch_table
from decocc_vo.samp._tables import Job, LiveTable, star_line, star_numbers
from decocc_vo.votable import write_votable

pytestmark = pytest.mark.filterwarnings("ignore::pyvo.samp.SAMPWarning")


@pytest.fixture(autouse=True)
def quick_poll(monkeypatch):
    monkeypatch.setattr(live_module, "POLL_SECONDS", 0.1)


@pytest.fixture
def hub(samp_home):
    with a_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def stars():
    return cluster_table()


@pytest.fixture
def url(stars, tmp_path):
    write_votable(stars, tmp_path / "stars.vot")
    return f"file:{tmp_path}/stars.vot"  # one slash, as TOPCAT writes it


def result_id(session, number=0):
    return session.tables[number].result_id


def load(program, url, **params):
    response = program.ask("table.load.votable", url=url, name="M 44", **params)
    assert response["samp.status"] == "samp.ok", response


def select(program, rows, **params):
    return program.ask("table.select.rowList", row_list=[str(row) for row in rows], **params)


def test_a_table_comes_back_with_its_members(hub, stars, url):
    fit, lines, seen = QuickFit(), [], []
    with LiveSession(fit, on_line=lines.append, on_table=seen.append, on_result=seen.append) as session:
        with Program("topcat") as topcat, Program("Aladin") as aladin:
            load(topcat, url, table_id="t1")
            assert session.wait(20)
            (entry,) = session.tables
            for program in (topcat, aladin):
                table = program.tables[entry.result_id]
                assert (table["source_id"] == stars["source_id"]).all()
                assert set(table.colnames) >= {*stars.colnames, "membership_prob", "group", "candidate"}
                assert program.selected[entry.result_id] == entry.rows.tolist()
                assert program.points
        assert seen == [entry, entry]
        assert fit.calls[0]["n"] == len(stars)
        assert fit.calls[0]["start"] is None
        assert len(entry.rows) >= 70
    text = "\n".join(lines)
    assert "M 44: 400 stars" in text
    assert f"M 44: {len(entry.rows)} members" in text
    assert "topcat shows" in text
    assert "Aladin shows" in text


@pytest.mark.parametrize("memory", ["votable", "fits", "page"])
def test_tables_come_as_votable_fits_or_a_page_that_holds_one(hub, stars, tmp_path, memory):
    path = tmp_path / f"stars of M 44.{memory}"
    if memory == "fits":
        stars.write(path, format="fits")
    else:
        write_votable(stars, path if memory == "votable" else tmp_path / "v.vot")
    if memory == "page":
        votable = (tmp_path / "v.vot").read_text()
        path.write_text(f"<!DOCTYPE html><html><body>{votable[votable.index('<VOTABLE') :]}</body></html>")
    with LiveSession(QuickFit()) as session, Program() as topcat:
        mtype = "table.load.fits" if memory == "fits" else "table.load.votable"
        assert topcat.ask(mtype, url=path.as_uri(), table_id="t")["samp.status"] == "samp.ok"
        assert session.wait(20)
        assert session.tables[0].name == "stars of M 44"
        assert (topcat.tables[result_id(session)]["source_id"] == stars["source_id"]).all()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_table_that_a_program_serves_itself_does_not_go_through_a_proxy(url, tmp_path, monkeypatch, host):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert len(fetch_table(f"http://{host}:{server.server_port}/stars.vot", "table.load.votable")) == 400
        finally:
            server.shutdown()
            thread.join()


def test_a_selection_is_the_region(hub, stars, url):
    fit, seen = QuickFit(), []
    with LiveSession(fit, on_selection=lambda *args: seen.append(args)) as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        rows = np.flatnonzero(np.hypot(stars["ra"] - 130, stars["dec"] - 19.7) < 0.3)
        select(topcat, rows, table_id="t1")
        assert session.wait(20)
        (entry,) = session.tables
        call = fit.calls[1]
        assert call["region"].radius < 0.35 * u.deg
        assert call["region"].contains(stars["ra"][rows], stars["dec"][rows]).all()
        assert len(rows) <= call["n"] < len(stars)
        assert call["start"].shape == (call["n"],), "a refit starts from the last members"
        assert call["start"].max() > 0.9
        probability = entry.membership.table["membership_prob"]
        assert len(probability) == len(stars)
        assert np.ma.getmaskarray(probability).sum() == len(stars) - call["n"], "stars outside were not used"
        assert topcat.selected[entry.result_id] == entry.rows.tolist()
        assert entry.region == call["region"]
    assert seen[0][0] is entry
    assert (seen[0][1] == rows).all()


def test_a_selection_is_field_only(hub, url):
    fit = QuickFit()
    with LiveSession(fit, selection="field") as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        before = session.tables[0].rows
        select(topcat, before[:10], url=url.replace("file:", "file://localhost"))
        assert session.wait(20)
        assert fit.calls[1]["field_only"].sum() == 10
        assert fit.calls[1]["start"][before[:10]].max() == 0
        assert topcat.selected[result_id(session)] == before[10:].tolist()


def test_a_selection_is_the_seed(hub, stars, url):
    fit = QuickFit()
    with LiveSession(fit, selection="seed") as session, Program() as topcat:
        load(topcat, url)  # no table-id: the url alone names it
        assert session.wait(20)
        select(topcat, [200, 201], url=url)
        assert session.wait(20)
        assert np.flatnonzero(fit.calls[1]["start"]).tolist() == [200, 201]
        assert fit.calls[1]["n"] == len(stars)
        session.selection = "field"
        select(topcat, [5], table_id=result_id(session))
        assert session.wait(20)
        assert fit.calls[2]["field_only"].tolist().index(True) == 5
    with pytest.raises(InputError, match="'selection' must be one of region, field, seed"):
        LiveSession(fit, selection="members")
    with pytest.raises(InputError, match="'fit' must be callable"):
        LiveSession(None)


def test_a_highlighted_row_is_described(hub, stars, url):
    numbers, lines = [], []
    with (
        LiveSession(QuickFit(), on_line=lines.append, on_highlight=lambda _, n: numbers.append(n)) as session,
        Program() as topcat,
    ):
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        for row in (3, 300):
            topcat.ask("table.highlight.row", table_id=result_id(session), row=str(row))
    member, other = numbers
    assert member["source_id"] == stars["source_id"][3]
    assert member["membership_prob"] > 0.5
    assert member["group"] == 0
    assert max(abs(value) for value in member["sigma"].values()) < 5
    assert set(member["sigma"]) == {"pmra", "pmdec", "parallax"}
    assert other["membership_prob"] < 0.5
    assert any(f"source_id {stars['source_id'][3]}: membership probability 0." in line for line in lines)


def test_the_distance_in_sigma_counts_error_and_dispersion():
    stars = cluster_table()
    entry = LiveTable.of(stars, name="M 44", table_id="t")
    assert star_line(star_numbers(entry, 3)) == f"row 3, source_id {stars['source_id'][3]}: no fit yet"
    entry.membership = QuickFit()(stars, entry.region)
    cluster = entry.membership.summary[0]
    width = np.sqrt(cluster["parallax_dispersion"] ** 2 + cluster["parallax_error"] ** 2 + 0.05**2)
    expected = (stars["parallax"][7] - cluster["parallax"]) / width
    assert star_numbers(entry, 7)["sigma"]["parallax"] == pytest.approx(expected)
    entry.membership.table["membership_prob"].mask[7] = True
    assert star_line(star_numbers(entry, 7)).endswith("not used in the fit")


def test_a_position_moves_the_region(hub, url):
    fit, points = QuickFit(), []
    with LiveSession(fit, on_point=lambda *args: points.append(args)) as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        first = session.tables[0].region
        topcat.ask("coord.pointAt.sky", ra="130.1", dec="19.75")
        assert session.wait(20)
        region = session.tables[0].region
        assert (region.ra_deg, region.dec_deg) == pytest.approx((130.1, 19.75))
        assert region.radius == first.radius
        assert fit.calls[1]["region"] == region
        topcat.ask("coord.pointAt.sky", ra="130.1", dec="19.75")
        assert session.wait(5)
        assert len(fit.calls) == 2, "the centre is there already"
        response = topcat.ask("coord.pointAt.sky", ra="10", dec="-19.75")
        assert "no table known here covers" in response["samp.error"]["samp.errortxt"]
    assert len(points) == 2


def test_a_click_on_a_star_is_a_look_and_no_move(hub, stars, url, monkeypatch):
    # As Aladin sends it: highlight, a list of the one row, and the place of the click near the star.
    fit = QuickFit()
    with LiveSession(fit, selection="seed") as session, Program("Aladin") as aladin:
        load(aladin, url, table_id="t1")
        assert session.wait(20)
        near = {"ra": str(stars["ra"][9] + 0.005), "dec": str(stars["dec"][9])}
        for message in (
            ("table.highlight.row", {"row": "9", "table_id": result_id(session)}),
            ("table.select.rowList", {"row_list": ["9"], "table_id": result_id(session)}),
            ("table.select.rowList", {"row_list": [], "table_id": result_id(session)}),
            ("coord.pointAt.sky", near),
        ):
            assert aladin.ask(message[0], **message[1])["samp.status"] == "samp.ok"
        assert session.wait(20)
        assert len(fit.calls) == 1
        monkeypatch.setattr("decocc_vo.samp._inbox.LOOK_SECONDS", 0.0)
        aladin.ask("coord.pointAt.sky", **near)
        aladin.ask("table.select.rowList", row_list=["9"], table_id="t1")
        until(lambda: len(fit.calls) >= 2)


def test_a_result_that_comes_back_is_fitted_anew_with_all_stars(hub, stars, url):
    fit = QuickFit()
    with LiveSession(fit) as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        select(topcat, range(50), table_id="t1")
        assert session.wait(20)
        assert fit.calls[-1]["n"] < len(stars)
        entry = session.tables[0]
        load(topcat, entry.result_url, table_id=entry.result_id)
        assert session.wait(20)
        assert session.tables == [entry]
        assert (fit.calls[-1]["n"], fit.calls[-1]["start"]) == (len(stars), None)
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        assert len(session.tables[0].table) == len(stars)
        assert len(topcat.tables) == 2


def test_several_tables_are_kept_apart(hub, tmp_path):
    tables = [cluster_table(n=150 + 10 * i, seed=i, center=(40 * i + 10, 10 * i)) for i in range(5)]
    with LiveSession(QuickFit()) as session, Program() as topcat:
        for i, table in enumerate(tables):
            write_votable(table, tmp_path / f"{i}.vot")
            load(topcat, f"file://{tmp_path}/{i}.vot", table_id=f"t{i}")
        assert session.wait(30)
        assert len(session.tables) == len({e.result_id for e in session.tables}) == 5
        for i, entry in enumerate(session.tables):
            assert (topcat.tables[entry.result_id]["source_id"] == tables[i]["source_id"]).all()
        select(topcat, range(60), table_id="t3")
        topcat.ask("coord.pointAt.sky", ra="90.05", dec="20.05")
        assert session.wait(20)
        assert [e.fits for e in session.tables] == [1, 1, 2, 2, 1]


def test_selections_that_come_faster_than_fits_leave_the_last(hub, url):
    fit = QuickFit(seconds=0.3)
    with LiveSession(fit, selection="seed") as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        for row in range(20):
            select(topcat, [row, 100], table_id="t1")
        assert session.wait(30)
        assert np.flatnonzero(fit.calls[-1]["start"]).tolist() == [19, 100]
        assert len(fit.calls) < 15
        assert topcat.selected[result_id(session)] == session.tables[0].rows.tolist()


BROKEN = [
    ("table.load.votable", {}, "'url' is missing"),
    ("table.load.votable", {"url": ["a"]}, "'url' must be a string"),
    ("table.load.votable", {"url": "file:///nowhere/at/all.vot"}, "cannot be fetched"),
    ("table.load.votable", {"url": "gopher://example/1"}, "is not one of file:"),
    ("table.load.votable", {"url": "http://[broken"}, ""),
    ("table.load.votable", {"url": "DIRECTORY"}, "cannot be fetched"),
    ("table.load.votable", {"url": "TRUNCATED"}, "is no table"),
    ("table.load.votable", {"url": "TEXT"}, "there is no VOTABLE in it"),
    ("table.load.fits", {"url": "TEXT"}, "is no table"),
    ("table.load.votable", {"url": "NO_ASTROMETRY"}, "lacks the columns"),
    ("table.select.rowList", {}, "names no table"),
    ("table.select.rowList", {"table-id": "unknown", "row-list": ["1"]}, "no table with table-id=unknown"),
    ("table.select.rowList", {"table-id": "t1"}, "'row-list' must be a list"),
    ("table.select.rowList", {"table-id": "t1", "row-list": "17"}, "'row-list' must be a list"),
    ("table.select.rowList", {"table-id": "t1", "row-list": ["1.5"]}, "must hold row numbers"),
    ("table.select.rowList", {"table-id": "t1", "row-list": ["-1"]}, "rows 0 to 399"),
    ("table.select.rowList", {"table-id": "t1", "row-list": ["400"]}, "rows 0 to 399"),
    ("table.select.rowList", {"table-id": "t1", "row-list": [{"a": "b"}]}, "must hold row numbers"),
    ("table.highlight.row", {"table-id": "t1"}, "'row' must hold"),
    ("table.highlight.row", {"table-id": "t1", "row": "400"}, "rows 0 to 399"),
    ("table.highlight.row", {"table-id": {"a": "b"}, "row": "1"}, "'table-id' must be a string"),
    ("coord.pointAt.sky", {"ra": "here", "dec": "1"}, "must be numbers"),
    ("coord.pointAt.sky", {"ra": "nan", "dec": "1"}, "off the sky"),
    ("coord.pointAt.sky", {"ra": "1", "dec": "91"}, "off the sky"),
    ("coord.pointAt.sky", {"dec": "1"}, "must be numbers"),
]


@pytest.fixture
def broken_urls(tmp_path, stars):
    write_votable(stars, tmp_path / "whole.vot")
    (tmp_path / "cut.vot").write_bytes((tmp_path / "whole.vot").read_bytes()[:5000])
    (tmp_path / "text.txt").write_text("no table here")
    write_votable(Table({"a": [1, 2]}), tmp_path / "bare.vot")
    return {
        "DIRECTORY": tmp_path.as_uri(),
        "TRUNCATED": (tmp_path / "cut.vot").as_uri(),
        "TEXT": (tmp_path / "text.txt").as_uri(),
        "NO_ASTROMETRY": (tmp_path / "bare.vot").as_uri(),
    }


def test_broken_messages_are_refused_with_a_reason(hub, url, broken_urls):
    problems = []
    with LiveSession(QuickFit(), on_problem=problems.append) as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        for mtype, params, words in BROKEN:
            params = {
                key: broken_urls.get(value, value) if isinstance(value, str) else value for key, value in params.items()
            }
            response = topcat.ask(mtype, **params)
            assert response["samp.status"] == "samp.error", (mtype, params)
            assert words in response["samp.error"]["samp.errortxt"], (mtype, params, response)
        assert len(problems) == len(BROKEN)
        assert len(session.tables) == 1
        assert session.tables[0].fits == 1
        select(topcat, [1, 2, 3], table_id="t1")
        assert session.wait(20)
        assert session.tables[0].fits == 2


def test_messages_without_parameters_or_type_get_an_answer(hub):
    with LiveSession(QuickFit()), Program() as topcat:
        for params in ({}, {"samp.params": "x"}, {"samp.params": ["a"]}):
            response = topcat.ask_raw({"samp.mtype": "table.select.rowList", **params})
            assert "without samp.params" in response["samp.error"]["samp.errortxt"]


def test_a_fit_that_fails_is_told_and_the_next_goes_on(hub, url):
    problems, quick = [], QuickFit()

    def fit(table, region, *, start=None, field_only=None):
        if start is not None and start.sum() == 1:
            raise InputError("'start' has too few stars")
        if start is not None and start.sum() == 2:
            raise ZeroDivisionError
        return quick(table, region, start=start, field_only=field_only)

    with LiveSession(fit, selection="seed", on_problem=problems.append) as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        for rows in ([1], [1, 2], [1, 2, 3]):
            select(topcat, rows, table_id="t1")
            assert session.wait(20)
        assert session.tables[0].fits == 2
    assert "M 44: 'start' has too few stars" in problems
    assert any("the fit failed" in p for p in problems)


def test_callbacks_that_fail_stop_nothing(hub, url, caplog):
    def fails(*args):
        raise RuntimeError("mine")

    names = ("table", "result", "selection", "highlight", "point", "problem", "line")
    with LiveSession(QuickFit(), **{f"on_{name}": fails for name in names}) as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        select(topcat, [1, 2, 3], table_id="t1")
        assert session.wait(20)
        assert topcat.selected
    assert "the callback on_result failed" in caplog.text


def test_no_cluster_is_told_and_nothing_is_lit(hub, url):
    lines = []

    def nothing(table, region, *, start=None, field_only=None):
        table = table.copy()
        table["pmra"] = 1e3
        return QuickFit()(table, region)

    with LiveSession(nothing, on_line=lines.append) as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        assert topcat.selected == {result_id(session): []}
    assert any("no cluster: the stand-in" in line for line in lines)


def test_a_deaf_program_does_not_hold_up_the_others(hub, url):
    with (
        LiveSession(QuickFit(), selection="seed", timeout=60) as session,
        Program("Aladin", deaf=["*"]) as aladin,
        Program() as topcat,
    ):
        began = time.monotonic()
        load(topcat, url, table_id="t1")
        for fits in range(1, 4):
            until(lambda: session.tables[0].fits == fits and result_id(session) in topcat.selected)  # noqa: B023
            select(topcat, [fits, 100], table_id="t1")
        assert time.monotonic() - began < 10
        assert aladin.messages


def test_a_program_that_comes_later_gets_the_next_result(hub, url):
    with LiveSession(QuickFit()) as session, Program("sender", mtypes=("image.load.fits",)) as sender:
        load(sender, url, table_id="t1")
        assert session.wait(20)
        with Program() as topcat:
            until(lambda: topcat.selected)
            with Program("Aladin") as aladin:
                select(sender, range(50), table_id="t1")
                until(lambda: aladin.selected)
                assert aladin.selected[result_id(session)] == session.tables[0].rows.tolist()


def test_a_program_that_comes_after_a_refit_gets_its_probabilities(hub, url):
    with LiveSession(QuickFit(), selection="field") as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        before = session.tables[0].rows
        select(topcat, before[:10], table_id="t1")
        assert session.wait(20)
        (entry,) = session.tables
        with Program("Aladin") as aladin:
            select(topcat, before[:10], table_id="t1")  # anything that makes a delivery
            until(lambda: result_id(session) in aladin.selected)
            assert session.wait(20)
            sent = aladin.tables[entry.result_id]["membership_prob"]
        assert sent.tolist() == entry.membership.table["membership_prob"].tolist()
        assert set(sent[before[:10]]) == {0.0}
        loads = [mtype for mtype, _ in topcat.messages].count("table.load.votable")
        assert loads == 1, "who has the table gets row lists"


def test_a_table_that_is_sent_again_under_its_id_takes_the_place_of_the_first(hub, url, tmp_path):
    fit = QuickFit()
    with LiveSession(fit) as session, Program() as topcat:
        for _ in range(3):
            load(topcat, url, table_id="t1")
            assert session.wait(20)
        (entry,) = session.tables
        (file,) = Path(session._folder.name).glob("*.vot")
        assert file.as_uri() == entry.result_url
        assert topcat.selected[entry.result_id] == entry.rows.tolist()
        first = next(iter(topcat.tables))
        answer = select(topcat, [1, 2], table_id=first)
        assert "send it first" in answer["samp.error"]["samp.errortxt"]
        same = [session.add(entry.table, name=name) for name in ("from", "Python")]
        assert session.wait(20)
        assert session.tables == [entry, *same], "of one table given twice from Python both count"


def test_a_table_that_is_sent_again_during_its_fit_is_told_of_once(hub, url):
    going, go, quick, results = threading.Event(), threading.Event(), QuickFit(), []

    def fit(*args, **kwargs):
        going.set()
        assert go.wait(20)
        return quick(*args, **kwargs)

    with LiveSession(fit, on_result=results.append) as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        assert going.wait(20)
        load(topcat, url, table_id="t1")
        load(topcat, url, table_id="t1")
        go.set()
        assert session.wait(20)
        assert results == session.tables
        assert len(quick.calls) == 2
        assert list(topcat.tables) == [result_id(session)]


def test_no_thread_is_kept_for_a_program_that_has_all(hub, url):
    with LiveSession(QuickFit()) as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        assert topcat.selected
        until(lambda: not [t for t in threading.enumerate() if t.name.startswith("SAMP to")])
        select(topcat, [1, 2, 3], table_id="t1")
        assert session.wait(20)
        assert topcat.selected[result_id(session)] == session.tables[0].rows.tolist()


def test_the_hub_dies_and_comes_back(samp_home, url, stars):
    problems, fit = [], QuickFit(seconds=0.5)
    topcat = Program()
    with a_hub():
        session = LiveSession(fit, selection="seed", on_problem=problems.append).start()
        topcat.connect()
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        first = dict(topcat.selected)
        select(topcat, [200, 201], table_id="t1")
        topcat.__exit__()
    try:
        until(lambda: not session.connected)
        until(lambda: session.tables[0].fits == 2)
        assert any("hub is gone" in p for p in problems)
        with a_hub(), topcat:
            until(lambda: session.connected)
            until(lambda: topcat.selected != first)
            assert topcat.selected == {result_id(session): session.tables[0].rows.tolist()}
            loads = [mtype for mtype, _ in topcat.messages].count("table.load.votable")
            assert loads == 1, "the program had the table already"
            select(topcat, [1, 2], table_id="t1")
            until(lambda: session.tables[0].fits == 3)
            assert session.wait(20)
    finally:
        session.close()


def test_a_hub_that_forgets_us_is_joined_again(hub, url):
    with LiveSession(QuickFit()) as session, Program() as topcat:
        before = session._connection
        message = {"samp.mtype": "samp.hub.disconnect", "samp.params": {"reason": "test"}}
        topcat.client.notify(topcat.decocc(), message)
        until(lambda: session._connection not in (None, before))
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        assert topcat.selected


def test_a_close_while_the_next_hub_is_joined_leaves_none_behind(samp_home, monkeypatch):
    waiting, go, connect = threading.Event(), threading.Event(), live_module.connect
    session = LiveSession(QuickFit(), hub=True).start()

    def slow(*args, **kwargs):
        waiting.set()
        assert go.wait(20)
        until(lambda: not hub_running())  # the first one's end
        return connect(*args, **kwargs)

    monkeypatch.setattr(live_module, "connect", slow)
    joining = session._threads[1]
    session._connection.lost.set()
    assert waiting.wait(20)
    session.close(timeout=0.1)
    go.set()
    joining.join(20)
    assert not joining.is_alive()
    assert not session.connected
    assert not hub_running()
    assert not samp_home.exists()


def test_it_runs_a_hub_of_its_own(samp_home, url):
    with pytest.raises(ServiceError, match="no SAMP hub is running"):
        LiveSession(QuickFit()).start()
    with LiveSession(QuickFit(), hub=True) as session, Program() as topcat:
        load(topcat, url, table_id="t1")
        assert session.wait(20)
        assert topcat.selected
    assert not samp_home.exists()


def test_from_python_a_table_is_added(hub, stars):
    with LiveSession(QuickFit()) as session, Program() as topcat:
        entry = session.add(stars, name="M 44")
        assert session.wait(20)
        assert len(entry.membership.members) >= 70
        assert topcat.selected[entry.result_id] == entry.rows.tolist()
        with pytest.raises(InputError, match="lacks the column"):
            session.add(Table({"ra": [1.0]}))


def test_a_session_that_is_started_again_has_its_results_still(hub, stars, url):
    session = LiveSession(QuickFit())
    with session, Program("topcat") as topcat:
        load(topcat, url)
        assert session.wait(20)
    (entry,) = session.tables
    before = entry.result_url
    with session, Program("topcat") as topcat:
        assert entry.result_url != before
        assert (fetch_table(entry.result_url, "table.load.votable")["source_id"] == stars["source_id"]).all()
        select(topcat, entry.rows[:40], table_id="", url=entry.result_url)
        assert session.wait(20)
        assert entry.fits == 2


def test_run_forever_ends_with_close(hub):
    session = LiveSession(QuickFit())
    thread = threading.Thread(target=session.run_forever)
    thread.start()
    until(lambda: session.connected)
    session.close()
    thread.join(10)
    assert not thread.is_alive()


def test_soak_500_messages_one_in_five_broken(hub, tmp_path, broken_urls):
    """Nothing is lost: every message is answered, every table comes back, the last selection of each table counts."""
    rng = np.random.default_rng(0)
    n_tables = 10
    for i in range(n_tables):
        write_votable(cluster_table(n=200, n_members=60, seed=i, center=(30 * i + 5, 0)), tmp_path / f"{i}.vot")
    counts = {"selection": 0, "highlight": 0}
    fit, process = QuickFit(), psutil.Process()

    def count(kind):
        def add(*args):
            counts[kind] += 1

        return add

    memory, expected, last = [], {"selection": 0, "highlight": 0}, {}
    with (
        LiveSession(fit, selection="seed", on_selection=count("selection"), on_highlight=count("highlight")) as session,
        Program() as topcat,
    ):
        for i in range(n_tables):
            load(topcat, (tmp_path / f"{i}.vot").as_uri(), table_id=f"t{i}")
        assert session.wait(30)
        for number in range(500):
            if number % 5 == 4:
                mtype, params, _ = BROKEN[number // 5 % len(BROKEN)]
                params = {k: broken_urls.get(v, v) if isinstance(v, str) else v for k, v in params.items()}
                response = topcat.ask(mtype, **params)
                assert response["samp.status"] == "samp.error"
            elif number % 5 in (1, 3):
                table = f"t{rng.integers(n_tables)}"
                expected["highlight"] += 1
                assert topcat.ask("table.highlight.row", table_id=table, row="7")["samp.status"] == "samp.ok"
            else:
                table, rows = f"t{rng.integers(n_tables)}", np.unique(rng.integers(0, 200, 5)).tolist()
                expected["selection"] += 1
                last[table] = rows
                assert select(topcat, rows, table_id=table)["samp.status"] == "samp.ok"
            if number in (250, 499):
                assert session.wait(60)
                gc.collect()
                memory.append(process.memory_info().rss)
        assert counts == expected
        assert len(session.tables) == n_tables
        for entry in session.tables:
            assert topcat.selected[entry.result_id] == entry.rows.tolist()
        starts = [np.flatnonzero(c["start"]).tolist() for c in fit.calls if c["start"] is not None]
        assert all(rows in starts for rows in last.values())
    assert memory[1] - memory[0] < 10e6, memory


def test_a_column_of_the_users_with_a_results_name_is_kept(caplog):
    stars = cluster_table()
    stars["group"] = "mine"
    entry = LiveTable.of(stars, name="M 44", table_id="t")
    result = Job(entry, "region", np.arange(60)).run(QuickFit())
    assert "comes back as 'group_original'" in caplog.text
    assert set(result.table["group_original"]) == {"mine"}
    assert result.diagnostics["stars_not_used"] == np.ma.getmaskarray(result.table["group"]).sum() > 0


def test_the_distance_in_sigma_is_in_the_axes_of_the_cluster():
    longitude = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    stars = Table({"ra": np.degrees(longitude), "dec": np.full(12, 89.9), "parallax": np.full(12, 2.0)})
    # One motion of 10 mas/yr towards RA 90, in the axes of each star.
    stars["pmra"], stars["pmdec"], stars["membership_prob"] = 10 * np.cos(longitude), -10 * np.sin(longitude), 0.9
    row = {"ra": 0.0, "dec": 90.0, "pmra": 10.0, "pmdec": 0.0, "parallax": 2.0}
    row |= {f"{name}_dispersion": 0.1 for name in ("pmra", "pmdec", "parallax")}
    entry = LiveTable.of(stars, name="Polar", table_id="t")
    entry.membership = SimpleNamespace(table=stars, summary=Table(rows=[row]))
    sigma = [star_numbers(entry, n)["sigma"] for n in range(12)]
    assert max(abs(value) for numbers in sigma for value in numbers.values()) < 0.1


def test_settings_are_checked_at_once():
    with pytest.raises(InputError, match="'client' must be the name of one program"):
        LiveSession(QuickFit(), client=["topcat"])
    with pytest.raises(InputError, match="'columns' maps 'x', which is no registry name"):
        LiveSession(QuickFit(), columns={"x": "y"})
