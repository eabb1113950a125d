"""Lists of clusters, from the CDS files and from a TAP service, in one set of names and units."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from mock_tap import MockTAP, make_stars

from decocc_vo import InputError, ServiceError, conf
from decocc_vo.stars import catalogues
from decocc_vo.stars._folder import QueryFolder
from decocc_vo.stars.catalogues import cluster_list, openclust, query_table, regions_of, select_openclust


@pytest.fixture(scope="module")
def clusters(shared_data):
    return openclust(shared_data / "openclust" / "clusters.dat")


def test_openclust_from_the_cds_file(clusters):
    assert len(clusters) == 2167
    (pleiades,) = clusters[clusters["name"] == "Melotte 22"]
    assert SkyCoord(pleiades["ra"], pleiades["dec"], unit="deg").separation(SkyCoord("3h47m +24d07m")) < 1 * u.arcmin
    assert clusters["diam"].unit == u.arcmin
    assert clusters["pmra"].unit == u.mas / u.yr
    assert clusters["pmra"].mask.any()
    south = clusters[clusters["name"] == "NGC 2516"]
    assert south["dec"][0] == pytest.approx(-60.75, abs=0.02)
    assert clusters.meta["citation"].startswith("Dias")


def test_the_theses_choice(clusters):
    chosen = select_openclust(clusters=clusters)
    assert len(chosen) == 243
    assert chosen["diam"].min() > 25
    regions = regions_of(chosen)
    (pleiades,) = (r for r in regions if r.name == "Melotte 22")
    diameter = chosen["diam"][chosen["name"] == "Melotte 22"][0]
    assert pleiades.radius.to_value(u.arcmin) == pytest.approx(1.5 * diameter / 2)


def test_other_choices(clusters):
    assert len(select_openclust(0.5 * u.deg, clusters=clusters)) < 243
    assert len(select_openclust(clusters=clusters, known=("pmra",))) == 239
    near = select_openclust(clusters=clusters, max_distance=1 * u.kpc, max_diameter=1 * u.deg)
    assert 0 < len(near) < 243
    assert near["distance"].max() <= 1000
    assert set(select_openclust(clusters=clusters, classes=["IR"])["class"]) == {"IR"}
    with pytest.raises(InputError, match="'min_diameter'"):
        select_openclust(25, clusters=clusters)
    with pytest.raises(InputError, match="'known'"):
        select_openclust(clusters=clusters, known=("mass",))


@pytest.mark.parametrize(
    ("key", "file", "name", "pmra", "parallax"),
    [
        ("cantat2020", "CANTAT2020.csv", "ASCC 10", -1.737, 1.459),
        ("hunt2023", "HUNT2023.csv", "Melotte 22", 19.955, 7.3783),
    ],
)
def test_newer_lists_from_a_file(shared_data, key, file, name, pmra, parallax):
    table = cluster_list(key, path=shared_data / "catalogues" / file)
    assert len(table) > 1500
    (row,) = table[table["name"] == name]
    assert row["pmra"] == pytest.approx(pmra, abs=6e-4)
    assert row["parallax"] == pytest.approx(parallax, abs=6e-5)
    assert table["r50"].unit == u.deg
    assert np.isfinite(table["ra"]).all()


@pytest.fixture
def vizier(shared_data, monkeypatch):
    """A TAP service with OpenClust as VizieR and as HEASARC spell it."""
    table = openclust(shared_data / "openclust" / "clusters.dat")
    with MockTAP(make_stars(10), polls=0) as mock:
        place = SkyCoord(table["ra"], table["dec"], unit="deg")
        ra = place.ra.to_string("hour", sep=" ", pad=True, precision=0)
        dec = place.dec.to_string("deg", sep=" ", alwayssign=True, pad=True, precision=0)
        names = [str(name) for name in table["name"]]
        diam = np.ma.filled(table["diam"], np.nan)
        mock.base.execute(
            'CREATE SCHEMA "B"; CREATE TABLE ocl (Cluster TEXT, RAJ2000 TEXT, DEJ2000 TEXT, "Diam" DOUBLE)'
        )
        mock.base.executemany(
            "INSERT INTO ocl VALUES (?, ?, ?, ?)", list(zip(names, ra, dec, diam.tolist(), strict=True))
        )
        mock.base.execute('CREATE VIEW "B/ocl/clusters" AS SELECT * FROM ocl')
        mock.base.execute("CREATE TABLE openclust (name TEXT, ra DOUBLE, dec DOUBLE, diameter DOUBLE)")
        rows = list(zip(names, place.ra.deg.tolist(), place.dec.deg.tolist(), diam.tolist(), strict=True))
        mock.base.executemany("INSERT INTO openclust VALUES (?, ?, ?, ?)", rows)
        services = {"vizier": (mock.url, '"B/ocl/clusters"'), "heasarc": (mock.url, "openclust")}
        changed = replace(catalogues.CATALOGUES["openclust"], services=services)
        monkeypatch.setattr(catalogues, "CATALOGUES", {"openclust": changed})
        yield mock


@pytest.mark.parametrize("service", ["vizier", "heasarc"])
def test_openclust_by_tap_is_asked_for_once(vizier, clusters, tmp_path, service):
    options = {"service": service, "cache": tmp_path, "backoff": 0.01}
    with pytest.raises(ServiceError, match="'offline'"):
        openclust(offline=True, **options)
    assert not vizier.requests
    table = openclust(**options)
    asked = len(vizier.requests)
    again = openclust(offline=True, **options)
    assert len(vizier.requests) == asked
    assert list(table["name"]) == list(again["name"]) == list(clusters["name"])
    np.testing.assert_allclose(table["ra"], clusters["ra"], atol=1e-3)
    np.testing.assert_allclose(table["dec"], clusters["dec"], atol=1e-3)
    assert len(select_openclust(clusters=table)) == 243
    assert not vizier.alive
    assert list((tmp_path / "tap").iterdir()) == []


def test_a_list_cut_short_is_an_error(vizier, tmp_path):
    vizier.hard_limit = 100
    with pytest.raises(ServiceError, match="only 100 rows"):
        openclust(cache=tmp_path, backoff=0.01)
    vizier.hard_limit = 10**9
    assert len(openclust(cache=tmp_path, backoff=0.01)) == 2167


def test_wrong_use(tmp_path):
    with pytest.raises(InputError, match="'catalogue' 'messier'"):
        cluster_list("messier")
    with pytest.raises(InputError, match="'service' 'heasarc'"):
        cluster_list("hunt2023", service="heasarc")
    with pytest.raises(InputError, match="is not there"):
        openclust(tmp_path / "no.dat")
    (tmp_path / "clusters.dat").write_text("x")
    with pytest.raises(InputError, match="needs its ReadMe"):
        openclust(tmp_path / "clusters.dat")
    Table({"a": [1]}).write(tmp_path / "other.ecsv")
    with pytest.raises(ServiceError, match="does not look like OpenClust"):
        openclust(tmp_path / "other.ecsv")


def test_wrong_use_of_a_query(tmp_path):
    for url, options, words in (
        ("http://localhost:port/tap", {}, "'url'"),
        ("http://localhost/tap", {"tries": 0}, "'tries'"),
        ("http://localhost/tap", {"deadline": -1}, "'deadline'"),
    ):
        with pytest.raises(InputError, match=words):
            query_table("SELECT 1", url, cache=tmp_path, **options)


def test_a_table_is_asked_for_without_a_cache(vizier):
    for cache in (None, False):
        table = query_table("SELECT COUNT(*) AS n FROM openclust", vizier.url, cache=cache, backoff=0.01)
        assert table["n"][0] == 2167
    assert len(vizier.queries) == 2
    with pytest.raises(ServiceError, match="nothing_like_it"):
        query_table("SELECT * FROM nothing_like_it", vizier.url, cache=None, backoff=0.01)


def test_a_damaged_answer_is_asked_for_again(vizier, tmp_path, caplog):
    def ask(**options):
        return query_table("SELECT name FROM openclust", vizier.url, cache=tmp_path, backoff=0.01, **options)

    ask()
    (kept,) = (tmp_path / "catalogues").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(ServiceError, match=f"'offline' .*{kept.name}"):
        ask(offline=True)
    assert f"{kept} is not used: the result is no complete VOTable" in caplog.text
    assert len(ask()) == len(ask(offline=True)) == 2167
    assert len(vizier.queries) == 2


def test_what_another_run_has_brought_meanwhile_is_not_asked_for_again(vizier, tmp_path, monkeypatch):
    acquire = QueryFolder.acquire

    def ask():
        return query_table("SELECT name FROM openclust", vizier.url, cache=tmp_path, backoff=0.01)

    def wait(self, patience):
        monkeypatch.setattr(QueryFolder, "acquire", acquire)
        ask()
        acquire(self, patience)

    monkeypatch.setattr(QueryFolder, "acquire", wait)
    assert len(ask()) == 2167
    assert len(vizier.queries) == 1
    assert list((tmp_path / "tap").iterdir()) == []


class Simbad:
    """What astroquery's Simbad answers."""

    asked = ()

    @classmethod
    def query_tap(cls, query):
        cls.asked = (*cls.asked, query)
        if "'Cl Melotte 22'" not in query:
            return Table({"main_id": np.zeros(0, "U1")})
        names = ("main_id", "ra", "dec", "pmra", "pmdec", "plx_value", "plx_err", "rvz_radvel")
        table = Table(rows=[("Cl Melotte 22", 56.6, 24.1, 19.997, -45.548, 7.364, np.nan, 5.65)], names=names)
        return Table(table, masked=True)


def test_simbads_mean_motion(monkeypatch):
    simbad = pytest.importorskip("astroquery.simbad")
    monkeypatch.setattr(simbad, "Simbad", Simbad)
    with conf.set_temp("resolve_names_online", False), pytest.raises(ServiceError, match="resolve_names_online"):
        catalogues.simbad_motion("Melotte 22")
    with conf.set_temp("resolve_names_online", True):
        row = catalogues.simbad_motion("Melotte 22")[0]
        assert row["pmra"] == 19.997
        assert row["parallax"] == 7.364
        assert row["parallax_error"] is np.ma.masked
        with pytest.raises(InputError, match="O'Nobody"):
            catalogues.simbad_motion("O'Nobody")
        assert "id = 'O''Nobody'" in Simbad.asked[-2]

        def broken(query):
            raise OSError("no route")

        monkeypatch.setattr(Simbad, "query_tap", broken)
        with pytest.raises(ServiceError, match=r"Simbad cannot be asked .*no route"):
            catalogues.simbad_motion("Melotte 22")
