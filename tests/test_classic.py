import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from decocc_vo import DECOCC, Clusterix, ClusterRegion, DensityClassifier, InputError, KMeansClassifier
from decocc_vo._groups import group_candidates
from decocc_vo.classic.clusterix import density_bandwidth
from decocc_vo.classic.density import dbscan_epsilon
from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field

REGION = ClusterRegion(SkyCoord(120.0, 20.0, unit="deg"), 30 * u.arcmin, name="Test 1")
# The method, the least F1 it must reach, and how far the members' median motion may be off (mas/yr): K-Means takes
# field stars along, which is its known weakness.
METHODS = [
    pytest.param(KMeansClassifier(n_clusters=6), 0.55, 5.0, id="kmeans"),
    # Not 0.9 on every processor: HDBSCAN breaks ties as NumPy's sort does.
    pytest.param(DensityClassifier(), 0.8, 0.1, id="hdbscan"),
    pytest.param(DensityClassifier("dbscan"), 0.9, 0.1, id="dbscan"),
    pytest.param(Clusterix(), 0.7, 0.2, id="clusterix"),
]


def _stars(seed=0, members=200, others=1200):
    """A cluster in a field, as a table in random order, and which rows are members."""
    rng = np.random.default_rng(seed)
    n = members + others
    member = np.arange(n) < members
    r = np.where(member, np.minimum(3 * np.sqrt(1 / rng.uniform(size=n) - 1), 15), 30 * np.sqrt(rng.uniform(size=n)))
    angle = rng.uniform(0, 2 * np.pi, n)
    stars = Table(
        {
            "source_id": np.arange(n) * 1000 + 7,
            "ra": 120 + r * np.cos(angle) / 60 / np.cos(np.radians(20)),
            "dec": 20 + r * np.sin(angle) / 60,
            "pmra": np.where(member, rng.normal(8, 0.2, n), rng.normal(-1, 4, n)),
            "pmdec": np.where(member, rng.normal(-6, 0.2, n), rng.normal(-2, 4, n)),
            "parallax": np.where(member, rng.normal(3, 0.05, n), rng.uniform(0.3, 4, n)),
            "note": [f"star {i}" for i in range(n)],
        }
    )
    order = rng.permutation(n)
    return stars[order], member[order]


def _f1(member, probability):
    chosen = np.ma.filled(probability, 0) >= 0.5
    return 2 * np.sum(member & chosen) / (member.sum() + chosen.sum())


@pytest.fixture(scope="module")
def star_field():
    return _stars()


@pytest.mark.parametrize(("method", "least", "offset"), METHODS)
def test_a_cluster_is_found(method, least, offset, star_field):
    stars, member = star_field
    result = method.fit(stars, REGION)
    assert result.found
    probability = result.table["membership_prob"]
    assert len(result.table) == len(stars)
    assert list(result.table["note"]) == list(stars["note"])
    assert 0 <= probability.min() <= probability.max() <= 1
    assert _f1(member, probability) > least
    assert np.median(np.asarray(result.members["pmra"])) == pytest.approx(8, abs=offset)
    assert result.summary["significance"][0] >= 20
    assert result.diagnostics["seconds"] > 0
    assert result.stop_reason.endswith(".")


@pytest.mark.parametrize("method", [pytest.param(p.values[0], id=p.id) for p in METHODS])
def test_a_field_without_a_cluster_has_none(method):
    stars, _ = _stars(seed=4, members=0)
    result = method.fit(stars, REGION)
    assert not result.found
    assert len(result.summary) == 0
    assert np.all(result.table["membership_prob"] == 0)
    assert np.all(result.table["candidate"] == -1)
    assert "o cluster" in result.stop_reason
    assert not np.any(result.candidates["accepted"])


@pytest.mark.parametrize("method", [pytest.param(p.values[0], id=p.id) for p in METHODS])
def test_stars_that_nothing_tells_apart_are_no_cluster(method):
    stars, _ = _stars(members=0, others=300)
    stars["pmra"], stars["pmdec"], stars["parallax"] = 0.0, 0.0, 1.0
    result = method.fit(stars, REGION)
    assert not result.found
    assert "o cluster" in result.stop_reason


@pytest.mark.parametrize("method", [pytest.param(p.values[0], id=p.id) for p in METHODS])
def test_the_order_of_the_rows_does_not_matter(method, star_field):
    stars, _ = star_field
    order = np.random.default_rng(9).permutation(len(stars))
    first, second = method.fit(stars, REGION), method.fit(stars[order], REGION)
    for name in ("membership_prob", "group", "candidate"):
        np.testing.assert_array_equal(first.table[name][order], second.table[name])


@pytest.mark.parametrize("method", [pytest.param(p.values[0], id=p.id) for p in METHODS])
def test_unusable_rows_come_back_masked(method, star_field):
    stars, _ = star_field
    stars = stars.copy()
    stars["pmra"][3] = np.nan
    result = method.fit(stars, REGION)
    assert np.ma.getmaskarray(result.table["membership_prob"])[3]
    assert np.ma.getmaskarray(result.table["membership_prob"]).sum() == 1


def test_parallax_zero_cannot_be_used_by_kmeans_only(star_field):
    stars, _ = star_field
    stars = stars.copy()
    stars["parallax"][5] = 0.0
    assert np.ma.getmaskarray(KMeansClassifier(6).fit(stars, REGION).table["membership_prob"])[5]
    assert not np.ma.getmaskarray(DensityClassifier().fit(stars, REGION).table["membership_prob"])[5]


def test_the_region_defaults_to_the_footprint_and_columns_may_be_renamed(star_field):
    stars, member = star_field
    stars = stars.copy()
    stars.rename_column("pmra", "mu_alpha")
    result = DensityClassifier().fit(stars, columns={"pmra": "mu_alpha"})
    assert _f1(member, result.table["membership_prob"]) > 0.8


def test_kmeans_answers_hard_and_chooses_k_by_silhouette(star_field):
    stars, _ = star_field
    result = KMeansClassifier().fit(stars, REGION)
    assert set(np.unique(result.table["membership_prob"])) == {0.0, 1.0}
    scores = result.diagnostics["silhouettes"]
    assert sorted(scores) == list(range(3, 11))
    assert result.diagnostics["n_clusters"] == max(scores, key=scores.get)


def test_epsilon_shrinks_when_there_is_a_cluster():
    rng = np.random.default_rng(0)
    field = rng.normal(size=(1000, 3))
    with_cluster = np.vstack([field, rng.normal(2, 0.01, (50, 3))])
    alone = dbscan_epsilon(field, 15)
    assert dbscan_epsilon(with_cluster, 15) < 0.8 * alone
    assert dbscan_epsilon(field, 15) == alone


def test_the_field_is_no_further_cluster():
    """What holds most of the stars has evidence only because there are so many."""
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    found = group_candidates(labels, np.ones(1000), {0: 50.0, 1: 30.0, 2: 90.0})
    assert [int(strength.sum()) for strength, _, _ in found] == [100, 300]
    rich = group_candidates(labels, np.ones(1000), {0: 95.0, 1: 30.0, 2: 90.0})
    assert [int(strength.sum()) for strength, _, _ in rich] == [600, 100, 300]


def test_two_clusters_are_two_candidates():
    stars, member = _stars(seed=1)
    other = ~member & (np.cumsum(~member) <= 150)
    rng = np.random.default_rng(2)
    for name, value, width in (("pmra", -12, 0.2), ("pmdec", 9, 0.2), ("parallax", 1.5, 0.05)):
        stars[name][other] = rng.normal(value, width, other.sum())
    stars["ra"][other] = 120.2 + rng.normal(0, 0.04, other.sum())
    stars["dec"][other] = 20.15 + rng.normal(0, 0.04, other.sum())
    result = DensityClassifier().fit(stars, REGION)
    assert result.candidates["accepted"].sum() >= 2
    candidate = np.asarray(result.table["candidate"])
    most = [np.bincount(candidate[which] + 1).argmax() - 1 for which in (member, other)]
    assert sorted(most) == [0, 1]


def test_bandwidth_follows_the_structure():
    rng = np.random.default_rng(3)
    smooth = rng.normal(0, 4, (800, 2))
    peaked = np.vstack([smooth[:400], rng.normal(5, 0.2, (400, 2))])
    assert density_bandwidth(peaked) < 0.5 * density_bandwidth(smooth)
    assert density_bandwidth(10 * smooth) == pytest.approx(10 * density_bandwidth(smooth))


def test_a_bandwidth_finer_than_the_grid_of_motions_is_refused(star_field):
    """Its kernel would be one cell: a count without smoothing."""
    stars = star_field[0].copy()
    stars["pmra"][:2] = -400.0, 400.0
    with pytest.raises(InputError, match=r"'bandwidth' must be 0\.\d+ mas/yr or more for motions up to .*'pm_limit'"):
        Clusterix(bandwidth=0.05 * u.mas / u.yr, pm_limit=500 * u.mas / u.yr).fit(stars, REGION)
    wide = Clusterix(pm_limit=500 * u.mas / u.yr).fit(stars, REGION)
    assert wide.diagnostics["bandwidth_mas_yr"] > 0.4


def test_more_groups_than_can_be_numbered_are_refused():
    n = 40_000
    rng = np.random.default_rng(1)
    pairs = np.repeat(rng.uniform(-100, 100, (n, 3)), 2, axis=0) + rng.normal(0, 1e-9, (2 * n, 3))
    sky = rng.uniform(-0.1, 0.1, (2 * n, 2))
    stars = Table(
        {"ra": 10 + sky[:, 0], "dec": sky[:, 1], "pmra": pairs[:, 0], "pmdec": pairs[:, 1], "parallax": pairs[:, 2]}
    )
    with pytest.raises(InputError, match=r"the settings make 3[0-9]{4} groups, and 32767 can be numbered"):
        DensityClassifier("dbscan", min_samples=2, epsilon=1e-6).fit(stars)


def test_clusterix_is_the_published_formula(star_field):
    # Without binning: P = (F_cf - F_f) / F_cf from Gaussian kernels, the star's own left out.
    stars, _ = star_field
    result = Clusterix(inner_radius=8 * u.arcmin, bandwidth=0.6 * u.mas / u.yr).fit(stars, REGION)
    xi, eta = REGION.offsets(stars["ra"], stars["dec"])
    r, pm = np.hypot(xi, eta), np.stack([stars["pmra"], stars["pmdec"]], axis=1)
    part = np.hypot(*(pm - np.median(pm, axis=0)).T) <= result.diagnostics["pm_limit_mas_yr"]
    inner, outer = part & (r <= 8), part & (r > 1.15 * 8)
    kernel = np.exp(-0.5 * ((pm[:, None] - pm[None]) ** 2).sum(-1) / 0.6**2)
    np.fill_diagonal(kernel, 0)
    both = kernel[:, inner].sum(1)
    field = kernel[:, outer].sum(1) * 8**2 / (30**2 - (1.15 * 8) ** 2)
    expected = np.where(inner & (both > 0.5), np.clip(1 - field / np.maximum(both, 1e-6), 0, 1), np.nan)
    compared = np.isfinite(expected)
    assert compared.sum() > 100
    difference = np.abs(np.asarray(result.table["membership_prob"]) - expected)[compared]
    assert np.median(difference) < 0.02
    assert np.quantile(difference, 0.95) < 0.12
    assert np.all(result.table["membership_prob"][r > 8] == 0)


def test_clusterix_chooses_its_area(star_field):
    stars, _ = star_field
    result = Clusterix().fit(stars, REGION)
    assert 6 <= result.diagnostics["inner_radius_arcmin"] <= 18  # the cluster's core radius is 3, its edge 15
    assert isinstance(result.table.meta["decocc"]["settings"], dict)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: KMeansClassifier(n_clusters=1), "'n_clusters'"),
        (lambda: KMeansClassifier(n_clusters=3.7), "'n_clusters'"),
        (lambda: KMeansClassifier(n_clusters="a"), "'n_clusters'"),
        (lambda: KMeansClassifier(seed=-1), "'seed'"),
        (lambda: DensityClassifier("optics"), "'method'"),
        (lambda: DensityClassifier(engine="gpu"), "'engine'"),
        (lambda: DensityClassifier(min_samples=1), "'min_samples'"),
        (lambda: DensityClassifier(min_samples=3.5), "'min_samples'"),
        (lambda: DensityClassifier(min_cluster_size=2), "'min_cluster_size'"),
        (lambda: DensityClassifier("dbscan", epsilon=np.inf), "'epsilon'"),
        (lambda: DensityClassifier("dbscan", epsilon=0), "'epsilon'"),
        (lambda: DensityClassifier("dbscan", epsilon=True), "'epsilon'"),
        (lambda: DensityClassifier("hdbscan", epsilon=0.1), "'epsilon' is no setting of hdbscan"),
        (lambda: DensityClassifier("dbscan", engine="fast-hdbscan"), "'engine' is no setting of dbscan"),
        (lambda: DensityClassifier(["hdbscan"]), "'method'"),
        (lambda: Clusterix(inner_radius=3 * u.s), "'inner_radius'"),
        (lambda: Clusterix(bandwidth=-1 * u.mas / u.yr), "'bandwidth'"),
        (lambda: KMeansClassifier().fit(_stars(members=5, others=10)[0], REGION), "15 usable stars"),
        (lambda: DensityClassifier().fit(_stars(members=5, others=40)[0], "here"), "'region'"),
        (lambda: Clusterix(inner_radius=50 * u.arcmin).fit(_stars()[0], REGION), "'inner_radius'"),
    ],
)
def test_wrong_settings_are_named(make, named):
    with pytest.raises(InputError, match=named):
        make()


def test_a_missing_engine_says_how_to_get_it(star_field, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fast_hdbscan", None)
    with pytest.raises(InputError, match=r"decocc_vo\[hdbscan\]"):
        DensityClassifier(engine="fast-hdbscan").fit(star_field[0], REGION)


def test_a_real_cluster_is_found(field, shared_data):
    stars = field("ngc2632_2deg")
    region = ClusterRegion(SkyCoord(130.1, 19.667, unit="deg"), 2 * u.deg)
    truth = Table.read(shared_data / "fields" / "truth" / "ngc2632_2deg.fits")
    label = dict(zip(truth["source_id"].tolist(), truth["label"].tolist(), strict=True))
    label = np.array([label.get(i, -1) for i in stars["source_id"].tolist()])
    probability = DensityClassifier().fit(stars, region).table["membership_prob"]
    assert _f1(label[label >= 0] == 1, probability[label >= 0]) > 0.85


@pytest.mark.parametrize("method", [*(pytest.param(p.values[0], id=p.id) for p in METHODS), DECOCC.thesis()])
@pytest.mark.parametrize("degrees", [2.0, 30.0])
def test_one_stray_star_makes_no_cluster(method, degrees):
    stars, _ = _stars(seed=4, members=0, others=600)
    assert not method.fit(stars, REGION).found
    stars["dec"][7] += degrees
    assert not method.fit(stars, REGION).found


@pytest.mark.parametrize("method", [pytest.param(p.values[0], id=p.id) for p in METHODS])
def test_a_cluster_at_a_pole_is_the_same_cluster(method):
    found = []
    for place in ("120 -30", "120 89.95"):
        region = ClusterRegion.from_text(place, "20arcmin")
        stars = inject_cluster(simulate_field(region, 600, seed=3), region, SimulatedCluster(80, -12, 8, 3, 4), seed=3)
        result = method.fit(stars, region)
        assert result.found
        found.append(_f1(np.asarray(stars["is_member"]) == 1, result.table["membership_prob"]))
    assert found[1] == pytest.approx(found[0], abs=0.15)


def test_what_is_no_probability_has_no_purity(star_field):
    result = KMeansClassifier(n_clusters=6).fit(star_field[0], REGION)
    assert result.found
    assert result.summary["purity"].mask[0]
    assert result.summary["completeness"].mask[0]


def test_up_to_three_groups_are_told_where_none_holds():
    stars, _ = _stars(seed=4, members=0)
    result = KMeansClassifier(n_clusters=6).fit(stars, REGION)
    assert len(result.candidates) == 3
    assert np.all(np.diff(result.candidates["significance"]) <= 0)


@pytest.mark.parametrize(
    ("method", "stars", "told"),
    [
        (Clusterix(pm_limit=1e-6 * u.mas / u.yr), 600, "'pm_limit' leaves"),
        (Clusterix(inner_radius=29.9 * u.arcmin), 600, "'inner_radius' leaves"),
        (Clusterix(), 21, "'region' leaves 2 stars"),
    ],
)
def test_clusterix_names_what_leaves_too_little(method, stars, told):
    with pytest.raises(InputError, match=told):
        method.fit(_stars(members=0, others=stars)[0], REGION)
