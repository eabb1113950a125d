"""DECOCC from a table to members: on a cluster whose truth is known, and on real fields with published members."""

import os
import subprocess
import sys

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from numpy.testing import assert_array_equal

from decocc_vo import DECOCC, ClusterRegion, InputError, query_region
from decocc_vo.classic.kmeans import KMeansClassifier
from decocc_vo.columns import expected_errors, floats
from decocc_vo.plot import plot_proper_motions
from decocc_vo.report import write_report
from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field

ROWS = 900  # all tables have as many rows, so that JAX compiles once
MEMBERS = 150
REGION = ClusterRegion(SkyCoord(130.0, 19.7, unit="deg"), 1 * u.deg, "made up")
ADDED = ["membership_prob", "group", "candidate", "membership_prob_std"]


def make_field(members=MEMBERS, seed=0):
    """A cluster at 180 pc in a field, with errors as Gaia has them; returns stars and who is a member."""
    rng = np.random.default_rng(seed)
    n = ROWS - members
    member = np.arange(ROWS) < members
    radius = np.concatenate([0.25 * np.abs(rng.standard_normal(members)), np.sqrt(rng.uniform(0, 1, n))])
    place = REGION.center.directional_offset_by(rng.uniform(0, 360, ROWS) * u.deg, np.minimum(radius, 1) * u.deg)
    magnitude = rng.uniform(8, 17.5, ROWS)
    error = 0.02 + 0.1 * 10 ** (0.3 * (magnitude - 18))
    true = {
        "pmra": np.concatenate([rng.normal(-36.0, 0.6, members), rng.normal(-3, 8, n)]),
        "pmdec": np.concatenate([rng.normal(-12.9, 0.6, members), rng.normal(-5, 8, n)]),
        "parallax": np.concatenate([rng.normal(5.4, 0.1, members), rng.gamma(2.0, 0.7, n)]),
    }
    stars = Table({"source_id": 10_000 + rng.permutation(ROWS), "ra": place.ra.deg, "dec": place.dec.deg})
    for name, values in true.items():
        stars[name] = rng.normal(values, error)
        stars[f"{name}_error"] = error
    stars["phot_g_mean_mag"] = magnitude
    order = rng.permutation(ROWS)
    return stars[order], member[order]


def f1(result, member, scored=True):
    chosen = np.ma.filled(result.table["membership_prob"], 0) >= 0.5
    hit = np.sum(chosen & member & scored)
    return 2 * hit / (np.sum(chosen & scored) + np.sum(member & scored))


@pytest.fixture(scope="module")
def made_up():
    return make_field()


@pytest.fixture(scope="module")
def result(made_up):
    return DECOCC(seed=0).fit(made_up[0], REGION)


def test_finds_the_cluster(made_up, result):
    _, member = made_up
    assert f1(result, member) > 0.97
    (row,) = result.summary
    assert row["name"] == "made up"
    assert row["pmra"] == pytest.approx(-36.0, abs=0.3)
    assert row["pmdec"] == pytest.approx(-12.9, abs=0.3)
    assert row["parallax"] == pytest.approx(5.4, abs=0.05)
    assert row["n_expected"] == pytest.approx(MEMBERS, rel=0.1)
    assert row["distance_low"] < row["distance"] < row["distance_high"]
    assert row["significance"] > 20
    assert isinstance(result.stop_reason, str)
    assert result.stop_reason


def test_answer_has_the_contracts_columns(made_up, result):
    stars, _ = made_up
    assert result.table.colnames == stars.colnames + ADDED
    assert_array_equal(result.table["source_id"], stars["source_id"])
    assert [str(result.table[name].dtype) for name in ADDED] == ["float32", "int16", "int16", "float32"]
    probability = result.table["membership_prob"]
    assert not np.ma.getmaskarray(probability).any()
    assert probability.min() >= 0
    assert probability.max() <= 1
    assert {"stop_reason", "settings", "seed", "version", "seconds"} <= set(result.diagnostics)


def test_any_row_order_gives_the_same_bits(made_up, result):
    order = np.random.default_rng(3).permutation(ROWS)
    shuffled = DECOCC(seed=0).fit(made_up[0][order], REGION)
    for name in ADDED:
        assert_array_equal(np.asarray(shuffled.table[name]), np.asarray(result.table[name])[order])
    for name in result.summary.colnames:
        assert_array_equal(shuffled.summary[name], result.summary[name])


def test_few_stars_and_other_seeds():
    region = ClusterRegion.from_name("Melotte 25")
    stars = query_region(region, survey="hipparcos2")
    members = [np.sum(DECOCC(seed=seed).fit(stars, region).table["membership_prob"] >= 0.5) for seed in range(4)]
    assert max(members) - min(members) <= 1, members


def test_rows_that_cannot_be_used_come_back_masked(made_up):
    stars, member = made_up[0].copy(), made_up[1]
    stars["parallax"] = np.ma.masked_array(stars["parallax"], mask=np.arange(ROWS) % 90 == 0)
    stars["pmra"][5] = np.nan
    stars["source_id"][8] = stars["source_id"][7]
    result = DECOCC(seed=0).fit(stars, REGION)
    assert len(result.table) == ROWS
    unused = np.ma.getmaskarray(result.table["membership_prob"])
    assert np.all(unused[::90])
    assert unused[5]
    assert unused[[7, 8]].sum() == 1
    assert unused.sum() == 12
    for name in ADDED:
        assert_array_equal(np.ma.getmaskarray(result.table[name]), unused)
    assert f1(result, member & ~unused) > 0.97


def test_names_of_the_users_own(made_up, result):
    stars = made_up[0].copy()
    stars.rename_column("pmra", "mu_alpha")
    stars["parallax"] = stars["parallax"] / 1000
    stars["parallax"].unit = u.arcsec
    renamed = DECOCC(seed=0).fit(stars, REGION, columns={"pmra": "mu_alpha"})
    assert "mu_alpha" in renamed.table.colnames
    difference = np.abs(renamed.table["membership_prob"] - result.table["membership_prob"])
    assert difference.max() < 1e-3


def test_a_field_alone_holds_no_cluster():
    stars, _ = make_field(members=0, seed=5)
    result = DECOCC(seed=0).fit(stars, REGION)
    assert not result.found
    assert len(result.summary) == 0
    assert_array_equal(result.table["membership_prob"], 0)
    assert_array_equal(result.table["candidate"], -1)
    assert "no cluster" in result.stop_reason


def test_starting_members_lead_to_their_cluster(made_up, result):
    stars, member = made_up
    start = member & (np.cumsum(member) <= 20)
    started = DECOCC(seed=0).fit(stars, REGION, start=start)
    assert f1(started, member) > 0.97
    assert started.summary["pmra"][0] == pytest.approx(result.summary["pmra"][0], abs=0.1)


def test_stars_known_to_be_field_are_no_members(made_up):
    stars, member = made_up
    east = np.asarray(stars["ra"]) > 130.0
    result = DECOCC(seed=0).fit(stars, REGION, field_only=east)
    assert np.all(result.table["membership_prob"][east] < 0.5)
    assert f1(result, member & ~east) > 0.9


@pytest.mark.parametrize("argument", ["start", "field_only"])
def test_per_row_arguments_fit_the_table(made_up, argument):
    with pytest.raises(InputError, match=f"'{argument}' must have one value for each of the 900 rows"):
        DECOCC().fit(made_up[0], REGION, **{argument: np.ones(10, bool)})
    with pytest.raises(InputError, match=f"'{argument}' must not be negative"):
        DECOCC().fit(made_up[0], REGION, **{argument: np.where(np.arange(ROWS) < 10, 1, -1)})


def test_what_is_started_from_is_not_known_to_be_field(made_up):
    stars, member = made_up
    with pytest.raises(InputError, match="'start' and 'field_only' say the opposite"):
        DECOCC().fit(stars, REGION, start=member, field_only=member)


def test_it_starts_from_some_star(made_up):
    with pytest.raises(InputError, match="'start' picks no usable star"):
        DECOCC().fit(made_up[0], REGION, start=np.zeros(ROWS, bool))


def test_no_star_known_to_be_field_is_none_said(made_up, result):
    said = DECOCC(seed=0).fit(made_up[0], REGION, field_only=np.zeros(ROWS))
    np.testing.assert_array_equal(said.table["membership_prob"], result.table["membership_prob"])


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"threshold": -1}, "threshold"),
        ({"threshold": 10**400}, "threshold"),
    ],
)
def test_settings_are_checked(settings, name):
    with pytest.raises(InputError, match=f"'{name}' must be"):
        DECOCC(**settings)


def test_the_published_recipe(made_up):
    stars, _ = made_up
    method = DECOCC.thesis(n_clusters=4, seed=1)
    result = method.fit(stars, REGION)
    again = method.fit(stars[::-1], REGION)
    assert_array_equal(again.table["membership_prob"][::-1], result.table["membership_prob"])
    assert result.table.meta["decocc"]["method"] == "decocc-thesis"
    assert result.diagnostics["n_clusters"] == 4
    assert result.diagnostics["picked"]
    assert len(result.diagnostics["label_change"]) > 0
    assert 0 <= np.ma.min(result.table["group"]) <= np.ma.max(result.table["group"]) < 4
    assert result.table.colnames == stars.colnames + ADDED


@pytest.mark.parametrize(
    ("name", "bound", "parallax"),
    [
        ("melotte25_hipparcos2", 0.80, 21.3),
        ("ngc2632_2deg", 0.95, 5.4),
        ("ngc2682_wide", 0.95, 1.13),
        ("melotte22_2deg_snr10", 0.95, 7.37),
    ],
)
def test_published_members(shared_data, field, name, bound, parallax):
    truth = Table.read(shared_data / "fields" / "truth" / f"{name}.fits")
    stars = field(name)
    assert_array_equal(truth["source_id"], stars["source_id"])
    result = DECOCC(seed=0).fit(stars)
    label = np.asarray(truth["label"])
    assert f1(result, label == 1, label >= 0) > bound
    assert result.summary["parallax"][0] == pytest.approx(parallax, rel=0.05)


def test_without_photometry_colours_and_magnitudes_do_not_matter(made_up):
    stars, member = made_up
    other = stars.copy()
    rng = np.random.default_rng(1)
    other["bp_rp"] = rng.uniform(0, 3, ROWS)
    other["phot_g_mean_mag"] = rng.permutation(stars["phot_g_mean_mag"])
    blind = [DECOCC(photometry=False).fit(table, REGION) for table in (stars, other)]
    assert f1(blind[0], member) > 0.95
    assert_array_equal(blind[0].table["membership_prob"], blind[1].table["membership_prob"])
    # With the motions and the distance of the field around it, not all of the cluster is certain.
    for name, shift in (("pmra", 30.0), ("pmdec", 6.0), ("parallax", -4.0)):
        other[name][member] += shift
    seeing, blind = (DECOCC(photometry=on).fit(other, REGION).table["membership_prob"] for on in (True, False))
    assert np.abs(seeing - blind).max() > 0.001


@pytest.mark.parametrize("first", ["hdbscan", "kmeans"])
def test_any_first_clustering_finds_the_cluster(made_up, first):
    stars, member = made_up
    assert f1(DECOCC(first=first).fit(stars, REGION), member) > 0.95


@pytest.mark.parametrize("settings", [{"first": "magic"}, {"first": None}])
def test_unknown_first_clusterings_are_refused(settings):
    with pytest.raises(InputError, match="'photometry' must be True or False, not 'no'"):
        DECOCC(photometry="no")
    with pytest.raises(InputError, match="'first' must be one of density, hdbscan, kmeans"):
        DECOCC(**settings)


@pytest.mark.parametrize("method", ["DECOCC()", "DECOCC.thesis(4)"])
def test_the_users_float64_of_jax_changes_nothing(method):
    """JAX_ENABLE_X64 is set in many an astronomer's shell."""
    code = (
        "from decocc_vo import DECOCC, ClusterRegion\n"
        "from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field\n"
        "region = ClusterRegion.from_text('120 -30', '20arcmin')\n"
        "stars = inject_cluster(simulate_field(region, 400), region, SimulatedCluster(80, -3.0, 2.0, 1.1, 4.0))\n"
        f"print({method}.fit(stars, region).candidates['n_expected'][0])\n"
    )
    sums = [
        float(
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "JAX_ENABLE_X64": setting},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for setting in ("0", "1")
    ]
    assert sums[0] == pytest.approx(sums[1], abs=0.1)


def test_in_a_large_table_magnitudes_do_not_matter_without_photometry():
    """Nor for what is searched of it."""
    field = simulate_field(REGION, 13_000, seed=4)
    stars = inject_cluster(field, REGION, SimulatedCluster(60, -3.0, 2.0, 0.6, 4.0), seed=1)
    for name, error in zip(("pmra", "pmdec", "parallax"), expected_errors(stars["phot_g_mean_mag"]).T, strict=True):
        stars[f"{name}_error"] = error
    other = stars.copy()
    other["phot_g_mean_mag"] = np.random.default_rng(1).permutation(stars["phot_g_mean_mag"])
    blind = [DECOCC(photometry=False).fit(table, REGION).table["membership_prob"] for table in (stars, other)]
    assert_array_equal(*blind)


def test_the_mapping_of_columns_goes_with_the_result(tmp_path):
    region = ClusterRegion.from_text("120 -30", "20arcmin")
    stars = inject_cluster(simulate_field(region, 400), region, SimulatedCluster(60, -3.0, 2.0, 1.1, 4.0))
    stars.rename_column("pmra", "motion")
    stars["motion"].unit, stars["motion"].description = None, ""
    stars["motion"].meta.clear()
    for method in (DECOCC(), KMeansClassifier()):
        result = method.fit(stars, region, columns={"pmra": "motion"})
        plot_proper_motions(result)
        write_report(result, tmp_path / "page.html", overwrite=True)
        assert result.table["motion"].unit == "mas / yr"
        assert result.table["motion"].meta["ucd"] == "pos.pm;pos.eq.ra"
    assert stars["motion"].unit is None


def moved(stars, region, dec):
    """The same sky, turned so that the region's centre is at another declination."""
    motion = {"pm_ra_cosdec": floats(stars["pmra"]) * u.mas / u.yr, "pm_dec": floats(stars["pmdec"]) * u.mas / u.yr}
    sky = SkyCoord(floats(stars["ra"]) * u.deg, floats(stars["dec"]) * u.deg, **motion)
    offset = sky.transform_to(region.center.skyoffset_frame())
    centre = SkyCoord(50.0, dec, unit="deg")
    motion = {"pm_lon_coslat": offset.pm_lon_coslat, "pm_lat": offset.pm_lat}
    there = SkyCoord(lon=offset.lon, lat=offset.lat, **motion, frame=centre.skyoffset_frame()).icrs
    new = Table(stars, copy=True)
    new["ra"], new["dec"] = there.ra.deg, there.dec.deg
    new["pmra"], new["pmdec"] = there.pm_ra_cosdec.to_value("mas/yr"), there.pm_dec.to_value("mas/yr")
    return new, ClusterRegion(centre, region.radius)


@pytest.mark.parametrize("dec", [-60.0, 88.0])
def test_near_a_pole_it_is_the_same_cluster(dec):
    """East and north turn over the field there; motions are compared in one place's axes."""
    region = ClusterRegion.from_text("120 0", "60arcmin")
    members = SimulatedCluster(100, -30.0, 20.0, 5.0, 15.0)
    stars = inject_cluster(simulate_field(region, 800), region, members)
    plain = DECOCC().fit(stars, region)
    turned = DECOCC().fit(*moved(stars, region, dec))
    np.testing.assert_allclose(turned.table["membership_prob"], plain.table["membership_prob"], atol=0.02)
    for name in ("pmra_dispersion", "pmdec_dispersion"):
        assert turned.summary[name][0] == pytest.approx(plain.summary[name][0], rel=0.02)


@pytest.mark.parametrize("method", [DECOCC(), DECOCC.thesis(), KMeansClassifier()])
def test_a_star_on_the_other_side_of_the_sky_is_not_used(method):
    region = ClusterRegion.from_text("120 -30", "20arcmin")
    stars = inject_cluster(simulate_field(region, 300), region, SimulatedCluster(60, -3.0, 2.0, 1.1, 4.0))
    stars["ra"][7], stars["dec"][7] = 300.0, 30.0
    result = method.fit(stars, region)
    assert np.flatnonzero(np.ma.getmaskarray(result.table["membership_prob"])).tolist() == [7]


@pytest.mark.parametrize("degrees", [1.0, 10.0])
def test_one_stray_star_changes_little(degrees):
    """The footprint is where the others are."""
    region = ClusterRegion.from_text("120 -30", "20arcmin")
    stars = inject_cluster(simulate_field(region, 500), region, SimulatedCluster(15, -3.0, 2.0, 1.1, 2.0))
    plain = DECOCC().fit(stars, region)
    stars.add_row(stars[0])
    stars["source_id"][-1], stars["dec"][-1] = 10**9, stars["dec"][0] + degrees
    spoilt = DECOCC().fit(stars, region)
    np.testing.assert_allclose(spoilt.table["membership_prob"][:-1], plain.table["membership_prob"], atol=0.05)
    assert spoilt.summary["significance"][0] == pytest.approx(plain.summary["significance"][0], rel=0.25)
