"""Figures: what is drawn, within which limits, and that matplotlib is left as it was."""

import subprocess
import sys
import zlib
from types import SimpleNamespace

import astropy.units as u
import matplotlib as mpl
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal

from decocc_vo.columns import astrometry
from decocc_vo.exceptions import InputError, ServiceError
from decocc_vo.plot import plot_cmd, plot_parallax, plot_proper_motions, plot_sky, plot_summary, save_plots
from decocc_vo.plot._view import View
from decocc_vo.region import ClusterRegion

PANELS = (plot_proper_motions, plot_parallax, plot_cmd, plot_sky)
CENTRE = SkyCoord(359.9 * u.deg, 61.3 * u.deg)
REGION = ClusterRegion(CENTRE, 30 * u.arcmin, name="NGC 1")
MEAN = {"pmra": 6.0, "pmdec": -4.0, "parallax": 7.4}


@pytest.fixture(autouse=True)
def _matplotlib_stays_as_it_was():
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before


def make_result(n_members=60, n_field=400, *, found=True, photometry=("phot_g_mean_mag", "bp_rp"), seed=0):
    """A cluster across 0h in a field, its probabilities, and its summary."""
    rng = np.random.default_rng(seed)
    n = n_members + n_field
    member = np.arange(n) < n_members
    distance = np.where(member, 5, 29) * np.sqrt(rng.random(n)) * u.arcmin
    sky = CENTRE.directional_offset_by(rng.random(n) * 360 * u.deg, distance)
    stars = Table(masked=True)
    stars["source_id"] = np.arange(n) + 2**60
    stars["ra"], stars["dec"] = sky.ra.deg, sky.dec.deg
    for name, mean in MEAN.items():
        stars[name] = np.where(member, mean + rng.normal(0, 0.2, n), rng.normal(0.5, 5.0, n))
        stars[f"{name}_error"] = np.full(n, 0.1)
    for name, low, high in zip(photometry, (8, 0.2), (20, 2.5), strict=False):
        stars[name] = rng.uniform(low, high, n).astype(np.float32)
    stars["membership_prob"] = np.where(member & found, rng.uniform(0.5, 1, n), 0.0).astype(np.float32)
    row = {"name": "NGC 1", "ra": CENTRE.ra.deg, "dec": CENTRE.dec.deg, **MEAN}
    row |= {"pmra_dispersion": 0.2, "pmdec_dispersion": 0.2, "parallax_dispersion": 0.2}
    summary = Table(rows=[{**row, "release": "Gaia DR3"}])
    return SimpleNamespace(table=stars, summary=summary if found else summary[:0])


def drawn(ax):
    """Offsets and colours of the field and of the members."""
    field, members = (c for c in ax.collections if isinstance(c, PathCollection))
    assert (field.get_label(), members.get_label()) == ("field", "members")
    assert field.get_rasterized()
    assert members.get_zorder() > field.get_zorder()
    return np.asarray(field.get_offsets()), np.asarray(members.get_offsets()), np.asarray(members.get_array())


@pytest.mark.parametrize(
    ("plot", "x", "y"),
    [
        (plot_proper_motions, "pmra", "pmdec"),
        (plot_parallax, "phot_g_mean_mag", "parallax"),
        (plot_cmd, "bp_rp", "phot_g_mean_mag"),
        (plot_sky, "ra", "dec"),
    ],
)
def test_members_over_field_coloured_by_probability(plot, x, y):
    result = make_result()
    ax = plot(result)
    field, members, colours = drawn(ax)
    order = np.argsort(np.asarray(result.table["membership_prob"])[:60], kind="stable")
    values = {name: np.array(result.table[name].tolist()) for name in (x, y)}
    if plot is plot_proper_motions:  # in the axes at the cluster's centre
        values = dict(zip((x, y), astrometry(result.table, (CENTRE.ra.deg, CENTRE.dec.deg))[0].T, strict=False))
    want = np.array([values[x], values[y]]).T
    assert_allclose(members, want[:60][order], rtol=1e-6)
    assert_allclose(colours, np.asarray(result.table["membership_prob"])[:60][order])
    assert_allclose(field, want[60:], rtol=1e-6)
    [_, bar] = ax.figure.axes
    assert bar.get_ylabel() == "Membership probability"
    assert ax.figure.get_size_inches()[0] == 3.5


def test_labels_say_quantity_and_unit():
    result = make_result()
    labels = [(ax.get_xlabel(), ax.get_ylabel()) for ax in (p(result) for p in PANELS)]
    assert labels == [
        (r"$\mu_{\alpha*}$ [mas/yr]", r"$\mu_\delta$ [mas/yr]"),
        (r"$G$ [mag]", r"$\varpi$ [mas]"),
        (r"BP $-$ RP [mag]", r"$G$ [mag]"),
        ("Right ascension (ICRS)", "Declination (ICRS)"),
    ]
    assert plot_cmd(result).xaxis.label.get_fontsize() == 8


def test_proper_motion_window_shows_the_cluster_and_the_field_around_it():
    ax = plot_proper_motions(make_result())
    field, members, _ = drawn(ax)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert right - left == pytest.approx(top - bottom)
    assert np.all((members > [left, bottom]) & (members < [right, top]))
    assert np.any(np.all((field > [left, bottom]) & (field < [right, top]), axis=1))
    # The cluster, 0.8 mas/yr across, fills a part of the window that can be seen.
    assert 3 < right - left < 20


def test_one_outlying_star_moves_no_window():
    result = make_result()
    before = plot_proper_motions(result).get_xlim(), plot_cmd(result).get_xlim()
    result.table["pmra"][-1] = 5000.0
    result.table["bp_rp"][-1] = 90.0
    after = plot_proper_motions(result).get_xlim(), plot_cmd(result).get_xlim()
    assert_allclose(after, before, rtol=0.1)


def test_parallax_has_the_mean_of_the_summary():
    ax = plot_parallax(make_result())
    [line] = ax.lines
    assert_array_equal(line.get_ydata(), [MEAN["parallax"]] * 2)
    low, high = ax.get_ylim()
    assert low < MEAN["parallax"] < high


def test_bright_stars_are_up():
    ax = plot_cmd(make_result())
    bottom, top = ax.get_ylim()
    assert bottom > top


def test_east_is_left_and_the_region_is_centred():
    result = make_result()
    ax = plot_sky(result, region=REGION)
    x, y = ax.wcs.world_to_pixel(CENTRE)
    assert_allclose([x, y], 0, atol=1e-9)
    assert_allclose([sum(ax.get_xlim()), sum(ax.get_ylim())], 0, atol=1e-9)
    east = ax.wcs.world_to_pixel(CENTRE.directional_offset_by(90 * u.deg, 10 * u.arcmin))
    assert east[0] == pytest.approx(-10, abs=0.01)
    assert list(ax.wcs.wcs.ctype) == ["RA---TAN", "DEC--TAN"]
    pixels = np.array(ax.wcs.world_to_pixel_values(result.table["ra"], result.table["dec"]))
    assert np.abs(pixels).max() < ax.get_xlim()[1]
    [circle] = ax.patches
    corners = SkyCoord(circle.get_xy(), unit="deg")
    assert_allclose(corners.separation(CENTRE).arcmin, 30, rtol=1e-6)


def test_sky_without_region_is_centred_on_the_stars_across_0h():
    ax = plot_sky(make_result())
    assert SkyCoord(*ax.wcs.wcs.crval, unit="deg").separation(CENTRE) < 2 * u.arcmin
    assert len(ax.patches) == 0
    assert ax.get_xlim()[1] < 40


@pytest.mark.parametrize("plot", PANELS)
def test_no_cluster_shows_the_field_with_a_note(plot):
    result = make_result(found=False)
    ax = plot(result)
    field, members, _ = drawn(ax)
    assert len(field) == len(result.table)
    assert len(members) == 0
    assert ax.get_title("left") == "no cluster found"
    assert ax.figure.axes == [ax]  # no colour bar of nothing


def test_no_photometry_is_said():
    ax = plot_cmd(make_result(photometry=()))
    assert len(ax.collections) == 0
    assert [text.get_text() for text in ax.texts] == ["no magnitude and colour\nin this table"]
    assert plot_parallax(make_result(photometry=())).get_xlabel() == "Distance from the centre [arcmin]"
    empty = make_result()
    empty.table["bp_rp"].mask = True
    assert len(plot_cmd(empty).collections) == 0
    assert plot_parallax(empty).get_xlabel() == r"$G$ [mag]"


def test_hipparcos_has_its_own_bands():
    ax = plot_cmd(make_result(photometry=("hp_mag", "b_v")))
    assert (ax.get_xlabel(), ax.get_ylabel()) == (r"$B - V$ [mag]", r"$Hp$ [mag]")
    assert len(drawn(ax)[1]) == 60


@pytest.mark.parametrize("plot", PANELS)
def test_masked_rows_are_left_out(plot):
    result = make_result()
    for name in ("ra", "pmra", "parallax", "phot_g_mean_mag"):
        result.table[name].mask[:3] = True
        result.table[name].data[:3] = np.nan
    result.table["membership_prob"] = MaskedColumn(result.table["membership_prob"], mask=np.arange(460) < 3)
    field, members, _ = drawn(plot(result))
    assert np.isfinite(field).all()
    assert len(members) == 57


@pytest.mark.parametrize("plot", PANELS)
def test_one_member(plot):
    result = make_result(n_members=1)
    for name in MEAN:
        result.summary[f"{name}_dispersion"] = np.nan
        result.table.remove_column(f"{name}_error")
    ax = plot(result)
    _, members, _ = drawn(ax)
    assert len(members) == 1
    assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
    assert ax.get_xlim()[0] != ax.get_xlim()[1]


@pytest.mark.parametrize("plot", PANELS)
def test_a_single_star(plot):
    result = make_result(n_members=1, n_field=0)
    ax = plot(result)
    ax.figure.canvas.draw()
    assert len(drawn(ax)[1]) == 1


def test_callers_axes_are_used():
    figure = Figure()
    ax = figure.add_subplot()
    assert plot_cmd(make_result(), ax=ax) is ax
    assert figure.axes == [ax]
    with pytest.raises(InputError, match="'ax' must be a WCSAxes"):
        plot_sky(make_result(), ax=ax)
    with pytest.raises(InputError, match="'ax' must be Axes of matplotlib, not int"):
        plot_cmd(make_result(), ax=3)
    given = figure.add_subplot(projection=plot_sky(make_result()).wcs)
    assert plot_sky(make_result(), ax=given) is given


def test_other_column_names():
    result = make_result()
    result.table.rename_column("pmra", "motion")
    with pytest.raises(InputError, match="lacks the column pmra"):
        plot_proper_motions(result)
    assert len(drawn(plot_proper_motions(result, columns={"pmra": "motion"}))[1]) == 60


def test_a_column_of_another_name_that_was_removed():
    result = make_result()
    result.table.rename_column("phot_g_mean_mag", "Gmag")
    result.table.meta["decocc"] = {"columns": {"phot_g_mean_mag": "Gmag", "bp_rp": "bp_rp"}}
    assert View.of(result).photometry is not None
    result.table.remove_column("Gmag")
    assert View.of(result).photometry is None


def test_summary_has_all_four_and_one_colour_bar():
    result = make_result()
    figure = plot_summary(result, region=REGION)
    *panels, bar = figure.axes
    assert len(panels) == 4
    assert bar.get_ylabel() == "Membership probability"
    assert figure.get_suptitle() == "NGC 1, Gaia DR3, 60 stars with p ≥ 0.5"
    assert all(len(drawn(ax)[1]) == 60 for ax in panels)
    result.table["candidate"] = np.where(np.arange(len(result.table)) < 60, 0, 1)
    result.summary["name"] = ""
    title = plot_summary(result, region=REGION).get_suptitle()
    assert title == "NGC 1, Gaia DR3, 60 stars with p ≥ 0.5; 1 further cluster in the field's grey"
    nothing = plot_summary(make_result(found=False), region=REGION)
    assert nothing.get_suptitle() == "NGC 1, no cluster found"
    assert len(nothing.axes) == 4


def test_files(tmp_path):
    result = make_result(n_field=30_000)
    paths = save_plots(result, tmp_path / "new" / "plots", region=REGION)
    names = ("proper_motions", "parallax", "cmd", "sky", "summary")
    assert [p.name for p in paths] == [f"{name}.{form}" for name in names for form in ("png", "pdf")]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"%PDF")
        assert path.stat().st_size < 2e6
        assert b"CreationDate" not in path.read_bytes()


def test_a_name_may_have_any_sign(tmp_path):
    region = ClusterRegion(CENTRE, 30 * u.arcmin, r"A $\foo$")
    assert len(save_plots(make_result(found=False), tmp_path, "png", region=region)) == 5


def test_a_file_that_was_broken_off_is_not_there(tmp_path, monkeypatch):
    def full(self, path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(ServiceError, match="No space left on device"):
        save_plots(make_result(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (OSError(28, "No space left on device"), pytest.raises(ServiceError, match="No space left")),
        (KeyError("a bug"), pytest.raises(zlib.error)),
    ],
)
def test_what_fails_after_the_disk_was_full_is_not_the_reason(tmp_path, monkeypatch, cause, told):
    """Matplotlib closes a PDF that could not be written, which fails in another way."""

    def full(*_, **__):
        try:
            raise cause
        except type(cause):
            zlib.decompress(b"no such thing")

    monkeypatch.setattr(Figure, "savefig", full)
    with told:
        save_plots(make_result(), tmp_path)


def test_without_a_cluster_the_window_holds_the_field_and_little_more():
    result = make_result(found=False)
    result.table["parallax"] = np.random.default_rng(2).gamma(1.5, 1.0, len(result.table))
    low, high = sorted(plot_parallax(result).get_ylim())
    assert low > -0.5
    assert high > np.percentile(np.asarray(result.table["parallax"]), 98)


def test_what_cannot_be_plotted(tmp_path):
    with pytest.raises(InputError, match="'result' must be what fit"):
        plot_cmd(Table())
    result = make_result()
    result.table.remove_column("membership_prob")
    with pytest.raises(InputError, match="no column membership_prob"):
        plot_cmd(result)
    with pytest.raises(InputError, match="'formats' has 'gif7'"):
        save_plots(make_result(), tmp_path, ("gif7",))
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="cannot be written"):
        save_plots(make_result(n_field=5), tmp_path / "file", ("png",))


def test_pyplot_stays_out():
    code = "import sys, decocc_vo.plot; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("name", ["melotte25_hipparcos2", "faint_berkeley29"])
def test_real_fields(field, name):
    stars = field(name)
    stars["membership_prob"] = np.zeros(len(stars), np.float32)
    figure = plot_summary(SimpleNamespace(table=stars, summary=Table()))
    figure.canvas.draw()
    assert len(drawn(figure.axes[1])[0]) == np.isfinite(np.ma.filled(stars["pmra"], np.nan)).sum()


def test_near_a_pole_the_members_are_one_clump():
    rng = np.random.default_rng(5)
    longitude = rng.uniform(0, 2 * np.pi, 100)
    stars = Table({"ra": np.degrees(longitude), "dec": 90 - rng.uniform(0.01, 0.1, 100), "parallax": np.full(100, 2.0)})
    # One motion of 10 mas/yr towards RA 90, in the axes of each star.
    stars["pmra"], stars["pmdec"] = 10 * np.cos(longitude), -10 * np.sin(longitude)
    stars["membership_prob"] = 0.9
    summary = Table(rows=[{"name": "Polar", "ra": 0.0, "dec": 90.0, "release": "x"}])
    _, members, _ = drawn(plot_proper_motions(SimpleNamespace(table=stars, summary=summary)))
    assert np.ptp(members, axis=0).max() < 0.1


def test_a_stray_star_does_not_shrink_the_sky():
    result = make_result()
    before = plot_sky(result, region=REGION).get_xlim()
    result.table["dec"][-1] += 20
    assert_allclose(plot_sky(result, region=REGION).get_xlim(), before, rtol=0.1)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda r: plot_sky(r, region="here"), "'region' must be a ClusterRegion"),
        (lambda r: save_plots(r, 5), "'folder' must be"),
        (lambda r: save_plots(r, "plots", formats=5), "'formats'"),
        (lambda r: save_plots(r, "plots", formats=[]), "'formats' names no format"),
    ],
)
def test_arguments_of_another_kind_are_named(call, told):
    with pytest.raises(InputError, match=told):
        call(make_result())
