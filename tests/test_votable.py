"""Files: everything that was in the table is in the table that is read back."""

import os
import re
import shutil
import subprocess
import warnings
import xml.etree.ElementTree as ET

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits, votable
from astropy.io.votable.ucd import check_ucd
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from decocc_vo.columns import COLUMNS, RELEASES
from decocc_vo.columns._provenance import decode, encode, flatten, unflatten
from decocc_vo.exceptions import InputError, ServiceError
from decocc_vo.votable import read_table, read_votable, to_votable, write_table, write_votable
from decocc_vo.votable._binary2 import Binary2Table
from decocc_vo.votable._votable import is_spelt

ENDINGS = ("vot", "fits", "ecsv", "parquet")
EPOCH = RELEASES["gaia_dr3"].ref_epoch


def result_table():
    """Three stars with all a result has, and what users bring along."""
    stars = Table(
        {
            "source_id": np.array([2**62 + 1, 3, -5]),
            "ra": [56.7, 56.8, 56.9],
            "dec": np.array([24.1, 24.2, 24.3]),
            "pmra": MaskedColumn([20.0, 1.0, 2.0], mask=[False, True, False], unit=u.mas / u.yr),
            "membership_prob": MaskedColumn(np.array([0.1, 0.2, 0.3], "f4"), mask=[False, False, True]),
            "candidate": MaskedColumn(np.array([0, -1, 0], "i2"), mask=[True, False, False]),
            "flag": [True, False, True],
            "doubt": MaskedColumn([True, False, True], mask=[True, False, False]),
            "name": ["Alcyone", "μ😀 Tau", "25 η Tau"],
            "alias": MaskedColumn(["aa", "b", "c"], mask=[False, True, False]),
            "log g": Column([1.0, 2.0, 3.0], unit=u.dex(u.cm / u.s**2), format=".2f", description="Surface gravity"),
            "cov": np.arange(12.0).reshape(3, 2, 2),
        },
        meta={
            "release": "Gaia DR3",
            "release_key": "gaia_dr3",
            "ref_epoch": EPOCH,
            "query": 'SELECT *\nFROM gaia WHERE a < "3" & b\t> 0',
            "citation": ["one", "two"],
            "five": "5",
            "decocc": {
                "method": "decocc",
                "seed": 0,
                "version": "0.1",
                "stop_reason": "converged: 0.1 % of stars change group",
                "settings": {"radius": 5 * u.arcmin, "steps": (1, 2), "loss": np.float32(0.5), "on": True, "no": None},
                "losses": np.arange(3.0),
                "a.b c": {},
            },
        },
    )
    stars["cov"].meta["note"] = {"order": [1, 2]}
    return stars


def assert_same_meta(got, want):
    if isinstance(want, dict):
        assert list(got) == list(want) or set(got) == set(want)
        for key in want:
            assert_same_meta(got[key], want[key])
    elif isinstance(want, np.ndarray):
        assert_array_equal(got, want)
    elif isinstance(want, list | tuple):  # a NaN in it is not equal to itself
        assert type(got) is type(want)
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            assert_same_meta(one, other)
    else:
        assert got == want or (got != got and want != want)


def assert_same_column(got, want):
    assert got.dtype == want.dtype.newbyteorder("=")
    assert got.shape == want.shape
    assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(want))
    assert_array_equal(np.ma.asarray(got).compressed(), np.ma.asarray(want).compressed())
    info = COLUMNS.get(want.name)
    assert got.unit == (want.unit if want.unit is not None or info is None else info.unit)
    assert got.description == (want.description or (info.description if info else None))
    assert dict(got.meta) == ({"ucd": info.ucd} if info else {}) | dict(want.meta)


@pytest.mark.parametrize("ending", ENDINGS)
def test_everything_comes_back(tmp_path, ending):
    stars = result_table()
    before = stars.copy()
    write_table(stars, tmp_path / f"stars.{ending}")
    back = read_table(tmp_path / f"stars.{ending}")
    assert type(back) is Table
    assert back.colnames == stars.colnames
    for name in stars.colnames:
        assert_same_column(back[name], stars[name])
    assert_same_meta(back.meta, stars.meta)
    # and the table given is as it was
    assert before.colnames == stars.colnames
    assert_same_meta(stars.meta, before.meta)
    assert all(stars[name].unit == before[name].unit for name in stars.colnames)
    assert [p.name for p in tmp_path.iterdir()] == [f"stars.{ending}"]


@pytest.mark.parametrize("ending", ["vot", "parquet"])
def test_nan_and_mask_stay_apart_and_odd_types_come_back(tmp_path, ending):
    stars = Table(
        {
            "x": MaskedColumn([np.nan, 1.0, np.inf], mask=[False, True, False]),
            "plain": np.array([np.nan, 1, 2], "f4"),
            "text": MaskedColumn(["", "b", ""], mask=[True, False, False]),
            "bytes": [b"a", b"", b"ccc"],
            "object": np.array(["a", "bb", ""], object),
            **{code: np.array([1, 0, 3], code) for code in ("i1", "u1", "u2", "u4", "u8", "f2", "i4")},
            "part": MaskedColumn(np.arange(6).reshape(3, 2), mask=[[0, 1], [0, 0], [1, 1]]),
        }
    )
    write_table(stars, tmp_path / f"stars.{ending}")
    back = read_table(tmp_path / f"stars.{ending}")
    for name in stars.colnames:
        assert_same_column(back[name], stars[name])
    assert np.isnan(back["x"][0])
    assert not isinstance(back["plain"], MaskedColumn)


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)
_LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.tuples(st.integers())
_META = st.recursive(
    _LEAF | st.lists(_LEAF, max_size=3),
    lambda inner: st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def _tables(draw):
    n = draw(st.integers(0, 5))
    stars = Table(masked=False)
    # FITS column names differ by more than case, and are printable ASCII.
    names = draw(st.lists(st.from_regex(r"[A-Za-z][A-Za-z0-9_ .]{0,6}[a-z0-9]", fullmatch=True), max_size=5))
    for name in {name.lower(): name for name in names}.values():
        code = draw(st.sampled_from(["i2", "i4", "i8", "f4", "f8", "bool", "str"]))
        if code == "str":
            values = np.array(draw(st.lists(_TEXT, min_size=n, max_size=n)), dtype="U")
            values = np.array([v.strip("\0") for v in values.tolist()], dtype="U8")
        else:
            values = draw(hnp.arrays(code, n))
        mask = draw(hnp.arrays(bool, n))
        column = MaskedColumn(values, mask=mask) if draw(st.booleans()) and mask.any() else Column(values)
        column.unit = draw(st.sampled_from([None, u.mas, u.km / u.s, u.mag]))
        column.description = draw(st.none() | st.text("ab \n", min_size=1, max_size=6).filter(str.strip))
        stars[name] = column
    stars.meta = draw(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), _META, max_size=3))
    return stars


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(_tables())
def test_votable_round_trip(tmp_path, stars):
    write_votable(stars, tmp_path / "stars.vot")
    back = read_votable(tmp_path / "stars.vot")
    assert back.colnames == stars.colnames
    for name in stars.colnames:
        assert_same_column(back[name], stars[name])
    assert_same_meta(back.meta, stars.meta)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(_tables())
def test_parquet_round_trip(tmp_path, stars):
    write_table(stars, tmp_path / "stars.parquet")
    back = read_table(tmp_path / "stars.parquet")
    for name in stars.colnames:
        assert_same_column(back[name], stars[name])
    assert_same_meta(back.meta, stars.meta)


@given(_META, st.booleans())
def test_provenance_round_trip(value, ascii_only):
    meta = {"key": value}
    pairs = flatten(meta, ascii_only)
    assert_same_meta(unflatten(pairs), meta)
    if ascii_only:
        assert all(text.isascii() and text.isprintable() for _, text in pairs)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.dictionaries(st.text("ab. ", max_size=4), st.text("a' &\n\"μ/", max_size=200), max_size=4))
def test_fits_cards_hold_long_and_awkward_text(tmp_path, meta):
    write_table(Table({"a": [1]}, meta=meta), tmp_path / "stars.fits")
    assert read_table(tmp_path / "stars.fits").meta == meta


def test_text_that_reads_as_something_else_is_quoted():
    for text in ("5", "null", "NaN", '"a"', "--- x", '"--- 5"', "[", "", " a ", "a\nb", "\ud800", "\x00"):
        assert decode(encode(text)) == text
    assert encode("Gaia DR3") == "Gaia DR3"
    assert encode(5) == "5"
    assert decode(encode(Time(EPOCH, format="jyear"))) == Time(EPOCH, format="jyear")


def test_meta_that_has_no_text_is_kept_as_str_with_a_warning(tmp_path, caplog):
    write_votable(Table({"a": [1]}, meta={"odd": object}), tmp_path / "a.vot")
    assert "meta 'odd'" in caplog.text
    assert read_votable(tmp_path / "a.vot").meta == {"odd": str(object)}


def test_document_follows_the_standard(tmp_path):
    write_votable(result_table(), tmp_path / "stars.vot")
    root = ET.parse(tmp_path / "stars.vot").getroot()
    assert root.get("version") == "1.5"
    frame = root.find(".//{*}COOSYS")
    assert (frame.get("system"), frame.get("epoch")) == ("ICRS", f"J{EPOCH}")
    fields = {f.get("name"): f for f in root.findall(".//{*}FIELD")}
    assert [n for n, f in fields.items() if f.get("ref") == frame.get("ID")] == ["ra", "dec", "pmra"]
    assert fields["flag"].get("datatype") == "short"
    assert fields["source_id"].get("datatype") == "long"
    assert fields["membership_prob"].get("ucd") == "stat.probability"
    assert root.find(".//{*}BINARY2") is not None
    for f in fields.values():
        assert check_ucd(f.get("ucd"), check_controlled_vocabulary=True, has_colon=True)
        assert f.find("{*}DESCRIPTION").text.strip()
    infos = {i.get("name"): i.get("value") for i in root.findall(".//{*}RESOURCE/{*}INFO")}
    assert infos["release"] == "Gaia DR3"
    assert infos["decocc.seed"] == "0"
    assert infos["decocc.stop_reason"].startswith("converged")
    ids = [e.get("ID") for e in root.iter() if e.get("ID")]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z_][\w.-]*", i) for i in ids)


def test_epoch_of_the_release_where_the_table_names_none():
    stars = Table({"ra": [1.0]}, meta={"release_key": "hipparcos2"})
    [frame] = to_votable(stars).resources[0].coordinate_systems
    assert frame.epoch == f"J{RELEASES['hipparcos2'].ref_epoch}"
    [frame] = to_votable(Table({"ra": [1.0]})).resources[0].coordinate_systems
    assert frame.epoch is None
    assert len(to_votable(Table({"x": [1.0]})).resources[0].coordinate_systems) == 0


def test_other_units_and_descriptions_of_registry_columns_win():
    stars = Table({"pmra": Column([1.0], unit=u.arcsec / u.yr, description="mine", meta={"ucd": "pos.pm"})})
    [field] = to_votable(stars).resources[0].tables[0].fields
    assert (field.unit, field.description, field.ucd) == (u.arcsec / u.yr, "mine", "pos.pm")


def test_astropy_reads_the_fast_stream_as_its_own(tmp_path):
    stars = result_table()
    document = to_votable(stars)
    [element] = document.resources[0].tables
    assert isinstance(element, Binary2Table)
    document.to_xml(str(tmp_path / "fast.vot"))
    document.to_xml(str(tmp_path / "slow.vot"), tabledata_format="tabledata")
    fast, slow = (votable.parse_single_table(tmp_path / f"{kind}.vot").to_table() for kind in ("fast", "slow"))
    for name in fast.colnames:
        assert_array_equal(np.ma.getmaskarray(fast[name]), np.ma.getmaskarray(slow[name]))
        assert_array_equal(np.ma.asarray(fast[name]).compressed(), np.ma.asarray(slow[name]).compressed())
    assert_array_equal(fast["source_id"], stars["source_id"])


def test_other_votables_are_read_with_their_infos(tmp_path):
    document = votable.from_table(Table({"a": [1, 2], "s": ["x", "y"]}))
    document.resources[0].infos.append(votable.tree.Info(ID="i", name="n", value="5"))
    document.to_xml(str(tmp_path / "other.vot"))
    back = read_votable(tmp_path / "other.vot")
    assert back.meta["n"] == "5"
    assert list(back["s"]) == ["x", "y"]


@pytest.mark.parametrize("form", ["tabledata", "binary2"])
def test_our_table_written_again_by_another_program(tmp_path, form):
    stars = result_table()["source_id", "membership_prob", "name", "flag"]
    document = to_votable(stars)
    [element] = document.resources[0].tables
    again = votable.tree.Field(document, ID="name", name="name", datatype="unicodeChar", arraysize="*", ucd="meta.note")
    other = votable.tree.TableElement(document, nrows=3)
    other.fields.extend([again if field.name == "name" else field for field in element.fields])
    other.array, other.infos[:] = element.array, element.infos
    document.resources[0].tables[:] = [other]
    document.to_xml(str(tmp_path / "again.vot"), tabledata_format=form)
    back = read_votable(tmp_path / "again.vot")
    for name in stars.colnames:
        assert_array_equal(np.ma.asarray(back[name]).compressed(), np.ma.asarray(stars[name]).compressed())
    assert back["flag"].dtype == bool
    assert_same_meta(back.meta, stars.meta)


def test_the_same_table_gives_the_same_file(tmp_path):
    for name in ("one", "two"):
        stars = result_table()
        stars["candidate"].data.data[0] = {"one": 7, "two": 8}[name]  # behind the mask
        write_votable(stars, tmp_path / f"{name}.vot")
    assert (tmp_path / "one.vot").read_bytes() == (tmp_path / "two.vot").read_bytes()


def test_mixins_are_written_by_their_parts(tmp_path):
    stars = QTable({"pos": SkyCoord([1.0, 2.0], [3.0, 4.0], unit="deg"), "q": [1.0, 2.0] * u.km})
    write_votable(stars, tmp_path / "a.vot")
    back = read_votable(tmp_path / "a.vot")
    assert back.colnames == ["pos.ra", "pos.dec", "q"]
    assert back["q"].unit == u.km


def _votlint(path):
    done = subprocess.run(["stilts", "votlint", str(path)], capture_output=True, text=True, check=False, timeout=120)
    return [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("INFO:")]


needs_stilts = pytest.mark.skipif(shutil.which("stilts") is None, reason="STILTS is not installed")


@needs_stilts
def test_votlint_finds_nothing(tmp_path):
    write_votable(result_table(), tmp_path / "stars.vot")
    messages = _votlint(tmp_path / "stars.vot")
    if any("Unknown VOTable version: 1.5" in message for message in messages):
        # A STILTS older than VOTable 1.5: all else must be in order when the file says 1.4.
        text = (tmp_path / "stars.vot").read_text(encoding="utf-8")
        text = text.replace('version="1.5"', 'version="1.4"').replace("VOTable-1.5.xsd", "VOTable-1.4.xsd")
        (tmp_path / "older.vot").write_text(text.replace(' refposition="BARYCENTER"', ""), encoding="utf-8")
        messages = _votlint(tmp_path / "older.vot")
    assert messages == []


@needs_stilts
@pytest.mark.parametrize("ending", ["vot", "fits"])
def test_stilts_sees_values_units_and_nulls(tmp_path, ending):
    write_table(result_table()["source_id", "pmra", "flag", "candidate"], tmp_path / f"stars.{ending}")
    command = ["stilts", "tpipe", f"in={tmp_path}/stars.{ending}", "ofmt=csv"]
    rows = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    flags = ("1", "0", "1") if ending == "vot" else ("true", "false", "true")
    assert rows == [
        "source_id,pmra,flag,candidate",
        f"{2**62 + 1},20.0,{flags[0]},",
        f"3,,{flags[1]},-1",
        f"-5,2.0,{flags[2]},0",
    ]


def test_fits_header_tells_units_ucds_and_provenance(tmp_path):
    write_table(result_table(), tmp_path / "stars.fits")
    header = fits.getheader(tmp_path / "stars.fits", 1)
    assert header["TUCD2"] == COLUMNS["ra"].ucd
    assert header["TCOMM2"] == COLUMNS["ra"].description
    assert header["TUNIT4"] == "mas yr-1"
    assert (header["RELEASE"], header["REFEPOCH"]) == ("Gaia DR3", EPOCH)
    assert "decocc.seed = 0" in header["INFO*"].values()


def test_fits_header_holds_the_version_of_a_changed_tree(tmp_path, monkeypatch):
    version = "0.1.dev113+g02cb81f17.d20261125"
    monkeypatch.setattr("decocc_vo.votable._files.__version__", version)
    write_table(result_table(), tmp_path / "stars.fits")
    assert fits.getheader(tmp_path / "stars.fits", 1)["ORIGIN"] == f"decocc_vo {version}"


def test_null_of_a_fits_integer_is_no_value_of_the_column(tmp_path):
    values = np.array([*range(255), 0, 999], "i8")
    low = np.iinfo("i2").min
    stars = Table(
        {
            "byte": MaskedColumn(values.clip(0, 254).astype("u1"), mask=values == 999),
            "short": MaskedColumn([low, low + 1] + [0] * 255, mask=[False] * 256 + [True], dtype="i2"),
        }
    )
    write_table(stars, tmp_path / "a.fits")
    back = read_table(tmp_path / "a.fits")
    for name in stars.colnames:
        assert_same_column(back[name], stars[name])


@pytest.mark.parametrize("masked", [True, False])
def test_quick_ecsv_is_what_astropy_writes(tmp_path, masked):
    text = ["a b", 'say "x"', "μ", "plain"]
    stars = Table({"i": [1, -2, 3, 4], "f": np.array([0.1, np.nan, 1e-30, 3], "f4"), "s": text, "b": [True, False] * 2})
    stars = Table(stars, masked=masked)
    if masked:
        for name in stars.colnames:
            stars[name].mask[2] = True
    write_table(stars, tmp_path / "ours.ecsv")
    stars.write(tmp_path / "theirs.ecsv", format="ascii.ecsv")
    ours, theirs = (Table.read(tmp_path / f"{who}.ecsv", format="ascii.ecsv") for who in ("ours", "theirs"))
    for name in stars.colnames:
        assert_same_column(ours[name], theirs[name])


def test_parquet_has_nulls_and_plain_columns(tmp_path):
    import duckdb

    write_table(result_table(), tmp_path / "stars.parquet")
    rows = duckdb.sql(f"SELECT source_id, pmra, flag FROM '{tmp_path}/stars.parquet'").fetchall()
    assert rows == [(2**62 + 1, 20.0, True), (3, None, False), (-5, 2.0, True)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_empty_tables(tmp_path, ending):
    stars = result_table()[:0]
    if ending == "ecsv":
        stars.remove_column("cov")  # astropy reads no empty column of arrays
    write_table(stars, tmp_path / f"stars.{ending}")
    back = read_table(tmp_path / f"stars.{ending}")
    assert len(back) == 0
    assert back.colnames == stars.colnames
    assert back["source_id"].dtype == np.int64


@needs_stilts
def test_stilts_sees_a_table_without_rows(tmp_path):
    write_votable(result_table()[:0], tmp_path / "none.vot")
    command = ["stilts", "tpipe", f"in={tmp_path}/none.vot", "omode=count"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "rows: 0" in told


def test_real_field(tmp_path, field):
    stars = field("melotte25_hipparcos2")
    write_votable(stars, tmp_path / "hyades.vot")
    back = read_votable(tmp_path / "hyades.vot")
    for name in stars.colnames:
        assert_same_column(back[name], stars[name])
    assert_same_meta(back.meta, dict(stars.meta))


def test_what_cannot_be_written(tmp_path):
    stars = Table({"a": [1]})
    with pytest.raises(InputError, match=r"'path' .* no ending that is known"):
        write_table(stars, tmp_path / "stars.txt")
    with pytest.raises(InputError, match="must be a file's name"):
        write_table(stars, 5)
    with pytest.raises(InputError, match="must be a file's name"):
        write_votable(stars, 5)
    with pytest.raises(InputError, match="is a folder"):
        write_votable(stars, "")
    with pytest.raises(ServiceError, match="does not exist; create it"):
        write_table(stars, tmp_path / "no" / "stars.vot")
    with pytest.raises(ServiceError, match="cannot be written"):
        write_table(stars, tmp_path / f"{'long' * 100}.vot")
    with pytest.raises(InputError, match="is a folder"):
        write_votable(stars, tmp_path)
    with pytest.raises(InputError, match="must be an astropy Table"):
        write_votable([1], tmp_path / "a.vot")
    with pytest.raises(InputError, match="'o' holds objects"):
        write_votable(Table({"o": np.array([{}, 1], object)}), tmp_path / "a.vot")
    write_votable(stars, tmp_path / "a.vot")
    with pytest.raises(InputError, match="exists; say overwrite=True"):
        write_votable(stars, tmp_path / "a.vot", overwrite=False)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failure_leaves_the_old_file(tmp_path, ending, monkeypatch):
    path = tmp_path / f"a.{ending}"
    write_table(Table({"a": [1]}), path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ServiceError, match="No space left"):
        write_table(Table({"a": [2]}), path)
    assert list(read_table(path)["a"]) == [1]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_that_cannot_be_read(tmp_path, ending):
    with pytest.raises(ServiceError, match="cannot be read"):
        read_table(tmp_path / f"none.{ending}")
    (tmp_path / f"bad.{ending}").write_text("no table\n")
    with pytest.raises((InputError, ServiceError), match="'path'"):
        read_table(tmp_path / f"bad.{ending}")


def test_columns_of_other_names_are_what_the_fit_took_them_for():
    stars = Table({"alpha": [1.0], "DE_ICRS": [2.0], "Plx": [3.0]}, meta={"decocc": {"columns": {"ra": "alpha"}}})
    fields = {field.name: field for field in to_votable(stars).get_first_table().fields}
    assert [fields[name].ref for name in stars.colnames] == ["ICRS"] * 3
    assert [fields[name].ucd for name in stars.colnames] == [COLUMNS[n].ucd for n in ("ra", "dec", "parallax")]
    assert str(fields["Plx"].unit) == "mas"


@pytest.mark.parametrize(
    ("epoch", "stands"), [("J2016.0", "J2016.0"), (2015.5, "J2015.5"), (np.nan, None), ("?", None)]
)
def test_an_epoch_is_a_year_or_is_not_told(epoch, stands):
    stars = Table({"ra": [1.0]}, meta={"ref_epoch": epoch})
    assert to_votable(stars).resources[0].coordinate_systems[0].epoch == stands


@pytest.mark.parametrize("ending", ENDINGS)
def test_keys_of_meta_need_not_be_text(tmp_path, ending):
    write_table(Table({"ra": [1.0]}, meta={1: "x"}), tmp_path / f"stars.{ending}")
    assert "x" in {str(value) for value in read_table(tmp_path / f"stars.{ending}").meta.values()}


@pytest.mark.parametrize("ending", ["fits", "fts", "fits.gz", "csv", "parq"])
def test_a_votable_is_not_written_under_a_name_of_another_format(tmp_path, ending):
    with pytest.raises(InputError, match="is no name of a VOTable"):
        write_votable(Table({"ra": [1.0]}), tmp_path / f"stars.{ending}")


@pytest.mark.parametrize("ending", ["vot", "parquet"])
def test_arrays_without_a_value_are_refused(tmp_path, ending):
    with pytest.raises(InputError, match="'table' column 'vec' has arrays without a value"):
        write_table(Table({"ra": [1.0, 2.0], "vec": np.zeros((2, 0))}), tmp_path / f"stars.{ending}")


@pytest.mark.parametrize("dtype", [np.longdouble, np.clongdouble])
def test_fits_has_no_numbers_of_128_bits(tmp_path, dtype):
    with pytest.raises(InputError, match=r"'x' has values of type .*, which FITS cannot hold"):
        write_table(Table({"x": np.zeros(2, dtype)}), tmp_path / "stars.fits")


def document_of(*resources):
    """Bytes of a VOTable with these RESOURCEs."""
    head = '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
    return f"{head}{''.join(resources)}</VOTABLE>".encode()


TABLE = '<TABLE><FIELD name="a" datatype="int"/><DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA></DATA></TABLE>'


def test_a_table_in_a_nested_resource_is_read(tmp_path):
    info, param = '<INFO name="n" value="5"/>', '<PARAM name="REFEPOCH" datatype="double" value="2015.5"/>'
    inner = f"<RESOURCE>{info}{TABLE}</RESOURCE>"
    (tmp_path / "a.vot").write_bytes(document_of("<RESOURCE/>", f"<RESOURCE>{param}{inner}</RESOURCE>"))
    back = read_votable(tmp_path / "a.vot")
    assert back["a"].tolist() == [1]
    assert (back.meta["n"], back.meta["REFEPOCH"]) == ("5", "2015.5")


@pytest.mark.parametrize("resource", ["<RESOURCE/>", "<RESOURCE><RESOURCE/></RESOURCE>", ""])
def test_a_votable_without_a_table_is_refused(tmp_path, resource):
    (tmp_path / "a.vot").write_bytes(document_of(resource))
    for read in (read_votable, read_table):
        with pytest.raises(InputError, match=r"^'path' \S*a\.vot holds no table$"):
            read(tmp_path / "a.vot")


@pytest.mark.parametrize("place", ["<RESOURCE>{}</RESOURCE>", "<RESOURCE><RESOURCE>{}</RESOURCE></RESOURCE>", "{}"])
def test_the_error_of_a_service_is_told(tmp_path, place):
    told = '<INFO name="QUERY_STATUS" value="ERROR">Quota\n exceeded</INFO>'
    (tmp_path / "a.vot").write_bytes(document_of(place.format(told)))
    with pytest.raises(ServiceError, match=r"'path' .*a\.vot holds no stars but .* of the service: Quota exceeded"):
        read_votable(tmp_path / "a.vot")


@pytest.mark.parametrize("form", ["fits", "vounit"])
def test_units_are_tried_without_filters_of_warnings(form):
    # Those are of the whole process: threads that set them leave them to each other.
    class Unit:
        def to_string(self, *args, **kwargs):
            seen.append(list(warnings.filters))
            return "mas"

        def __eq__(self, other):
            return other == u.mas

    seen = []
    assert is_spelt(Unit(), form)
    assert seen == [list(warnings.filters)]
    assert is_spelt(u.mas / u.yr, form)
    assert not is_spelt(u.dex(u.cm / u.s**2), form)
    assert not is_spelt(u.UnrecognizedUnit("furlong"), form)
    assert not is_spelt(3.7 * u.Unit(""), form)
    assert is_spelt(u.erg, form) == (form == "fits")  # VOUnit deprecates it


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_link_stays_one_and_a_file_keeps_its_mode(tmp_path, ending):
    kept = tmp_path / "kept"
    kept.mkdir()
    path, link = kept / f"a.{ending}", tmp_path / f"link.{ending}"
    write_table(Table({"a": [1]}), path)
    path.chmod(0o600)
    link.symlink_to(path)
    write_table(Table({"a": [2]}), link)
    assert link.is_symlink()
    assert list(read_table(path)["a"]) == [2]
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in kept.iterdir()] == [path.name]
    path.unlink()
    write_table(Table({"a": [3]}), link)
    assert list(read_table(path)["a"]) == [3]


@pytest.mark.parametrize(("ending", "masked"), [("fits", True), ("ecsv", True), ("vot", False), ("parquet", False)])
def test_empty_text_is_null_where_the_format_knows_no_other(tmp_path, ending, masked):
    write_table(Table({"a": ["", "x"]}), tmp_path / f"a.{ending}")
    assert np.ma.getmaskarray(read_table(tmp_path / f"a.{ending}")["a"]).tolist() == [masked, False]


@pytest.mark.parametrize("ending", ["vot", "fits", "ecsv", "parquet"])
@pytest.mark.parametrize("dtype", [float, np.int8])
def test_hours_are_written_as_degrees(tmp_path, ending, dtype):
    """Readers that take a VOTable's "15deg" for degrees would put the stars elsewhere."""
    stars = Table({"ra": MaskedColumn(np.array([17, 20, 1], dtype), mask=[0, 0, 1]), "dec": [3.0, 4.0, 5.0]})
    stars["ra"].unit = u.hourangle
    write_table(stars, tmp_path / f"stars.{ending}")
    read = read_table(tmp_path / f"stars.{ending}")
    assert (read["ra"].tolist(), read["ra"].unit) == ([255.0, 300.0, None], u.deg)
    assert stars["ra"].unit == u.hourangle


def test_magnitudes_of_a_system_are_magnitudes_to_other_programs(tmp_path):
    stars = Table({"phot_g_mean_mag": [1.5]})
    stars["phot_g_mean_mag"].unit = u.Unit("mag(AB)")
    write_votable(stars, tmp_path / "stars.vot")
    assert 'unit="mag"' in (tmp_path / "stars.vot").read_text()
    assert read_table(tmp_path / "stars.vot")["phot_g_mean_mag"].unit == u.Unit("mag(AB)")


def test_fits_has_no_comments_and_names_of_ascii_only(tmp_path):
    """STIL makes an array of text of comments, which astropy cannot read in a VOTable."""
    stars = Table({"ra": [1.5], "text": ["x"]})
    stars["text"].description, stars["text"].meta = "Größe", {"ucd": "meta.note", "own": [1, 2]}
    write_table(stars, tmp_path / "stars.fits")
    assert "COMMENT" not in fits.getheader(tmp_path / "stars.fits", 1)
    read = read_table(tmp_path / "stars.fits")
    assert (read["text"].description, read["text"].meta) == ("Größe", {"ucd": "meta.note", "own": [1, 2]})
    stars["ra"].name = "µ"
    with pytest.raises(InputError, match="'table' has a column 'µ', and FITS knows only ASCII"):
        write_table(stars, tmp_path / "stars.fits")
