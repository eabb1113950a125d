"""ADQL is text that real parsers take; nothing a user says changes more of it than one condition."""

import re

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from decocc_vo import ClusterRegion, InputError
from decocc_vo.columns import RELEASES, Service, get_release
from decocc_vo.stars import adql

REGION = ClusterRegion(SkyCoord("56.6d +24.1d"), 2 * u.deg)
GAIA = [release for release in RELEASES.values() if release.services]
SERVED = [pytest.param(r, s, id=f"{r.key}-{k}") for r in GAIA for k, s in r.services.items()]


def queries(release, service, region=REGION):
    conditions = [
        adql.area(region, service),
        adql.translate("(parallax > 0.5 OR phot_g_mean_mag < 12) AND pmra IS NOT NULL", service),
        adql.between(0, 2**40, service.spelling("source_id")),
    ]
    columns = adql.columns_of(release, service)
    return (
        adql.select(service, columns, conditions),
        adql.count(service, conditions),
        adql.histogram(service, conditions, 2**45),
    )


@pytest.mark.parametrize(("release", "service"), SERVED)
def test_a_real_parser_takes_every_query_of_every_service(release, service):
    parser = pytest.importorskip("queryparser.adql", reason="queryparser-python3 is not installed")
    mirrors = ("gaia_dr3", "https://gea.esac.esa.int/tap-server/tap"), ("gaia_dr3", "https://tapvizier")
    thorough = any(release.key == key and service.url.startswith(url) for key, url in mirrors)
    for query in queries(release, service)[: 3 if thorough else 1]:  # the parser takes seconds
        parsed = parser.ADQLQueryTranslator(query)
        assert "spoint" in parsed.to_postgresql()


def test_the_real_parser_refuses_what_is_no_adql():
    parser = pytest.importorskip("queryparser.adql", reason="queryparser-python3 is not installed")
    errors = pytest.importorskip("queryparser.exceptions")
    with pytest.raises(errors.QuerySyntaxError):
        parser.ADQLQueryTranslator("SELECT source_id,, ra FROM t").to_postgresql()


@pytest.mark.parametrize(("release", "service"), SERVED)
def test_a_service_is_asked_in_its_own_spelling_and_only_for_what_it_has(release, service):
    names = adql.columns_of(release, service)
    assert set(names) <= set(release.columns)
    assert {"source_id", "ra", "dec", "pmra", "pmdec", "parallax"} <= set(names)
    first = adql.select(service, names).split("\n")[0].removeprefix("SELECT ").split(", ")
    assert len(first) == len(set(first)) == len(names)
    assert first == [adql.identifier(service.spelling(name)) for name in names]
    assert all(re.fullmatch(r'[A-Za-z]\w*|"[^"]+"', name) for name in first)


def test_what_a_service_lacks_is_an_error_that_names_it():
    release = get_release("gaia_dr3")
    with pytest.raises(InputError, match=r"'columns' names ecl_lat, .*g-vo"):
        adql.columns_of(release, release.services["gavo"], ["ecl_lat"])
    with pytest.raises(InputError, match=r"'where' uses ecl_lat"):
        adql.translate("ecl_lat > 3", release.services["gavo"])


def test_chosen_columns_keep_the_astrometry():
    release = get_release("gaia_dr3")
    names = adql.columns_of(release, release.services["esa"], ["ruwe"])
    assert names == ["source_id", "ra", "dec", "parallax", "pmra", "pmdec", "ruwe"]


def test_predicates_are_translated_outside_of_quotes_only():
    service = get_release("gaia_dr3").services["vizier"]
    text = adql.translate("bp_rp < 1.5e2 AND RUWE < 1.4 AND name = 'bp_rp' AND \"ruwe\" > 1", service)
    assert text == '"BP-RP" < 1.5e2 AND RUWE < 1.4 AND name = \'bp_rp\' AND "ruwe" > 1'


@pytest.mark.parametrize(
    "bad",
    ["", "  ", "1 = 1) OR (1 = 1", "(a < 1", "a < 1; DROP TABLE x", "a < 1 -- no", "name = 'open", "a /* b */ < 1"],
)
def test_a_condition_stays_one_condition(bad):
    with pytest.raises(InputError, match="'where'"):
        adql.predicates(bad)


@given(st.text(alphabet="ab1 <>=()'\"-;*/.", max_size=30))
def test_whatever_passes_as_a_condition_is_closed(text):
    try:
        (passed,) = adql.predicates(text)
    except InputError:
        return
    bare = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", "", passed)
    assert bare.count("(") == bare.count(")")
    assert not re.search(r"--|/\*|;|['\"]", bare)


def test_conditions_may_hold_semicolons_and_dashes_in_quotes():
    assert adql.predicates(["name = 'a;b--c'", "(x > 1)"]) == ["name = 'a;b--c'", "(x > 1)"]


@given(st.floats(0, 360), st.floats(-90, 90), st.floats(1e-6, 180))
def test_a_cone_keeps_every_digit(ra, dec, radius):
    numbers = re.search(r"CIRCLE\('ICRS', (.*)\)\)", adql.cone(ra, dec, radius)).group(1)
    assert [float(x) for x in numbers.split(", ")] == [ra, dec, radius]


@pytest.mark.parametrize("radius", [0, -1, 181, np.nan, np.inf])
def test_a_cone_without_size_is_refused(radius):
    with pytest.raises(InputError, match="'radius'"):
        adql.cone(1, 2, radius)


def corners(text):
    numbers = [float(x) for x in re.search(r"POLYGON\('ICRS', (.*)\)\)", text).group(1).split(", ")]
    return SkyCoord(numbers[::2] * u.deg, numbers[1::2] * u.deg)


@pytest.mark.parametrize("dec", [-89, -40, 0, 75])
def test_a_box_is_its_four_corners(dec):
    center = SkyCoord(10 * u.deg, dec * u.deg)
    found = corners(adql.box(center, 4 * u.deg, 2 * u.deg, 30 * u.deg))
    inside = found.transform_to(center.skyoffset_frame(rotation=30 * u.deg))
    np.testing.assert_allclose(inside.lon.wrap_at(180 * u.deg).deg, [-2, 2, 2, -2], atol=1e-9)
    np.testing.assert_allclose(inside.lat.deg, [-1, -1, 1, 1], atol=1e-9)


def test_regions_of_the_regions_package():
    regions = pytest.importorskip("regions")
    center = SkyCoord("56.6d +24.1d")
    assert adql.area(regions.CircleSkyRegion(center, 2 * u.deg)) == adql.area(REGION)
    vertices = SkyCoord([1, 2, 2] * u.deg, [1, 1, 2] * u.deg)
    assert corners(adql.area(regions.PolygonSkyRegion(vertices))).separation(vertices).max() < 1e-9 * u.deg
    rectangle = regions.RectangleSkyRegion(center, 2 * u.deg, 1 * u.deg, 10 * u.deg)
    assert adql.area(rectangle) == adql.box(center, 2 * u.deg, 1 * u.deg, 10 * u.deg)
    with pytest.raises(InputError, match="not EllipseSkyRegion"):
        adql.area(regions.EllipseSkyRegion(center, 2 * u.deg, 1 * u.deg))


def test_a_moc_becomes_ranges_of_source_id():
    mocpy = pytest.importorskip("mocpy")
    moc = mocpy.MOC.from_cone(56.6 * u.deg, 24.1 * u.deg, radius=1 * u.deg, max_depth=8)
    text = adql.area(moc, get_release("gaia_dr3").services["vizier"])
    ranges = [(int(a), int(b)) for a, b in re.findall(r"Source BETWEEN (\d+) AND (\d+)", text)]
    pixels = {p for a, b in ranges for p in range(a >> 43, (b >> 43) + 1)}
    assert pixels == set(moc.flatten().tolist())
    with pytest.raises(InputError, match="degrade_to_order"):
        adql.area(mocpy.MOC.from_cone(5 * u.deg, 5 * u.deg, radius=0.001 * u.deg, max_depth=16))


@pytest.mark.parametrize("region", ["56 24", SkyCoord("56.6d +24.1d"), None])
def test_what_is_no_region_is_refused(region):
    with pytest.raises(InputError, match="'region' must be a ClusterRegion, or a circle"):
        adql.area(region)


def test_quality_cuts():
    assert adql.quality(max_ruwe=1.4, min_parallax=0, min_parallax_over_error=10) == [
        "ruwe <= 1.4",
        "parallax > 0.0",
        "parallax > 10.0 * parallax_error",
    ]
    with pytest.raises(InputError, match="'quality'"):
        adql.quality(max_g=np.nan)


def test_histogram_is_one_subquery_that_groups_by_a_column():
    text = adql.histogram(Service("https://x", "t"), ["a < 1"], 64)
    assert text.count("SELECT") == 2
    assert text.endswith("GROUP BY pixel")
