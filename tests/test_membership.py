"""The result: the characterisation of groups whose truth is known, and what every method's answer looks like."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table, vstack
from numpy.testing import assert_allclose, assert_array_equal

from decocc_vo import RELEASES, ClusterRegion, InputError
from decocc_vo.columns import COLUMNS, conform, expected_errors, requires, usable_rows
from decocc_vo.membership import Candidate, assemble, characterise, with_rows_outside
from decocc_vo.votable import read_table, write_table

CENTER = (56.6, 24.1)
TRUTH = {"pmra": (19.9, 0.9), "pmdec": (-45.5, 1.1), "parallax": (7.37, 0.2)}  # mean, intrinsic dispersion
REGION = ClusterRegion(SkyCoord(*CENTER, unit="deg"), 2 * u.deg, "Pleiades")


def draw(n, seed, error=0.3):
    """Stars of one cluster with errors between a third of ``error`` and ``error``."""
    rng = np.random.default_rng(seed)
    table = Table({"source_id": np.arange(n)})
    # Half of a two-dimensional normal distribution lies within 1.177 sigma.
    spread = 0.5 / 1.17741
    table["ra"] = CENTER[0] + rng.normal(0, spread, n) / np.cos(np.radians(CENTER[1]))
    table["dec"] = CENTER[1] + rng.normal(0, spread, n)
    for name, (mean, dispersion) in TRUTH.items():
        table[f"{name}_error"] = error * rng.uniform(1 / 3, 1, n)
        table[name] = rng.normal(mean, np.hypot(dispersion, table[f"{name}_error"]))
    return table


def characterised(table, probability=None, **kwargs):
    probability = np.ones(len(table)) if probability is None else probability
    return characterise(conform(table), probability, REGION, **kwargs)


@pytest.mark.parametrize("error", [0.05, 1.0, 3.0])
def test_mean_and_intrinsic_dispersion_are_recovered(error):
    row = characterised(draw(4000, seed=1, error=error))
    for name, (mean, dispersion) in TRUTH.items():
        assert abs(row[name] - mean) < 4 * row[f"{name}_error"]
        tolerance = 4 * (dispersion**2 + error**2) / dispersion / np.sqrt(2 * 4000)
        assert abs(row[f"{name}_dispersion"] - dispersion) < tolerance


def test_error_of_the_mean_is_the_scatter_of_the_mean():
    rows = [characterised(draw(60, seed)) for seed in range(200)]
    for name, (mean, _) in TRUTH.items():
        pulls = [(row[name] - mean) / row[f"{name}_error"] for row in rows]
        assert abs(np.mean(pulls)) < 0.3
        assert 0.85 < np.std(pulls) < 1.2


@pytest.mark.parametrize("n", [8, 15])
def test_error_of_the_mean_of_few_stars(n):
    pulls = []
    for seed in range(600):
        table = draw(n, seed)
        table["ra"], table["dec"] = CENTER
        row = characterised(table)
        pulls.append((row["pmra"] - TRUTH["pmra"][0]) / row["pmra_error"])
    # That of a t distribution is sqrt((n - 1) / (n - 3)); errors about as large as the dispersion add to it.
    assert np.std(pulls) < 1.1 * np.sqrt((n - 1) / (n - 3))


def test_zero_points_weigh_as_the_parallaxes_do():
    """Faint stars say little of the parallax, and their zero point is another one."""
    rng = np.random.default_rng(5)
    pulls = []
    for seed in range(100):
        table = draw(200, seed)
        faint = np.arange(200) % 2 == 1
        zero_point = np.where(faint, -0.05, -0.02)
        table["parallax_error"] = np.where(faint, 0.5, 0.02)
        table["parallax"] = 1.0 + zero_point + rng.normal(0, table["parallax_error"])
        row = characterised(table, zero_point=zero_point)
        pulls.append((row["parallax"] - row["parallax_zero_point"] - 1.0) / row["parallax_error"])
        assert row["parallax_zero_point"] == pytest.approx(-0.02, abs=0.001)
        assert row["distance"] == pytest.approx(1000 / (row["parallax"] - row["parallax_zero_point"]))
    assert abs(np.mean(pulls)) < 0.4
    assert np.std(pulls) < 1.2


def test_near_a_pole_motions_are_those_in_the_axes_of_the_centre():
    table = draw(1000, seed=6)
    plain = characterised(table)
    offset = SkyCoord(
        table["ra"],
        table["dec"],
        unit="deg",
        pm_ra_cosdec=np.asarray(table["pmra"]) * u.mas / u.yr,
        pm_dec=np.asarray(table["pmdec"]) * u.mas / u.yr,
    ).transform_to(REGION.center.skyoffset_frame())
    motion = {"pm_lon_coslat": offset.pm_lon_coslat, "pm_lat": offset.pm_lat}
    pole = SkyCoord(10.0, 89.5, unit="deg").skyoffset_frame()
    sky = SkyCoord(lon=offset.lon, lat=offset.lat, **motion, frame=pole).icrs
    table["ra"], table["dec"] = sky.ra.deg, sky.dec.deg
    table["pmra"], table["pmdec"] = sky.pm_ra_cosdec.to_value("mas/yr"), sky.pm_dec.to_value("mas/yr")
    row = characterised(table)
    assert np.std(table["pmra"]) > 10
    for name in TRUTH:
        assert row[f"{name}_dispersion"] == pytest.approx(plain[f"{name}_dispersion"], rel=0.05)
        assert row[f"{name}_error"] == pytest.approx(plain[f"{name}_error"], rel=0.05)
    assert np.hypot(row["pmra"], row["pmdec"]) == pytest.approx(np.hypot(plain["pmra"], plain["pmdec"]), rel=1e-3)


@pytest.mark.parametrize(
    ("release", "uncertainty"), [("Gaia DR3", 0.011), ("Gaia DR2", 0.043), ("Hipparcos-2", 0.1), ("unknown", 0.05)]
)
def test_the_distance_is_as_sure_as_the_zero_point(release, uncertainty):
    row = characterised(draw(4000, seed=10, error=0.05), release=release)
    sigma = np.hypot(row["parallax_error"], uncertainty)
    assert row["distance_low"] == pytest.approx(1000 / (row["parallax"] + sigma))


def test_dispersion_is_nothing_where_errors_explain_all():
    rng = np.random.default_rng(0)
    table = draw(3000, seed=2)
    table["pmra"], table["pmdec"] = rng.normal(5.0, table["pmra_error"]), 0.0
    table["ra"], table["dec"] = CENTER
    row = characterised(table)
    assert row["pmra_dispersion"] < 0.05
    assert row["pmra_error"] == pytest.approx(1 / np.sqrt(np.sum(table["pmra_error"] ** -2.0)), rel=0.05)


def test_without_errors_the_dispersion_is_the_scatter():
    table = draw(500, seed=3)
    table.remove_columns([f"{name}_error" for name in TRUTH])
    table["ra"], table["dec"] = CENTER
    row = characterised(table)
    assert row["pmra_dispersion"] == pytest.approx(np.std(table["pmra"], ddof=1), rel=1e-3)
    assert row["pmra"] == pytest.approx(np.mean(table["pmra"]), rel=1e-6)
    assert row["pmra_error"] == pytest.approx(np.std(table["pmra"], ddof=1) / np.sqrt(500), rel=5e-3)


def test_missing_error_of_one_star_does_not_lose_it():
    table = draw(50, seed=4)
    table["pmra_error"][7] = np.nan
    row = characterised(table)
    assert np.isfinite(row["pmra_error"])
    assert row["n_members"] == 50


def test_errors_of_means_of_few_stars():
    """Their dispersion is hardly known: with the likeliest one 40 % of the means were more than an error off."""
    pulls = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        table = draw(8, seed=seed)
        table["pmra_error"] = TRUTH["pmra"][1] * np.exp(rng.normal(0, 0.7, 8))
        table["pmra"] = rng.normal(TRUTH["pmra"][0], np.hypot(TRUTH["pmra"][1], table["pmra_error"]))
        row = characterised(table)
        pulls.append((row["pmra"] - TRUTH["pmra"][0]) / row["pmra_error"])
    assert np.std(pulls) == pytest.approx(1, abs=0.15)
    assert np.mean(np.abs(pulls) < 1) > 0.66


def test_values_that_are_all_the_same():
    table = draw(8, seed=3)
    table["pmra"] = 5.0
    table["ra"], table["dec"] = CENTER
    row = characterised(table)
    assert row["pmra"] == pytest.approx(5.0)
    assert row["pmra_dispersion"] < 1e-3 * row["pmra_error"]


def test_probability_weighs_every_star():
    cluster, other = draw(2000, seed=5), draw(2000, seed=6)
    other["pmra"] += 40
    both = Table(np.concatenate([cluster.as_array(), other.as_array()]))
    both["source_id"] = np.arange(len(both))
    row = characterised(both, np.repeat([1.0, 0.0], 2000))
    assert row == characterised(cluster)
    halved = characterised(cluster, np.full(2000, 0.5))
    assert halved["pmra"] == pytest.approx(row["pmra"], rel=1e-6)
    assert halved["n_expected"] == pytest.approx(1000)


def test_purity_and_completeness_are_what_the_probabilities_say():
    table = draw(10, seed=7)
    row = characterised(table, np.array([1.0, 0.9, 0.8, 0.5, 0.4, 0.4, 0.2, 0, 0, 0]))
    assert row["n_members"] == 4
    assert row["n_expected"] == pytest.approx(4.2)
    assert row["purity"] == pytest.approx(3.2 / 4)
    assert row["completeness"] == pytest.approx(3.2 / 4.2)


def test_centre_and_half_number_radius():
    row = characterised(draw(4000, seed=8))
    assert abs(row["ra"] - CENTER[0]) < 0.03
    assert abs(row["dec"] - CENTER[1]) < 0.03
    assert row["r50"] == pytest.approx(0.5, rel=0.05)


def test_stars_far_out_hardly_move_the_centre():
    """As where the footprint ends close by on one side: a mean of these is 0.13 deg further north."""
    table = draw(440, seed=33)
    plain = characterised(table[:400])
    table["dec"][400:] = CENTER[1] + np.linspace(0.8, 2.0, 40)
    row = characterised(table)
    assert abs(row["dec"] - plain["dec"]) < 0.06
    assert abs(np.mean(table["dec"]) - np.mean(table["dec"][:400])) > 0.12


def test_most_stars_at_one_place_are_the_centre():
    table = draw(5, seed=34)
    table["ra"][:4], table["dec"][:4] = CENTER
    row = characterised(table)
    assert_allclose([row["ra"], row["dec"], row["r50"]], [*CENTER, 0], atol=0.01)


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 10.0), (120.0, 90.0), (120.0, -90.0)])
def test_centre_across_the_meridian_and_at_the_poles(ra, dec):
    rng = np.random.default_rng(9)
    around = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        rng.uniform(0, 360, 2000) * u.deg, 0.3 * np.sqrt(rng.uniform(0, 1, 2000)) * u.deg
    )
    table = draw(2000, seed=9)
    table["ra"], table["dec"] = around.ra.deg, around.dec.deg
    row = characterised(table)
    assert SkyCoord(row["ra"], row["dec"], unit="deg").separation(SkyCoord(ra, dec, unit="deg")) < 0.02 * u.deg
    assert row["r50"] == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


def test_distance_takes_the_zero_point_and_its_interval_holds_it():
    table = draw(4000, seed=10, error=0.05)
    row = characterised(table, zero_point=-0.03, release="Gaia DR3")
    assert row["parallax_zero_point"] == pytest.approx(-0.03)
    assert row["distance"] == pytest.approx(1000 / (row["parallax"] + 0.03))
    sigma = np.hypot(row["parallax_error"], 0.011)
    assert_allclose(
        [row["distance_low"], row["distance_high"]],
        [1000 / (row["parallax"] + 0.03 + sigma), 1000 / (row["parallax"] + 0.03 - sigma)],
    )


def test_no_distance_from_a_parallax_that_is_not_positive():
    table = draw(50, seed=11)
    table["parallax"] -= 8.0
    result = assembled(table, np.ones(50))
    assert result.summary["distance"].mask[0]
    assert result.summary["parallax"][0] < 0


def assembled(table, *probabilities, accepted=True):
    stars = conform(table)
    return assemble(
        table,
        stars,
        REGION,
        np.arange(len(table))[::-1],  # the order of the computation, not the user's
        [Candidate(p[::-1], 30.0 - i, accepted) for i, p in enumerate(probabilities)],
        group=np.zeros(len(table), int),
        method="test",
        stop_reason="It ended.",
    )


def test_table_has_the_users_rows_columns_and_order():
    table = draw(20, seed=12)
    table["name"] = [f"star {i}" for i in range(20)]
    table.meta["remark"] = "mine"
    probability = np.linspace(0, 1, 20)
    result = assembled(table, probability)
    assert result.table.colnames[: len(table.colnames)] == table.colnames
    for name in table.colnames:
        assert_array_equal(result.table[name], table[name])
    assert_allclose(result.table["membership_prob"], probability, rtol=1e-6)
    assert result.table.meta["remark"] == "mine"
    assert result.table.meta["decocc"]["method"] == "test"
    assert "membership_prob" not in table.colnames
    for name in ("membership_prob", "group", "candidate", "membership_prob_std"):
        assert result.table[name].dtype == COLUMNS[name].dtype
        assert result.table[name].meta["ucd"] == COLUMNS[name].ucd
    assert_array_equal(result.members["source_id"], np.flatnonzero(probability >= 0.5))


def test_candidates_are_numbered_best_first():
    table = draw(30, seed=13)
    first, second = np.zeros(30), np.zeros(30)
    first[:10], second[10:25] = 0.9, 0.8
    result = assembled(table, first, second)
    assert_array_equal(result.table["candidate"], np.repeat([0, 1, -1], [10, 15, 5]))
    assert_array_equal(result.candidates["n_members"], [10, 15])
    assert len(result.summary) == 1
    assert result.summary["n_members"][0] == 10


def test_no_cluster_has_an_empty_summary_with_the_same_columns():
    table = draw(30, seed=14)
    found = assembled(table, np.ones(30))
    nothing = assembled(table, np.ones(30), accepted=False)
    assert (found.found, nothing.found) == (True, False)
    assert len(nothing.summary) == 0
    assert nothing.summary.colnames == found.summary.colnames
    assert_array_equal(nothing.table["membership_prob"], 0)
    assert_array_equal(nothing.table["candidate"], -1)
    assert_array_equal(nothing.candidates["accepted"], [0])
    assert nothing.stop_reason == "It ended."
    assert len(assembled(table).candidates) == 0


def test_summary_has_units_and_descriptions():
    summary = assembled(draw(30, seed=15), np.ones(30)).summary
    assert summary["pmra"].unit == u.mas / u.yr
    assert summary["distance"].unit == u.pc
    assert all(column.description for column in summary.itercols())


def test_too_few_stars_say_what_is_missing():
    table = draw(30, seed=16)
    table["parallax"] = np.ma.masked_all(30)
    stars = conform(table)
    with pytest.raises(InputError, match=r"'table' has 0 usable stars of 30 rows.*parallax in 30"):
        requires(stars, np.array([], int), 20)


def test_a_table_without_errors_has_the_dispersion_of_one_with_them():
    """The errors expected at the magnitude are taken out, where there are none."""
    rng = np.random.default_rng(0)
    n = 4000
    mag = rng.uniform(15, 18, n)
    error = expected_errors(mag)
    table = Table({"source_id": np.arange(n), "ra": rng.uniform(119, 121, n), "dec": rng.uniform(-31, -29, n)})
    for index, (name, mean) in enumerate((("pmra", -3.0), ("pmdec", 2.0), ("parallax", 1.2))):
        table[name] = mean + rng.normal(0, 0.05, n) + rng.normal(0, error[:, index])
    table["phot_g_mean_mag"] = mag
    region = ClusterRegion.from_text("120 -30", "1deg")
    row = characterise(conform(table), np.ones(n), region)
    assert row["pmra_dispersion"] == pytest.approx(0.05, rel=0.1)
    assert row["parallax_dispersion"] == pytest.approx(0.05, rel=0.1)
    assert row["parallax"] == pytest.approx(1.2, abs=4 * row["parallax_error"])


def test_columns_of_the_users_with_a_results_name_are_kept(caplog):
    stars = draw(20, seed=12)
    stars["group"], stars["group_original"] = "Hyades", 3
    result = assembled(stars, np.ones(20))
    assert "'group' of its own, which comes back as 'group_original_'" in caplog.text
    assert set(result.table["group_original_"]) == {"Hyades"}
    assert set(result.table["group_original"]) == {3}
    assert result.table["group"].dtype == np.int16


def test_an_earlier_result_gives_way():
    first = assembled(draw(20, seed=12), np.ones(20))
    again = assembled(first.table, np.full(20, 0.25))
    assert again.table.colnames == first.table.colnames
    assert_allclose(again.table["membership_prob"], 0.25)


def test_the_columns_of_the_summary_have_ucds(tmp_path):
    stars = draw(60, seed=1)
    found = assemble(
        stars,
        conform(stars),
        REGION,
        np.arange(60),
        [Candidate(np.ones(60))],
        group=np.zeros(60),
        method="made up",
        stop_reason="none",
    )
    for table in (found.summary, found.candidates):
        for column in table.itercols():
            assert check_ucd(column.meta["ucd"], check_controlled_vocabulary=True, has_colon=True), column.name
        write_table(table, tmp_path / "summary.vot")
        assert [column.meta["ucd"] for column in read_table(tmp_path / "summary.vot").itercols()] == [
            column.meta["ucd"] for column in table.itercols()
        ]


def test_stars_without_errors_do_not_weigh_most():
    table = conform(draw(100, seed=21, error=0.05))
    for name in ("pmra", "pmdec", "parallax"):
        table[f"{name}_error"][:6] = np.ma.masked
        table[name][:6] += 3.0  # they are as badly measured as a star of G = 18 is, and more
    row = characterised(table)
    spoilt = characterised(table[6:])
    assert row["pmra_dispersion"] < 1.5 * spoilt["pmra_dispersion"]
    table["pmra_error"][:6] = 0.05
    one = characterised(table)  # of those the error of pmdec alone is missing
    table["pmdec_error"][:6] = 0.05
    assert one["pmra_dispersion"] == pytest.approx(characterised(table)["pmra_dispersion"], rel=0.01)


def test_what_did_not_take_part_is_counted_by_the_reason():
    table = conform(draw(30, seed=22))
    table["pmra"][:4] = np.ma.masked
    table["source_id"][9] = table["source_id"][10]
    used = np.flatnonzero(usable_rows(table))[1:]
    result = assemble(
        table, table, REGION, used, [], group=np.full(len(used), -1), method="test", stop_reason="It ended."
    )
    assert result.diagnostics["not_used"] == {"missing": 4, "repeated": 1, "other": 1}
    assert result.diagnostics["stars_not_used"] == 6
    inside = np.append(np.ones(30, bool), [False, False])
    whole = with_rows_outside(result, draw(32, seed=22), inside)
    assert whole.diagnostics["not_used"]["outside"] == 2
    assert whole.diagnostics["stars_not_used"] == 8
    assert np.ma.getmaskarray(whole.table["membership_prob"])[30:].all()


def test_names_that_were_found_are_kept_and_described():
    table = draw(20, seed=23)
    for ours, theirs in (("ra", "RA_ICRS"), ("dec", "DE_ICRS"), ("parallax", "Plx")):
        table.rename_column(ours, theirs)
    result = assembled(table, np.ones(20))
    assert result.table.meta["decocc"]["columns"] == {"ra": "RA_ICRS", "dec": "DE_ICRS", "parallax": "Plx"}
    assert result.table["Plx"].unit == u.mas
    assert result.table["Plx"].meta["ucd"] == COLUMNS["parallax"].ucd
    whole = with_rows_outside(result, vstack([table, table[:2]]), np.arange(22) < 20)
    assert whole.table["Plx"].unit == u.mas
    assert whole.table["Plx"].meta["ucd"] == COLUMNS["parallax"].ucd


def test_many_repeated_stars_are_told(caplog):
    """As where a column ``source`` says which survey a star is from."""
    table = draw(400, seed=26)
    table.rename_column("source_id", "Source")
    table["Source"] = table["Source"] % 50 + 1
    table.meta["release"] = "Gaia DR3"
    stars = conform(table)
    used = np.flatnonzero(usable_rows(stars))
    kwargs = {"group": np.zeros(50, int), "method": "test", "stop_reason": "It ended."}
    assemble(table, stars, REGION, used, [Candidate(np.ones(50))], **kwargs)
    assert "350 of 400 rows repeat a star, by 'Source' or by all of their astrometry" in caplog.text


def test_a_member_is_one_everywhere():
    """Probabilities are rounded to float32 in the table."""
    result = assembled(draw(20, seed=27), np.full(20, 0.5 - 1e-9))
    assert len(result.members) == result.summary["n_members"][0] == np.sum(result.table["candidate"] == 0) == 20


def test_nobody_is_nowhere():
    row = characterised(draw(20, seed=28), np.zeros(20))
    assert np.isnan([row["ra"], row["dec"], row["pmra"], row["r50"]]).all()


def test_a_release_that_is_not_stated_is_told(caplog):
    table = draw(20, seed=24)
    assembled(table, np.ones(20))
    assert "do not say which release" in caplog.text
    caplog.clear()
    table.meta["release"] = "Gaia DR4"
    assert assembled(table, np.ones(20)).summary["release"][0] == "Gaia DR4"
    assert "from 'Gaia DR4', which is not known here: no zero point" in caplog.text
    caplog.clear()
    table.meta |= {"release": "Gaia DR3", "release_key": "unknown"}
    assert assembled(table, np.ones(20)).summary["release"][0] == "Gaia DR3"
    assert not caplog.text


def test_a_result_is_one_line():
    assert repr(assembled(draw(20, seed=25), np.ones(20))) == "<Membership of 20 stars: It ended.>"


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_a_cut_in_parallax_at_the_cluster_is_told(scale, caplog):
    """Also where errors are too large."""
    table = draw(300, seed=29)
    table.meta["release"] = "Gaia DR3"
    error = np.array(table["parallax_error"])
    table["parallax"] = TRUTH["parallax"][0] + error * np.random.default_rng(1).normal(0, 1, 300)
    table["parallax_error"] = scale * error
    assembled(table, np.ones(300))
    assert not caplog.text  # a whole sample, if without a field
    kept = table[table["parallax"] > TRUTH["parallax"][0] - 0.15]
    assembled(kept, np.ones(len(kept)))
    assert "members were to be expected by their errors: if the table was cut there" in caplog.text


def test_one_value_without_a_meaning_changes_no_error():
    """-9999 and its like, with an error as large."""
    table = draw(100, seed=31)
    plain = characterised(table)
    table["pmra"][0], table["pmra_error"][0] = -9.9e4, 9.9e4
    row = characterised(table)
    for name in ("pmra", "pmra_error", "pmra_dispersion"):
        assert row[name] == pytest.approx(plain[name], rel=0.1)


def test_of_less_than_a_star_no_dispersion_is_told():
    row = characterised(draw(50, seed=32), np.full(50, 0.01))
    assert 0.3 < row["pmra_dispersion"] < 3


def test_many_stars_are_as_few(monkeypatch):
    """Their errors are told apart by logarithm only."""
    table = draw(400, seed=33)
    plain = characterised(table)
    monkeypatch.setattr("decocc_vo.membership._summary._PARTS", 100)
    row = characterised(table)
    for name in ("pmra", "pmra_error", "pmra_dispersion", "parallax", "parallax_error"):
        assert row[name] == pytest.approx(plain[name], rel=1e-3)


def test_a_result_is_itself_and_can_be_shown_before_it_knows_how_it_ended():
    one, other = (assembled(draw(20, seed=12), np.ones(20)) for _ in range(2))
    assert one == one
    assert one != other
    assert len({one, other}) == 2
    assert repr(replace(one, diagnostics={})) == "<Membership of 20 stars: >"


def test_the_citation_of_a_release_that_is_said_comes_with_the_result():
    stars = draw(20, seed=12)
    stars.meta["release"] = "Gaia DR3"
    assert assembled(stars, np.ones(20)).table.meta["citation"] == RELEASES["gaia_dr3"].citation
    stars.meta["citation"] = "Me 2026"
    assert assembled(stars, np.ones(20)).table.meta["citation"] == "Me 2026"
