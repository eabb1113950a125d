"""
What a bad connection, a bad service and a bad disk can do: nothing is lost or doubled, and the next run finishes.

A proxy breaks what passes between the fetching and a TAP server; see `faulty_proxy`.
"""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import votable
from faulty_proxy import Fault, FaultyProxy
from mock_tap import MockTAP, as_votable, error_document, make_stars

from decocc_vo import ClusterRegion, ServiceError
from decocc_vo.columns import get_release
from decocc_vo.stars import _healpix, tap
from decocc_vo.stars.archive import StarArchive

REGION = ClusterRegion(SkyCoord("56.75d +24.1d"), 1 * u.deg, name="Pleiades")
STARS = make_stars(1500)
_AWAY = _healpix.separation(STARS["ra"], STARS["dec"], 56.75, 24.1)
INSIDE = np.sort(np.asarray(STARS["source_id"])[_AWAY <= 1])
COLUMNS = get_release("gaia_dr3").columns
# Impatient, so that the tests are quick: seconds that are minutes in real life.
HASTE = {"deadline": 40, "timeout": 1, "backoff": 0.05, "part_rows": 300}
PERMANENT = 10**6


@pytest.fixture(scope="module")
def service():
    with MockTAP(STARS, polls=1) as mock:
        yield mock


@pytest.fixture
def mock(service):
    service.alive.clear()
    service.deleted.clear()
    service.queries.clear()
    return service


def fetch(url, cache, **options):
    return tap.query_region(REGION, "gaia_dr3", url=url, cache=cache, **(HASTE | options))


def assert_complete(stars):
    np.testing.assert_array_equal(stars["source_id"], INSIDE)
    order = np.argsort(STARS["source_id"])
    wanted = STARS[order][np.isin(STARS["source_id"][order], INSIDE)]
    for name in COLUMNS:
        theirs = np.ma.asarray(wanted[name]).astype(stars[name].dtype)
        np.testing.assert_array_equal(np.ma.filled(stars[name], -1), np.ma.filled(theirs, -1), name)


def one_row_less(body):
    return as_votable(votable.parse(_stream(body)).get_first_table().to_table()[:-1])


def one_count_more(body):
    table = votable.parse(_stream(body)).get_first_table().to_table()
    table["n"][0] += 1
    return as_votable(table)


def _stream(body):
    import io

    return io.BytesIO(body)


EVERY_STAGE = ("submit", "run", "poll", "result")
# One fault each, that passes: the run must bear it. The skip of 0 hits the count, later ones the parts.
PASSING = {
    **{f"connection refused at {s}": Fault(s, "refuse", value=0.1) for s in ("submit", "poll", "result")},
    **{f"answer lost at {s}": Fault(s, "lost", times=2, skip=1) for s in EVERY_STAGE},
    **{f"silence at {s}": Fault(s, "silence", skip=1, value=3) for s in EVERY_STAGE},
    **{f"503 then recovery at {s}": Fault(s, "status", times=3, value=(503, {})) for s in EVERY_STAGE},
    **{f"429 with Retry-After at {s}": Fault(s, "status", value=(429, {"Retry-After": "1"})) for s in EVERY_STAGE},
    **{f"reset in mid-stream at {s}": Fault(s, "reset", times=2, skip=1) for s in ("poll", "result")},
    "a date as Retry-After": Fault(
        "poll", "status", value=(503, {"Retry-After": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())})
    ),
    "nonsense as Retry-After": Fault("poll", "status", value=(503, {"Retry-After": "soon"})),
    "bad gateway": Fault("poll", "replace", value=b"<html>please try later</html>"),
    "truncated job document": Fault("poll", "truncate", skip=2),
    "truncated count": Fault("result", "truncate"),
    "truncated VOTable": Fault("result", "truncate", skip=1),
    "truncated VOTable, thrice": Fault("result", "truncate", skip=1, times=3),
    "empty result": Fault("result", "replace", skip=1, value=b""),
    "a page instead of a VOTable": Fault("result", "replace", skip=1, value=b"<html><body>busy</body></html>"),
    "an ERROR document": Fault("result", "replace", skip=1, value=error_document("the disk of the server is full")),
    "a part ends in phase ERROR": Fault("poll", "phase", skip=6, value="ERROR"),
    "a part ends in phase ABORTED": Fault("poll", "phase", skip=6, value="ABORTED"),
    "the count is ABORTED": Fault("poll", "phase", value="ABORTED"),
    "QUEUED for a while": Fault("poll", "phase", times=6, value="QUEUED"),
    "HELD for a while": Fault("poll", "phase", times=3, value="HELD"),
    "a job vanishes at once": Fault("poll", "status", value=(404, {})),
    "a job vanishes at work": Fault("poll", "status", skip=3, value=(404, {})),
    "a result vanishes": Fault("result", "status", skip=1, value=(404, {})),
    "a job is gone": Fault("result", "status", skip=1, value=(410, {})),
    "slow bytes": Fault("result", "slow", skip=1, value=0.01),
    "a row is missing": Fault("result", "edit", skip=1, value=one_row_less),
    "the count is wrong": Fault("result", "edit", value=one_count_more),
    "no job can be deleted": Fault("delete", "status", times=PERMANENT, value=(500, {})),
    "deleting is silent": Fault("delete", "silence", value=3),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_is_borne(name, mock, tmp_path):
    fault = PASSING[name]
    fault.seen = fault.hits = 0
    with FaultyProxy(mock.url, fault) as proxy:
        stars = fetch(proxy.url, tmp_path)
    assert fault.hits == min(fault.times, fault.hits) > 0, "the fault was met"
    if fault.times < PERMANENT:
        assert fault.hits == fault.times
    assert_complete(stars)
    assert not list((tmp_path / "tap").iterdir())


# A fault that does not pass, and what the message must say; the next run meets none.
LASTING = {
    "connection refused": (
        Fault("submit", "refuse", value=None),
        r"connection refused \(\d tries\).*run the same again",
    ),
    "503": (Fault("submit", "status", PERMANENT, value=(503, {})), r"HTTP 503.*service.*are up.*run the same again"),
    "503 while a job runs": (Fault("poll", "status", PERMANENT, 4, (503, {})), r"asking for job .*HTTP 503"),
    "not allowed": (Fault("submit", "status", PERMANENT, value=(403, {})), r"submitting a query to .*HTTP 403"),
    "refused, with a reason": (
        Fault("submit", "status", 1, value=(400, {"Content-Type": "text/xml"}, error_document("no column 'g &lt; 3'"))),
        r"submitting a query to .*HTTP 400 Bad Request: no column 'g < 3'$",
    ),
    "429 for hours": (Fault("poll", "status", PERMANENT, 4, (429, {"Retry-After": "7200"})), r"'deadline' = 3 s"),
    "resets": (Fault("result", "reset", PERMANENT, 1), r"fetching the result of job .*run the same again"),
    "truncated VOTables": (Fault("result", "truncate", PERMANENT, 1), r"no complete VOTable.*run the same again"),
    "ERROR documents": (
        Fault("result", "replace", PERMANENT, 1, error_document("out of memory")),
        r"error instead of stars: out of memory.*run the same again",
    ),
    "QUEUED": (
        Fault("poll", "phase", PERMANENT, value="QUEUED"),
        r"is QUEUED at the service: not done within 'deadline'",
    ),
    "slow bytes": (Fault("result", "slow", PERMANENT, 1, 0.05), r"fetching the result|'deadline'"),
    "vanishing jobs": (Fault("poll", "status", PERMANENT, 4, (404, {})), r"does not know job .*run the same again"),
    "archived jobs": (
        Fault("poll", "phase", PERMANENT, 4, "ARCHIVED"),
        r"thrown away the result of job .*run the same again",
    ),
    "wrong row count": (Fault("result", "edit", PERMANENT, 1, one_row_less), r"\d+ rows came where \d+ were counted"),
}


@pytest.mark.parametrize("name", LASTING)
def test_a_fault_that_lasts_is_said_and_the_next_run_finishes(name, mock, tmp_path):
    fault, words = LASTING[name]
    fault.seen = fault.hits = 0
    quick = {"deadline": 3} if "deadline" in words else {}
    archive = StarArchive(tmp_path / "stars.duckdb")
    with FaultyProxy(mock.url, fault) as proxy:
        with pytest.raises(ServiceError, match=words) as error:
            fetch(proxy.url, tmp_path, archive=archive, tries=4, **quick)
        assert "\n" not in str(error.value)
        assert archive.query_region(REGION, "gaia_dr3") is None, "no half region"
        proxy.faults.clear()
        if proxy.server is None:
            proxy._reopen()
        assert_complete(fetch(proxy.url, tmp_path, archive=archive))
    assert_complete(archive.query_region(REGION, "gaia_dr3"))
    assert not list((tmp_path / "tap").iterdir())


def test_a_broken_download_goes_on_where_it_broke(mock, tmp_path):
    mock.requests.clear()
    with FaultyProxy(mock.url, Fault("result", "reset", times=3, skip=1)) as proxy:
        assert_complete(fetch(proxy.url, tmp_path))
    asked = [line for line in mock.requests if "/results/" in line]
    parts = len(mock.queries) - 1
    assert len(asked) == 1 + parts + 3, "each break costs one request, and no new job"


def test_a_service_without_ranges_sends_the_whole_again(mock, tmp_path):
    mock.ranges = False
    try:
        with FaultyProxy(mock.url, Fault("result", "reset", times=2, skip=1)) as proxy:
            assert_complete(fetch(proxy.url, tmp_path))
    finally:
        mock.ranges = True


def test_many_faults_in_one_run(mock, tmp_path):
    faults = [
        Fault("submit", "lost", times=2, skip=1),
        Fault("run", "status", times=2, value=(502, {})),
        Fault("poll", "status", times=3, skip=5, value=(503, {"Retry-After": "0"})),
        Fault("result", "reset", times=1, skip=1),
        Fault("result", "truncate", times=1, skip=1),
        Fault("poll", "status", times=1, skip=9, value=(404, {})),
        Fault("result", "edit", times=1, skip=1, value=one_row_less),
        Fault("delete", "lost", times=2),
    ]
    with FaultyProxy(mock.url, *faults) as proxy:
        assert_complete(fetch(proxy.url, tmp_path))
    assert all(fault.hits == fault.times for fault in faults)


RUN = """
    import sys
    sys.path[:0] = [{tests!r}]
    import test_faults
    stars = test_faults.fetch({url!r}, {cache!r}, archive={archive!r}, timeout=60, deadline=120)
    print(len(stars))
"""


@pytest.mark.parametrize(
    ("stage", "kind", "skip"),
    [
        ("submit", "hold", 0),
        ("run", "hold", 0),
        ("poll", "hold", 5),
        ("result", "hold", 0),
        ("result", "hold_half", 1),
        ("delete", "hold", 1),
    ],
)
def test_kill_9_in_each_phase(stage, kind, skip, mock, tmp_path):
    archive = str(tmp_path / "stars.duckdb")
    with FaultyProxy(mock.url, Fault(stage, kind, skip=skip)) as proxy:
        text = textwrap.dedent(RUN).format(
            tests=str(Path(__file__).parent), url=proxy.url, cache=str(tmp_path), archive=archive
        )
        process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            assert proxy.reached.wait(60), process.communicate(timeout=5)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=30)
        assert StarArchive(archive).query_region(REGION, "gaia_dr3") is None
        assert_complete(fetch(proxy.url, tmp_path, archive=archive))
    parts = len({query for query in mock.queries if "COUNT" not in query})
    assert len(mock.queries) <= parts + 2, "what the service had done for the killed run was used"
    assert_complete(StarArchive(archive).query_region(REGION, "gaia_dr3"))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own, whose size can be changed; it needs the right to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no right to mount a small disk here")

    def resize(size):
        subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)

    yield folder, resize
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_the_disk_of_the_cache_is_full(mock, tmp_path, small_disk):
    folder, resize = small_disk
    with pytest.raises(ServiceError, match=r"cannot write to .*No space left.*make room there.*run the same again"):
        fetch(mock.url, folder)
    resize("16m")
    assert_complete(fetch(mock.url, folder))


def test_the_disk_of_the_archive_is_full(mock, tmp_path, small_disk):
    folder, resize = small_disk
    archive = folder / "stars.duckdb"
    with pytest.raises(ServiceError, match=r"'archive' .*stars.duckdb.*run the same again"):
        fetch(mock.url, tmp_path / "cache", archive=archive)
    resize("64m")
    before = len(mock.queries)
    assert_complete(fetch(mock.url, tmp_path / "cache", archive=archive))
    assert len(mock.queries) == before, "all parts were still in the cache"
    assert_complete(StarArchive(archive).query_region(REGION, "gaia_dr3"))
