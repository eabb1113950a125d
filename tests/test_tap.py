"""Stars by TAP against a server in this process: complete, in order, resumed, split, offline."""

import copy
import errno
import itertools
import json
import logging
import os
import pickle
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import astropy.units as u
import mock_tap
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import vstack
from hypothesis import given, settings
from hypothesis import strategies as st
from mock_tap import MockTAP, make_stars

from decocc_vo import ClusterRegion, InputError, ServiceError, conf
from decocc_vo.columns import RELEASES, Service, get_release
from decocc_vo.stars import _folder, _healpix, tap
from decocc_vo.stars._folder import QueryFolder
from decocc_vo.stars._http import OutOfTimeError, Patience, open_session
from decocc_vo.stars._partition import first_width, split
from decocc_vo.stars.archive import StarArchive
from decocc_vo.stars.fetch import fetch_regions

REGION = ClusterRegion(SkyCoord("56.75d +24.1d"), 1 * u.deg, name="Pleiades")
STARS = make_stars()
INSIDE = np.sort(np.asarray(STARS["source_id"])[_healpix.separation(STARS["ra"], STARS["dec"], 56.75, 24.1) <= 1])


@pytest.fixture
def mock():
    with MockTAP(STARS, polls=0) as server:
        yield server


@pytest.fixture
def fetch(mock, tmp_path):
    """Ask the mock, impatiently; unfinished queries lie in tmp_path."""

    def query(region=REGION, release="gaia_dr3", **options):
        options = {"url": mock.url, "cache": tmp_path, "deadline": 60, "timeout": 10, "backoff": 0.01} | options
        return tap.query_region(region, release, **options)

    return query


def test_all_stars_of_a_region_with_units_and_provenance(fetch, mock, tmp_path):
    stars = fetch()
    np.testing.assert_array_equal(stars["source_id"], INSIDE)
    assert stars["source_id"].dtype == np.int64
    assert stars["pmra"].unit == u.mas / u.yr
    assert stars["parallax"].meta["ucd"] == "pos.parallax"
    assert stars["parallax"].mask.sum() > 50
    row = np.flatnonzero(STARS["source_id"] == INSIDE[7])[0]
    for name in get_release("gaia_dr3").columns:
        ours, theirs = stars[name][7], STARS[name][row]
        assert (ours is np.ma.masked) == (theirs is np.ma.masked)
        if ours is not np.ma.masked:
            assert ours == np.dtype(stars[name].dtype).type(theirs), name
    meta = stars.meta
    assert (meta["release"], meta["release_key"]) == ("Gaia DR3", "gaia_dr3")
    assert meta["ref_epoch"] == RELEASES["gaia_dr3"].ref_epoch
    assert mock.url in meta["source"]
    assert "CIRCLE('ICRS', 56.75, 24.1, 1.0)" in meta["query"]
    assert meta["retrieved"].startswith("20")
    assert not mock.alive, "every job is deleted afterwards"
    assert not list((tmp_path / "tap").iterdir()), "nothing is left in the cache"


def test_columns_and_conditions(fetch, mock):
    stars = fetch(columns=["ruwe"], where=["phot_g_mean_mag < 18", "ruwe < 1\nOR ruwe > 1.2"])
    good = (STARS["phot_g_mean_mag"] < 18) & ((STARS["ruwe"] < 1) | (STARS["ruwe"] > 1.2))
    wanted = np.asarray(STARS["source_id"])[np.asarray(good) & np.isin(STARS["source_id"], INSIDE)]
    assert set(stars["source_id"]) == set(wanted)
    assert stars.colnames == ["source_id", "ra", "dec", "parallax", "pmra", "pmdec", "ruwe"]
    assert "(ruwe < 1\nOR ruwe > 1.2)" in mock.queries[-1], "an OR stays within its parentheses"


@pytest.mark.parametrize("part_rows", [100, 400, 1033])
def test_a_large_region_is_split_and_joined(fetch, mock, part_rows):
    whole = fetch()
    mock.queries.clear()
    stars = fetch(part_rows=part_rows)
    assert list(stars["source_id"]) == list(whole["source_id"])
    np.testing.assert_array_equal(stars["ra"], whole["ra"])
    parts = [query for query in mock.queries if "COUNT" not in query]
    assert len(parts) >= len(INSIDE) / part_rows
    assert not mock.alive


def test_a_service_with_a_lower_limit_than_asked_for(fetch, mock):
    mock.hard_limit = 300
    stars = fetch()
    np.testing.assert_array_equal(stars["source_id"], INSIDE)
    cut = [query for query in mock.queries if "COUNT" not in query and "BETWEEN" not in query]
    assert len(cut) == 1, "a limit once seen is kept in mind"


def test_a_service_that_sends_few_counts(fetch, mock):
    mock.hard_limit = 60
    inner = ClusterRegion(REGION.center, 0.4 * u.deg)
    wanted = np.asarray(STARS["source_id"])[_healpix.separation(STARS["ra"], STARS["dec"], 56.75, 24.1) <= 0.4]
    np.testing.assert_array_equal(fetch(inner)["source_id"], np.sort(wanted))


def test_a_limit_of_the_users_is_no_error_but_is_said(fetch, mock, caplog):
    assert len(fetch(maxrec=10)) == 10
    assert "'maxrec' = 10" in caplog.text
    assert len(mock.queries) == 1, "nothing is counted for it"
    caplog.clear()
    assert len(fetch(maxrec=5000)) == len(INSIDE)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_region_without_stars_has_no_rows(fetch):
    stars = fetch(ClusterRegion(SkyCoord("200d -60d"), 1 * u.deg))
    assert len(stars) == 0
    assert stars["source_id"].dtype == np.int64
    assert stars["pmra"].unit == u.mas / u.yr
    assert stars.meta["release"] == "Gaia DR3"


def test_other_shapes_reach_the_service(fetch, mock):
    mocpy = pytest.importorskip("mocpy")
    moc = mocpy.MOC.from_cone(56.75 * u.deg, 24.1 * u.deg, radius=0.5 * u.deg, max_depth=10)
    stars = fetch(moc)
    pixels = np.asarray(STARS["source_id"]) >> 39
    assert set(stars["source_id"]) == set(np.asarray(STARS["source_id"])[np.isin(pixels, moc.flatten())])


def test_a_bad_condition_is_the_services_word_at_once(fetch, mock, tmp_path):
    with pytest.raises(ServiceError, match="nonsense"):
        fetch(where="nonsense > 3")
    assert len(mock.queries) == 1, "it is not tried again"
    assert not mock.alive


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"maxrec": 0}, "'maxrec'"),
        ({"maxrec": 2.7}, "'maxrec' must be a whole number, 1 or more, not 2.7"),
        ({"maxrec": "abc"}, "'maxrec'"),
        ({"part_rows": 0}, "'part_rows'"),
        ({"part_rows": np.inf}, "'part_rows'"),
        ({"tries": 0}, "'tries' must be a whole number"),
        ({"deadline": -3}, "'deadline' must be a number of seconds above 0, not -3"),
        ({"deadline": np.nan}, "'deadline'"),
        ({"timeout": np.inf}, "'timeout'"),
        ({"timeout": "long"}, "'timeout'"),
        ({"backoff": 0}, "'backoff'"),
        ({"url": "nowhere"}, "'url'"),
        ({"url": "http://localhost:port/tap"}, "'url'"),
        ({"url": "https:///tap"}, "'url'"),
        ({"columns": ["nonsense"]}, "'columns'"),
        ({"release": "gaia_dr9"}, "'survey'"),
        ({"release": "hipparcos2"}, "no TAP service"),
        ({"where": "a) OR (b"}, "'where'"),
    ],
)
def test_wrong_use_is_said_before_anything_is_asked(fetch, mock, options, words):
    with pytest.raises(InputError, match=words):
        fetch(**options)
    assert not mock.requests


def test_offline_asks_nobody(fetch, mock):
    with pytest.raises(ServiceError, match=r"'offline'.*without an archive"):
        fetch(offline=True)
    assert not mock.requests


def test_the_deadline_covers_everything_and_the_next_run_resumes_the_job(fetch, mock):
    mock.polls = 10**9
    with pytest.raises(OutOfTimeError, match=r"async/job1 is EXECUTING.*'deadline' = 1 s.*run the same again"):
        fetch(deadline=1)
    assert list(mock.alive) == ["job1"], "a job that still runs is kept"
    mock.polls = 0
    np.testing.assert_array_equal(fetch()["source_id"], INSIDE)
    assert [query.count("COUNT") for query in mock.queries] == [1, 0], "the count was not asked for twice"


def test_a_page_to_log_in_to_is_no_job(fetch, mock, monkeypatch):
    answer = mock_tap._Handler._send
    monkeypatch.setattr(mock_tap._Handler, "_send", lambda self, *_, **__: answer(self, 302, Location="/login"))
    with pytest.raises(ServiceError, match=r"took the query but named no job: it leads to .*/login"):
        fetch(tries=1)
    monkeypatch.undo()
    np.testing.assert_array_equal(fetch()["source_id"], INSIDE)


@pytest.mark.parametrize("kept", [False, True])
def test_a_star_that_is_sent_twice_is_refused(fetch, tmp_path, kept):
    archive = f"duckdb:///{tmp_path / 'stars.duckdb'}" if kept else None
    doubled = vstack([STARS, STARS[:200]], metadata_conflicts="silent")
    with MockTAP(doubled, polls=0) as mock, pytest.raises(ServiceError, match="sent a star twice; nothing is returned"):
        fetch(url=mock.url, archive=archive)


def test_a_job_whose_result_was_thrown_away_is_submitted_anew(fetch, mock):
    mock.polls = 10**9
    with pytest.raises(OutOfTimeError):
        fetch(deadline=1)
    mock.polls = 0
    mock.alive["job1"]["phase"] = "ARCHIVED"
    np.testing.assert_array_equal(fetch(deadline=10)["source_id"], INSIDE)
    assert [query.count("COUNT") for query in mock.queries] == [1, 1, 0]


def test_a_run_that_was_killed_between_parts_goes_on(fetch, mock, tmp_path, monkeypatch):
    keep, kept = tap.Fetch._keep, []

    def die(self, part, table, path):
        if len(kept) == 2:
            raise KeyboardInterrupt
        kept.append(part["first"])
        keep(self, part, table, path)

    monkeypatch.setattr(tap.Fetch, "_keep", die)
    with pytest.raises(KeyboardInterrupt):
        fetch(part_rows=200)
    (folder,) = (tmp_path / "tap").iterdir()
    state = json.loads((folder / "state.json").read_text())
    assert [part["done"] for part in state["parts"]].count(True) == 2
    monkeypatch.undo()
    before = len(mock.queries)
    np.testing.assert_array_equal(fetch(part_rows=200)["source_id"], INSIDE)
    assert len(mock.queries) - before == len(state["parts"]) - 3, "two parts were there, one job was done"


def test_two_runs_of_the_same_query_take_turns(fetch, mock, tmp_path):
    patience = Patience(60, 10)
    query = tap.Query.of(REGION, "gaia_dr3", url=mock.url)
    other = tap.Fetch(query, None, tap.PART_ROWS, tmp_path, None, False, deadline=9, timeout=9, tries=1, backoff=1)
    other.folder.acquire(patience)
    with pytest.raises(OutOfTimeError, match="another run"):
        fetch(deadline=1)
    other.folder.release()
    np.testing.assert_array_equal(fetch()["source_id"], INSIDE)


def test_what_another_run_has_brought_meanwhile_is_not_asked_for_again(fetch, mock, tmp_path, monkeypatch):
    enter, archive = tap.Fetch.__enter__, StarArchive(tmp_path / "stars.duckdb")

    def wait(self):
        monkeypatch.undo()
        fetch(archive=archive)
        mock.requests.clear()
        return enter(self)

    monkeypatch.setattr(tap.Fetch, "__enter__", wait)
    stars = fetch(archive=archive)
    assert not mock.requests
    np.testing.assert_array_equal(stars["source_id"], INSIDE)
    assert stars.meta["source"].startswith("the archive")
    assert not list((tmp_path / "tap").iterdir())


def test_an_archive_answers_with_what_the_service_would_send(fetch, mock, tmp_path):
    lacking = {"bp_rp": None, "pmra_pmdec_corr": None}
    full, lite = (Service(mock.url, "gaiadr3.gaia_source", names) for names in ({}, lacking))
    release = replace(get_release("gaia_dr3"), services={"esa": full, "gavo": lite})
    options = {"release": release, "archive": StarArchive(tmp_path / "stars.duckdb")}
    few = fetch(url="gavo", **options)
    assert tuple(few.colnames) == tuple(name for name in release.columns if name not in lacking)
    asked = len(mock.requests)
    assert fetch(url="esa", offline=True, **options).colnames == few.colnames, "it is what there is"
    assert fetch(url="esa", columns=["ruwe"], **options).colnames[-1] == "ruwe"
    assert len(mock.requests) == asked
    assert tuple(fetch(url="esa", **options).colnames) == release.columns
    asked = len(mock.requests)
    assert fetch(url="gavo", **options).colnames == few.colnames
    assert tuple(fetch(url="esa", **options).colnames) == release.columns
    assert len(mock.requests) == asked


def test_columns_and_conditions_may_be_any_iterable(fetch, tmp_path):
    options = {"columns": iter(["ruwe"]), "where": iter(["phot_g_mean_mag < 18"])}
    stars = fetch(archive=StarArchive(tmp_path / "stars.duckdb"), **options)
    assert stars.colnames[-1] == "ruwe"
    assert len(stars) < len(INSIDE)


def test_the_lock_of_a_folder_that_was_removed_is_no_lock(tmp_path):
    first, second = QueryFolder(tmp_path / "a"), QueryFolder(tmp_path / "a")
    first.acquire(Patience(9, 9))
    first.state["x"] = 1
    first.save()
    first.discard()
    second.acquire(Patience(9, 9))
    assert second.state == {}
    second.release()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_a_disk_without_locks_is_said_and_not_waited_for(fetch, mock, tmp_path, monkeypatch, code):
    def no_lock(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(_folder, "_lock", no_lock)
    with pytest.raises(ServiceError, match=f"cannot lock {tmp_path}.*{os.strerror(code)}.*'cache'"):
        fetch(deadline=1)
    assert not mock.requests


def test_a_query_that_nobody_takes_up_is_forgotten(fetch, mock, tmp_path):
    old, young = QueryFolder(tmp_path / "tap" / "old"), QueryFolder(tmp_path / "tap" / "young")
    for folder in (old, young):
        folder.acquire(Patience(9, 9))
        folder.save()
        folder.release()
    os.utime(old.path, (1e9, 1e9))
    fetch()
    assert [path.name for path in (tmp_path / "tap").iterdir()] == ["young"]


def test_many_regions_one_after_the_other(mock, tmp_path):
    archive, options = StarArchive(tmp_path / "stars.duckdb"), {"url": mock.url, "cache": tmp_path, "backoff": 0.01}
    regions = [REGION, ClusterRegion(SkyCoord("57d +24d"), 0.3 * u.deg, name="inner")]
    first, second = fetch_regions(regions, "gaia_dr3", archive=archive, **options)
    assert first.rows == len(INSIDE)
    assert mock.url in first.source
    assert second.source.startswith("the archive"), "it lies within the first"
    asked = len(mock.requests)
    far = ClusterRegion(SkyCoord("10d +10d"), 1 * u.deg, name="far")
    good, bad, last = fetch_regions([REGION, far, REGION], "gaia_dr3", archive=archive, offline=True, **options)
    assert len(mock.requests) == asked
    assert (good.rows, last.rows) == (len(INSIDE), len(INSIDE)), "one that fails does not stop the others"
    assert isinstance(bad.error, ServiceError)
    assert str(bad).startswith("far: 'offline'")
    assert str(good).startswith("Pleiades: 1033 stars in ")
    with pytest.raises(InputError, match="'where'"):
        list(fetch_regions([REGION], "gaia_dr3", archive=archive, where="(", **options))


def test_hipparcos_goes_into_the_archive_too(tmp_path):
    region = ClusterRegion.from_name("Melotte 25")
    archive = StarArchive(tmp_path / "stars.duckdb")
    (first,) = fetch_regions([region], "hipparcos2", archive=archive)
    (second,) = fetch_regions([region], "hipparcos2", archive=archive, offline=True)
    assert first.rows == second.rows > 100
    assert second.source.startswith("the archive")
    bare = ClusterRegion(SkyCoord("56.3d +24.9d"), 0.01 * u.deg)
    assert [one.rows for one in fetch_regions([bare, region], "hipparcos2", archive=archive)] == [0, first.rows]
    with pytest.raises(InputError, match="'where' is no option"):
        list(fetch_regions([region], "hipparcos2", archive=archive, where="x > 1"))


def test_progress_and_logs(fetch, capsys, caplog):
    with caplog.at_level(logging.INFO, logger="decocc_vo"):
        fetch(progress=True, part_rows=400)
    assert "Pleiades" in capsys.readouterr().err
    assert any("1033 rows in" in text or "rows in" in text for text in caplog.messages)
    fetch()
    assert capsys.readouterr().err == "", "no bar where nobody looks"


def test_an_address_that_is_none_is_not_tried_again(tmp_path):
    with pytest.raises(ServiceError, match=r"^submitting a query to http://no host/tap: Failed to parse") as error:
        tap.query_region(REGION, "gaia_dr3", url="http://no host/tap", cache=tmp_path, deadline=60, backoff=0.01)
    assert "tries" not in str(error.value)


def test_settings_of_the_site(mock, tmp_path):
    with conf.set_temp("tap_url", mock.url):
        assert tap.find_service(get_release("gaia_dr3")).url == mock.url
    assert tap.find_service(get_release("gaia_dr3")).url.startswith("https://gea.esac")
    assert tap.find_service(get_release("gaia_dr3"), "https://gaia.aip.de/tap/").table == "gaiadr3.gaia_source"


def test_credentials_go_to_their_host_only(mock, fetch, monkeypatch):
    monkeypatch.setenv("DECOCC_VO_TAP_AUTHORIZATION", "Token secret")
    with open_session(mock.url, Patience(9, 9)) as session:
        for url, sent in ((mock.url, True), ("http://localhost:1/x", False), ("https://elsewhere.org/", False)):
            request = session.prepare_request(__import__("requests").Request("GET", url))
            assert ("Authorization" in request.headers) == sent
    with open_session("http://far.example.org/tap", Patience(9, 9)) as session:
        request = session.prepare_request(__import__("requests").Request("GET", "http://far.example.org/tap/x"))
        assert "Authorization" not in request.headers, "never where others can read it"
    np.testing.assert_array_equal(fetch()["source_id"], INSIDE)


class Door(BaseHTTPRequestHandler):
    """A login page that hands out a cookie, and a TAP service that notes who comes."""

    seen = ()

    def log_message(self, *args):
        pass

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        Door.seen = (*Door.seen, form)
        self.send_response(200 if "password=right" in form else 401)
        self.send_header("Set-Cookie", "JSESSIONID=abc")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        Door.seen = (*Door.seen, self.headers.get("Cookie"), self.headers.get("Authorization"))
        self.send_response(204)
        self.end_headers()


@pytest.fixture
def door():
    Door.seen = ()
    with HTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_login_page_gives_a_cookie(door, monkeypatch):
    monkeypatch.setenv("DECOCC_VO_TAP_USER", "me")
    monkeypatch.setenv("DECOCC_VO_TAP_PASSWORD", "right")
    with open_session(f"{door}/tap", Patience(9, 9), f"{door}/login") as session:
        session.get(f"{door}/tap").close()
    assert Door.seen == ("username=me&password=right", "JSESSIONID=abc", None)
    monkeypatch.setenv("DECOCC_VO_TAP_PASSWORD", "wrong")
    with pytest.raises(ServiceError, match="401") as error:
        open_session(f"{door}/tap", Patience(9, 9), f"{door}/login")
    assert "wrong" not in str(error.value)


def test_credentials_from_the_keyring(door, monkeypatch):
    keyring = pytest.importorskip("keyring")

    class Credential:
        username, password = "me", "right"

    known = {"decocc_vo:127.0.0.1": Credential}
    monkeypatch.setattr(keyring, "get_credential", lambda name, user: known.get(name))
    with open_session(f"{door}/tap", Patience(9, 9), login=True) as session:
        session.get(f"{door}/tap").close()
    assert Door.seen == (None, "Basic bWU6cmlnaHQ=")
    known.clear()
    with pytest.raises(InputError, match=r"'login' finds no credentials for 127.0.0.1"):
        open_session(f"{door}/tap", Patience(9, 9), login=True)


@settings(max_examples=100)
@given(
    st.lists(st.integers(0, 2**62), min_size=0, max_size=200),
    st.integers(1, 50),
    st.integers(0, 200),
    st.integers(0, 40),
)
def test_parts_hold_every_identifier_once_and_no_more_than_the_limit(ids, limit, crowd, shift):
    ids = np.unique(np.r_[np.array(ids, np.int64), np.arange(crowd) + (1 << shift)])
    asked = []

    def counts(first, last, width):
        asked.append(width)
        pixels, numbers = np.unique(ids[(ids >= first) & (ids <= last)] // width, return_counts=True)
        return None if len(pixels) > 120 else zip(pixels, numbers, strict=True)

    parts = split(counts, limit, first_width(3.0))
    assert sum(part.rows for part in parts) == len(ids)
    assert len(asked) < 2000
    if parts:
        assert parts[0].first == 0
        assert parts[-1].last == 2**63 - 1
    for part in parts:
        assert np.sum((ids >= part.first) & (ids <= part.last)) == part.rows <= limit
    for one, two in itertools.pairwise(parts):
        assert one.last + 1 == two.first


def test_a_query_goes_to_another_process():
    query = tap.Query.of(REGION, "gaia_dr2", url="vizier", where="phot_g_mean_mag < 18")
    for other in (pickle.loads(pickle.dumps(query)), copy.deepcopy(query)):
        assert other == query
        assert other.text == query.text
        assert other.release is query.release
