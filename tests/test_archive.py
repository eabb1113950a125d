"""The archive gives back what was put in, row for row, from DuckDB and from PostgreSQL; nothing is lost or doubled."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from datetime import datetime
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import vstack
from hypothesis import given, settings
from hypothesis import strategies as st
from mock_tap import MockTAP, make_stars

from decocc_vo import ClusterRegion, InputError, ServiceError, query_region
from decocc_vo.columns import get_release
from decocc_vo.simulate import simulate_field
from decocc_vo.stars import _healpix, archive, tap
from decocc_vo.stars.archive import StarArchive

STARS = make_stars()
COLUMNS = get_release("gaia_dr3").columns
TESTS = Path(__file__).parent


def cone(ra=56.75, dec=24.1, radius=1.0, name=None):
    return ClusterRegion(SkyCoord(ra * u.deg, dec * u.deg), radius * u.deg, name=name)


def stars_in(region, stars=STARS):
    inside = _healpix.separation(stars["ra"], stars["dec"], region.ra_deg, region.dec_deg)
    chosen = stars[np.asarray(inside) <= region.radius.to_value(u.deg)]
    return chosen[np.argsort(chosen["source_id"])]


def ingest(store, region, stars=None, where=None, **options):
    stars = stars_in(region) if stars is None else stars
    tables = [stars[i : i + 400] for i in range(0, len(stars), 400)]
    options = {"columns": COLUMNS, "service": "here", "query": "SELECT"} | options
    return store.ingest(region, "gaia_dr3", tables, where=where, **options)


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for name in COLUMNS:
        np.testing.assert_array_equal(np.ma.getmaskarray(found[name]), np.ma.getmaskarray(wanted[name]), name)
        theirs = np.ma.asarray(wanted[name]).astype(found[name].dtype)
        np.testing.assert_array_equal(np.ma.filled(found[name], 0), np.ma.filled(theirs, 0), name)


def _as_postgres(*command, **options):
    user = {} if os.getuid() else {"user": "postgres", "group": "postgres", "extra_groups": []}
    return subprocess.run(command, check=True, capture_output=True, timeout=120, **user, **options)


def _postgres_binary(name):
    found = shutil.which(name) or next(iter(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    return found and str(found)


@pytest.fixture(scope="session")
def postgres():
    """URL of a cluster of its own, in a temporary folder, reached by TCP on loopback."""
    initdb, pg_ctl = _postgres_binary("initdb"), _postgres_binary("pg_ctl")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if not (initdb and pg_ctl):
        pytest.skip("PostgreSQL (initdb, pg_ctl) is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="decocc_vo_postgres_"))
    if not os.getuid():
        shutil.chown(folder, "postgres", "postgres")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    try:
        _as_postgres(initdb, "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", cwd=folder)
        _as_postgres(pg_ctl, "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start", cwd=folder)
        yield f"postgresql://postgres@127.0.0.1:{port}"
        _as_postgres(pg_ctl, "-D", f"{folder}/data", "-m", "immediate", "stop", cwd=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    """URL of an archive that is not there yet."""
    if request.param == "duckdb":
        yield str(tmp_path / "stars.duckdb")
        return
    # The server first: it is what skips where psycopg is absent.
    server, name = request.getfixturevalue("postgres"), f"a{os.getpid()}_{time.monotonic_ns()}"
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield f"{server}/{name}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def store(url):
    return StarArchive(url, wait=20)


def test_a_region_comes_back_row_for_row(store):
    region = cone(name="Pleiades")
    assert store.query_region(region, "gaia_dr3") is None
    assert ingest(store, region) == len(stars_in(region))
    found = store.query_region(region, "gaia_dr3")
    assert_same(found, stars_in(region))
    assert found["parallax"].mask.any()
    assert found["pmra"].unit == u.mas / u.yr
    assert found.meta["release_key"] == "gaia_dr3"
    assert "here" in found.meta["source"]
    (listed,) = store.regions()
    assert (listed["name"], listed["rows"], listed["radius"]) == ("Pleiades", len(found), 1.0)


@pytest.mark.parametrize(("ra", "dec", "radius"), [(56.75, 24.1, 0.4), (57.1, 23.9, 0.6), (56.2, 24.3, 0.01)])
def test_a_smaller_cone_is_cut_from_a_larger_one(store, ra, dec, radius):
    ingest(store, cone())
    smaller = cone(ra, dec, radius)
    assert_same(store.query_region(smaller, "gaia_dr3"), stars_in(smaller))


@pytest.mark.parametrize("region", [cone(radius=1.0001), cone(ra=57.3, radius=0.6), cone(ra=10, radius=0.1)])
def test_what_was_not_fetched_whole_is_not_there(store, region):
    ingest(store, cone())
    assert store.query_region(region, "gaia_dr3") is None
    assert store.query_region(cone(), "gaia_dr2") is None
    assert store.query_region(cone(), "gaia_dr3", where="ruwe < 1.4") is None


def test_ingest_twice_and_overlapping_doubles_nothing(store):
    first, second = cone(), cone(57.3, radius=0.9)
    assert ingest(store, first) == len(stars_in(first))
    assert ingest(store, first) == 0
    new = set(stars_in(second)["source_id"]) - set(stars_in(first)["source_id"])
    assert ingest(store, second) == len(new)
    assert len(store.regions()) == 2
    for region in (first, second):
        assert_same(store.query_region(region, "gaia_dr3"), stars_in(region))


def test_conditions_and_columns_are_kept_apart(store):
    region = cone()
    bright = stars_in(region)
    bright = bright[bright["phot_g_mean_mag"] < 18]
    ingest(store, region, bright, where=["phot_g_mean_mag  < 18"])
    ingest(store, region)
    assert_same(store.query_region(region, "gaia_dr3", where="phot_g_mean_mag < 18"), bright)
    assert_same(store.query_region(region, "gaia_dr3"), stars_in(region))
    few = ["source_id", "ra", "dec", "parallax", "pmra", "pmdec"]
    ingest(store, cone(10, 10), STARS[:0], columns=few)
    assert store.query_region(cone(10, 10), "gaia_dr3", columns=["ruwe"]) is None
    assert len(store.query_region(cone(10, 10), "gaia_dr3")) == 0
    assert store.query_region(region, "gaia_dr3", columns=["ruwe"]).colnames == [*few, "ruwe"]


def test_a_polygon_is_found_as_it_was_fetched(store):
    class Triangle:
        vertices = SkyCoord([56, 57, 57] * u.deg, [23.5, 23.5, 24.5] * u.deg)

    ingest(store, Triangle(), STARS[:700])
    wanted = STARS[:700]
    assert_same(store.query_region(Triangle(), "gaia_dr3"), wanted[np.argsort(wanted["source_id"])])
    assert store.query_region(cone(56.8, 23.8, 0.1), "gaia_dr3") is None


def test_hipparcos_is_found_by_its_index_column(store):
    region = ClusterRegion.from_name("Melotte 25")
    stars = query_region(region, survey="hipparcos2")
    assert store.add(region, stars) == len(stars)
    found = store.query_region(region, "hipparcos2")
    assert set(found["source_id"]) == set(stars["source_id"])
    assert "hp_mag" in found.colnames
    smaller = ClusterRegion(region.center, 1 * u.deg)
    inside = stars_in(smaller, stars)
    np.testing.assert_array_equal(store.query_region(smaller, "hipparcos2")["source_id"], inside["source_id"])


def test_a_wrong_count_or_a_broken_source_leaves_nothing(store):
    with pytest.raises(ServiceError, match="1 rows came where 2 were counted"):
        ingest(store, cone(), STARS[:1], total=2)

    def tables():
        yield STARS[:500]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.ingest(cone(), "gaia_dr3", tables(), columns=COLUMNS, service="", query="")
    assert store.query_region(cone(), "gaia_dr3") is None
    assert ingest(store, cone()) == len(stars_in(cone()))


def test_real_stars_of_a_wide_field(store, field):
    stars = field("melotte22_wide")[:20000]
    stars = stars[np.argsort(stars["source_id"])]
    names = [name for name in COLUMNS if name in stars.colnames]
    store.ingest(cone(radius=5), "gaia_dr3", [stars], columns=names, service="", query="")
    mine = np.asarray(stars["source_id"]) >> 35
    assert 0 < np.sum(mine != _healpix.pixel_of(stars["ra"], stars["dec"])) < 0.01 * len(stars)
    for region in (cone(56.75, 24.1, 0.3), cone(56.2, 24.4, 0.5)):
        found = store.query_region(region, "gaia_dr3")
        np.testing.assert_array_equal(found["source_id"], stars_in(region, stars)["source_id"])
        np.testing.assert_array_equal(found["ra"], stars_in(region, stars)["ra"])


def test_through_the_service_once_and_then_never_again(url, tmp_path):
    region, smaller = cone(name="Pleiades"), cone(57, 24.2, 0.5)
    options = {"cache": tmp_path / "cache", "backoff": 0.01, "deadline": 60}
    with MockTAP(STARS, polls=0) as mock:
        plain = tap.query_region(region, "gaia_dr3", url=mock.url, **options)
        first = tap.query_region(region, "gaia_dr3", url=mock.url, archive=url, part_rows=300, **options)
        assert mock.url in first.meta["source"]
        asked = len(mock.requests)
        again = tap.query_region(region, "gaia_dr3", url=mock.url, archive=url, **options)
        inner = tap.query_region(smaller, "gaia_dr3", url=mock.url, archive=url, offline=True, **options)
        assert len(mock.requests) == asked
        assert "the archive" in again.meta["source"]
        for found in (first, again):
            assert_same(found, plain)
        assert_same(inner, tap.query_region(smaller, "gaia_dr3", url=mock.url, **options))
        few = tap.query_region(smaller, "gaia_dr3", url=mock.url, archive=url, columns=["ruwe"], **options)
        assert few.colnames[-1] == "ruwe"
        with pytest.raises(ServiceError, match=r"'offline'.*does not have"):
            tap.query_region(cone(10, 10), "gaia_dr3", url=mock.url, archive=url, offline=True)


WRITER = """
    import sys
    sys.path[:0] = [{tests!r}]
    from test_archive import STARS, StarArchive, cone, ingest
    store = StarArchive({url!r}, wait=60)
    for k in range(4):
        ingest(store, cone(56.2 + 0.2 * k, 24.1, 0.5))
    print("done")
"""


def start(script, **values):
    text = textwrap.dedent(script).format(tests=str(TESTS), **values)
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_several_processes_at_once(url):
    writers = [start(WRITER, url=url) for _ in range(2)]
    reader, store = cone(56.2, 24.1, 0.4), StarArchive(url, wait=60)
    while any(writer.poll() is None for writer in writers):
        found = store.query_region(reader, "gaia_dr3")
        if found is not None:
            assert_same(found, stars_in(reader))
        time.sleep(0.1)
    for writer in writers:
        out, err = writer.communicate(timeout=60)
        assert out == "done\n", err
    for k in range(4):
        region = cone(56.2 + 0.2 * k, 24.1, 0.5)
        assert_same(store.query_region(region, "gaia_dr3"), stars_in(region))
    assert len(store.regions()) == 4


def test_several_threads_at_once(store):
    regions = [cone(56.2 + 0.2 * k, 24.1, 0.5) for k in range(4)]
    threads = [threading.Thread(target=ingest, args=(store, region)) for region in regions * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for region in regions:
        assert_same(store.query_region(region, "gaia_dr3"), stars_in(region))


KILLED = """
    import os, sys, time
    sys.path[:0] = [{tests!r}]
    from test_archive import COLUMNS, STARS, StarArchive, cone, stars_in
    store, region = StarArchive({url!r}), cone()
    def tables():
        stars = stars_in(region)
        for i in range(0, len(stars), 300):
            yield stars[i : i + 300]
        print("all in", flush=True)
        time.sleep(60)
    store.ingest(region, "gaia_dr3", tables(), columns=COLUMNS, service="", query="")
"""


def test_a_killed_ingest_leaves_no_half_region(url):
    process = start(KILLED, url=url)
    assert process.stdout.readline() == "all in\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    store = StarArchive(url, wait=20)
    assert store.query_region(cone(), "gaia_dr3") is None
    assert ingest(store, cone()) == len(stars_in(cone())), "no star of the killed run is there"
    assert_same(store.query_region(cone(), "gaia_dr3"), stars_in(cone()))


def test_a_file_in_use_is_waited_for_and_then_said(tmp_path):
    url = str(tmp_path / "stars.duckdb")
    ingest(StarArchive(url), cone())
    process = start(KILLED, url=url)
    assert process.stdout.readline() == "all in\n"
    try:
        with pytest.raises(ServiceError, match=r"'archive' .*stars.duckdb was in use by another program for 0.5 s"):
            StarArchive(url, wait=0.5).query_region(cone(), "gaia_dr3")
        timer = threading.Timer(0.5, process.kill)
        timer.start()
        assert_same(StarArchive(url, wait=60).query_region(cone(), "gaia_dr3"), stars_in(cone()))
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_an_older_archive_is_brought_up_to_date(store, url, monkeypatch):
    ingest(store, cone())
    step = ("ALTER TABLE regions ADD COLUMN note TEXT", "UPDATE regions SET note = 'old'")
    with monkeypatch.context() as patch:
        patch.setattr(archive, "_STEPS", (*archive._STEPS, step))
        newer = StarArchive(url)
        assert_same(newer.query_region(cone(), "gaia_dr3"), stars_in(cone()))
        with newer._engine.reading() as session:
            assert session.rows("SELECT version FROM archive") == [(2,)]
            assert session.rows("SELECT note FROM regions") == [("old",)]
    with pytest.raises(InputError, match="made by a newer decocc_vo"):
        StarArchive(url).query_region(cone(), "gaia_dr3")


def test_a_column_new_in_the_registry_is_added(store, url, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(archive, "_STORED", tuple(name for name in archive._STORED if name != "ruwe"))
        older = StarArchive(url)
        ingest(older, cone(), columns=[name for name in COLUMNS if name != "ruwe"])
    assert store.query_region(cone(), "gaia_dr3", columns=["ruwe"]) is None, "it was never fetched"
    ingest(store, cone())
    assert_same(store.query_region(cone(), "gaia_dr3", columns=COLUMNS), stars_in(cone()))


def test_what_is_no_postgresql_url():
    pytest.importorskip("psycopg", reason="needs the extra decocc_vo[postgres]")
    with pytest.raises(InputError, match="no PostgreSQL URL") as error:
        StarArchive("postgresql://me:secret@here:port/x")
    assert "secret" not in str(error.value)


def test_what_is_no_archive(tmp_path):
    with pytest.raises(InputError, match=r"'archive' must be .* not postgresql\+asyncpg://$"):
        StarArchive("postgresql+asyncpg://me:secret@x/y")
    (tmp_path / "text.duckdb").write_text("this is no database, only some words that go on for a while\n" * 99)
    with pytest.raises(ServiceError, match=r"'archive' .*text.duckdb"):
        StarArchive(tmp_path / "text.duckdb").query_region(cone(), "gaia_dr3")


@pytest.mark.parametrize("folder", ["clocks", "a different configuration"])
def test_a_broken_archive_is_not_taken_for_one_in_use(tmp_path, folder):
    path = tmp_path / folder / "text.duckdb"
    path.parent.mkdir()
    path.write_text("this is no database, only some words that go on for a while\n" * 99)
    with pytest.raises(ServiceError, match="not a valid DuckDB"):
        StarArchive(path, wait=0).query_region(cone(), "gaia_dr3")


def test_a_postgresql_server_that_is_not_there():
    pytest.importorskip("psycopg", reason="needs the extra decocc_vo[postgres]")
    with pytest.raises(ServiceError, match=r"'archive' postgresql://me:\*\*\*@127.0.0.1:1/x"):
        StarArchive("postgresql://me:secret@127.0.0.1:1/x").query_region(cone(), "gaia_dr3")


def test_the_default_archive_is_a_file_in_the_cache(tmp_path, monkeypatch):
    from decocc_vo import conf

    with conf.set_temp("archive_url", str(tmp_path / "mine.duckdb")):
        assert StarArchive.of(True).url.endswith("mine.duckdb")
    assert StarArchive().url.endswith("stars.duckdb")
    store = StarArchive(tmp_path / "a.duckdb")
    assert StarArchive.of(store) is store
    assert len(store.regions()) == 0
    assert not (tmp_path / "a.duckdb").exists(), "looking makes no file"


@settings(max_examples=60)
@given(
    st.floats(0, 360),
    st.floats(-90, 90),
    st.floats(-4, 2.2).map(lambda x: 10**x),
    st.integers(0, 2**32),
)
def test_the_cover_holds_every_position_of_a_cone(ra, dec, radius, seed):
    rng = np.random.default_rng(seed)
    angles, away = rng.uniform(0, 360, 300), radius * np.sqrt(rng.uniform(0, 1, 300))
    away[:50] = radius * (1 - 1e-12)
    places = SkyCoord(ra * u.deg, dec * u.deg).directional_offset_by(angles * u.deg, away * u.deg)
    ranges = _healpix.cover(ra, dec, radius)
    pixels = _healpix.pixel_of(places.ra.deg, places.dec.deg)
    where = np.searchsorted(ranges[:, 0], pixels, side="right") - 1
    assert np.all(where >= 0)
    assert np.all(pixels < ranges[where, 1])
    assert np.all(ranges[1:, 0] > ranges[:-1, 1])
    if 0.1 < radius < 100:
        sky = np.sum(ranges[:, 1] - ranges[:, 0]) / (12 * 4**12)
        assert sky < 1.5 * (1 - np.cos(np.radians(radius))) / 2


def test_pixels_are_those_of_mocpy():
    mocpy = pytest.importorskip("mocpy")
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 360, 500), np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))
    for order in (0, 3, 12):
        theirs = mocpy.MOC.from_lonlat(ra * u.deg, dec * u.deg, max_norder=order).flatten()
        mine = _healpix.pixel_of(ra, dec, order)
        np.testing.assert_array_equal(np.unique(mine), np.sort(theirs))
        back = _healpix.pixel_of(*_healpix.center_of(mine, order), order)
        np.testing.assert_array_equal(back, mine)


def test_a_table_says_its_release_and_who_its_stars_are(tmp_path):
    store = StarArchive(str(tmp_path / "stars.duckdb"))
    region = ClusterRegion.from_text("120 -30", "20arcmin")
    stars = simulate_field(region, 50)
    with pytest.raises(InputError, match="'release' is needed"):
        store.add(region, stars)
    assert store.add(region, vstack([stars, stars[:5]]), "gaia_dr3") == 50
    assert len(store.query_region(region, "gaia_dr3")) == 50
    stars.remove_column("source_id")
    with pytest.raises(InputError, match="'stars' must have a source_id"):
        store.add(region, stars, "gaia_dr3")


def test_an_empty_region_is_known_to_be_empty(store):
    empty = cone(10, 10)
    assert store.add(empty, STARS[:0], "gaia_dr3") == 0
    assert len(store.query_region(empty, "gaia_dr3", columns=["ruwe"])) == 0
    with pytest.raises(InputError, match="'release' is needed"):
        store.add(empty, STARS[:0])


def test_the_fetch_with_most_columns_answers(store, monkeypatch):
    class Clock:
        times = iter([datetime(2026, 1, 1), datetime(2026, 1, 2)])

        @classmethod
        def now(cls, zone):
            return next(cls.times)

    monkeypatch.setattr(archive, "datetime", Clock)
    few = ["source_id", "ra", "dec", "parallax", "pmra", "pmdec"]
    ingest(store, cone())
    ingest(store, cone(), columns=few)
    assert_same(store.query_region(cone(), "gaia_dr3"), stars_in(cone()))


def test_stars_without_a_position_are_refused(store):
    stars = STARS[:3].copy()
    stars["ra"] = np.ma.array(stars["ra"], mask=[False, True, False])
    with pytest.raises(InputError, match="'stars' must have ra and dec in every row"):
        store.add(cone(), stars, "gaia_dr3")
    assert len(store.regions()) == 0
    stars["ra"] = [np.nan, *STARS["ra"][1:3]]
    with pytest.raises(InputError, match="'stars' must have ra and dec in every row"):
        ingest(store, cone(), stars)


def test_names_and_conditions_are_listed_whole(store):
    name, where = "a cluster of many names, " * 4 + "or no cluster", [f"phot_g_mean_mag < {k}.5" for k in range(30)]
    ingest(store, cone(name=name), where=where)
    (listed,) = store.regions()
    assert listed["name"] == name
    assert all(text in listed["conditions"] for text in where)


def test_a_column_that_the_release_does_not_have(store):
    ingest(store, cone())
    for name in ("nonsense", "hp_mag"):
        with pytest.raises(InputError, match=f"'columns' names {name}, which Gaia DR3 does not have"):
            store.query_region(cone(), "gaia_dr3", columns=iter(["ruwe", name]))
