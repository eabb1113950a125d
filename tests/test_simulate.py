"""Simulated clusters and fields: their moments, what they keep of the field, and their seeds."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from decocc_vo import RELEASES, ClusterRegion, InputError
from decocc_vo.columns import ASTROMETRY, CORRELATIONS, floats
from decocc_vo.simulate import SimulatedCluster, inject_cluster, shuffle_positions, simulate_field
from decocc_vo.simulate._sky import offset_to_sky

REGION = ClusterRegion(SkyCoord(120.0, -35.0, unit="deg"), 60 * u.arcmin)
WIDE = ClusterRegion(SkyCoord(120.0, -60.0, unit="deg"), 600 * u.arcmin)
AU_YR = 4.740470463


@pytest.fixture(scope="module")
def field():
    return simulate_field(REGION, 2000, seed=3)


def same(one, two):
    return one.colnames == two.colnames and all(
        np.array_equal(np.ma.filled(one[c], -99), np.ma.filled(two[c], -99)) for c in one.colnames
    )


def members(stars):
    return stars[stars["is_member"] == 1]


def cluster(n=4000, **changes):
    plain = {"pmra": -3.0, "pmdec": 4.0, "parallax": 2.0, "radius": 6.0}
    return SimulatedCluster(n, **(plain | changes))


def test_mean_motion_and_parallax_are_those_asked_for(field):
    own = members(inject_cluster(field, REGION, cluster(), seed=1))
    assert len(own) == 4000
    for name, value in (("pmra", -3.0), ("pmdec", 4.0), ("parallax", 2.0)):
        values, error = floats(own[name]), floats(own[f"{name}_error"])
        good = error < 0.2
        standard = np.std(values[good]) / np.sqrt(good.sum())
        assert np.mean(values[good]) == pytest.approx(value, abs=5 * standard)
        assert standard < 0.02


def test_dispersion_is_a_velocity(field):
    """The scatter of bright members is that of the velocities, and no more."""
    asked = cluster(dispersion=2.0, binaries=0.0, outliers=0.0, radius=1.0)
    own = members(inject_cluster(field, REGION, asked, seed=2))
    for name in ("pmra", "pmdec"):
        error = floats(own[f"{name}_error"])
        excess = np.var(floats(own[name])) - np.mean((1.05 * error) ** 2)
        assert np.sqrt(excess) * AU_YR / 2.0 == pytest.approx(2.0, rel=0.06)


def test_errors_are_drawn_from_the_published_ones(field):
    asked = cluster(dispersion=0.0, binaries=0.0, outliers=0.0, radius=0.01, error_scale=1.3)
    own = members(inject_cluster(field, REGION, asked, seed=2))
    for name, value in (("pmra", -3.0), ("pmdec", 4.0), ("parallax", 2.0)):
        pull = (floats(own[name]) - value) / floats(own[f"{name}_error"])
        assert np.std(pull) == pytest.approx(1.3, rel=0.05)
        assert np.mean(pull) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("radial_velocity", [0.0, -45.0])
def test_members_share_one_space_velocity(radial_velocity):
    """Over a wide field their proper motions differ, each in its own triad; the mean is the centre's."""
    asked = cluster(
        n=500,
        pmra=-30.0,
        pmdec=20.0,
        parallax=10.0,
        radius=150.0,
        xi=100.0,
        eta=-80.0,
        dispersion=0.0,
        binaries=0.0,
        error_scale=1e-9,
        radial_velocity=radial_velocity,
    )
    own = members(inject_cluster(simulate_field(WIDE, 500), WIDE, asked, seed=1))
    # With the radial velocity that the space velocity has there, each member's velocity is the centre's.
    lon, lat = offset_to_sky(WIDE, asked.xi, asked.eta)
    motion = {"pm_ra_cosdec": asked.pmra * u.mas / u.yr, "pm_dec": asked.pmdec * u.mas / u.yr}
    centre = SkyCoord(
        lon * u.deg, lat * u.deg, distance=100 * u.pc, radial_velocity=radial_velocity * u.km / u.s, **motion
    )
    velocity = centre.velocity.d_xyz.to_value("km/s")
    places = SkyCoord(floats(own["ra"]) * u.deg, floats(own["dec"]) * u.deg)
    radial = velocity @ places.cartesian.xyz.value
    stars = SkyCoord(
        places.ra,
        places.dec,
        distance=1000 / floats(own["parallax"]) * u.pc,
        pm_ra_cosdec=floats(own["pmra"]) * u.mas / u.yr,
        pm_dec=floats(own["pmdec"]) * u.mas / u.yr,
        radial_velocity=radial * u.km / u.s,
    )
    np.testing.assert_allclose(stars.velocity.d_xyz.to_value("km/s").T, np.tile(velocity, (500, 1)), atol=1e-4)
    assert np.std(floats(own["pmra"])) > 1


def test_impossible_correlations_are_drawn_towards_zero(field):
    """Three correlations that no distribution has together: rounded ones of some catalogues."""
    impossible = Table(field, copy=True)
    for name, value in zip(CORRELATIONS, (0.9, 0.9, -0.9), strict=True):
        impossible[name] = np.full(len(field), value)
    own = members(inject_cluster(impossible, REGION, cluster(n=50), seed=2))
    assert np.isfinite(floats(own["pmra"])).all()


def test_correlations_of_the_field_are_those_of_the_errors(field):
    correlated = Table(field, copy=True)
    for name, value in zip(CORRELATIONS, (0.7, -0.5, 0.1), strict=True):
        correlated[name] = np.full(len(field), value)
    asked = cluster(dispersion=0.0, binaries=0.0, outliers=0.0, radius=0.01)
    own = members(inject_cluster(correlated, REGION, asked, seed=2))
    pulls = [
        (floats(own[name]) - v) / floats(own[f"{name}_error"])
        for name, v in (("pmra", -3), ("pmdec", 4), ("parallax", 2))
    ]
    measured = np.corrcoef(pulls)
    np.testing.assert_allclose(measured[[0, 0, 1], [1, 2, 2]], [0.7, -0.5, 0.1], atol=0.05)


def test_plummer_members_follow_plummers_law(field):
    """Half of the members are within the scale radius, and (x^2/(1 + x^2)) within x of them."""
    asked = cluster(radius=2.0, xi=5.0, eta=-4.0)
    own = members(inject_cluster(field, REGION, asked, seed=4))
    xi, eta = REGION.offsets(floats(own["ra"]), floats(own["dec"]))
    assert np.median(xi) == pytest.approx(5, abs=0.2)
    assert np.median(eta) == pytest.approx(-4, abs=0.2)
    r = np.hypot(xi - 5, eta + 4) / 2.0
    for x in (0.3, 1.0, 3.0, 8.0):
        assert np.mean(r < x) == pytest.approx(x**2 / (1 + x**2), abs=0.03)


def test_king_members_are_truncated_and_powerlaw_ones_are_not(field):
    r = {}
    for profile in ("king", "powerlaw"):
        own = members(inject_cluster(field, REGION, cluster(radius=2.0, profile=profile), seed=4))
        r[profile] = np.hypot(*REGION.offsets(floats(own["ra"]), floats(own["dec"]))) / 2.0
    assert r["king"].max() <= 5.01
    assert np.mean(r["powerlaw"] > 5) > 0.1


def test_flattened_and_turned(field):
    asked = cluster(radius=2.0, axis_ratio=0.5, position_angle=0.5, profile="king")
    own = members(inject_cluster(field, REGION, asked, seed=4))
    xi, eta = REGION.offsets(floats(own["ra"]), floats(own["dec"]))
    # From north towards east.
    along, across = xi * np.sin(0.5) + eta * np.cos(0.5), eta * np.sin(0.5) - xi * np.cos(0.5)
    assert np.std(across) / np.std(along) == pytest.approx(0.5, rel=0.1)


def test_depth_is_the_width_on_the_sky(field):
    wide = members(inject_cluster(field, REGION, cluster(radius=30.0, parallax=20.0), seed=5))
    good = floats(wide["parallax_error"]) < 0.05
    relative = np.std(floats(wide["parallax"])[good]) / 20.0
    assert relative == pytest.approx(np.tan(np.radians(0.5)), rel=0.1)


def test_members_are_in_the_footprint(field):
    farthest = np.hypot(*REGION.offsets(floats(field["ra"]), floats(field["dec"]))).max()
    own = members(inject_cluster(field, REGION, cluster(radius=40.0, xi=30.0), seed=5))
    assert np.hypot(*REGION.offsets(floats(own["ra"]), floats(own["dec"]))).max() <= farthest

    def north(_, dec):
        return dec > -35

    own = members(inject_cluster(field, REGION, cluster(radius=10.0), seed=5, inside=north))
    assert floats(own["dec"]).min() > -35
    with pytest.raises(InputError, match="'cluster' lies outside the footprint"):
        inject_cluster(field, REGION, cluster(n=10, radius=0.5, eta=-20.0), inside=lambda _, dec: dec > -34.5)


def test_magnitudes_and_colours_are_those_of_a_sequence(field):
    asked = cluster(giants=0.0, extinction=0.0)
    own = members(inject_cluster(field, REGION, asked, seed=6))
    g, colour = floats(own["phot_g_mean_mag"]), floats(own["bp_rp"])
    assert g.min() >= 8.0 - 0.8
    assert g.max() <= 18.01
    assert np.corrcoef(g, colour)[0, 1] > 0.9
    # A G2 dwarf (BP-RP 0.82, absolute G 4.67) at 500 pc.
    near = np.abs(g - (4.67 + 5 * np.log10(500) - 5)) < 0.3
    assert np.median(colour[near]) == pytest.approx(0.82, abs=0.08)
    reddened = members(inject_cluster(field, REGION, cluster(giants=0.0, extinction=2.0, turnoff=8.0), seed=6))
    assert floats(reddened["bp_rp"]).min() > 1.2 + 0.84 - 0.2


def test_giants_are_in_the_clump_and_on_the_branch(field):
    far = cluster(giants=1.0, extinction=0.0, parallax=0.5)
    own = members(inject_cluster(field, REGION, far, seed=6))
    g, colour = floats(own["phot_g_mean_mag"]) - 5 * np.log10(2000) + 5, floats(own["bp_rp"])
    red = (colour > 0.85) & (g < 3.1)
    assert red.mean() > 0.8  # the others would be brighter than the field's stars
    clump = red & (np.abs(g - 0.5) < 0.5)
    assert 0.4 < clump.sum() / red.sum() < 0.8
    assert np.median(colour[clump]) == pytest.approx(1.25, abs=0.02)
    assert np.median(colour[red & (g > 2)]) == pytest.approx(1.01, abs=0.05)
    assert np.median(colour[red & (g < -0.7)]) == pytest.approx(1.44, abs=0.06)


def test_the_field_is_kept(field):
    field = Table(field, copy=True)
    field["ruwe"] = np.linspace(0.8, 1.4, len(field)).astype(np.float32)
    stars = inject_cluster(field, REGION, cluster(n=50), seed=1)
    assert len(stars) == len(field) + 50
    np.testing.assert_array_equal(stars["is_member"], np.repeat([0, 1], [len(field), 50]))
    kept = stars[: len(field)]
    for name in field.colnames:
        np.testing.assert_array_equal(floats(kept[name]), floats(field[name]))
        assert kept[name].unit == field[name].unit or field[name].unit is None
    assert stars.meta == field.meta
    assert not np.ma.getmaskarray(stars["ruwe"]).any()


def test_rows_that_cannot_be_used_are_left_out(field):
    field = Table(field, copy=True, masked=True)
    for row, name in enumerate((*ASTROMETRY, "phot_g_mean_mag")):
        field[name].mask[row] = True
    stars = inject_cluster(field, REGION, cluster(n=30), seed=1)
    assert len(stars) == len(field) - 6 + 30
    assert all(np.all(np.isfinite(floats(stars[name]))) for name in ASTROMETRY)


def test_a_second_cluster_has_identifiers_of_its_own(field):
    first = inject_cluster(field, REGION, cluster(n=40), seed=1)
    second = inject_cluster(first, REGION, cluster(n=30, pmra=5.0), seed=2)
    assert len(np.unique(second["source_id"])) == len(field) + 70
    assert np.all(second["source_id"][second["is_member"] == 1] < 0)
    # The truth is that of the last cluster: the first one's stars are field now.
    assert second["is_member"].sum() == 30


def test_seeds_reproduce(field):
    one, two, other = (inject_cluster(field, REGION, cluster(n=50), seed=seed) for seed in (1, 1, 2))
    assert same(one, two)
    assert not same(one, other)
    assert same(simulate_field(REGION, 100, seed=1), simulate_field(REGION, 100, seed=1))
    assert not same(simulate_field(REGION, 100, seed=1), simulate_field(REGION, 100, seed=2))


def test_the_callers_table_stays_as_it_was(field):
    before = Table(field, copy=True)
    inject_cluster(field, REGION, cluster(n=50), seed=1)
    shuffle_positions(field, 1)
    assert same(field, before)


def test_shuffled_positions_are_the_same_positions(field):
    shuffled = shuffle_positions(field, seed=1)

    def positions(stars):
        return sorted(zip(stars["ra"], stars["dec"], strict=True))

    assert positions(shuffled) == positions(field)
    assert np.mean(shuffled["ra"] == field["ra"]) < 0.01
    for name in set(field.colnames) - {"ra", "dec"}:
        np.testing.assert_array_equal(shuffled[name], field[name])
    assert same(shuffled, shuffle_positions(field, seed=1))
    assert not same(shuffled, shuffle_positions(field, seed=2))


def test_simulated_fields_are_even_and_within_their_limits():
    stars = simulate_field(REGION, 5000, seed=1, limits=(10.0, 16.0))
    assert len(stars) == 5000
    assert REGION.contains(stars["ra"], stars["dec"]).all()
    r = np.hypot(*REGION.offsets(floats(stars["ra"]), floats(stars["dec"]))) / 60
    assert np.mean(r < 0.5) == pytest.approx(0.25, abs=0.03)
    g = floats(stars["phot_g_mean_mag"])
    assert 10 <= g.min() < 11.5
    assert 15.9 < g.max() <= 16
    assert np.mean(g > 15) > np.mean(g < 14)
    assert np.mean(floats(stars["parallax"]) > 0) > 0.99


@given(
    st.floats(0, 360, exclude_max=True),
    st.floats(-89.9, 89.9),
    st.lists(st.tuples(st.floats(-300, 300), st.floats(-300, 300)), min_size=1, max_size=5),
)
def test_offsets_to_the_sky_and_back(ra, dec, offsets):
    region = ClusterRegion(SkyCoord(ra, dec, unit="deg"), 10 * u.deg)
    xi, eta = np.array(offsets).T
    np.testing.assert_allclose(region.offsets(*offset_to_sky(region, xi, eta)), [xi, eta], atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [{"parallax": 0.0}, {"parallax": -1.0}, {"radius": 0.0}, {"axis_ratio": 0.0}, {"axis_ratio": 1.1}],
)
def test_impossible_clusters_are_refused(wrong):
    with pytest.raises(InputError, match="'parallax' and 'radius' must be positive"):
        cluster(**wrong)


@pytest.mark.parametrize("number", [0, -3, True, 10.5])
def test_members_are_counted(number):
    with pytest.raises(InputError, match="'n_members' must be an integer of 1 or more"):
        cluster(n=number)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"binaries": 5.0}, "'binaries' is a fraction"), ({"giants": -0.1}, "'giants' is a fraction")]
    + [({name: -1.0}, "must not be negative") for name in ("dispersion", "error_scale")],
)
def test_fractions_and_widths_are_checked(wrong, told):
    with pytest.raises(InputError, match=told):
        cluster(**wrong)


def test_unknown_profiles_are_refused():
    with pytest.raises(InputError, match="'profile' must be plummer, king or powerlaw, not 'gauss'"):
        cluster(profile="gauss")


def test_a_field_without_magnitudes_is_refused(field):
    field = field["source_id", "ra", "dec", "pmra", "pmdec", "parallax"]
    with pytest.raises(InputError, match="'field' has no stars with motions and phot_g_mean_mag"):
        inject_cluster(field, REGION, cluster())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"n": 50.5}, "'n_members' must be an integer"),
        ({"pmra": np.nan}, "'pmra' must be a number"),
        ({"radius": "6"}, "'radius' must be a number"),
    ],
)
def test_a_cluster_of_what_are_no_numbers_is_refused(change, told):
    with pytest.raises(InputError, match=told):
        cluster(**change)


def test_limits_the_wrong_way_round_are_refused():
    with pytest.raises(InputError, match="'limits' must be a bright and a faint magnitude"):
        simulate_field(REGION, 100, limits=(18.0, 8.0))


def test_members_have_no_velocity_of_a_field_star(field):
    lent = Table(field, copy=True)
    lent["radial_velocity"], lent["phot_bp_mean_mag"] = 30.0, 15.0
    own = members(inject_cluster(lent, REGION, cluster(n=50), seed=2))
    assert own["radial_velocity"].mask.all()
    assert own["phot_bp_mean_mag"].mask.all()


def test_a_wide_field_reaches_its_edge():
    region = ClusterRegion(SkyCoord(120.0, -35.0, unit="deg"), 30 * u.deg)
    sky = SkyCoord(*(floats(simulate_field(region, 3000)[name]) for name in ("ra", "dec")), unit="deg")
    assert 29.5 < sky.separation(region.center).deg.max() <= 30


def test_members_have_the_zero_point_of_the_fields_release(field):
    stars = Table(field, copy=True)
    stars.meta |= {"release": "Gaia DR2", "release_key": "gaia_dr2"}
    one, other = (members(inject_cluster(s, REGION, cluster(50), seed=1)) for s in (field, stars))
    np.testing.assert_allclose(other["parallax"], one["parallax"] + RELEASES["gaia_dr2"].zero_point_value)


def test_a_region_that_is_elsewhere_is_refused(field):
    with pytest.raises(InputError, match="is not where the stars are"):
        inject_cluster(field, ClusterRegion.from_text("10 60", "20arcmin"), cluster(50))


def test_a_star_on_the_other_side_of_the_sky_is_no_footprint(field):
    stars = Table(field, copy=True)
    stars["ra"][0], stars["dec"][0] = (stars["ra"][0] + 180) % 360, -stars["dec"][0]
    assert len(members(inject_cluster(stars, REGION, cluster(50)))) == 50


def test_what_is_no_cluster_or_no_number_is_refused(field):
    with pytest.raises(InputError, match="'cluster' must be a SimulatedCluster"):
        inject_cluster(field, REGION, "a cluster")
    with pytest.raises(InputError, match="'n_stars' must be an integer of 1 or more"):
        simulate_field(REGION, 0)


@pytest.mark.parametrize("limits", [None, ("a", "b"), (18.0, 8.0), (8.0,), (np.nan, 18.0)])
def test_limits_that_are_none_are_refused(limits):
    with pytest.raises(InputError, match="'limits' must be a bright and a faint magnitude"):
        simulate_field(REGION, 10, limits=limits)


def test_what_has_no_place_is_refused(field):
    for call in (lambda: inject_cluster(field, None, cluster()), lambda: simulate_field("M 44", 10)):
        with pytest.raises(InputError, match="'region' must be a ClusterRegion"):
            call()
    with pytest.raises(InputError, match="'stars' must have ra and dec"):
        shuffle_positions(field["pmra", "pmdec"])


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_a_seed_that_is_none_is_named(seed):
    field = simulate_field(REGION, 30)
    for call in (
        lambda: simulate_field(REGION, 30, seed=seed),
        lambda: shuffle_positions(field, seed),
        lambda: inject_cluster(field, REGION, SimulatedCluster(10, 0.0, 0.0, 1.0, 4.0), seed),
    ):
        with pytest.raises(InputError, match="'seed' must be an integer"):
            call()
