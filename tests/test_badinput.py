"""Bad input, from Python and on the command line: a clear error that names the argument, or a documented behaviour."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from decocc_vo import DECOCC, ClusterRegion, InputError, ServiceError, query_region, read_stars, write_votable
from decocc_vo.cli import METHODS, main, make_method

ROWS = 200


def make_stars(rows=ROWS):
    """Stars of a field without a cluster."""
    rng = np.random.default_rng(0)
    stars = Table({"source_id": np.arange(rows) + 1})
    for name, low, high in (("ra", 129, 131), ("dec", 19, 21), ("pmra", -9, 9), ("pmdec", -9, 9), ("parallax", 0.1, 4)):
        stars[name] = rng.uniform(low, high, rows)
    for name in ("pmra", "pmdec", "parallax"):
        stars[f"{name}_error"] = 0.1
    return stars


def without(name):
    def spoil(stars):
        stars.remove_column(name)

    return spoil


def with_unit(name, unit):
    def spoil(stars):
        stars[name].unit = unit

    return spoil


def rows(count):
    def spoil(stars):
        stars.remove_rows(slice(count, None))

    return spoil


def no_parallax(stars):
    stars["parallax"] = np.nan


def degrees_as_milliarcseconds(stars):
    stars["dec"] *= 3.6e6


def words(stars):
    stars["pmra"] = ["fast"] * len(stars)


def floating_ids(stars):
    stars["source_id"] = stars["source_id"].astype(float) + 2.0**60


# What spoils a table, and what the error says.
BAD_TABLES = [
    pytest.param(without("parallax"), "'table' lacks the column parallax", id="missing column"),
    pytest.param(with_unit("pmra", "km / s"), "'pmra' has the unit km / s, which does not convert", id="wrong unit"),
    pytest.param(degrees_as_milliarcseconds, "'dec' leaves -90 to 90 deg", id="off the sky"),
    pytest.param(words, "'pmra' must hold numbers", id="words"),
    pytest.param(floating_ids, "'source_id' is stored as floating point", id="float ids"),
    pytest.param(rows(0), "'table' has no rows", id="no star"),
    pytest.param(rows(1), "'table' has 1 usable star of 1 rows|'stars' all lie at one point", id="one star"),
    pytest.param(rows(3), "'table' has 3 usable stars of 3 rows", id="three stars"),
    pytest.param(no_parallax, "'table' has 0 usable stars of 200 rows.*parallax in 200", id="all-NaN parallax"),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("spoil", "message"), BAD_TABLES)
def test_tables_are_refused_by_every_method(method, spoil, message):
    stars = make_stars()
    spoil(stars)
    with pytest.raises(InputError, match=message):
        make_method(method).fit(stars)


BAD_FILES = [
    pytest.param(*table.values, ending, id=f"{table.id}-{ending}")
    for table in BAD_TABLES
    for ending in ("vot", "fits", "ecsv", "csv", "parquet")
    if (table.id, ending) != ("wrong unit", "csv")  # CSV states no units
]


@pytest.mark.parametrize(("spoil", "message", "ending"), BAD_FILES)
def test_files_of_bad_tables_exit_with_2(spoil, message, ending, tmp_path, capsys):
    stars = make_stars()
    spoil(stars)
    if ending == "csv":
        stars.write(tmp_path / "stars.csv", format="ascii.csv")
    elif ending == "parquet":
        from decocc_vo.votable import write_table

        write_table(stars, tmp_path / "stars.parquet")
    else:
        form = {"vot": "votable", "fits": "fits", "ecsv": "ascii.ecsv"}[ending]
        stars.write(tmp_path / f"stars.{ending}", format=form)
    assert main(["run", "--stars", str(tmp_path / f"stars.{ending}"), "--quiet"]) == 2
    assert_complaint(capsys, message)


def assert_complaint(capsys, pattern, lines=2):
    """Check that nothing is on stdout, and at most two lines without a traceback on stderr."""
    import re

    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(pattern, captured.err)
    assert "Traceback" not in captured.err
    assert 1 <= len(captured.err.splitlines()) <= lines


@pytest.mark.parametrize("table", [None, "stars.fits", np.ones((3, 5)), {"ra": [1.0]}])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(InputError, match="'table' must be an astropy Table"):
        DECOCC().fit(table)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"pm_ra": "pmra"}, "'columns' maps 'pm_ra', which is no registry name"),
        ({"pmra": "mu"}, "'columns' says pmra is 'mu'"),
        ({"pmra": "pmdec", "parallax": "pmdec"}, "'columns' maps 'pmdec' more than once"),
    ],
)
def test_mappings_that_do_not_fit(columns, message, tmp_path, capsys):
    with pytest.raises(InputError, match=message):
        DECOCC().fit(make_stars(), columns=columns)
    make_stars().write(tmp_path / "stars.fits")
    argument = ",".join(f"{name}={theirs}" for name, theirs in columns.items())
    assert main(["run", "--stars", str(tmp_path / "stars.fits"), "--columns", argument]) == 2
    assert_complaint(capsys, message)


@pytest.mark.parametrize("region", ["M 67", SkyCoord(0 * u.deg, 0 * u.deg), 5 * u.deg])
def test_what_is_no_region_is_refused(region):
    with pytest.raises(InputError, match="'region' must be a ClusterRegion"):
        DECOCC().fit(make_stars(), region)
    with pytest.raises(InputError, match="'region' must be a ClusterRegion"):
        query_region(region, survey="hipparcos2")


def test_names_that_nobody_knows(capsys):
    with pytest.raises(InputError, match="'name' 'Nowhere 7' is not known"):
        ClusterRegion.from_name("Nowhere 7", online=False)
    assert main(["run", "Nowhere 7", "--survey", "hipparcos2"]) == 2
    assert_complaint(capsys, "'name' 'Nowhere 7'")


def test_the_hint_of_a_name_misspelt():
    with pytest.raises(InputError, match=r"did you mean .*Praesepe"):
        ClusterRegion.from_name("Presepe", online=False)


@pytest.mark.parametrize("radius", ["0deg", "200deg", "-1deg", "nan deg", "60", "60 kg", "wide"])
def test_radii_that_make_no_sense(radius, capsys):
    with pytest.raises(InputError, match="'radius'"):
        ClusterRegion.from_text("56.75 24.117", radius)
    assert main(["run", "M 45", "--survey", "hipparcos2", f"--radius={radius}"]) == 2
    assert_complaint(capsys, "'radius'")


@pytest.mark.parametrize("center", ["56.75", "56.75 124", "here and there", "", "26 04 00 +15 00 00"])
def test_centres_that_make_no_sense(center, capsys):
    with pytest.raises(InputError, match="'center'"):
        ClusterRegion.from_text(center, "1deg")
    assert main(["run", "--center", center, "--radius", "1deg", "--survey", "hipparcos2"]) == 2
    assert_complaint(capsys, "'center'")


@pytest.mark.parametrize("survey", ["gaia_dr4", "sdss", ""])
def test_surveys_that_cannot_be_asked(survey, capsys):
    with pytest.raises(InputError, match="'survey'"):
        query_region(ClusterRegion.from_name("M 45"), survey=survey)
    assert main(["run", "M 45", "--survey", survey]) == 2
    assert_complaint(capsys, "'survey'")


def spoilt_file(path, kind):
    if kind == "empty":
        path.touch()
    elif kind == "garbage":
        path.write_bytes(bytes(range(256)) * 20)
    elif kind == "truncated":
        whole = path.with_name(f"whole{path.suffix}")
        from decocc_vo.votable import write_table

        write_table(make_stars(), whole)
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    elif kind == "folder":
        path.mkdir()


@pytest.mark.parametrize("kind", ["absent", "empty", "garbage", "truncated", "folder"])
@pytest.mark.parametrize("ending", ["vot", "fits", "parquet"])
def test_files_that_cannot_be_read_exit_with_3(kind, ending, tmp_path, capsys):
    path = tmp_path / f"stars.{ending}"
    spoilt_file(path, kind)
    with pytest.raises(ServiceError, match=f"'stars.{ending}'"):
        read_stars(path)
    assert main(["run", "--stars", str(path)]) == 3
    assert_complaint(capsys, f"'stars.{ending}'")


def test_endings_that_nobody_knows(tmp_path, capsys):
    (tmp_path / "stars.doc").write_text("ra dec")
    assert main(["run", "--stars", str(tmp_path / "stars.doc")]) == 2
    assert_complaint(capsys, "'stars' 'stars.doc' has no ending that is known")
    assert main(["run", "M 45", "--survey", "hipparcos2", "--output", str(tmp_path / "members.doc")]) == 2
    assert_complaint(capsys, "'output' .*members.doc has no ending that is known")


def test_folders_that_are_not_there(tmp_path, capsys):
    assert main(["run", "M 45", "--survey", "hipparcos2", "--output", str(tmp_path / "nowhere" / "members.vot")]) == 3
    assert_complaint(capsys, "nowhere")


def test_zero_and_negative_parallaxes_are_used():
    stars = make_stars()
    stars["parallax"][:60] = -0.5
    stars["parallax"][60:120] = 0.0
    result = make_method("hdbscan").fit(stars)
    assert not np.ma.getmaskarray(result.table["membership_prob"]).any()


def test_rows_that_cannot_be_used_come_back_masked_through_a_file(tmp_path):
    stars = make_stars()
    stars["pmra"][:7] = np.nan
    stars["source_id"][20] = stars["source_id"][21]
    stars.write(tmp_path / "stars.fits")
    files = ["--stars", str(tmp_path / "stars.fits"), "--output", str(tmp_path / "members.vot")]
    code = main(["run", "--method", "hdbscan", "--quiet", *files])
    assert code in (0, 1)
    back = read_stars(tmp_path / "members.vot")
    assert len(back) == ROWS
    assert np.flatnonzero(np.ma.getmaskarray(back["membership_prob"])).tolist() in ([*range(7), 20], [*range(7), 21])


def test_what_cannot_be_written_says_why(tmp_path):
    with pytest.raises(InputError, match="'path'"):
        write_votable(make_stars(), None)
    with pytest.raises(ServiceError):
        write_votable(make_stars(), tmp_path / "nowhere" / "stars.vot")


@pytest.mark.parametrize("columns", ["pmra", ["pmra"]])
def test_mappings_that_are_none(columns):
    with pytest.raises(InputError, match="'columns' must map registry names"):
        DECOCC().fit(make_stars(), columns=columns)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", ["310 -20", "130 -60"])
def test_regions_that_are_elsewhere(method, place, tmp_path, capsys):
    with pytest.raises(InputError, match=r"'region' .* is not where the stars are: they lie within 1\.33 deg"):
        make_method(method).fit(make_stars(), ClusterRegion.from_text(place, "1deg"))
    make_stars().write(tmp_path / "stars.fits")
    assert main(["run", "--stars", str(tmp_path / "stars.fits"), "--center", place, "--method", method]) == 2
    assert_complaint(capsys, f"'center' {place} is not where the file's stars are")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "'seed' must be an integer from 0"),
        ({"seed": 2**32}, "'seed' must be an integer from 0"),
        ({"seed": 1.5}, "'seed' must be an integer from 0"),
        ({"threshold": "6"}, "'threshold' must be a number"),
        ({"threshold": [1, 2]}, "'threshold' must be a number"),
        ({"threshold": None}, "'threshold' must be a number"),
        ({"threshold": np.nan}, "'threshold' must be a number"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(InputError, match=message):
        DECOCC(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "'seed' must be an integer from 0"),
        ({"n_clusters": 2.5}, "'n_clusters' must be an integer of 2 or more"),
        ({"n_clusters": "3"}, "'n_clusters' must be an integer of 2 or more"),
        ({"width": 1.5}, "'width' must be an integer of 1 or more"),
        ({"quantile": 0.7}, "'quantile' must be at least 0 and below 0.5"),
        ({"quantile": "a"}, "'quantile' must be at least 0 and below 0.5"),
    ],
)
def test_settings_of_the_thesis_that_make_no_sense(settings, message):
    with pytest.raises(InputError, match=message):
        DECOCC.thesis(**settings)


@pytest.mark.parametrize("start", [np.full(ROWS, "a"), np.full(ROWS, np.nan)])
def test_starts_that_make_no_sense(start):
    with pytest.raises(InputError, match="'start' must have a number, or true or false, for each row"):
        DECOCC().fit(make_stars(), start=start)


def test_identifiers_that_repeat():
    stars = make_stars()
    stars["source_id"] = 7
    with pytest.raises(InputError, match="or all of the astrometry, repeats in 199 rows, and each star counts once"):
        DECOCC().fit(stars)
