"""
The TAP room against a real DaCHS server, which `.ci/tap_server.sh` installs and starts, with real stars.

The tests are skipped where no server runs; its URL is DECOCC_TAP_URL, or in the file that the script writes.
"""

import os
import tempfile
import urllib.request
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from faulty_proxy import Fault, FaultyProxy
from test_faults import one_row_less

from decocc_vo import ClusterRegion, ServiceError
from decocc_vo.columns import get_release
from decocc_vo.stars import _healpix, tap
from decocc_vo.stars.archive import StarArchive
from decocc_vo.stars.catalogues import query_table

pytestmark = pytest.mark.tap
PLEIADES = ClusterRegion(SkyCoord("56.75d +24.12d"), 0.5 * u.deg, name="Pleiades")
M67 = ClusterRegion(SkyCoord("132.85d +11.81d"), 0.4 * u.deg, name="NGC 2682")


@pytest.fixture(scope="module")
def server():
    """URL of the running server."""
    folder = Path(os.environ.get("DECOCC_TAP_DIR") or Path(tempfile.gettempdir()) / "decocc_vo_tap")
    url = os.environ.get("DECOCC_TAP_URL") or (
        (folder / "url").read_text().strip() if (folder / "url").exists() else ""
    )
    if not url:
        pytest.skip("no TAP server runs here; .ci/tap_server.sh starts one")
    try:
        urllib.request.urlopen(f"{url}/availability", timeout=10).close()
    except OSError:
        pytest.skip(f"the TAP server {url} does not answer; .ci/tap_server.sh starts one")
    return url


@pytest.fixture(scope="module")
def rows(field):
    """The stars of the fields, as they were put into the server: source_id and position."""

    def near(region, name):
        stars = field(name)
        away = _healpix.separation(stars["ra"], stars["dec"], region.center.ra.deg, region.center.dec.deg)
        return stars[away <= region.radius.to_value(u.deg)]

    return near


def fetch(url, tmp_path, region=PLEIADES, **options):
    options = {"deadline": 240, "timeout": 30, "backoff": 0.1} | options
    return tap.query_region(region, "gaia_dr3", url=url, cache=tmp_path, **options)


def test_real_stars_row_for_row_split_and_from_the_archive(server, tmp_path, rows):
    wanted = rows(PLEIADES, "melotte22_wide")
    wanted = wanted[np.argsort(wanted["source_id"])]
    assert len(wanted) > 3000
    archive = StarArchive(tmp_path / "stars.duckdb")
    stars = fetch(server, tmp_path, part_rows=len(wanted) // 2 + 50, archive=archive)
    np.testing.assert_array_equal(stars["source_id"], wanted["source_id"])
    np.testing.assert_array_equal(stars["ra"], wanted["ra"])
    for name in ("parallax", "pmra", "pmdec", "phot_g_mean_mag", "bp_rp"):
        ours = np.ma.filled(stars[name].data.astype("f4"), np.nan)
        np.testing.assert_array_equal(ours, np.ma.filled(np.ma.asarray(wanted[name]).astype("f4"), np.nan), name)
    assert list(stars.colnames) == list(get_release("gaia_dr3").columns)
    assert stars["astrometric_params_solved"].mask.all(), "what the field does not have is masked"
    smaller = ClusterRegion(SkyCoord("56.9d +24.2d"), 0.2 * u.deg)
    mine = fetch(server, tmp_path, smaller, archive=archive, offline=True)
    theirs = fetch(server, tmp_path, smaller)
    assert len(mine) > 100
    for name in theirs.colnames:
        np.testing.assert_array_equal(np.ma.getmaskarray(mine[name]), np.ma.getmaskarray(theirs[name]), name)
        np.testing.assert_array_equal(np.ma.filled(mine[name], 0), np.ma.filled(theirs[name], 0), name)


def test_shapes_and_conditions(server, tmp_path, rows):
    regions, mocpy = pytest.importorskip("regions"), pytest.importorskip("mocpy")
    stars = rows(M67, "ngc2682_wide")
    corners = SkyCoord([132.6, 133.1, 132.85] * u.deg, [11.6, 11.6, 12.1] * u.deg)
    triangle = fetch(server, tmp_path, regions.PolygonSkyRegion(corners), where="phot_g_mean_mag < 16")
    assert 20 < len(triangle) < len(stars)
    assert set(triangle["source_id"]) <= set(stars["source_id"])
    assert triangle["phot_g_mean_mag"].max() < 16
    box = fetch(server, tmp_path, regions.RectangleSkyRegion(M67.center, 0.4 * u.deg, 0.2 * u.deg))
    offsets = SkyCoord(stars["ra"], stars["dec"], unit="deg").transform_to(M67.center.skyoffset_frame())
    inside = (np.abs(offsets.lon.wrap_at("180d").deg) <= 0.2) & (np.abs(offsets.lat.deg) <= 0.1)
    # The long edges of the server's box are great circles, which leave the parallels by a hair.
    assert len(set(box["source_id"]) ^ set(stars["source_id"][inside])) <= 1
    moc = mocpy.MOC.from_cone(132.85 * u.deg, 11.81 * u.deg, radius=0.2 * u.deg, max_depth=11)
    found = fetch(server, tmp_path, moc)
    assert set(np.asarray(found["source_id"]) >> 37) <= set(moc.flatten().tolist())
    wanted = np.isin(np.asarray(stars["source_id"]) >> 37, moc.flatten())
    assert set(stars["source_id"][wanted]) == set(found["source_id"])


def test_the_servers_hard_limit_splits_the_query(server, tmp_path):
    sky = ClusterRegion(SkyCoord("56.75d +24.12d"), 60 * u.deg)
    stars = fetch(server, tmp_path, sky, columns=["phot_g_mean_mag"], part_rows=10**6)
    total = query_table("SELECT COUNT(*) AS n FROM gaiadr3.gaia_source", server, cache=None)["n"][0]
    assert total > 100_000, "more than the server sends at once"
    outside = "0 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 56.75, 24.12, 60))"
    rest = query_table(f"SELECT COUNT(*) AS n FROM gaiadr3.gaia_source WHERE {outside}", server, cache=None)["n"][0]
    assert len(stars) == total - rest
    assert len(np.unique(stars["source_id"])) == len(stars)


def test_a_bad_condition_is_the_servers_own_word(server, tmp_path):
    with pytest.raises(ServiceError, match="nonsense"):
        fetch(server, tmp_path, where="nonsense > 3")


FAULTS = (
    Fault("submit", "lost", skip=1),
    Fault("run", "status", value=(503, {"Retry-After": "1"})),
    Fault("run", "refuse", skip=1, value=0.1),
    Fault("poll", "status", times=2, skip=5, value=(429, {"Retry-After": "0"})),
    Fault("poll", "reset", skip=2),
    Fault("poll", "status", skip=7, value=(404, {})),
    Fault("result", "reset", skip=1),
    Fault("result", "truncate", skip=1),
    Fault("result", "edit", skip=2, value=one_row_less),
    Fault("delete", "lost"),
)


def test_faults_between_us_and_the_real_server(server, tmp_path, rows):
    wanted = rows(PLEIADES, "melotte22_wide")
    wanted = wanted[np.argsort(wanted["source_id"])]
    with FaultyProxy(server, *FAULTS) as proxy:
        stars = fetch(proxy.url, tmp_path, columns=["ruwe"], part_rows=len(wanted) // 2 + 50)
    assert [fault.kind for fault in FAULTS if fault.hits != fault.times] == []
    np.testing.assert_array_equal(stars["source_id"], wanted["source_id"])
    np.testing.assert_array_equal(stars["ra"], wanted["ra"])


def test_a_deadline_and_the_next_run(server, tmp_path, rows):
    with FaultyProxy(server, Fault("poll", "phase", times=10**6, value="QUEUED")) as proxy:
        with pytest.raises(ServiceError, match=r"is QUEUED at the service.*run the same again"):
            fetch(proxy.url, tmp_path, deadline=3)
        proxy.faults.clear()
        before = len(proxy.stages)
        stars = fetch(proxy.url, tmp_path)
        assert proxy.stages[before:].count("submit") == 1, "the count that was QUEUED is taken up again"
    assert len(stars) == len(rows(PLEIADES, "melotte22_wide"))
