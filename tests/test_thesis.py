import numpy as np
import pytest

from decocc_vo._groups import concentration, core_contrast, kmeans, min_max, pick_group, silhouettes, thesis_features
from decocc_vo.embedding.thesis import ThesisGroups, run_thesis
from decocc_vo.embedding.training import StopReason, cluster, pretrain
from decocc_vo.exceptions import InputError

QUICK = {"n_clusters": 4, "epochs": 5, "max_iterations": 60}
RADIUS = 30.0


def _field(seed=0, members=150, others=650, offset=(0.0, 0.0)):
    """A cluster in a field: (pmra, pmdec, parallax, xi, eta) and which stars are members."""
    rng = np.random.default_rng(seed)
    n = members + others
    member = np.arange(n) < members
    r = np.minimum(3.0 * np.sqrt(rng.uniform(size=n) ** -1.0 - 1.0), RADIUS)
    angle = rng.uniform(0, 2 * np.pi, n)
    spread = RADIUS * np.sqrt(rng.uniform(size=n))
    r = np.where(member, r, spread)
    pmra = np.where(member, rng.normal(12, 0.3, n), rng.normal(-1, 4, n))
    pmdec = np.where(member, rng.normal(-9, 0.3, n), rng.normal(-2, 4, n))
    parallax = np.where(member, rng.normal(5, 0.1, n), rng.uniform(0.8, 6, n))
    shuffle = rng.permutation(n)
    columns = (pmra, pmdec, parallax, r * np.cos(angle) + offset[0] * member, r * np.sin(angle) + offset[1] * member)
    return [column[shuffle] for column in columns], member[shuffle]


@pytest.fixture(scope="module")
def star_field():
    return _field()


@pytest.fixture(scope="module")
def groups(star_field):
    (pmra, pmdec, parallax, *_), _ = star_field
    return run_thesis(pmra, pmdec, parallax, **QUICK)


def test_features_are_the_published_ones():
    features, usable = thesis_features([3.0, -1.0, 1.0, np.nan], [4.0, 2.0, 1.0, 1.0], [0.5, -2.0, 0.0, 1.0])
    np.testing.assert_array_equal(usable, [True, True, False, False])
    np.testing.assert_allclose(features, [[6000, 8000, 10000, 0.5], [500, -1000, np.hypot(500, 1000), -2]])


def test_scaling_is_min_max():
    scaled = min_max(np.array([[1.0, 7.0], [3.0, 7.0], [2.0, 7.0]]))
    np.testing.assert_allclose(scaled, [[0, 0], [1, 0], [0.5, 0]])


def test_silhouette_finds_the_number_of_blobs():
    rng = np.random.default_rng(0)
    centers = rng.uniform(0, 1, (5, 4)) + 2 * np.eye(5)[:, :4]
    x = np.repeat(centers, 40, axis=0) + rng.normal(0, 0.02, (200, 4))
    scores = silhouettes(x, seed=0)
    assert sorted(scores) == list(range(3, 11))
    assert max(scores, key=scores.get) == 5


def test_points_that_all_coincide_are_one_group():
    labels, centers = kmeans(np.zeros((50, 3)), 4, seed=0)
    assert np.all(labels == labels[0])
    assert centers.shape == (4, 3)


def test_groups_hold_together(groups, star_field):
    assert isinstance(groups, ThesisGroups)
    assert groups.q.shape == groups.latent.shape == (800, 4)
    np.testing.assert_allclose(groups.q.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(groups.labels, groups.q.argmax(1))
    assert groups.pretrain_loss[-1] < groups.pretrain_loss[0]
    assert groups.stop_reason in (StopReason.CONVERGED, StopReason.MAX_ITERATIONS)
    assert groups.iterations <= 60
    assert len(groups.loss) == len(groups.label_change) > 0
    assert groups.silhouettes == {}


def test_the_cluster_is_in_the_picked_group(groups, star_field):
    columns, member = star_field
    pick = pick_group(groups.labels, *columns, RADIUS)
    assert np.mean(groups.labels[member] == pick.group) > 0.8
    assert f"Group {pick.group} is the cluster" in pick.sentence


def test_a_group_that_took_the_field_along_is_told(star_field):
    columns, member = star_field
    most = np.ones(800, int)
    most[np.flatnonzero(~member)[:40]] = 0
    told = pick_group(most, *columns, RADIUS)
    assert (told.group, told.sentence.count("It holds 95.0 % of all stars, and most of the field with it.")) == (1, 1)
    assert "It holds" not in pick_group(member.astype(int), *columns, RADIUS).sentence


def test_stars_without_features_stay_out_and_change_nothing(groups, star_field):
    (pmra, pmdec, parallax, *_), _ = star_field
    at = [0, 100, 500]
    with_bad = run_thesis(
        np.insert(pmra, at, [np.nan, 1.0, 1.0]), np.insert(pmdec, at, 0.0), np.insert(parallax, at, [1.0, 0.0, np.nan]),
        **QUICK,
    )  # fmt: skip
    assert (~with_bad.usable).sum() == 3
    assert np.all(with_bad.labels[~with_bad.usable] == -1)
    assert np.all(np.isnan(with_bad.q[~with_bad.usable]))
    np.testing.assert_array_equal(with_bad.q[with_bad.usable], groups.q)


def test_the_same_seed_gives_the_same_bits_without_compiling_again(groups, star_field):
    (pmra, pmdec, parallax, *_), _ = star_field
    before = pretrain._cache_size(), cluster._cache_size()
    again = run_thesis(pmra, pmdec, parallax, **QUICK)
    np.testing.assert_array_equal(again.q, groups.q)
    np.testing.assert_array_equal(again.latent, groups.latent)
    other = run_thesis(pmra[:700], pmdec[:700], parallax[:700], seed=1, **QUICK)
    assert not np.array_equal(other.q, groups.q[:700])
    assert before == (pretrain._cache_size(), cluster._cache_size())


def test_divergence_in_pretraining_leaves_no_groups(star_field):
    (pmra, pmdec, parallax, *_), _ = star_field
    lost = run_thesis(pmra, pmdec, parallax, learning_rate=1e6, **QUICK)
    assert lost.stop_reason is StopReason.PRETRAINING_DIVERGED
    assert np.all(np.isnan(lost.q))
    assert np.all(lost.labels == -1)
    columns, _ = star_field
    assert pick_group(lost.labels, *columns, RADIUS).group == -1


def test_membership_is_at_least_a_half_just_in_the_group(groups):
    for group in range(4):
        probability = groups.membership(group)
        np.testing.assert_array_equal(probability >= 0.5, groups.labels == group)
        assert 0 <= probability.min() <= probability.max() <= 1


def test_the_filter_keeps_the_middle_of_the_parallaxes(groups, star_field):
    (*_, parallax, _, _), _ = star_field
    group = int(np.bincount(groups.labels).argmax())
    inside = groups.labels == group
    kept = groups.quantile_filter(parallax, group)
    assert not np.any(kept & ~inside)
    assert kept.sum() / inside.sum() == pytest.approx(0.8, abs=0.02)
    assert parallax[kept].min() >= np.quantile(parallax[inside], 0.1)
    assert not groups.quantile_filter(parallax, 99).any()
    with pytest.raises(InputError, match="'quantile'"):
        groups.quantile_filter(parallax, group, 0.5)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"n_clusters": 1}, "'n_clusters'"), ({"n_clusters": 40}, "'n_clusters'"), ({"width": 0}, "'width'")],
)
def test_wrong_settings_are_named(changes, named):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=named):
        run_thesis(*rng.uniform(1, 2, (3, 30)), **changes)


def test_a_table_without_parallaxes_is_refused():
    with pytest.raises(InputError, match="'parallax'"):
        run_thesis(np.ones(30), np.ones(30), np.zeros(30))


def test_concentration_sees_a_concentrated_group_and_no_even_one(star_field):
    (_, _, _, xi, eta), member = star_field
    assert concentration(member, xi, eta, RADIUS) > 50
    rng = np.random.default_rng(5)
    assert concentration(~member & (rng.uniform(size=800) < 0.3), xi, eta, RADIUS) < 6


def test_concentration_allows_for_the_footprint():
    # A square field, empty on one side: the group follows the stars, and that is no concentration.
    rng = np.random.default_rng(6)
    xi, eta = rng.uniform(-30, 30, 3000), rng.uniform(-30, 30, 3000)
    keep = rng.uniform(size=3000) < np.where(xi < 0, 0.2, 1.0)
    xi, eta = xi[keep], eta[keep]
    gains = [concentration(rng.uniform(size=len(xi)) < 0.2, xi, eta, 30.0) for _ in range(5)]
    assert max(gains) < 8


def test_concentration_finds_a_cluster_off_centre():
    (_, _, _, xi, eta), member = _field(offset=(12.0, -9.0))
    assert concentration(member, xi, eta, RADIUS) > 50


def test_core_contrast_sees_a_dense_core(star_field):
    (pmra, pmdec, parallax, *_), member = star_field
    motion = np.stack([pmra, pmdec, parallax], axis=1)
    motion /= np.subtract(*np.quantile(motion, [0.75, 0.25], axis=0))
    assert core_contrast(member, motion) > 50
    assert core_contrast(~member, motion) < 10


def test_no_group_is_picked_in_a_field_without_a_cluster():
    columns, _ = _field(seed=3, members=0)
    labels = np.digitize(columns[0], [-4, -1, 2])
    pick = pick_group(labels, *columns, RADIUS)
    assert pick.group == -1
    assert "No group" in pick.sentence
    assert len(pick.evidence) == 4
