import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.coordinates.name_resolve import NameResolveError
from astropy.table import QTable, Table, vstack
from astropy.wcs import WCS
from hypothesis import assume, given
from hypothesis import strategies as st

from decocc_vo import ClusterRegion, InputError, ServiceError, conf
from decocc_vo.region import DEFAULT_RADIUS, usable_stars

longitudes = st.floats(0, 360, exclude_max=True)
latitudes = st.floats(-90, 90)
radii = st.floats(0.001, 60)


def cone(ra=56.75, dec=24.12, radius=2.0):
    return ClusterRegion(SkyCoord(ra, dec, unit="deg"), radius * u.deg)


def around(center, distance_deg, angle_deg):
    """Positions at angular distances and directions from a centre."""
    return center.directional_offset_by(angle_deg * u.deg, distance_deg * u.deg)


class TestConstruction:
    def test_any_frame_becomes_icrs(self):
        center = SkyCoord(l=166.57, b=-23.52, unit="deg", frame="galactic")
        region = ClusterRegion(center, 60 * u.arcmin, name=" Pleiades ")
        assert region.center.frame.name == "icrs"
        assert region.center.separation(center) < 1 * u.uas
        assert (region.name, region.radius_deg) == ("Pleiades", 1.0)

    def test_distance_and_motion_are_left(self):
        center = SkyCoord(56.75 * u.deg, 24.12 * u.deg, distance=136 * u.pc)
        assert ClusterRegion(center, 1 * u.deg) == cone(radius=1)

    def test_is_frozen_comparable_and_hashable(self):
        region = cone()
        with pytest.raises(AttributeError):
            region.radius = 3 * u.deg
        assert region == cone()
        assert len({region, cone(), cone(radius=1)}) == 2
        assert region != "region"

    def test_text(self):
        region = ClusterRegion(SkyCoord(56.75, -24.12, unit="deg"), 90 * u.arcmin, "Mel 22")
        assert str(region) == "Mel 22: ICRS 56.7500 -24.1200 deg, radius 1.5000 deg"
        assert repr(region) == f"<ClusterRegion {region}>"

    @pytest.mark.parametrize(
        ("center", "rule"),
        [
            ("56.75 24.12", "must be a SkyCoord"),
            (SkyCoord([1, 2], [3, 4], unit="deg"), "one position, not an array of 2"),
            (SkyCoord([1], [3], unit="deg"), "one position, not an array of 1"),
            (SkyCoord(np.nan, 3, unit="deg"), "finite"),
            (SkyCoord(10, 3, unit="deg", frame="altaz"), "into ICRS"),
        ],
    )
    def test_center_is_refused(self, center, rule):
        with pytest.raises(InputError, match=f"'center' .*{rule}"):
            ClusterRegion(center, 1 * u.deg)

    @pytest.mark.parametrize(
        ("radius", "rule"),
        [
            (1.0, "needs a unit"),
            ("1.5", "needs a unit"),
            ("wide", "number and a unit"),
            (None, "needs a unit"),
            (u.Quantity(1.0), "needs a unit"),
            (1 * u.pc, "pc is none"),
            ([1, 2] * u.deg, "one angle, not an array of 2"),
            (0 * u.deg, "more than 0"),
            (-1 * u.deg, "more than 0"),
            (np.nan * u.deg, "more than 0"),
            (np.inf * u.deg, "at most 60"),
            (60.1 * u.deg, "at most 60"),
        ],
    )
    def test_radius_is_refused(self, radius, rule):
        with pytest.raises(InputError, match=f"'radius' .*{rule}"):
            ClusterRegion(SkyCoord(1, 2, unit="deg"), radius)

    def test_name_is_refused(self):
        with pytest.raises(InputError, match="'name' must be text"):
            ClusterRegion(SkyCoord(1, 2, unit="deg"), 1 * u.deg, name=25)


class TestName:
    @pytest.mark.parametrize(
        "name", ["Melotte 25", "melotte025", "Mel 25", "MEL25", "Hyades", "hyades", "C41", "Caldwell 41", "Cr 50"]
    )
    def test_hyades_in_all_spellings(self, name):
        region = ClusterRegion.from_name(name)
        assert region.center.separation(SkyCoord("04h26m54s", "+15d52m")) < 1 * u.arcmin
        # OpenNGC has a diameter of 329 arcmin; the cone is 1.5 times that.
        assert region.radius.to_value(u.arcmin) == pytest.approx(1.5 * 329 / 2)
        assert region.name == name

    @pytest.mark.parametrize(
        "name",
        ["M 44", "M44", "m044", "Messier 44", "Praesepe", "the Beehive Cluster", "BEEHIVE", "NGC2632", "ngc  2632"],
    )
    def test_praesepe_in_all_spellings(self, name):
        region = ClusterRegion.from_name(name)
        assert region.center.separation(SkyCoord(130.05, 19.62, unit="deg")) < 5 * u.arcmin

    def test_other_kinds_of_names(self):
        assert ClusterRegion.from_name("Pleiades").dec_deg == pytest.approx(24.1, abs=0.05)
        assert ClusterRegion.from_name("IC 4756").ra_deg == pytest.approx(279.7, abs=0.1)

    def test_the_core_of_a_cluster_is_not_all(self):
        assert ClusterRegion.from_name("NGC 225").radius == 15 * u.arcmin

    def test_radius_given_wins(self):
        assert ClusterRegion.from_name("M 44", radius="30arcmin").radius == 30 * u.arcmin

    def test_duplicated_number_is_followed(self):
        # OpenNGC lists NGC 2239 as another number of the cluster NGC 2244.
        assert ClusterRegion.from_name("NGC 2239").center == ClusterRegion.from_name("NGC 2244").center

    def test_no_size_means_the_stated_default(self, caplog):
        region = ClusterRegion.from_name("NGC 272")
        assert region.radius == DEFAULT_RADIUS
        assert "states no size for NGC 272; the radius is 0.5 deg" in caplog.text

    def test_what_is_no_cluster_is_said_to_be_none(self, caplog):
        ClusterRegion.from_name("M 31")
        assert "lists M 31 as Galaxy, not as a cluster" in caplog.text

    def test_unknown_name_suggests(self):
        with pytest.raises(InputError, match=r"'name' 'Preasepe' is not known; did you mean Praesepe Cluster"):
            ClusterRegion.from_name("Preasepe")

    @pytest.mark.parametrize("name", ["", "  ", None, 44])
    def test_no_name(self, name):
        with pytest.raises(InputError, match="'name' must be"):
            ClusterRegion.from_name(name)

    def test_bad_radius_is_found_before_the_name_is_asked_for(self, monkeypatch):
        monkeypatch.setattr("decocc_vo.region._region.find_offline", lambda name: pytest.fail("asked"))
        with pytest.raises(InputError, match="'radius'"):
            ClusterRegion.from_name("M 44", radius=5)


class TestSesame:
    """The service is replaced at astropy's door; what astropy does behind it is not ours to test."""

    @pytest.fixture
    def answer(self, monkeypatch):
        def set_answer(result):
            def from_name(name):
                if isinstance(result, Exception):
                    raise result
                return result

            monkeypatch.setattr(SkyCoord, "from_name", from_name)

        return set_answer

    def test_found(self, answer, caplog):
        answer(SkyCoord(56.0, 47.0, unit="deg"))
        region = ClusterRegion.from_name("Berkeley 999", online=True)
        assert (region.ra_deg, region.dec_deg, region.radius) == (56.0, 47.0, DEFAULT_RADIUS)
        assert "CDS Sesame states no size" in caplog.text

    def test_unknown_there_too(self, answer):
        answer(NameResolveError("Unable to find coordinates for name 'Nowhere 1' using http://..."))
        with pytest.raises(InputError, match="'Nowhere 1' is not known"):
            ClusterRegion.from_name("Nowhere 1", online=True)

    @pytest.mark.parametrize(
        "error", [NameResolveError("All Sesame queries failed."), TimeoutError("timed out"), ConnectionResetError()]
    )
    def test_service_down(self, answer, error):
        answer(error)
        with pytest.raises(ServiceError, match=r"'name' 'Berkeley 999' .* CDS Sesame .*give its position"):
            ClusterRegion.from_name("Berkeley 999", online=True)

    def test_setting_decides_whether_it_is_asked(self, answer):
        answer(SkyCoord(56.0, 47.0, unit="deg"))
        with pytest.raises(InputError):
            ClusterRegion.from_name("Berkeley 999")
        with conf.set_temp("resolve_names_online", True):
            assert ClusterRegion.from_name("Berkeley 999").ra_deg == 56.0
        with conf.set_temp("resolve_names_online", True), pytest.raises(InputError):
            ClusterRegion.from_name("Berkeley 999", online=False)

    def test_name_that_is_installed_is_not_asked_for(self, answer):
        answer(AssertionError("asked"))
        ClusterRegion.from_name("M 44", online=True)


class TestText:
    @pytest.mark.parametrize(
        "text",
        [
            "66.725 15.866666667",
            "66.725, +15.866666667",
            "66.725d 15.866666667d",
            "04 26 54 +15 52",
            "04 26 54 15 52 00",
            "04 26 54.0, 15 52 00",
            "04:26:54 +15:52:00",
            "4h26m54s +15d52m",
            "4h 26m 54s +15d 52m 0s",
            "4h26m54s 15d52m0s",
        ],
    )
    def test_same_place(self, text):
        region = ClusterRegion.from_text(text, "60arcmin")
        assert region.center.separation(SkyCoord(66.725, 15.86666667, unit="deg")) < 1 * u.mas

    def test_negative_zero_degrees(self):
        assert ClusterRegion.from_text("0 0 0 -00 30 00", "1deg").dec_deg == -0.5

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "",
                "66.7",
                "a b",
                "nan 3",
                "1 inf",
                "4 26.9 15.8",
                "04 61 00 +10 00",
                "26 0 0 +1 0 0",
                "1 2 3 4 +5 6 7",
                3,
            ),
            *("05 35 17.3s -05 23 28", "05 35m -05 23", "12 30 10.0 -10 20 30s"),  # all seconds, to astropy
        ],
    )
    def test_unreadable(self, text):
        with pytest.raises(InputError, match=r"'center' .* cannot be read; write 'RA DEC'"):
            ClusterRegion.from_text(text, "1deg")

    @pytest.mark.parametrize("text", ["361 4", "10 95", "10 -90.1"])
    def test_off_the_sky(self, text):
        with pytest.raises(InputError, match=r"'center' .* is off the sky"):
            ClusterRegion.from_text(text, "1deg")

    @pytest.mark.parametrize("text", ["60arcmin", "1 deg", "1d", "60'", "3600 arcsec", "1d00m"])
    def test_radius(self, text):
        assert ClusterRegion.from_text("1 2", text).radius_deg == pytest.approx(1.0)

    @pytest.mark.parametrize("text", ["24h00m00s +00d00m00s", "23h59m60s 0d00m00s", "24 00 00 +00 00 00"])
    def test_what_rounding_writes_is_read(self, text):
        center = ClusterRegion.from_text(text, "1deg").center
        assert center.separation(SkyCoord(0, 0, unit="deg")) < 1 * u.uas

    @given(longitudes, latitudes, radii)
    def test_round_trip(self, ra, dec, radius):
        region = ClusterRegion.from_text(f"{ra!r} {dec!r}", f"{radius!r}deg")
        assert region.center.separation(SkyCoord(ra, dec, unit="deg")) < 1 * u.uas
        assert region.radius_deg == radius
        sexagesimal = region.center.to_string("hmsdms", precision=6)
        assert ClusterRegion.from_text(sexagesimal, region.radius).center.separation(region.center) < 20 * u.uas


class TestOffsets:
    @given(longitudes, latitudes, radii)
    def test_center_is_the_origin(self, ra, dec, radius):
        region = cone(ra, dec, radius)
        xi, eta = region.offsets([region.ra_deg], [region.dec_deg])
        assert xi == eta == 0
        assert region.contains([ra], [dec]).all()

    @given(longitudes, latitudes, st.floats(0, 59), st.floats(0, 360))
    def test_agrees_with_the_wcs_projection_and_back(self, ra, dec, distance, angle):
        region = cone(ra, dec)
        star = around(region.center, distance, angle)
        xi, eta = region.offsets(star.ra.deg, star.dec.deg)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [region.ra_deg, region.dec_deg]
        wcs.wcs.lonpole = 180  # at the very pole the default turns the plane round
        back = wcs.pixel_to_world(xi / 60 - 1, eta / 60 - 1)
        assert back.separation(star) < 1 * u.uas
        # Its own distance: where it was put, an arcsine has lost digits beside a pole.
        assert np.hypot(xi, eta) == pytest.approx(np.degrees(np.tan(region.center.separation(star).rad)) * 60, abs=1e-6)

    def test_east_and_north_are_positive(self):
        xi, eta = cone(0.0, 0.0).offsets([0.1, 0.0, 359.9], [0.0, 0.1, 0.0])
        assert xi == pytest.approx([6, 0, -6], rel=1e-5)
        assert eta == pytest.approx([0, 6, 0], abs=1e-5)

    def test_beyond_the_horizon_and_missing_are_nan(self):
        xi, eta = cone(10.0, 0.0).offsets(np.ma.masked_array([190.0, 100.0, 10.0], [0, 0, 1]), [0.0, 0.0, 0.0])
        assert np.isnan(xi).all()
        assert np.isnan(eta).all()

    def test_small_offsets_keep_their_digits(self):
        xi, eta = cone(56.75, 60.0).offsets(56.75 + 2e-9, 60.0 + 1e-9)
        assert xi == pytest.approx(60e-9, rel=1e-4)
        assert eta == pytest.approx(60e-9, rel=1e-4)


class TestContains:
    @given(longitudes, latitudes, radii, st.floats(0, 180), st.floats(0, 360))
    def test_agrees_with_skycoord(self, ra, dec, radius, distance, angle):
        region = cone(ra, dec, radius)
        star = around(region.center, distance, angle)
        separation = region.center.separation(star).deg
        assume(abs(separation - radius) > 1e-9)
        assert region.contains(star.ra.deg, star.dec.deg) == (separation < radius)

    @pytest.mark.parametrize("dec", [89.5, -89.5, 90.0, -90.0])
    def test_across_the_pole(self, dec):
        region = cone(10.0, dec, 1.0)
        assert region.contains([10.0, 190.0], [dec * 0.995, np.copysign(89.6, dec)]).all()
        assert not region.contains([190.0], [np.copysign(88.0, dec)]).any()

    def test_across_ra_zero(self):
        assert list(cone(0.2, 10.0, 1.0).contains([359.5, -0.5, 359.0, 1.1], [10.0] * 4)) == [True, True, False, True]

    def test_missing_is_outside_and_units_are_heeded(self):
        region = cone()
        assert not region.contains(np.ma.masked_array([56.75], [True]), [24.12]).any()
        assert not region.contains([np.nan], [24.12]).any()
        assert region.contains(region.center.ra.to(u.rad), region.center.dec.to(u.hourangle))
        table = Table({"ra": [56.75], "dec": [24.12]}, units={"ra": u.deg, "dec": u.deg})
        assert region.contains(table["ra"], table["dec"]).all()


class TestTable:
    @staticmethod
    def uniform(center, radius, n, seed=0):
        rng = np.random.default_rng(seed)
        return around(center, radius * np.sqrt(rng.random(n)), 360 * rng.random(n))

    @given(longitudes, latitudes, st.floats(0.01, 40), st.integers(0, 9))
    def test_footprint_of_a_cone(self, ra, dec, radius, seed):
        center = SkyCoord(ra, dec, unit="deg")
        stars = self.uniform(center, radius, 900, seed)
        table = Table({"ra": stars.ra.deg, "dec": stars.dec.deg})
        region = ClusterRegion.from_table(table, name="x")
        assert region.name == "x"
        assert region.center.separation(center).deg < 0.05 * radius
        assert 0.95 * radius < region.radius_deg < 1.01 * radius
        assert region.contains(table["ra"], table["dec"]).all()

    def test_a_cluster_on_one_side_does_not_pull(self):
        center = SkyCoord(0.05, -30.0, unit="deg")
        field = self.uniform(center, 1.0, 2000)
        cluster = self.uniform(around(center, 0.7, 90), 0.05, 20_000)
        table = Table({"ra": np.r_[field.ra.deg, cluster.ra.deg], "dec": np.r_[field.dec.deg, cluster.dec.deg]})
        assert ClusterRegion.from_table(table).center.separation(center) < 1 * u.arcmin

    @pytest.mark.parametrize("n", [60, 500, 3000])
    def test_a_stray_star_does_not_blow_it_up(self, n):
        stars = self.uniform(SkyCoord(100, 10, unit="deg"), 1.0, n)
        table = Table({"ra": np.r_[stars.ra.deg, 250.0], "dec": np.r_[stars.dec.deg, -20.0]})
        region = ClusterRegion.from_table(table)
        assert region.radius_deg == pytest.approx(1.0, abs=0.05)

    def test_box_is_held_with_its_corners(self):
        ra, dec = np.meshgrid(np.linspace(-0.5, 0.5, 25) % 360, np.linspace(-0.5, 0.5, 25))
        region = ClusterRegion.from_table(Table({"ra": ra.ravel(), "dec": dec.ravel()}))
        assert region.radius_deg == pytest.approx(np.sqrt(0.5), rel=1e-3)
        assert region.contains(ra.ravel(), dec.ravel()).all()

    def test_missing_positions_and_other_spellings(self):
        raw = {"RA_ICRS": [1.0, 2.0, np.nan], "DE_ICRS": [1.0] * 3, "pmRA": [1.0] * 3, "pmDE": [1.0] * 3}
        region = ClusterRegion.from_table(Table(raw | {"Plx": [1.0] * 3}))
        assert region.ra_deg == pytest.approx(1.5)
        assert region.radius_deg == pytest.approx(0.5, abs=1e-3)

    def test_positions_alone_are_enough(self):
        """In any spelling and unit that `conform` takes."""
        stars = Table({"RA": [1.0, 2.0], "DEC": [1.0, 1.0]})
        with pytest.warns(u.UnitsWarning):
            stars["RA"].unit = u.Unit("degree", format="vounit", parse_strict="warn")
        assert ClusterRegion.from_table(stars).ra_deg == pytest.approx(1.5)
        assert ClusterRegion.from_table(stars).contains(stars["RA"], stars["DEC"]).all()
        with pytest.raises(InputError, match="'stars' has no column dec; rename"):
            ClusterRegion.from_table(stars["RA",])
        with pytest.raises(InputError, match="positions must be numbers or angles"):
            ClusterRegion.from_table(Table({"ra": ["a", "b"], "dec": [1.0, 2.0]}))

    @pytest.mark.parametrize(
        ("ra", "dec", "rule"),
        [
            ([np.nan], [1.0], "holds no position"),
            ([], [], "holds no position"),
            ([5.0, 5.0], [1.0, 1.0], "one point"),
            ([0.0, 90.0, 180.0, 270.0], [0.0] * 4, "more of the sky"),
        ],
    )
    def test_refused(self, ra, dec, rule):
        with pytest.raises(InputError, match=f"'stars' .*{rule}"):
            ClusterRegion.from_table(Table({"ra": np.array(ra, float), "dec": np.array(dec, float)}))

    def test_not_a_table(self):
        with pytest.raises(InputError, match="'stars' must be an astropy Table"):
            ClusterRegion.from_table({"ra": [1]})

    def test_real_fields(self, field):
        hyades = ClusterRegion.from_table(field("melotte25_hipparcos2"))
        assert hyades.center.separation(SkyCoord(66.725, 15.867, unit="deg")) < 10 * u.arcmin
        assert hyades.radius_deg == pytest.approx(10, abs=0.1)


class TestOpenClust:
    def test_row_of_text(self):
        rows = Table({"Cluster": ["Melotte 25"], "RA": ["04 26 54"], "Dec": ["+15 52 00"], "Diam": [330.0]})
        region = ClusterRegion.from_openclust(rows[0])
        assert region.name == "Melotte 25"
        assert region.center.separation(SkyCoord(66.725, 15.8666667, unit="deg")) < 1 * u.mas
        assert region.radius.to_value(u.arcmin) == pytest.approx(247.5)

    def test_row_of_numbers(self):
        rows = Table({"ra": [1.2e-5], "dec": [-0.5], "diam": np.ma.masked_array([30.0])})
        region = ClusterRegion.from_openclust(rows[0])
        assert (region.ra_deg, region.dec_deg, region.name) == (1.2e-5, -0.5, None)
        assert region.radius.to_value(u.arcmin) == pytest.approx(22.5)

    @pytest.mark.parametrize("kind", [Table, QTable])
    def test_units_are_heeded(self, kind):
        rows = kind({"RA": [10.0] * u.deg, "Dec": [20.0] * u.deg, "Diam": [1.0] * u.deg})
        assert ClusterRegion.from_openclust(rows[0]).radius.to_value(u.arcmin) == pytest.approx(45)

    @pytest.mark.parametrize("diameter", ["30", "30 arcmin", "0.5deg", 30, 30 * u.arcmin])
    def test_a_diameter_in_any_form(self, diameter):
        row = {"Name": "FSR 1", "RA": "1 2 3", "Dec": "-4 5 6", "Diam": diameter}
        assert ClusterRegion.from_openclust(row).radius.to_value(u.arcmin) == pytest.approx(22.5)

    @pytest.mark.parametrize("diameter", [3 * u.pc, "3 pc"])
    def test_a_diameter_that_is_no_angle(self, diameter):
        with pytest.raises(InputError, match="'row' has a diameter in pc"):
            ClusterRegion.from_openclust({"Name": "FSR 1", "RA": "1 2 3", "Dec": "-4 5 6", "Diam": diameter})

    @pytest.mark.parametrize("diameter", [np.nan, 0.0, np.ma.masked, ""])
    def test_no_diameter(self, diameter, caplog):
        region = ClusterRegion.from_openclust({"Name": "FSR 1", "RA": "1 2 3", "Dec": "-4 5 6", "Diam": diameter})
        assert region.radius == DEFAULT_RADIUS
        assert "no diameter for FSR 1" in caplog.text

    def test_no_position(self):
        with pytest.raises(InputError, match="'row' must have RA and Dec"):
            ClusterRegion.from_openclust({"Name": "FSR 1", "RA": "1 2 3"})


def test_stray_stars_are_told(caplog):
    rng = np.random.default_rng(5)
    ra, dec = 40 + rng.uniform(-0.5, 0.5, 300), rng.uniform(-0.5, 0.5, 300)
    stars = Table({"ra": ra, "dec": dec, "pmra": ra, "pmdec": dec, "parallax": np.ones(300)})
    usable_stars(stars, None, None, 20)
    assert not caplog.text
    stars["dec"][:3] += 10
    usable_stars(stars, None, None, 20)
    assert "of the 300 stars 3 lie far outside the field of all others" in caplog.text


def fetched(n, seed=0):
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(56, 57, n), rng.uniform(24, 25, n)
    motions = {name: rng.normal(0, 3, n) for name in ("pmra", "pmdec", "parallax")}
    errors = {f"{name}_error": np.full(n, 0.1) for name in motions}
    return Table({"source_id": np.arange(1, n + 1), "ra": ra, "dec": dec} | motions | errors)


def test_stars_of_two_catalogues_are_told(caplog):
    once, other = fetched(300), fetched(300)
    other["source_id"] += 1000
    other["ra"] += 1e-5
    usable_stars(once, None, None, 20)
    assert not caplog.text
    usable_stars(vstack([once, other]), None, None, 20)
    assert "keep one row of each" in caplog.text
    assert int(caplog.text.split("of the 600 stars ")[1].split()[0]) > 450


def test_errors_of_another_unit_are_told(caplog):
    stars = fetched(300)
    stars["pmra"] /= 1000  # arcsec/yr, and nobody says so
    usable_stars(stars, None, None, 20)
    assert "half of the stars have a pmra_error above 0.1, but pmra itself has a spread of 0.00" in caplog.text
    assert "pmdec_error" not in caplog.text
    stars["pmra_error"] = np.nan
    caplog.clear()
    usable_stars(stars, None, None, 20)
    assert not caplog.text
