"""Training the head: fields, drawn clusters, what the head would see of them, and the command as it is run."""

import json
import os
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack

from decocc_vo import ClusterRegion, InputError
from decocc_vo.columns import parallax_zero_point
from decocc_vo.embedding.context import FEATURES, NEAR
from decocc_vo.embedding.features import observables
from decocc_vo.embedding.head import correct, load_head
from decocc_vo.pretrain import (
    LISTS,
    _examples,
    draw_cluster,
    example,
    field_for_simulation,
    load_examples,
    read_truth,
    real_copy,
    real_example,
    reliability,
    train,
)
from decocc_vo.pretrain.__main__ import main
from decocc_vo.pretrain._examples import _copied, noisier
from decocc_vo.pretrain._files import _one_thread_each
from decocc_vo.pretrain._reddening import cluster_extinction, field_extinction
from decocc_vo.simulate import REDDENING, SimulatedCluster, inject_cluster, main_sequence_colour, simulate_field
from decocc_vo.stars.files import read_stars
from decocc_vo.votable import write_table

REGION = ClusterRegion(SkyCoord(120.0, -35.0, unit="deg"), 30 * u.arcmin)


@pytest.fixture(scope="module")
def field():
    return simulate_field(REGION, 900, seed=3)


def test_a_field_for_simulation_is_dealt_out_anew(field):
    dealt = field_for_simulation(field, np.random.default_rng(0))
    # Fewer stars, each as it was but for its position, which another of them had.
    row = {number: n for n, number in enumerate(field["source_id"].tolist())}
    old = field[[row[number] for number in dealt["source_id"].tolist()]]
    assert 80 <= len(dealt) < len(field)
    np.testing.assert_array_equal(dealt["pmra"], old["pmra"])
    assert sorted(dealt["ra"]) == sorted(old["ra"])
    assert np.mean(dealt["ra"] == old["ra"]) < 0.05


def test_fields_are_thinned_to_all_sizes():
    large, small = simulate_field(REGION, 4500, seed=1), simulate_field(REGION, 60, seed=1)
    sizes = [len(field_for_simulation(large, np.random.default_rng(seed))) for seed in range(30)]
    assert 80 <= min(sizes) < 1000
    assert 3000 < max(sizes) <= 4000
    assert len(field_for_simulation(small, np.random.default_rng(0))) == 60
    thinned = field_for_simulation(large, np.random.default_rng(0))
    assert len(np.unique(thinned["source_id"])) == len(thinned)


def test_drawn_clusters_could_be_open_clusters(field):
    rng = np.random.default_rng(1)
    drawn = [draw_cluster(field, REGION, rng) for _ in range(200)]
    assert {c.profile for c in drawn} == {"plummer", "king", "powerlaw"}
    assert all(8 <= c.n_members <= 900 for c in drawn)  # no more than the field has stars
    assert all(0.1 <= c.parallax <= 20 for c in drawn)
    assert {draw_cluster(field, REGION, rng, members=33).n_members for _ in range(5)} == {33}
    near = [draw_cluster(field, REGION, rng, distances=(100.0, 200.0)).parallax for _ in range(20)]
    assert 5 <= min(near) < max(near) <= 10
    # The scale radius is ten parsecs at most, and the centre within the footprint.
    assert all(np.radians(c.radius / 60) * 1000 / c.parallax <= 10.01 for c in drawn)
    assert all(np.hypot(c.xi, c.eta) < 12 for c in drawn)
    assert draw_cluster(field, REGION, np.random.default_rng(2)) == draw_cluster(
        field, REGION, np.random.default_rng(2)
    )


@pytest.fixture(scope="module")
def dusty():
    """Dwarfs from 0.2 to 1.5 kpc behind dust of 0.8 mag in G for a kpc."""
    rng = np.random.default_rng(0)
    distance, absolute = rng.uniform(200, 1500, 600), rng.uniform(3, 7, 600)
    extinction = 0.8 * distance / 1000
    mag = absolute + 5 * np.log10(distance / 10) + extinction
    stars = {"parallax": 1000 / distance, "parallax_error": np.full(600, 0.01), "phot_g_mean_mag": mag}
    return Table(stars | {"bp_rp": main_sequence_colour(absolute) + REDDENING * extinction})


def test_the_fields_dwarfs_tell_the_extinction(dusty):
    for distance in (400, 1000, 1400):
        assert field_extinction(dusty, 0.0, distance) == pytest.approx(0.8 * distance / 1000, abs=0.05)
    # Beyond the farthest: as much again in the plane, and hardly more above the dust.
    farthest = field_extinction(dusty, 0.0, 1400)
    assert field_extinction(dusty, 0.0, 2800) == pytest.approx(1.95 * farthest, rel=0.06)
    assert farthest <= field_extinction(dusty, 45.0, 2800) < 1.12 * farthest


def test_where_no_dwarf_tells_extinction_is_drawn_at_large(dusty):
    dim = Table(dusty, copy=True)
    dim["parallax_error"] = 10.0
    for stars in (dim, dusty[:5], dusty[["parallax", "parallax_error", "phot_g_mean_mag"]]):
        assert field_extinction(stars, 0.0, 1000) is None
        assert cluster_extinction(stars, 0.0, 1000, np.random.default_rng(0)) is None
        field = Table(stars, copy=True)
        field["ra"], field["dec"] = np.linspace(119.8, 120.2, len(field)), -35.0
        field["pmra"], field["pmdec"] = 1.0, 2.0
        drawn = [draw_cluster(field, REGION, np.random.default_rng(seed), members=9).extinction for seed in range(100)]
        assert 0.05 <= min(drawn) < 0.1 < 1.5 < max(drawn) <= 2.5
    drawn = [cluster_extinction(dusty, 0.0, 1000, np.random.default_rng(seed)) for seed in range(100)]
    assert np.median(drawn) == pytest.approx(0.8, rel=0.1)
    assert 0.4 < min(drawn) < 0.6 < 1.0 < max(drawn) < 2


def test_of_a_cluster_with_its_turnoff_out_of_view_giants_are_seen(field):
    far, near = (
        [
            draw_cluster(field, REGION, np.random.default_rng(seed), distances=(kpc * 1000, kpc * 1001))
            for seed in range(60)
        ]
        for kpc in (9.0, 0.3)
    )
    assert max(c.giants for c in near) <= 0.12
    assert 0.2 < np.mean([c.giants for c in far]) < 0.7


def test_clusters_of_the_disc_move_as_field_stars_at_their_distance():
    rng = np.random.default_rng(0)
    near = rng.uniform(size=1000) < 0.5
    stars = simulate_field(REGION, 1000, seed=4)
    stars["parallax"] = np.where(near, 5.0, 0.5) + parallax_zero_point(stars)
    stars["parallax_error"] = 0.05
    stars["pmra"] = np.where(near, 20.0, -2.0) + rng.normal(0, 1, 1000)
    for parallax, pmra in ((5.0, 20.0), (0.5, -2.0)):
        at = (999 / parallax, 1001 / parallax)
        of_disc, of_any = (
            np.array(
                [
                    draw_cluster(stars, REGION, np.random.default_rng(n), distances=at, of_disc=disc).pmra
                    for n in range(40)
                ]
            )
            for disc in (True, False)
        )
        np.testing.assert_allclose(of_disc, pmra, atol=2.5)
        assert 0.1 < of_disc.std() < 0.8
        assert np.ptp(of_any) > 20


@pytest.fixture(scope="module")
def made(field):
    return example(field, REGION, SimulatedCluster(80, -6.0, 5.0, 1.5, 4.0), seed=1)


def test_an_example_is_what_the_head_sees(made):
    assert made["X"].shape == (len(made["near"]), len(FEATURES))
    assert made["lab"].sum() == 80
    np.testing.assert_array_equal(made["y"], made["lab"][made["near"]])
    assert np.all(made["X"][:, 0] > NEAR)
    np.testing.assert_allclose(made["p"][made["near"]], 1 / (1 + np.exp(-made["X"][:, 0])), rtol=1e-6)
    assert made["E"] > 100


def test_a_lost_cluster_teaches_nothing(field):
    faint = SimulatedCluster(3, 0.0, 0.0, 0.2, 20.0)
    assert example(field, REGION, faint, seed=1) is None


@pytest.fixture(scope="module")
def listed(field):
    """A field with a cluster, its list, and what a mixture might say: two members of three are listed."""
    stars = inject_cluster(field, REGION, SimulatedCluster(90, -6.0, 5.0, 1.5, 4.0), seed=2)
    member = np.asarray(stars["is_member"]) == 1
    label = np.where(member & (np.arange(len(stars)) % 3 > 0), 1, 0)
    stars.remove_column("is_member")
    lists = np.full((len(stars), len(LISTS)), np.nan)
    lists[:, 0] = np.arange(len(stars)) / len(stars)
    return stars, label, lists, np.where(member, 0.9, 0.01)


def test_a_copy_has_fewer_stars_and_members_with_the_same_labels(listed):
    stars, label, _, probability = listed
    xi, eta = REGION.offsets(np.asarray(stars["ra"], float), np.asarray(stars["dec"], float))
    copies = [_copied(xi, eta, label, probability, np.random.default_rng(seed)) for seed in range(60)]
    assert all(np.all(np.diff(rows) > 0) for rows in copies)
    # Members without a label are thinned as listed ones are, the field by itself.
    shares = np.array(
        [
            [
                np.mean(np.isin(np.flatnonzero(which), rows))
                for which in (label == 1, (label == 0) & (probability > 0.5), probability < 0.5)
            ]
            for rows in copies
        ]
    )
    assert np.corrcoef(shares[:, 0], shares[:, 1])[0, 1] > 0.7
    assert np.ptp(shares[:, 0]) > 0.5
    assert np.ptp(shares[:, 2]) > 0.5
    assert min(shares[:, 0]) > 0.1
    # Every other copy is of a smaller circle.
    extent = np.array([np.hypot(xi[rows], eta[rows]).max() for rows in copies])
    assert 15 < np.sum(extent < 0.97 * np.hypot(xi, eta).max()) < 45


def test_a_field_without_a_candidate_is_named(field, monkeypatch):
    monkeypatch.setattr(_examples, "read_field", lambda *_: (field, REGION))
    monkeypatch.setattr(_examples, "read_truth", lambda *_: (np.zeros(len(field), int), np.zeros((len(field), 1))))
    monkeypatch.setattr(_examples, "solve", lambda *_: None)
    with pytest.raises(InputError, match="'fields' has empty_field, in which no stars move together"):
        real_example({"name": "empty_field"}, Path(), 0)


def test_noise_is_as_large_as_the_errors_say(field):
    obs = observables(field, REGION)
    noisy = noisier(obs, 1.5, np.random.default_rng(0))
    np.testing.assert_allclose(noisy.cov, 2.25 * obs.cov)
    shift = (noisy.x - obs.x)[..., None]
    chi2 = np.sum(shift * np.linalg.solve(obs.cov, shift), axis=(1, 2)) / 1.25
    assert abs(chi2.mean() - 3) < 0.3
    assert noisier(obs, 1.0, np.random.default_rng(0)).x == pytest.approx(obs.x)


def test_a_copy_is_an_example(listed):
    stars, label, lists, probability = listed
    copy = real_copy(stars, REGION, label, lists, probability, np.random.default_rng(1))
    assert copy["X"].shape == (len(copy["near"]), len(FEATURES))
    np.testing.assert_array_equal(copy["y"], copy["lab"][copy["near"]])
    assert 12 <= copy["lab"].sum() <= label.sum()
    # What the list says is the same star's: here the share of the rows before it.
    share = copy["lists"][:, 0]
    rows = np.round(share * len(stars)).astype(int)
    np.testing.assert_array_equal(copy["y"], label[rows])
    assert np.all(np.diff(rows) > 0)
    again = real_copy(stars, REGION, label, lists, probability, np.random.default_rng(1))
    np.testing.assert_array_equal(copy["X"], again["X"])


def test_a_copy_without_its_members_teaches_nothing(listed):
    stars, label, lists, probability = listed
    few = np.where(np.cumsum(label) <= 11, label, 0)
    assert real_copy(stars, REGION, few, lists, probability, np.random.default_rng(1)) is None
    elsewhere = np.roll(label, len(label) // 2)
    assert real_copy(stars, REGION, elsewhere, lists, probability, np.random.default_rng(1)) is None


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Two small fields with a published cluster each, and one without, in the layout of the shared ones."""
    folder, manifest = tmp_path_factory.mktemp("fields"), []
    for name in ("stars", "truth"):
        (folder / name).mkdir()
    for number, cluster in enumerate(("One", "Two", None)):
        stars = simulate_field(REGION, 400, seed=number)
        if cluster:
            stars = inject_cluster(stars, REGION, SimulatedCluster(60, -6.0, 5.0, 1.5, 4.0), seed=number)
            label = np.asarray(stars["is_member"])
            stars.remove_column("is_member")
            stars["source_id"] += 1000
        else:
            label = np.zeros(len(stars), np.int16)
        label[:5] = -1
        truth = Table({"source_id": stars["source_id"], "label": label, "p_t22": np.full(len(stars), np.nan)})
        if cluster:  # two lists, of which one has a star that is not scored for it
            truth["p_cg20"] = np.where(label == 1, 0.8, np.nan)
            truth["p_d21"] = np.where((label == 1) & (np.arange(len(stars)) % 2 == 0), 0.9, np.nan)
            truth["p_d21"][0] = 0.3
        name = f"field_{number}"
        write_table(stars, folder / "stars" / f"{name}.fits")
        write_table(truth, folder / "truth" / f"{name}.fits")
        manifest.append({"name": name, "cluster": cluster, "ra": 120.0, "dec": -35.0, "radius_arcmin": 30.0})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_lists_say_what_they_have_and_what_they_leave_out(fields):
    stars = read_stars(fields / "stars" / "field_0.fits")
    truth = read_stars(fields / "truth" / "field_0.fits")
    label = np.asarray(truth["label"])
    unknown = stars[:1].copy()
    unknown["source_id"] = 7
    labels, lists = read_truth({"name": "field_0"}, fields, vstack([stars, unknown], metadata_conflicts="silent"))
    np.testing.assert_array_equal(labels, [*label, -1])
    assert lists.shape == (len(stars) + 1, len(LISTS))
    cg20, t22, d21, b18 = lists.T
    # No list of that name, or one that has no star here, says nothing.
    assert np.isnan(t22).all()
    assert np.isnan(b18).all()
    np.testing.assert_allclose(cg20[:-1][label == 1], 0.8)
    np.testing.assert_array_equal(cg20[:-1][label == 0], 0)
    np.testing.assert_allclose(np.unique(d21[:-1][label == 1]), [0, 0.9])
    # A disputed star is in one list and not in the other; of the other four that are not scored nothing is known.
    assert (cg20[0], d21[0]) == (0.0, pytest.approx(0.3))
    assert np.isnan(lists[1:5]).all()
    assert np.isnan(lists[-1]).all()


@pytest.fixture(scope="module")
def trained(fields, tmp_path_factory):
    """The command, run once."""
    out = tmp_path_factory.mktemp("out")
    command = [str(fields), str(out / "head.safetensors"), "--examples", str(out / "examples"), "--simulations", "4"]
    command += ["--copies", "1"]
    assert main([*command, "--networks", "1", "--steps", "30", "--folds", str(out / "folds")]) == 0
    return out


def test_the_command_writes_weights_that_can_be_used(trained):
    weights = load_head(str(trained / "head.safetensors"))
    features = np.zeros((3, len(FEATURES)))
    assert np.all(np.isfinite(correct(weights, features)))


def test_folds_answer_for_every_real_field(trained, fields):
    for number in range(3):
        stars = read_stars(fields / "stars" / f"field_{number}.fits")
        answer = Table.read(trained / "folds" / f"field_{number}.fits")
        assert set(answer["source_id"]) == set(stars["source_id"])
        members = np.sum(answer["membership_prob"] >= 0.5)
        assert (40 < members < 90) if number < 2 else members == 0


def test_examples_are_kept_and_labels_can_be_left_out(trained):
    examples = load_examples(trained / "examples")
    names = [item["name"] for item in examples]
    # A copy of each field that has a cluster, and no answer for it.
    assert names[:2] == ["copy_field_0_00", "copy_field_1_00"]
    assert names[2:5] == ["real_field_0", "real_field_1", "real_field_2"]
    assert len(list((trained / "folds").iterdir())) == 3
    assert any(name.startswith("simulation_") for name in names)
    assert np.sum(examples[2]["lab"] == -1) == 5
    features = examples[2]["X"][:20]
    answers = [correct(train(examples, networks=1, steps=30, labels=labels), features) for labels in (True, False)]
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
    # Of the copy and of the field a list's own probabilities teach, too.
    silent = [item | {"lists": np.full_like(item["lists"], np.nan)} for item in examples[:5]] + examples[5:]
    assert np.abs(answers[0] - correct(train(silent, networks=1, steps=30), features)).max() > 1e-4
    # Copies are labels, too.
    without = correct(train(examples[2:], networks=1, steps=30), features)
    assert np.abs(answers[0] - without).max() > 1e-3
    unlabelled = correct(train(examples[5:], networks=1, steps=30, labels=False), features)
    np.testing.assert_array_equal(answers[1], unlabelled)


def test_processes_keep_to_one_thread_and_ours_does_not_change(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with _one_thread_each():
        assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false --xla_cpu_multi_thread_eigen=false"
        assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert dict(os.environ) == before


def test_reliability_compares_probabilities_with_what_came_true():
    rng = np.random.default_rng(0)
    p = np.concatenate([np.zeros(500), rng.uniform(0.01, 1, 20_000), [1.0]])
    truth = rng.uniform(size=len(p)) < p
    rows = reliability(truth, p)
    assert len(rows) == 10
    assert sum(stars for *_, stars in rows) == 20_001  # the sure field stars are left out, p = 1 is not
    assert all(number / 10 <= mean <= (number + 1) / 10 for number, (mean, *_) in enumerate(rows))
    assert all(abs(mean - share) < 5 * np.sqrt(0.25 / stars) for mean, share, stars in rows)
    assert abs(reliability(truth, p**2)[5][1] - np.sqrt(0.55)) < 0.05  # too low where it should be higher
    assert reliability(np.zeros(3, bool), np.zeros(3)) == []
