import gzip
import os

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits, votable
from astropy.table import Column, MaskedColumn, QTable, Table

from decocc_vo import COLUMNS, RELEASES, InputError, ServiceError, read_stars
from decocc_vo.columns import ASTROMETRY, conform
from decocc_vo.votable import write_table

# More digits than a double holds.
LARGE_ID = 5_278_130_712_345_678_901

WRITERS = {
    "fits": "fits",
    "fits.gz": "fits",
    "vot": "votable",
    "xml": "votable",
    "ecsv": "ascii.ecsv",
    "csv": "ascii.csv",
    "parquet": "parquet",
}


@pytest.fixture
def stars():
    """Six stars with what a user may have: a masked float, a masked integer, text, columns nobody knows."""
    return Table(
        {
            "source_id": np.arange(LARGE_ID, LARGE_ID + 6),
            "ra": np.linspace(359.9, 360.0, 6, endpoint=False),
            "dec": np.linspace(-1, 1, 6),
            "pmra": [1.5, -2.25, 3, 4, 5, 6],
            "pmdec": [1.0, 2, 3, 4, 5, 6],
            "parallax": MaskedColumn([1.0, 2, 3, 4, 5, 6], mask=[0, 0, 1, 0, 0, 0]),
            "number": MaskedColumn([1, 2, 3, LARGE_ID, 5, 6], mask=[0, 1, 0, 0, 0, 0]),
            "label": ["a", "b, c", "d", "e", "f", "ghijk"],
        },
        units={"ra": u.deg, "dec": u.deg, "pmra": u.mas / u.yr, "pmdec": u.mas / u.yr, "parallax": u.mas},
    )


def write(table, path):
    table.write(path, format=WRITERS[path.name.split(".", 1)[1]])
    return path


@pytest.mark.parametrize("ending", WRITERS)
def test_round_trip(stars, tmp_path, ending):
    back = read_stars(write(stars, tmp_path / f"stars.{ending}"))
    assert type(back) is Table
    assert back.colnames == stars.colnames
    assert back["source_id"].dtype.kind == back["number"].dtype.kind == "i"
    for name in stars.colnames:
        assert np.array_equal(np.ma.getmaskarray(back[name]), np.ma.getmaskarray(stars[name])), name
        assert np.ma.allequal(np.ma.asarray(back[name]), np.ma.asarray(stars[name])), name
    assert back["pmra"].unit == u.mas / u.yr
    assert back["pmra"].meta["ucd"] == COLUMNS["pmra"].ucd
    assert back["number"].unit is None
    checked = conform(back)
    assert list(checked["source_id"]) == list(stars["source_id"])
    assert checked.meta["source"] == f"file stars.{ending} ({back.meta['source'].split('(')[1]}"


def test_every_real_field_is_read_and_passes_the_door(shared_data):
    files = sorted((shared_data / "fields" / "stars").glob("*.fits"))
    assert files
    for path in files:
        stars = read_stars(path)
        header = fits.getheader(path, 1)
        assert stars.meta["release"] == header["RELEASE"]
        assert RELEASES[stars.meta["release_key"]].ref_epoch == stars.meta["ref_epoch"] == header["REFEPOCH"]
        assert stars.meta["citation"]
        assert len(conform(stars)) == len(stars) == header["NAXIS2"]


@pytest.mark.parametrize("ending", ["vot", "ecsv", "csv", "parquet", "fits"])
def test_a_real_field_through_each_format(field, tmp_path, ending):
    stars = field("edr3_king5")
    stars.meta = {}
    back = conform(read_stars(write(stars, tmp_path / f"stars.{ending}")))
    first = conform(stars)
    for name in first.colnames:
        assert np.array_equal(np.ma.filled(first[name], -9), np.ma.filled(back[name], -9)), name


class TestRelease:
    def test_fits_header_in_any_case(self, stars, tmp_path):
        stars.meta = {"release": "gaia dr2", "refepoch": 2015.5}
        back = read_stars(write(stars, tmp_path / "a.fits"))
        assert (back.meta["release"], back.meta["release_key"], back.meta["ref_epoch"]) == (
            "Gaia DR2",
            "gaia_dr2",
            2015.5,
        )
        assert "RELEASE" not in back.meta

    def test_fits_first_header(self, stars, tmp_path):
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(3)), fits.table_to_hdu(stars)])
        hdus[0].header["RELEASE"] = "Gaia EDR3"
        hdus.writeto(tmp_path / "a.fits")
        assert read_stars(tmp_path / "a.fits").meta["release_key"] == "gaia_edr3"

    def test_votable_info_and_coosys(self, stars, tmp_path):
        document = votable.from_table(stars)
        resource = document.resources[0]
        resource.infos.append(votable.tree.Info(name="RELEASE", value="gaia_dr2"))
        resource.coordinate_systems.append(votable.tree.CooSys(ID="sys", system="ICRS", epoch="J2015.5"))
        document.to_xml(str(tmp_path / "a.vot"))
        meta = read_stars(tmp_path / "a.vot").meta
        assert (meta["release"], meta["release_key"], meta["ref_epoch"]) == ("Gaia DR2", "gaia_dr2", 2015.5)

    def test_votable_epoch_of_the_columns_system(self, stars, tmp_path):
        document = votable.from_table(stars)
        systems = document.resources[0].coordinate_systems
        systems.append(votable.tree.CooSys(ID="old", system="ICRS", epoch="J1991.25"))
        systems.append(votable.tree.CooSys(ID="new", system="ICRS", epoch="J2015.5"))
        document.resources[0].tables[0].fields[1].ref = "new"
        document.to_xml(str(tmp_path / "a.vot"))
        assert read_stars(tmp_path / "a.vot").meta["ref_epoch"] == 2015.5

    def test_votable_that_nests_its_resources(self, stars, tmp_path):
        document = votable.from_table(stars)
        inner, other, around = document.resources[0], votable.tree.Resource(), votable.tree.Resource()
        other.infos.append(votable.tree.Info(name="release", value="Gaia DR3"))  # of another table
        around.infos.append(votable.tree.Info(name="release", value="Gaia DR2"))
        around.resources.extend([votable.tree.Resource(), inner])
        around.resources[0].coordinate_systems.append(votable.tree.CooSys(ID="sys", system="ICRS", epoch="J2014.5"))
        document.resources[:] = [other, around]
        document.to_xml(str(tmp_path / "a.vot"))
        meta = read_stars(tmp_path / "a.vot").meta
        assert (meta["release_key"], meta["ref_epoch"]) == ("gaia_dr2", 2014.5)

    def test_fits_whose_first_hdu_is_a_votable(self, stars, tmp_path):
        # As TOPCAT writes FITS files; the table itself states nothing there.
        document = votable.from_table(stars[:0])
        document.resources[0].infos.append(votable.tree.Info(name="release", value="Gaia EDR3"))
        document.to_xml(str(tmp_path / "head.vot"))
        head = fits.PrimaryHDU(np.frombuffer((tmp_path / "head.vot").read_bytes(), "u1"))
        head.header["VOTMETA"] = True
        fits.HDUList([head, fits.table_to_hdu(stars)]).writeto(tmp_path / "a.fits")
        assert read_stars(tmp_path / "a.fits").meta["release_key"] == "gaia_edr3"

    def test_votable_with_the_comments_of_a_fits_file(self, stars, tmp_path):
        votable.from_table(stars).to_xml(str(tmp_path / "a.vot"))
        text = (tmp_path / "a.vot").read_text()
        stated = '<PARAM arraysize="10" datatype="char" name="RELEASE" value="Gaia EDR3"/>'
        comments = '<PARAM arraysize="6x2" datatype="char" name="COMMENT" value="first second">\n<DESCRIPTION>x'
        text = text.replace("<FIELD", f"{comments}</DESCRIPTION></PARAM>{stated}<FIELD", 1)
        (tmp_path / "a.vot").write_text(text)
        back = read_stars(tmp_path / "a.vot")
        assert back.meta["release_key"] == "gaia_edr3"
        assert back.colnames == stars.colnames

    def test_meta_of_ecsv_and_parquet(self, stars, tmp_path):
        stars.meta = {"release": "Hipparcos-2", "note": "mine"}
        for ending in ("ecsv", "parquet"):
            meta = read_stars(write(stars, tmp_path / f"a.{ending}")).meta
            assert (meta["release_key"], meta["ref_epoch"], meta["note"]) == ("hipparcos2", 1991.25, "mine")

    def test_unknown_is_said_and_never_guessed(self, stars, tmp_path):
        meta = read_stars(write(stars, tmp_path / "gaia_dr3.csv")).meta
        assert (meta["release"], meta["release_key"]) == ("unknown", "unknown")
        assert "ref_epoch" not in meta
        assert "citation" not in meta

    def test_a_release_of_the_users_own_keeps_its_name(self, stars, tmp_path):
        stars.meta = {"RELEASE": "My survey 7", "REFEPOCH": "2003.0"}
        meta = read_stars(write(stars, tmp_path / "a.fits")).meta
        assert (meta["release"], meta["release_key"], meta["ref_epoch"]) == ("My survey 7", "unknown", 2003.0)

    def test_argument_wins(self, stars, tmp_path):
        stars.meta = {"RELEASE": "My survey 7"}
        meta = read_stars(write(stars, tmp_path / "a.fits"), release="gaia_dr2").meta
        assert (meta["release_key"], meta["ref_epoch"]) == ("gaia_dr2", 2015.5)

    def test_argument_is_checked(self, stars, tmp_path):
        with pytest.raises(InputError, match="'release' 'gaia' is not known"):
            read_stars(write(stars, tmp_path / "a.fits"), release="gaia")

    @pytest.mark.parametrize(("epochs", "known"), [([2015.5] * 6, True), ([2015.5] * 5 + [2000.0], False)])
    def test_column_of_epochs(self, stars, tmp_path, epochs, known):
        stars["ref_epoch"] = epochs
        meta = read_stars(write(stars, tmp_path / "a.csv")).meta
        assert meta.get("ref_epoch") == (2015.5 if known else None)


class TestColumns:
    def test_rename(self, stars, tmp_path):
        stars.rename_columns(["pmra", "parallax"], ["mu_a", "plx_corrected"])
        stars["pmRA*"] = 7.0
        back = read_stars(write(stars, tmp_path / "a.ecsv"), columns={"pmra": "mu_a", "parallax": "plx_corrected"})
        assert list(back["pmra"]) == [1.5, -2.25, 3, 4, 5, 6]
        assert "mu_a" not in back.colnames
        assert "pmRA*" in back.colnames
        assert back["parallax"].meta["ucd"] == "pos.parallax"

    def test_column_that_had_the_name_is_kept(self, stars, tmp_path):
        stars["plx_corrected"] = 9.0
        back = read_stars(write(stars, tmp_path / "a.csv"), columns={"parallax": "plx_corrected"})
        assert list(back["parallax"]) == [9.0] * 6
        assert back["parallax_original"][0] == 1.0

    def test_two_change_places(self, stars, tmp_path):
        back = read_stars(write(stars, tmp_path / "a.csv"), columns={"pmra": "pmdec", "pmdec": "pmra"})
        assert (back["pmra"][1], back["pmdec"][1]) == (2.0, -2.25)

    @pytest.mark.parametrize(
        ("columns", "rule"),
        [
            ({"speed": "pmra"}, "'speed', which is no registry name"),
            ({"pmra": "mu"}, "pmra is 'mu', but the file has no"),
        ],
    )
    def test_refused(self, stars, tmp_path, columns, rule):
        with pytest.raises(InputError, match=f"'columns' .*{rule}"):
            read_stars(write(stars, tmp_path / "a.csv"), columns=columns)

    def test_users_unit_and_ucd_stay(self, stars, tmp_path):
        stars["pmra"].unit = u.arcsec / u.yr
        stars["pmra"].meta["ucd"] = "pos.pm"
        stars["pmra"].description = "mine"
        back = read_stars(write(stars, tmp_path / "a.ecsv"))["pmra"]
        assert (back.unit, back.meta["ucd"], back.description) == (u.arcsec / u.yr, "pos.pm", "mine")

    def test_ucd_of_a_fits_header(self, stars, tmp_path):
        hdu = fits.table_to_hdu(stars)
        hdu.header["TUCD8"] = "meta.note"
        hdu.writeto(tmp_path / "a.fits")
        assert read_stars(tmp_path / "a.fits")["label"].meta["ucd"] == "meta.note"

    def test_unit_nobody_knows_is_no_warning(self, stars, tmp_path):
        hdu = fits.table_to_hdu(stars)
        hdu.header["TUNIT7"] = "furlong"
        hdu.writeto(tmp_path / "a.fits")
        back = read_stars(tmp_path / "a.fits")
        assert str(back["number"].unit) == "furlong"
        assert len(conform(back)) == 6

    @pytest.mark.parametrize("ending", ["vot", "csv", "parquet", "fits"])
    def test_floating_source_id_is_stopped_at_the_door(self, stars, tmp_path, ending):
        stars["source_id"] = stars["source_id"].astype(float)
        back = read_stars(write(stars, tmp_path / f"a.{ending}"))
        with pytest.raises(InputError, match="'source_id' is stored as floating point"):
            conform(back)


class TestContent:
    def test_content_wins_over_the_ending(self, stars, tmp_path):
        write(stars, tmp_path / "a.ecsv").rename(tmp_path / "a.csv")
        write(stars, tmp_path / "b.vot").rename(tmp_path / "b.fits")
        assert read_stars(tmp_path / "a.csv")["parallax"].unit == u.mas
        assert read_stars(tmp_path / "b.fits").meta["source"] == "file b.fits (VOTable)"

    @pytest.mark.parametrize("ending", ["vot", "csv", "ecsv"])
    def test_gzip(self, stars, tmp_path, ending):
        path = write(stars, tmp_path / f"a.{ending}")
        packed = tmp_path / f"a.{ending}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert list(read_stars(packed)["source_id"]) == list(stars["source_id"])

    def test_nulls_of_csv_files(self, tmp_path):
        path = tmp_path / "a.csv"
        path.write_text("\ufeffsource_id,ra,label\n" + f"{LARGE_ID},1.5,null\n,NaN,x\n{LARGE_ID + 2},--,\n", "utf-8")
        back = read_stars(path)
        assert back["source_id"].dtype == np.int64
        assert list(back["source_id"].mask) == [False, True, False]
        assert back["source_id"][2] == LARGE_ID + 2
        assert list(back["ra"].mask) == [False, True, True]
        assert list(back["label"].mask) == [True, False, True]

    def test_integers_of_csv_files_keep_all_digits(self, tmp_path):
        rows = "1,11245374297921077249,1e19\n2,,99999999999999999999\n3,7,0.5\n"
        (tmp_path / "a.csv").write_text("ra,specobjid,flux\n" + rows)
        stars = read_stars(tmp_path / "a.csv")
        assert stars["specobjid"].tolist() == ["11245374297921077249", None, "7"]
        assert stars["flux"].tolist() == [1e19, 1e20, 0.5]

    def test_dates_and_flags_of_csv_files(self, tmp_path):
        path = tmp_path / "a.csv"
        path.write_text("ra,day,flag,nothing\n1,2016-01-02,true,\n2,2016-01-03,false,\n")
        back = read_stars(path)
        assert list(back["day"]) == ["2016-01-02", "2016-01-03"]
        assert list(back["flag"]) == [True, False]
        assert back["nothing"].mask.all()

    def test_foreign_parquet_with_nulls_and_categories(self, tmp_path):
        content = pa.table(
            {
                "source_id": pa.array([LARGE_ID, None, LARGE_ID + 1]),
                "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
                "name": pa.array(["x", None, "long"], pa.large_string()),
            }
        )
        pq.write_table(content, tmp_path / "a.parquet")
        back = read_stars(tmp_path / "a.parquet")
        assert back["source_id"].dtype == np.int64
        assert list(back["source_id"].mask) == [False, True, False]
        assert back["source_id"][2] == LARGE_ID + 1
        assert list(back["kind"]) == ["a", "b", "a"]
        assert list(back["name"].filled("-")) == ["x", "-", "long"]

    def test_parquet_with_a_votable_header(self, stars, tmp_path):
        stars["pmra"].unit = u.arcsec / u.yr
        document = votable.from_table(stars[:0])
        document.resources[0].infos.append(votable.tree.Info(name="release", value="Gaia DR2"))
        with (tmp_path / "head.xml").open("wb") as file:
            document.to_xml(file)
        columns = {
            column.name: pa.array(np.ma.getdata(column), mask=np.ma.getmaskarray(column)) for column in stars.itercols()
        }
        notes = {"IVOA.VOTable-Parquet.version": "1.0"}
        notes["IVOA.VOTable-Parquet.content"] = (tmp_path / "head.xml").read_bytes()
        pq.write_table(pa.table(columns).replace_schema_metadata(notes), tmp_path / "a.parquet")
        back = read_stars(tmp_path / "a.parquet")
        assert back["pmra"].unit == u.arcsec / u.yr
        assert back.meta["release_key"] == "gaia_dr2"


class TestMistakes:
    @pytest.mark.parametrize("name", ["stars", "stars.txt", "stars.gz", "stars.parquet.gz", "stars.pkl", ".fits"])
    def test_ending(self, tmp_path, name):
        (tmp_path / name).write_text("ra,dec\n1,2\n")
        with pytest.raises(
            InputError, match=r"'path' .* use one of \.fits, .*\.vot, .*\.ecsv, \.csv, \.tsv, \.parquet"
        ):
            read_stars(tmp_path / name)

    def test_no_path(self):
        with pytest.raises(InputError, match="'path' must be a file's name, not int"):
            read_stars(5)

    @pytest.mark.parametrize("ending", WRITERS)
    def test_absent(self, tmp_path, ending):
        with pytest.raises(ServiceError, match=rf"^'a\.{ending}' cannot be read: No such file or directory$"):
            read_stars(tmp_path / f"a.{ending}")

    def test_folder(self, tmp_path):
        (tmp_path / "a.fits").mkdir()
        with pytest.raises(ServiceError, match=r"'a\.fits' cannot be read: it is a folder"):
            read_stars(tmp_path / "a.fits")

    @pytest.mark.parametrize("ending", WRITERS)
    def test_pipe(self, tmp_path, ending):
        """One that was read for its first bytes has none for a second reader, who would wait for ever."""
        os.mkfifo(tmp_path / f"a.{ending}")
        with pytest.raises(InputError, match=rf"'a\.{ending}' is no regular file"):
            read_stars(tmp_path / f"a.{ending}")

    @pytest.mark.parametrize("ending", WRITERS)
    def test_empty(self, tmp_path, ending):
        (tmp_path / f"a.{ending}").write_bytes(gzip.compress(b"") if ending.endswith("gz") else b" \n")
        with pytest.raises(ServiceError, match=rf"'a\.{ending}' is empty"):
            read_stars(tmp_path / f"a.{ending}")

    @pytest.mark.parametrize("ending", WRITERS)
    @pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
    def test_truncated(self, stars, tmp_path, ending, part):
        # Enough rows that the cut goes through the data.
        table = stars[np.arange(600) % 6]
        path = write(table, tmp_path / f"a.{ending}")
        content = path.read_bytes()
        cut = int(part * len(content))
        if ending == "csv":  # a cut within a line's last field cannot be seen
            cut = content.rindex(b"\n", 0, cut) + 20
        path.write_bytes(content[:cut])
        with pytest.raises(ServiceError, match=rf"'a\.{ending}' ") as caught:
            read_stars(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize("ending", WRITERS)
    def test_something_else(self, tmp_path, ending):
        path = tmp_path / f"a.{ending}"
        path.write_bytes(b"\x00\x01 this is no table \xff\xfe\n" * 9)
        with pytest.raises(ServiceError, match=rf"'a\.{ending}' "):
            read_stars(path)

    def test_fits_without_a_table(self, tmp_path):
        fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "a.fits")
        with pytest.raises(ServiceError, match=r"'a\.fits' holds no table"):
            read_stars(tmp_path / "a.fits")

    def test_votable_without_a_table(self, tmp_path):
        (tmp_path / "a.vot").write_text('<?xml version="1.0"?><VOTABLE version="1.4"><RESOURCE/></VOTABLE>')
        with pytest.raises(ServiceError, match=r"'a\.vot' holds no table"):
            read_stars(tmp_path / "a.vot")

    def test_no_rows_is_for_the_door_to_say(self, stars, tmp_path):
        back = read_stars(write(stars[:0], tmp_path / "a.vot"))
        assert len(back) == 0
        with pytest.raises(InputError, match="no rows"):
            conform(back)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_name_that_is_there_twice_is_refused(stars, tmp_path, ending):
    path = tmp_path / f"stars.{ending}"
    if ending == "csv":
        path.write_text("ra,dec,pmra,pmra\n1,2,3,99\n")
    else:
        pq.write_table(pa.table([[1.0], [2.0]], names=["pmra", "pmra"]), path)
    with pytest.raises(InputError, match="two columns named 'pmra'"):
        read_stars(path)


@pytest.mark.parametrize(
    "text",
    [
        "ra, dec, pmra\n1, 2, 3\n4, None, \\N\n",
        "# from somewhere\n# else\nra,dec,pmra\n1,2,3\n4,,\n",
        "ra;dec;pmra\n1;2;3\n4;null;null\n",
        "ra\tdec\tpmra\n1\t2\t3\n4\t\t\n",
    ],
)
def test_dialects_of_csv(tmp_path, text):
    (tmp_path / "stars.csv").write_text(text)
    with gzip.open(tmp_path / "stars.csv.gz", "wt") as file:
        file.write(text)
    for name in ("stars.csv", "stars.csv.gz"):
        back = read_stars(tmp_path / name)
        assert back.colnames == ["ra", "dec", "pmra"]
        assert back["ra"].tolist() == [1, 4]
        assert back["pmra"].mask.tolist() == [False, True]


def test_padded_nulls_and_words_for_no_value_are_nulls_among_numbers(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("Plx;Gmag;n;long;Name;e\n   0.1 ; NA ; 3 ; 99999999999999999999 ; b;  \n       ;15.5;-;   ;NA; \n")
    back = read_stars(path)
    assert back["Plx"].tolist() == [0.1, None]
    assert back["Gmag"].tolist() == [None, 15.5]
    assert back["n"].tolist() == [3, None]
    assert back["n"].dtype == np.int64
    assert [text.strip() for text in back["long"]] == ["99999999999999999999", ""]
    assert [text.strip() for text in back["Name"]] == ["b", "NA"]


def test_no_digit_of_an_identifier_is_lost_beside_a_null(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"source_id,hash,ra\n{LARGE_ID},18446744073709551615,1\nNA,...,2\n5,123456789012345678,3\n")
    back = read_stars(path)
    assert back["source_id"].tolist() == [LARGE_ID, None, 5]
    assert [text.strip() for text in back["hash"]] == ["18446744073709551615", "...", "123456789012345678"]


def test_coordinates_in_a_fits_file(tmp_path):
    stars = QTable({"name": ["a", "b"], "place": SkyCoord([1, 2] * u.deg, [3, 4] * u.deg), "ra": [1.0, 2.0] * u.deg})
    stars.write(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[1].header[f"TUCD{hdus[1].columns.names.index('ra') + 1}"] = "pos.eq.ra;meta.main"
    back = read_stars(tmp_path / "a.fits")
    assert back["name"].tolist() == ["a", "b"]
    assert back["ra"].meta["ucd"] == "pos.eq.ra;meta.main"
    assert back["place"].dec.deg.tolist() == [3, 4]


def test_a_file_that_states_two_releases_is_refused(stars, tmp_path):
    stars.meta = {"release": "Gaia DR2", "release_key": "gaia_edr3"}
    path = write(stars, tmp_path / "a.ecsv")
    with pytest.raises(InputError, match="said to be from gaia_dr2 and from gaia_edr3"):
        read_stars(path)
    assert read_stars(path, release="gaia_dr3").meta["release_key"] == "gaia_dr3"


@pytest.mark.parametrize(("column", "release"), [("designation", "gaia_edr3"), ("DESIGNATION", "gaia_dr2")])
def test_designations_state_the_release(stars, tmp_path, column, release):
    name = RELEASES[release].name
    stars[column] = [f"{name} {number}" for number in stars["source_id"]]
    assert read_stars(write(stars, tmp_path / "stars.csv")).meta["release_key"] == release
    stars[column][0] = "Gaia DR3 1"
    assert read_stars(write(stars, tmp_path / "mixed.csv")).meta["release_key"] == "unknown"


@pytest.mark.parametrize("form", ["fits", "vot"])
def test_of_several_tables_the_one_of_stars_is_read(stars, tmp_path, form):
    other = Table({"observer": ["A"], "night": [1]})
    path = tmp_path / f"several.{form}"
    if form == "fits":
        fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(other), fits.table_to_hdu(stars)]).writeto(path)
    else:
        document = votable.from_table(other)
        document.resources[0].tables.extend(votable.from_table(stars).resources[0].tables)
        document.to_xml(str(path))
    assert read_stars(path)["pmra"].tolist() == stars["pmra"].tolist()


def told_by_a_service(stars, path, value, text=""):
    document = votable.from_table(stars)
    info = votable.tree.Info(name="QUERY_STATUS", value=value)
    info.content = text
    document.resources[0].infos.append(info)
    if value == "ERROR":
        document.resources[0].tables.clear()
    document.to_xml(str(path))
    return path


def test_a_table_that_a_service_has_cut_off_is_told(stars, tmp_path, caplog):
    read_stars(told_by_a_service(stars, tmp_path / "cut.vot", "OVERFLOW"))
    assert "'cut.vot' is incomplete" in caplog.text
    caplog.clear()
    read_stars(told_by_a_service(stars, tmp_path / "whole.vot", "OK"))
    assert not caplog.text


def test_what_a_service_says_of_its_error_is_told(stars, tmp_path):
    with pytest.raises(ServiceError, match="error of the service: Quota exceeded"):
        read_stars(told_by_a_service(stars, tmp_path / "error.vot", "ERROR", "Quota\n exceeded"))


@pytest.mark.parametrize(("ending", "left"), [("fits", 0.7), ("fits.gz", 0.5)])
def test_a_file_that_ends_too_early_is_incomplete(tmp_path, ending, left):
    many = Table({name: np.random.default_rng(0).normal(size=3000) for name in ("ra", "dec", "pmra")})
    path = write(many, tmp_path / f"cut.{ending}")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole))])
    with pytest.raises(ServiceError, match=r"is incomplete .*fetch it again"):
        read_stars(path)


def test_of_several_tables_of_stars_the_first_is_read_and_the_others_are_told(tmp_path, caplog):
    parts = [Table({name: np.arange(n) + 1.0 for name in ASTROMETRY}) for n in (3, 5)]
    fits.HDUList([fits.PrimaryHDU(), *map(fits.table_to_hdu, parts)]).writeto(tmp_path / "two.fits")
    assert len(read_stars(tmp_path / "two.fits")) == 3
    assert "holds 2 tables of stars, and the first is read" in caplog.text


def own_table(stars):
    stars["name"] = ["Hyadès", "μ Tau", "c", "d", "e", "f"]
    stars["flag"] = MaskedColumn([True, False] * 3, mask=[True] + [False] * 5)
    stars["low"] = np.arange(6, dtype="i1")
    stars["label"].description = "What it is called: μ"
    stars.meta = {"release": "Gaia DR2", "decocc": {"seed": 0, "losses": [1.0, 2.0]}}
    return stars


def test_our_own_fits_is_read_as_it_was_written(stars, tmp_path):
    stars = own_table(stars)
    path = tmp_path / "a.fits"
    write_table(stars, path)
    back = read_stars(path)
    assert back["name"].tolist() == stars["name"].tolist()
    assert [back[name].dtype for name in ("flag", "low")] == [bool, np.dtype("i1")]
    assert back["flag"].mask.tolist() == stars["flag"].mask.tolist()
    assert back["label"].description == "What it is called: μ"
    assert back["pmra"].meta == {"ucd": COLUMNS["pmra"].ucd}
    assert back.meta["decocc"] == stars.meta["decocc"]
    assert {key for key in back.meta if key.isupper()} == set()
    # and nothing grows from one run to the next
    cards = []
    for _ in range(3):
        write_table(read_stars(path), path)
        cards.append(len(fits.getheader(path, 1)))
    assert len(set(cards)) == 1


@pytest.mark.parametrize("ending", ["vot", "vot.gz", "parquet"])
def test_our_own_votable_and_parquet_are_read_as_they_were_written(stars, tmp_path, ending):
    stars = own_table(stars)
    stars["cube"] = np.arange(36.0).reshape(6, 2, 3)
    stars["logg"] = Column(np.arange(6.0), unit=u.dex(u.cm / u.s**2))  # no unit of the VO's
    path = tmp_path / f"a.{ending.removesuffix('.gz')}"
    write_table(stars, path)
    if ending.endswith("gz"):
        path.with_suffix(".vot.gz").write_bytes(gzip.compress(path.read_bytes()))
    back = read_stars(tmp_path / f"a.{ending}")
    assert back.colnames == stars.colnames
    for name in stars.colnames:
        assert back[name].dtype == stars[name].dtype
        assert np.ma.allequal(back[name], stars[name])
    assert back["flag"].mask.tolist() == stars["flag"].mask.tolist()
    assert back["label"].description == "What it is called: μ"
    assert back["logg"].unit == stars["logg"].unit
    assert back.meta["decocc"] == stars.meta["decocc"]
    assert (back.meta["release_key"], back.meta["ref_epoch"]) == ("gaia_dr2", 2015.5)


def test_structural_keywords_of_a_fits_file_are_no_meta(stars, tmp_path):
    hdu = fits.table_to_hdu(stars)
    hdu.header["TUCD8"], hdu.header["TCOMM8"], hdu.header["TCOMM1"] = "meta.note", "Mine", "Theirs"
    hdu.writeto(tmp_path / "a.fits")
    back = read_stars(tmp_path / "a.fits")
    assert (back["label"].meta["ucd"], back["label"].description) == ("meta.note", "Mine")
    assert not [key for key in back.meta if key.startswith(("TUCD", "TCOMM"))]


def test_arrays_of_our_own_parquet_are_columns_of_two_dimensions(stars, tmp_path):
    stars["cov"] = np.arange(24.0).reshape(6, 2, 2)
    stars["part"] = MaskedColumn(np.arange(12).reshape(6, 2), mask=[[0, 1], [1, 1]] + [[0, 0]] * 4)
    write_table(stars, tmp_path / "a.parquet")
    back = read_stars(tmp_path / "a.parquet")
    assert back["cov"].tolist() == stars["cov"].tolist()
    assert back["part"].dtype == np.int64
    assert back["part"].tolist() == stars["part"].tolist()
    write_table(back, tmp_path / "b.vot")
    pq.write_table(pq.read_table(tmp_path / "a.parquet").replace_schema_metadata({}), tmp_path / "c.parquet")
    assert read_stars(tmp_path / "c.parquet")["cov"].tolist() == stars["cov"].reshape(6, 4).tolist()


@pytest.mark.parametrize("names", ["ra,dec,name", "ra,dec,né"])
def test_text_that_is_not_utf8_is_read_as_latin1_and_told(tmp_path, caplog, names):
    path = tmp_path / "a.csv"
    path.write_bytes(f"{names}\n1,2,Hyadès\n3,4,b\n".encode("latin-1"))
    back = read_stars(path)
    assert back.colnames == names.split(",")
    assert back.columns[2].tolist() == ["Hyadès", "b"]
    assert "a.csv is not in UTF-8; its text is read as Latin-1" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_text_in_utf16_is_refused_with_what_to_do(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_text("\ufeffra,dec\n1,2\n", encoding=encoding)
    with pytest.raises(ServiceError, match=r"^'a.csv' is in UTF-16; save it in UTF-8"):
        read_stars(path)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ('<FITS><STREAM href="b.fits"/></FITS>', r"in another file \(b.fits\)"),
        ("<BINARY><STREAM encoding='base64' href='http://a.org/b'/></BINARY>", r"in another file \(http://a.org/b\)"),
        ('<FITS><STREAM encoding="base64">AAAA</STREAM></FITS>', "as FITS inside"),
    ],
)
def test_a_votable_with_its_rows_elsewhere_is_refused_with_what_to_do(tmp_path, data, where):
    path = tmp_path / "a.vot"
    path.write_text(
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
        f'<FIELD name="ra" datatype="double"/><DATA>{data}</DATA></TABLE></RESOURCE></VOTABLE>'
    )
    with pytest.raises(ServiceError, match=rf"^'a.vot' has its rows {where}; save it as a VOTable with rows"):
        read_stars(path)


def test_a_comment_behind_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\ufeff# from somewhere\nra,dec,pmra\n1,2,3\n", "utf-8")
    assert read_stars(path).colnames == ["ra", "dec", "pmra"]


def test_quantities_in_parquet_are_columns(stars, tmp_path):
    stars["pmra"].unit = "mas/yr"
    stars["parallax"] = MaskedColumn(stars["parallax"], mask=[True] + [False] * 5, unit="mas")
    QTable(stars["source_id", "pmra", "parallax"]).write(tmp_path / "a.parquet")
    back = read_stars(tmp_path / "a.parquet")
    assert isinstance(back["pmra"], Column)
    assert back["pmra"].unit == u.mas / u.yr
    assert back["parallax"].tolist() == stars["parallax"].tolist()
    assert back["parallax"].unit == u.mas


def test_views_of_text_in_parquet(tmp_path):
    pq.write_table(
        pa.table({"ra": [1.0, 2.0], "name": pa.array(["x", None], pa.string_view())}), tmp_path / "a.parquet"
    )
    back = read_stars(tmp_path / "a.parquet")
    assert back["name"].tolist() == ["x", None]


def test_the_tables_of_vizier(tmp_path):
    """Comments, names, a line of units, one of dashes, and a comment at the end."""
    path = tmp_path / "asu.tsv"
    path.write_text(
        "#\n#   VizieR\n\nRA_ICRS\tDE_ICRS\tSource\tPlx\tpmRA\tpmDE\ndeg\tdeg\t \tmas\tmas/yr\tmas/yr\n"
        "-------\t-------\t---\t---\t---\t---\n1.5\t2.5\t123456789012345678\t1.0\t \t3.0\n1.6\t2.6\t2\t1.1\t2.1\t3.1\n"
        "\n#END#\n"
    )
    stars = conform(read_stars(path))
    assert stars["source_id"].tolist() == [123456789012345678, 2]
    assert stars["pmra"].tolist() == [None, 2.1]
    assert read_stars(path)["Plx"].unit == "mas"


@pytest.mark.parametrize("ending", ["vot", "fits", "ecsv", "parquet"])
def test_what_the_stars_were_asked_for_with_stays(tmp_path, ending):
    """In a file of this package, however often it is read and written again."""
    stars = Table({"ra": [1.0], "dec": [2.0], "pmra": [1.0], "pmdec": [1.0], "parallax": [1.0]})
    stars.meta = {"source": "https://a.b/tap (t)", "query": "SELECT *\nFROM t", "release": "Gaia DR3"}
    for name in ("one", "two", "three"):
        path = tmp_path / f"{name}.{ending}"
        write_table(stars, path)
        stars = read_stars(path)
        assert stars.meta["query"].split() == ["SELECT", "*", "FROM", "t"]  # ECSV has no line breaks
        assert stars.meta["source"].startswith(f"file {name}.{ending} (")
        assert stars.meta["source"].endswith("), from https://a.b/tap (t)")
        assert not {"ID", "name", "description"} & set(stars.meta)


def test_names_in_a_comment(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("# made by hand\n# source_id, ra, dec\n1,2.0,3.0\n4,5.0,6.0\n")
    assert read_stars(path).colnames == ["source_id", "ra", "dec"]
    assert len(read_stars(path)) == 2
    path.write_text("# one, two\nra,dec\n2.0,3.0\n")
    assert read_stars(path).colnames == ["ra", "dec"]


@pytest.mark.parametrize("nulls", [",,,,", "--,--,--,--,--", "-,-,-,-,-"])
def test_a_row_of_nulls_is_no_line_of_dashes(tmp_path, nulls):
    path = tmp_path / "stars.csv"
    path.write_text(f"ra,dec,pmra,pmdec,parallax\n1,2,3,4,5\n{nulls}\n2,3,4,5,6\n3,3,3,3,3\n")
    assert len(read_stars(path)) == 4


def test_what_is_no_name_in_a_comment(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("# a comment, with, commas\nra,dec,µ\n1,2,3\n")
    assert read_stars(path).colnames == ["ra", "dec", "µ"]
    path.write_text("# ra,dec,µ\n\n1,2,3\n4,5,6\n")
    assert read_stars(path).colnames == ["ra", "dec", "µ"]
    assert len(read_stars(path)) == 2


@pytest.mark.parametrize("data", [None, np.frombuffer(b"no VOTable", np.int8)])
def test_a_first_hdu_that_is_no_votable_does_no_harm(tmp_path, data):
    first, table = fits.PrimaryHDU(data), fits.BinTableHDU(Table({"ra": [1.0], "dec": [2.0]}))
    first.header["VOTMETA"] = True
    table.header["RELEASE"] = fits.card.UNDEFINED
    fits.HDUList([first, table]).writeto(tmp_path / "stars.fits")
    stars = read_stars(tmp_path / "stars.fits")
    assert len(stars) == 1
    assert stars.meta["release"] == "unknown"
