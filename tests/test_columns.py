import copy
import pickle
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked
from hypothesis import given
from hypothesis import strategies as st

from decocc_vo import COLUMNS, RELEASES, InputError
from decocc_vo.columns import (
    ASTROMETRY,
    CORRELATIONS,
    RESULTS,
    canonical_order,
    conform,
    correlations,
    describe,
    expected_errors,
    floats,
    get_release,
    parallax_zero_point,
    registry_names,
    release_name,
    standard_errors,
    state_release,
    usable_rows,
)
from decocc_vo.columns._services import VIZIER_DR2, VIZIER_DR3, VIZIER_EDR3

FIVE = ("ra", "dec", "parallax", "pmra", "pmdec")


def table(n=4, **columns):
    """Stars with the least a method needs, and other columns put in or instead."""
    values = {name: np.arange(n) + 1.0 for name in ASTROMETRY}
    return Table({"source_id": np.arange(n) + 10} | values | columns)


class TestRegistry:
    @pytest.mark.parametrize("info", COLUMNS.values(), ids=COLUMNS)
    def test_entry(self, info):
        assert check_ucd(info.ucd, check_controlled_vocabulary=True)
        assert np.dtype(info.dtype).name == info.dtype
        assert info.unit is None or isinstance(info.unit, u.UnitBase)
        assert info.unit is None or u.Unit(info.unit.to_string("vounit"), format="vounit") == info.unit
        assert info.description[0].isupper() or info.description[0].isdigit()
        assert info.name == info.name.lower()

    def test_an_alias_means_one_column(self):
        spellings = [s for info in COLUMNS.values() for s in (info.name, *info.aliases)]
        assert len(spellings) == len(set(spellings))
        assert all(s == s.lower() for s in spellings)

    def test_all_ten_correlations_are_there(self):
        pairs = [(a, b) for i, a in enumerate(FIVE) for b in FIVE[i + 1 :]]
        assert {f"{a}_{b}_corr" for a, b in pairs} <= set(COLUMNS)
        assert set(CORRELATIONS) <= set(COLUMNS)

    def test_cannot_be_changed(self):
        with pytest.raises(TypeError):
            COLUMNS["x"] = None
        with pytest.raises(AttributeError):
            COLUMNS["ra"].unit = u.rad

    def test_describe(self):
        stars = table(mine=[1, 2, 3, 4])
        pmra = describe(stars["pmra"])
        assert (pmra.unit, pmra.meta["ucd"], pmra.description) == (
            u.mas / u.yr,
            COLUMNS["pmra"].ucd,
            COLUMNS["pmra"].description,
        )
        assert describe(stars["mine"]).unit is None


class TestReleases:
    @pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
    def test_entry(self, release):
        assert set(release.columns) <= set(COLUMNS)
        for service in release.services.values():
            assert set(service.names) <= set(COLUMNS)
        if not release.unknown:
            assert set(ASTROMETRY) <= set(release.columns)
            assert release.ref_epoch
            assert release.citation
            assert get_release(release.key) is get_release(release.name) is release

    def test_not_open_yet(self):
        with pytest.raises(InputError, match=r"'survey' gaia_dr4 cannot be used yet: .*; use gaia_dr3"):
            get_release("Gaia DR4")

    def test_unknown(self):
        with pytest.raises(InputError, match=r"'release' 'gaia' is not known; choose one of hipparcos2, "):
            get_release("gaia", argument="release")


class TestConform:
    def test_names_units_types_and_order_of_the_registry(self):
        raw = table()[["parallax", "pmdec", "dec", "ra", "pmra", "source_id"]]
        raw["parallax"] = raw["parallax"].astype("float32")
        raw["mine"] = "x"
        stars = conform(raw)
        assert stars.colnames == ["source_id", "ra", "dec", "parallax", "pmra", "pmdec"]
        for column in stars.itercols():
            info = COLUMNS[column.name]
            assert (column.unit, column.dtype, column.meta["ucd"]) == (info.unit, np.dtype(info.dtype), info.ucd)
            assert isinstance(column, MaskedColumn)
        assert raw.colnames[-1] == "mine"
        assert raw["pmra"].unit is None

    def test_meta_is_copied(self):
        raw = table()
        raw.meta["release"] = "mine"
        stars = conform(raw)
        assert stars.meta == raw.meta
        stars.meta["release"] = "other"
        assert raw.meta["release"] == "mine"

    def test_again_is_the_same(self):
        once = conform(table())
        twice = conform(once)
        assert once.colnames == twice.colnames
        assert all(np.array_equal(once[name], twice[name]) for name in once.colnames)

    @pytest.mark.parametrize("unit", [u.arcsec / u.yr, u.deg / u.Myr, u.rad / u.s])
    def test_units_convert(self, unit):
        raw = table(pmra=np.arange(1.0, 5.0) * (1 * u.mas / u.yr).to_value(unit))
        raw["pmra"].unit = unit
        assert floats(conform(raw)["pmra"]) == pytest.approx((raw["pmra"].data * unit).to_value(u.mas / u.yr))

    @pytest.mark.parametrize(
        ("name", "unit"), [("pmra", u.km / u.s), ("parallax", u.pc), ("ra", u.m), ("pmdec", u.mas)]
    )
    def test_wrong_unit(self, name, unit):
        raw = table()
        raw[name].unit = unit
        with pytest.raises(InputError, match=rf"'{name}' has the unit {unit}, which does not convert to .*\.unit"):
            conform(raw)

    def test_unit_nobody_knows(self):
        raw = table()
        raw["pmra"].unit = u.Unit("furlong", parse_strict="silent")
        with pytest.raises(InputError, match="'pmra' has the unit furlong"):
            conform(raw)

    def test_missing_values_are_masked_and_rows_kept(self):
        raw = table(
            pmra=MaskedColumn([1.0, 2, 3, 4], mask=[1, 0, 0, 0]),
            pmdec=[1.0, np.nan, 3, 4],
            parallax=[1.0, 2, np.inf, 4],
            source_id=MaskedColumn([1, 2, 3, 4], mask=[0, 0, 0, 1]),
        )
        stars = conform(raw)
        assert len(stars) == 4
        assert list(stars["pmra"].mask) == [True, False, False, False]
        assert list(stars["pmdec"].mask) == [False, True, False, False]
        assert list(stars["parallax"].mask) == [False, False, True, False]
        assert list(stars["source_id"].mask) == [False, False, False, True]
        assert list(usable_rows(stars)) == [False, False, False, True]
        assert np.isnan(floats(stars["pmra"])[0])

    def test_none_in_a_column_of_objects_is_missing(self):
        stars = conform(table(pmra=np.array([1.0, None, 3.0, 4.0], dtype=object)))
        assert list(stars["pmra"].mask) == [False, True, False, False]

    def test_qtable_and_masked_quantities(self):
        raw = QTable(table())
        raw["pmra"] = Masked([1, 2, 3, 4] * u.arcsec / u.yr, mask=[False, True, False, False])
        raw["parallax"] = [1, 2, 3, 4] * u.mas
        stars = conform(raw)
        assert type(stars) is Table
        assert stars["pmra"][2] == pytest.approx(3000)
        assert list(stars["pmra"].mask) == [False, True, False, False]

    def test_spellings_of_catalogues(self):
        raw = table()
        raw.rename_columns(["ra", "dec", "pmra", "pmdec", "parallax"], ["RA_ICRS", "DE_ICRS", "pmRA", "pmDE", "Plx"])
        raw.rename_column("source_id", "Source")
        assert {*ASTROMETRY, "source_id"} == set(conform(raw).colnames)

    def test_text_called_source_is_no_identifier(self):
        raw = table(Source=["mine"] * 4)
        raw.remove_column("source_id")
        assert set(conform(raw).colnames) == set(ASTROMETRY)

    def test_text_of_numbers_under_an_alias_is_read(self):
        """As where one cell of a column is no number: it must not cost the whole column without a word."""
        cells = MaskedColumn(["10.5", " NA ", "...", "12"], mask=[False, False, False, True])
        assert conform(table(Gmag=cells))["phot_g_mean_mag"].tolist() == [10.5, None, None, None]
        assert conform(table(Gmag=[b"10.5", b"", b"-", b"11"]))["phot_g_mean_mag"].tolist() == [10.5, None, None, 11]
        with pytest.raises(InputError, match="'Gmag' must hold numbers, and holds '12,5'"):
            conform(table(Gmag=["10.5", "11", "12,5", "12"]))
        assert "phot_g_mean_mag" not in conform(table(Gmag=["faint", "faint", "12", "--"])).colnames

    def test_text_of_a_votable_is_read_like_any(self):
        """There it is an array of objects."""
        cells = np.array(["10.5", "null", "", "12"], object)
        for name in ("Gmag", "phot_g_mean_mag"):
            assert conform(table(**{name: cells}))["phot_g_mean_mag"].tolist() == [10.5, None, None, 12]

    @pytest.mark.parametrize("cells", [["1", "1", "1,3", "2"], ["1", "2", "1", "2"], [b"R\xc3\xb6ser 2011"] * 4])
    def test_numbers_of_references_are_no_identifiers(self, cells):
        raw = table(Source=np.array(cells))
        raw.remove_column("source_id")
        assert set(conform(raw).colnames) == set(ASTROMETRY)

    @pytest.mark.parametrize("nothing", ["", " NA", "null"])
    def test_identifiers_that_are_missing_in_text(self, nothing):
        ids = [str(2**62 + 1), nothing, "3", "4"]
        assert conform(table(source_id=ids))["source_id"].tolist() == [2**62 + 1, None, 3, 4]

    def test_registry_name_goes_before_an_alias(self):
        assert conform(table(Plx=[9.0] * 4))["parallax"][0] == 1.0

    def test_mapping(self):
        stars = conform(table(mu=[5.0] * 4), columns={"pmra": "mu"})
        assert list(stars["pmra"]) == [5.0] * 4

    @pytest.mark.parametrize(
        ("mapping", "rule"),
        [({"speed": "pmra"}, "'speed', which is no registry"), ({"pmra": "mu"}, "pmra is 'mu', but the table has no")],
    )
    def test_mapping_is_refused(self, mapping, rule):
        with pytest.raises(InputError, match=f"'columns' .*{rule}"):
            conform(table(), columns=mapping)

    @pytest.mark.parametrize("missing", [["pmra"], ["ra", "dec"], list(ASTROMETRY)])
    def test_missing_columns(self, missing):
        raw = table()
        raw.remove_columns(missing)
        with pytest.raises(InputError, match=f"'table' lacks the columns? {', '.join(missing)}; rename"):
            conform(raw)

    def test_no_rows(self):
        with pytest.raises(InputError, match="'table' has no rows"):
            conform(table()[:0])

    @pytest.mark.parametrize("raw", [None, {"ra": [1]}, np.zeros(3), table()[0]])
    def test_no_table(self, raw):
        with pytest.raises(InputError, match="'table' must be an astropy Table"):
            conform(raw)

    def test_floating_source_id(self):
        with pytest.raises(InputError, match="'source_id' is stored as floating point, which loses digits"):
            conform(table(source_id=[2.0**60, 2, 3, 4]))

    def test_floating_numbers_that_lose_no_digit(self):
        """As a join leaves Hipparcos's, with NaN where there is none."""
        stars = table(HIP=[1.0, np.nan, 3, 4])
        if "source_id" in stars.colnames:
            stars.remove_column("source_id")
        numbers = conform(stars)["source_id"]
        assert numbers.tolist() == [1, None, 3, 4]
        with pytest.raises(InputError, match=r"must hold integers that int64 can hold, and holds 2\.5"):
            conform(table(source_id=[1.0, 2.5, 3, 4]))

    @pytest.mark.parametrize(
        "values", [["1.5", "", "3", "4"], np.array([b"1.5", b"--", b"3", b"4"]), np.array([1.5, "", 3, 4], object)]
    )
    def test_text_behind_a_mask(self, values):
        stars = table(parallax=MaskedColumn(values, mask=[False, True, False, False]))
        assert conform(stars)["parallax"].tolist() == [1.5, None, 3, 4]

    def test_hipparcos_numbers_of_a_cross_match(self):
        """Most stars of Gaia have none: they are no identifiers there."""
        stars = table(HIP=[0, 0, 0, 4], phot_g_mean_mag=[10.0] * 4)
        stars.remove_columns({"source_id"} & set(stars.colnames))
        assert "source_id" not in conform(stars).colnames
        assert conform(stars, {"source_id": "HIP"})["source_id"].tolist() == [None, None, None, 4]

    @pytest.mark.parametrize("unit", ["mas/y", "masyr-1", "MAS/YR", "mas / Year", "milliarcsec/yr", "1e-3 ''/yr"])
    def test_motions_in_units_as_people_write_them(self, unit):
        stars = table()
        stars["pmra"].unit = u.Unit(unit, parse_strict="silent")
        np.testing.assert_allclose(conform(stars)["pmra"], table()["pmra"])

    @pytest.mark.parametrize("unit", ["km/sec", "KM/S", "km s-1", "km / seconds"])
    def test_velocities_in_units_as_people_write_them(self, unit):
        stars = table(radial_velocity=[1.0, 2, 3, 4])
        stars["radial_velocity"].unit = u.Unit(unit, parse_strict="silent")
        assert conform(stars)["radial_velocity"].tolist() == [1, 2, 3, 4]

    @pytest.mark.parametrize("unit", ["mag (Vega)", "Mag", "mag(AB)", "MAG"])
    def test_magnitudes_of_any_system(self, unit):
        stars = table(phot_g_mean_mag=[11.0, 12, 13, 14])
        stars["phot_g_mean_mag"].unit = u.Unit(unit, parse_strict="silent")
        assert conform(stars)["phot_g_mean_mag"].tolist() == [11, 12, 13, 14]
        stars["phot_g_mean_mag"].unit = u.Unit("magic", parse_strict="silent")
        with pytest.raises(InputError, match="'phot_g_mean_mag' has the unit magic"):
            conform(stars)

    def test_text_in_the_place_of_numbers_is_told(self):
        """As where a file has a line of units below the names."""
        stars = Table({"RA_ICRS": ["deg", "1"], "DE_ICRS": ["deg", "1"], "pmRA": [1, 1], "pmDE": [1, 1], "Plx": [1, 1]})
        with pytest.raises(
            InputError, match=r"lacks the columns ra, dec; .* \('RA_ICRS', 'DE_ICRS': text, not numbers\)"
        ):
            conform(stars)
        with pytest.raises(InputError, match="'ra' must hold numbers in degrees, and holds '11:25:34'"):
            conform(table(ra=["11:25:34"] * 4))
        with pytest.raises(InputError, match="integers that int64 can hold, and holds 'Gaia DR3 12'"):
            conform(table(source_id=["Gaia DR3 12"] * 4))

    def test_a_data_frame(self):
        frame = type("DataFrame", (), {})()
        with pytest.raises(InputError, match=r"not DataFrame; make one with Table\.from_pandas"):
            conform(frame)

    def test_spellings_of_vizier(self):
        """All those in which it serves the releases, correlations among them."""
        for names in (VIZIER_DR2, VIZIER_EDR3, VIZIER_DR3):
            raw = Table({theirs: [1] for theirs in names.values()})
            assert set(conform(raw).colnames) == set(names)

    @pytest.mark.parametrize(
        "values", [["a", "b", "c", "d"], np.array([2**63 + 5] * 4, "u8"), np.array([None, 1, 2, 3], object)]
    )
    def test_source_id_that_is_no_int64(self, values):
        with pytest.raises(InputError, match="'source_id' must hold integers"):
            conform(table(source_id=values))

    def test_source_id_keeps_all_digits(self):
        ids = np.array([2**63 - 1, 2**62 + 1, 3, 4])
        for values in (ids, ids.astype("u8"), ids.astype(str), MaskedColumn(ids)):
            assert list(conform(table(source_id=values))["source_id"]) == list(ids)

    def test_integers_are_not_rounded(self):
        assert conform(table(solved=[31.0, 95, 3, np.nan]))["astrometric_params_solved"][1] == 95
        with pytest.raises(InputError, match="'solved' must hold integers"):
            conform(table(solved=[31.5, 95, 3, 3]))

    @pytest.mark.parametrize("values", [["x", "y", "z", "w"], np.array([{}] * 4, object)])
    def test_text(self, values):
        with pytest.raises(InputError, match="'pmra' must hold numbers"):
            conform(table(pmra=values))

    def test_more_than_one_value_a_row(self):
        with pytest.raises(InputError, match="'pmra' must have one value a row"):
            conform(table(pmra=np.ones((4, 2))))

    @pytest.mark.parametrize(("name", "value"), [("ra", 721.0), ("ra", -400.0), ("dec", 91.0), ("dec", -90.5)])
    def test_off_the_sky(self, name, value):
        with pytest.raises(InputError, match=f"'{name}' leaves .* deg; is it in another unit"):
            conform(table(**{name: [value] * 4}))

    def test_colour_is_made_where_it_is_not_there(self):
        stars = conform(table(phot_bp_mean_mag=[12.5, 13, np.nan, 14], phot_rp_mean_mag=[11.0] * 4))
        assert stars["bp_rp"][0] == pytest.approx(1.5)
        assert stars["bp_rp"].mask[2]
        assert (stars["bp_rp"].unit, stars["bp_rp"].meta["ucd"]) == (u.mag, COLUMNS["bp_rp"].ucd)
        given_one = conform(table(phot_bp_mean_mag=[12.5] * 4, phot_rp_mean_mag=[11.0] * 4, bp_rp=[0.5] * 4))
        assert given_one["bp_rp"][0] == 0.5


# Few values, so that ties and repeated identifiers are common.
numbers = st.sampled_from([0.0, 1.0, 2.0, np.nan])
rows = st.lists(
    st.tuples(st.integers(1, 4) | st.none(), *[numbers] * 5, st.sampled_from([0.1, 0.2])), min_size=1, max_size=12
)


class TestOrder:
    @staticmethod
    def build(drawn):
        ids, ra, dec, pmra, pmdec, parallax, error = zip(*drawn, strict=True)
        mask = [i is None for i in ids]
        return Table(
            {
                "source_id": MaskedColumn([i or 0 for i in ids], mask=mask),
                "ra": ra,
                "dec": dec,
                "pmra": pmra,
                "pmdec": pmdec,
                "parallax": parallax,
                "pmra_error": error,
            }
        )

    @given(rows, st.randoms(use_true_random=False))
    def test_does_not_depend_on_the_users_order(self, drawn, random):
        shuffled = list(drawn)
        random.shuffle(shuffled)
        first, second = conform(self.build(drawn)), conform(self.build(shuffled))
        a, b = first[canonical_order(first)], second[canonical_order(second)]
        for name in first.colnames:
            assert np.array_equal(np.ma.filled(a[name], -9), np.ma.filled(b[name], -9))

    @given(rows, st.randoms(use_true_random=False))
    def test_usable_stars_do_not_either(self, drawn, random):
        shuffled = list(drawn)
        random.shuffle(shuffled)

        def usable(drawn):
            stars = conform(self.build(drawn))
            stars = stars[canonical_order(stars)]
            return [str(row) for row in stars[usable_rows(stars)]]

        assert usable(drawn) == usable(shuffled)

    @given(rows)
    def test_is_a_permutation(self, drawn):
        stars = conform(self.build(drawn))
        assert sorted(canonical_order(stars)) == list(range(len(stars)))

    def test_is_by_source_id_then_astrometry(self):
        stars = conform(table(source_id=[3, 1, 2, 1], dec=[1.0, 2, 3, 1], ra=[1.0] * 4))
        assert list(canonical_order(stars)) == [3, 1, 2, 0]

    def test_without_source_id(self):
        raw = table(ra=[4.0, 2, 3, 1])
        raw.remove_column("source_id")
        assert list(canonical_order(conform(raw))) == [3, 1, 2, 0]

    def test_of_one_star_twice_the_first_that_is_complete_counts(self):
        stars = conform(table(source_id=[7, 7, 7, 8], ra=[3.0, 2, 1, 5], pmra=[1.0, 1, np.nan, 1]))
        assert list(usable_rows(stars)) == [False, True, False, True]

    def test_stars_without_identifier_are_not_taken_for_one(self):
        stars = conform(table(source_id=MaskedColumn([7, 7, 7, 7], mask=[0, 1, 1, 0])))
        assert list(usable_rows(stars)) == [True, True, True, False]


@pytest.mark.parametrize("order", [("Gmag", "gmag", "rmag"), ("gmag", "rmag", "Gmag"), ("gmag", "Gmag", "rmag")])
def test_the_g_of_another_survey_is_not_gaias(order):
    magnitudes = {"Gmag": np.full(4, 15.0), "gmag": np.full(4, 16.0), "rmag": np.full(4, 14.0)}
    assert set(conform(table(**{name: magnitudes[name] for name in order}))["phot_g_mean_mag"]) == {15.0}
    stars = table(gmag=magnitudes["gmag"])
    assert "phot_g_mean_mag" in conform(stars).colnames  # names in small letters
    stars["rmag"] = magnitudes["rmag"]
    assert "phot_g_mean_mag" not in conform(stars).colnames


@pytest.mark.parametrize("missing", [-1, 0, np.iinfo("int64").min])
def test_what_stands_for_no_identifier_is_none(missing):
    stars = conform(table(source_id=np.array([missing, 7, missing, 8])))
    assert stars["source_id"].tolist() == [None, 7, None, 8]
    assert usable_rows(stars).all()
    assert conform(table(source_id=[-1, 7, -2, 0]))["source_id"].tolist() == [-1, 7, -2, 0]


def test_correlations_in_percent():
    stars = table(pmra_pmdec_corr=[50.0, -20, 0, 100])
    stars["pmra_pmdec_corr"].unit = u.percent
    np.testing.assert_allclose(conform(stars)["pmra_pmdec_corr"], [0.5, -0.2, 0, 1])
    stars["pmra_pmdec_corr"].unit = u.Unit("---", parse_strict="silent")  # for "none"
    assert conform(stars)["pmra_pmdec_corr"].mask.tolist() == [True, True, False, True]


@pytest.mark.parametrize("name", ["pmra", "pmdec", "parallax"])
def test_numbers_for_no_value(name):
    stars = table(**{name: np.array([-999.0, -9999, -99999, -998])})
    assert conform(stars)[name].tolist() == [None, None, None, -998]


@pytest.mark.parametrize(
    ("name", "values", "wrong"),
    [
        ("source_id", ["5376170856881794560", "2", "3", "Total"], "'Total'"),
        ("source_id", np.array([1.0, 2.0, 3.0, 4.5]), "4.5"),
        ("solved", np.array([31, 95, 100_000, 3]), "100000"),
    ],
)
def test_what_is_no_integer_is_named(name, values, wrong):
    with pytest.raises(InputError, match=f"can hold, and holds {wrong}$"):
        conform(table(**{name: values}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("pmra", 1e20), ("pmdec", -1e300), ("parallax", 1e15), ("pmra_error", 1e20), ("phot_g_mean_mag", -1e30)],
)
def test_what_no_star_has_is_missing(name, value):
    """1e20 and its like stand for what was not measured."""
    stars = table(**{name: np.array([1.0, value, 2.0, np.nan])})
    assert conform(stars)[name].mask.tolist() == [False, True, False, True]


def test_the_largest_values_follow_the_unit():
    stars = table(pmra=np.array([1.0, 90.0, 101.0, 2.0]))
    stars["pmra"].unit = u.arcsec / u.yr
    assert conform(stars)["pmra"].mask.tolist() == [False, False, True, False]


def test_columns_of_coordinates_and_times_are_left_alone():
    stars = table()
    stars["sky"] = SkyCoord(stars["ra"], stars["dec"], unit="deg")
    stars["epoch"] = Time(np.full(4, 2016.0), format="jyear")
    assert set(conform(stars).colnames) == set(conform(table()).colnames)


def test_what_a_method_adds_is_not_looked_for():
    stars = table(group=np.array(["Hyades"] * 4), membership_prob=np.full(4, 7.0))
    assert not set(RESULTS) & set(conform(stars).colnames)
    with pytest.raises(InputError, match="maps 'group', which is no registry name"):
        conform(stars, {"group": "ra"})


def test_repeated_zeros_are_no_identifiers():
    """Catalogues have HIP = 0 where a star is none of Hipparcos."""
    stars = table(4)
    stars.remove_column("source_id")
    stars["HIP"] = [0, 0, 7, 7]
    known = conform(stars)
    assert known["source_id"].mask.tolist() == [True, True, False, False]
    assert usable_rows(known).sum() == 3
    stars["HIP"] = [0, 1, 2, 3]  # somebody counted from zero
    assert not np.ma.getmaskarray(conform(stars)["source_id"]).any()


@pytest.mark.parametrize(
    ("name", "unit"), [("phot_g_mean_mag", "mag(AB)"), ("pmra", "mas/year"), ("phot_g_mean_mag", "mag(Vega)")]
)
def test_units_whose_meaning_is_plain(name, unit):
    stars = table(3, phot_g_mean_mag=[15.0, 16.0, 17.0])
    before = conform(stars)[name].tolist()
    stars[name].unit = u.Unit(unit, parse_strict="silent")
    assert conform(stars)[name].tolist() == before


def test_describe_can_keep_what_a_column_says():
    column = Table({"mine": [1.0]})["mine"]
    column.description = "My own"
    describe(column, COLUMNS["pmra"], missing_only=True)
    assert (column.description, column.unit, column.meta["ucd"]) == ("My own", u.mas / u.yr, COLUMNS["pmra"].ucd)


@pytest.mark.parametrize("correlations_given", [(0.9, 0.9, -0.9), (2.0, np.nan, np.inf), (0.0, 0.0, 0.0)])
def test_correlations_are_those_of_a_distribution(correlations_given):
    stars = table(3, **{name: [value] * 3 for name, value in zip(CORRELATIONS, correlations_given, strict=True)})
    matrices = correlations(conform(stars))
    assert matrices.shape == (3, 3, 3)
    assert np.linalg.eigvalsh(matrices).min() > 0.009
    np.testing.assert_allclose(np.einsum("nii->ni", matrices), 1)
    np.testing.assert_allclose(matrices, matrices.transpose(0, 2, 1))


def test_without_errors_hipparcos_has_its_own():
    """They are some forty times Gaia's at these magnitudes."""
    errors = standard_errors(conform(table(2, hp_mag=[9.0, 12.0])))
    np.testing.assert_allclose(errors, [[0.987, 0.8295, 1.05], [3.1396, 2.6386, 3.34]])
    both = conform(table(2, hp_mag=[9.0, 9.0], phot_g_mean_mag=[9.0, np.nan]))
    np.testing.assert_allclose(standard_errors(both)[:, 2], [0.0215, 1.05])
    assert np.isnan(standard_errors(conform(table(2)))).all()


@pytest.mark.parametrize("release", ["Gaia DR2", "gaia_dr2", "GAIA DR2 ", "gaiadr2", "DR2", "Gaia Data Release 2"])
def test_a_release_is_one_whatever_its_spelling(release):
    """For its errors as for its zero point."""
    stars = conform(table(1, phot_g_mean_mag=[15.0]))
    stars.meta["release"] = release
    assert parallax_zero_point(stars).tolist() == [-0.029]
    np.testing.assert_allclose(standard_errors(stars)[0], expected_errors(np.array([15.0]), dr2=True)[0])


@pytest.mark.parametrize("numbers", ["none", "masked", "rows"])
def test_a_star_that_is_there_twice_counts_once(numbers):
    stars = table(6)
    for name in ("ra", "dec", "pmra", "pmdec", "parallax"):
        stars[name] = np.arange(6.0) + 1
        stars[name][4] = stars[name][1]
    stars["ra"][5] = stars["ra"][2]  # of one right ascension, and another star
    if numbers == "none" and "source_id" in stars.colnames:
        stars.remove_column("source_id")
    elif numbers == "masked":
        stars["source_id"] = MaskedColumn(np.zeros(6, int), mask=True)
    elif numbers == "rows":
        stars["source_id"] = np.arange(6)
    assert usable_rows(conform(stars)).tolist() == [True, True, True, True, False, True]
    assert usable_rows(conform(stars[::-1])).sum() == 5


def test_a_column_has_one_meaning():
    stars = Table({"RA_ICRS": [1.0], "DE_ICRS": [1.0], "Plx": [1.0], "pmRA": [1.0], "pmDE": [2.0]})
    with pytest.raises(InputError, match="'columns' makes 'pmDE' pmra and pmdec"):
        conform(stars, {"pmra": "pmDE"})


def test_units_that_a_votable_spells_out_are_those_of_their_name(tmp_path):
    stars = table(4)
    stars["ra"].unit, stars["pmra"].unit = "deg", "mas/yr"
    path = tmp_path / "stars.vot"
    stars.write(path, format="votable")
    path.write_text(path.read_text().replace('unit="deg"', 'unit="degree"').replace("mas.yr**-1", "mas/year"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of such units
        spelt = Table.read(path, format="votable")
    assert "degree" in path.read_text()
    assert "mas/year" in path.read_text()
    assert conform(spelt)["ra"].unit == u.deg
    np.testing.assert_allclose(conform(spelt)["pmra"], stars["pmra"])


@pytest.mark.parametrize(
    "meta",
    [
        {"release_key": "gaia_dr3"},
        {"release_key": "unknown", "release": "Gaia DR3"},  # a file that said nothing, and a user who did
        {"Release": "Gaia DR3"},
        {"RELEASE": "DR3", "release_key": "gaia_dr3"},
    ],
)
def test_a_release_is_stated_wherever_it_is_known(meta):
    stars = table(4)
    stars.meta |= meta
    assert conform(stars).meta["release"] == release_name(stars) == "Gaia DR3"
    assert np.all(parallax_zero_point(conform(stars)) < 0)


def test_the_zero_point_without_magnitudes_is_that_of_bright_members():
    """Those that a cluster's mean parallax comes from."""
    bright = conform(table(4, phot_g_mean_mag=[16.0] * 4))
    none = conform(table(4))
    for stars in (bright, none):
        stars.meta["release"] = "Gaia DR3"
    np.testing.assert_allclose(parallax_zero_point(none), parallax_zero_point(bright))


@pytest.mark.parametrize("nothing", [None, np.ma.masked, "", "unknown"])
def test_a_release_that_is_nothing_is_unknown(nothing):
    stars = table(4)
    stars.meta["release"] = nothing
    assert release_name(conform(stars)) == "unknown"


def test_two_releases_are_refused():
    stars = table(4)
    stars.meta |= {"release_key": "gaia_dr3", "release": "Gaia DR2"}
    with pytest.raises(InputError, match=r"'table' is said to be from gaia_dr2 and from gaia_dr3"):
        conform(stars)


def test_designations_state_the_release():
    stars = table(4)
    stars["DESIGNATION"] = [f"Gaia EDR3 {n}" for n in range(4)]
    assert conform(stars).meta["release_key"] == "gaia_edr3"
    stars.meta["release"] = "Gaia DR3"
    assert conform(stars).meta["release"] == "Gaia DR3"
    stars = table(4)
    stars["designation"] = ["Gaia DR2 1", "Gaia DR3 1", "Gaia DR3 2", "Gaia DR3 3"]
    assert "release" not in conform(stars).meta


def test_a_rule_for_the_zero_point_that_is_none_is_refused():
    with pytest.raises(InputError, match="'rule' must be lindegren2021"):
        parallax_zero_point(conform(table(4)), "typo")


def test_registry_names_are_what_the_fit_took():
    stars = Table({"RA_ICRS": [1.0], "alpha": [1.0], "Plx": [1.0], "group": ["mine"]})
    assert registry_names(stars) == {"ra": "RA_ICRS", "parallax": "Plx", "group": "group"}
    stars.meta["decocc"] = {"columns": {"ra": "alpha", "dec": "gone"}}
    assert registry_names(stars)["ra"] == "alpha"


def test_what_lies_behind_a_mask_does_not_matter():
    stars = table(4)
    bits = np.full(4, 0x7FA00000, np.uint32).view(np.float32)  # a NaN that signals, as memory may hold
    stars["bp_rp"] = MaskedColumn(np.where([True, False, False, False], bits, np.float32(1)), mask=[True] + [False] * 3)
    assert np.isnan(floats(conform(stars)["bp_rp"])).tolist() == [True, False, False, False]


def test_a_unit_of_the_users_own_converts():
    stars = table(4)
    stars["pmra"].unit = u.def_unit("tick", 2 * u.mas / u.yr)
    np.testing.assert_allclose(conform(stars)["pmra"], 2 * np.asarray(stars["pmra"]))


@pytest.mark.parametrize(
    ("meta", "stated"),
    [
        ({"RELEASE": "DR2", "REFEPOCH": "J2015.5"}, ("Gaia DR2", "gaia_dr2", 2015.5)),
        ({"release_key": "unknown", "release": "Gaia DR2"}, ("Gaia DR2", "gaia_dr2", 2015.5)),
        ({"release_key": "unknown", "release": "unknown"}, ("Gaia EDR3", "gaia_edr3", 2016.0)),  # as designated
        ({"release": "My survey 7", "ref_epoch": 2003}, ("My survey 7", "unknown", 2003.0)),
    ],
)
def test_what_a_file_states_is_said_in_one_way(meta, stated):
    stars = Table({"designation": ["Gaia EDR3 1"]}, meta=meta)
    state_release(stars)
    assert tuple(stars.meta[key] for key in ("release", "release_key", "ref_epoch")) == stated
    assert not [key for key in stars.meta if key.isupper()]


def test_releases_go_to_other_processes():
    release = RELEASES["gaia_dr3"]
    assert pickle.loads(pickle.dumps(release)) is copy.deepcopy(release) is release
    assert {release: 1}[release] == 1
