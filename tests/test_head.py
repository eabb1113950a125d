"""The head: weights to a file and back, training on a toy problem, and what a correction depends on."""

import json

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.special import expit

from decocc_vo.embedding import head
from decocc_vo.embedding.context import FEATURES
from decocc_vo.embedding.head import LATENT, agreed, correct, embed, load_head, save_head, train_heads

N = 3000


def problem(n=N, seed=0):
    """Stars whose truth follows the mixture's logit, plus twice another feature that the mixture does not know."""
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (n, len(FEATURES)))
    features[:, 0] *= 2
    truth = (rng.uniform(0, 1, n) < expit(features[:, 0] + 2 * features[:, 5])).astype(float)
    return features, truth


def cross_entropy(logit, truth):
    return np.mean(np.logaddexp(0, logit) - truth * logit)


@pytest.fixture(scope="module")
def trained():
    features, truth = problem()
    return train_heads(features, truth, np.ones(N), networks=2, steps=150, batch=256, seed=1)


def test_training_reduces_the_loss(trained):
    weights, losses = trained
    assert losses.shape == (2, 150)
    features, truth = problem()
    start = cross_entropy(features[:, 0], truth)
    # Untrained, the head says nothing: the loss is the mixture's.
    assert losses[:, 0].mean() == pytest.approx(start, rel=0.15)
    assert losses[:, -20:].mean() < 0.8 * start
    unseen, truth = problem(seed=9)
    start, best = cross_entropy(unseen[:, 0], truth), cross_entropy(unseen[:, 0] + 2 * unseen[:, 5], truth)
    assert cross_entropy(correct(weights, unseen).mean(axis=0), truth) < best + 0.25 * (start - best)


def test_networks_differ_and_seeds_reproduce(trained):
    features, truth = problem()
    answers = correct(trained[0], features[:50])
    assert np.abs(answers[0] - answers[1]).max() > 0.01
    settings = {"networks": 2, "steps": 150, "batch": 256}
    again, _ = train_heads(features, truth, np.ones(N), **settings, seed=1)
    np.testing.assert_array_equal(correct(again, features[:50]), answers)


def test_stars_of_weight_zero_are_not_drawn(trained):
    features, truth = problem()
    spoilt = truth.copy()
    spoilt[N // 2 :] = 1 - spoilt[N // 2 :]
    weight = np.repeat([1.0, 0.0], N // 2)
    features[N // 2 :] += 100.0  # would change the standardisation, too
    weights, losses = train_heads(features, spoilt, weight, networks=2, steps=150, batch=256, seed=1)
    np.testing.assert_allclose(weights.mean, features[: N // 2].mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(weights.scale, features[: N // 2].std(axis=0), rtol=0.01)
    assert losses[:, -20:].mean() < 0.8 * cross_entropy(features[: N // 2, 0], truth[: N // 2])


def test_lists_teach_where_the_truth_is_not_known():
    features, truth = problem()
    few = np.where(np.arange(N) < 60, truth, -1)
    # A list is not the truth: it leaves out every third star, and says nothing of some.
    lists = np.stack([truth * (np.arange(N) % 3 > 0), np.full(N, np.nan)], axis=1)
    lists[::5, 0] = np.nan
    unseen, answer = problem(seed=9)
    loss = []
    for given in (None, lists):
        weights, losses = train_heads(features, few, np.ones(N), given, networks=2, steps=300, batch=256, seed=1)
        assert np.all(np.isfinite(losses))
        loss.append(cross_entropy(correct(weights, unseen).mean(axis=0), answer))
    start, best = cross_entropy(unseen[:, 0], answer), cross_entropy(unseen[:, 0] + 2 * unseen[:, 5], answer)
    assert loss[1] < loss[0] - 0.2 * (start - best)


def test_a_correction_is_each_stars_own(trained, monkeypatch):
    """Neither padding, nor the other stars of a table, nor how many are corrected at a time change it."""
    features, _ = problem(700, seed=3)
    together = correct(trained[0], features)
    for part in (slice(0, 1), slice(0, 256), slice(0, 257), slice(300, 700)):
        np.testing.assert_allclose(correct(trained[0], features[part]), together[:, part], rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(head, "AT_A_TIME", 256)
    np.testing.assert_allclose(correct(trained[0], features), together, rtol=1e-5, atol=1e-5)


def test_networks_that_disagree_leave_the_mixture_alone():
    mixture = np.array([1.0, 1.0, 1.0, -2.0])
    change = np.array([[2.0, 3.0, 0.5, 0.0], [2.0, -3.0, 1.5, 0.0]])
    expected = np.array([2.0, 0.0, 1 / (1 + 2 * 0.25), 0.0])
    given_back = 0.15  # what published lists leave out
    np.testing.assert_allclose(agreed(mixture, mixture + change), mixture + expected + given_back, atol=1e-9)


def test_no_stars_have_no_corrections(trained):
    assert correct(trained[0], np.empty((0, len(FEATURES)))).shape == (2, 0)


def test_features_far_from_the_training_are_clipped(trained):
    features, _ = problem(4, seed=4)
    far, farther = features.copy(), features.copy()
    far[:, 3:], farther[:, 3:] = 50.0, 5000.0
    np.testing.assert_array_equal(correct(trained[0], far), correct(trained[0], farther))
    assert np.all(np.isfinite(correct(trained[0], 1e6 * features)))


def test_corrections_are_the_assignments_log_ratio(trained):
    """Gaussian kernels about the two centres, in the latent space that `embed` shows."""
    features, _ = problem(300, seed=5)
    latent, centres = embed(trained[0], features)
    assert latent.shape == (300, LATENT)
    assert centres.shape == (2, LATENT)
    kernel = np.exp(-0.5 * np.sum((latent[:, None].astype(float) - centres) ** 2, axis=-1))
    expected = features[:, 0] + np.log(kernel[:, 1] / kernel[:, 0])
    np.testing.assert_allclose(correct(trained[0], features)[0], expected, rtol=1e-4, atol=1e-4)


def test_the_head_does_without_the_fields_numbers():
    """What only a number of the field tells is used where it is known, and missed little where it is not."""
    features, _ = problem()
    known, also = FEATURES.index("field_gain"), 5
    told = 2 * features[:, also]
    truth = (np.random.default_rng(1).uniform(0, 1, N) < expit(features[:, 0] + told)).astype(float)
    features[:, known] = told + np.random.default_rng(2).normal(0, 0.1, N)  # the same, and simpler to learn
    weights, _ = train_heads(features, truth, np.ones(N), networks=1, steps=300, batch=256, seed=1)
    withheld = features.copy()
    withheld[:, known] = weights.mean[known]
    start = cross_entropy(features[:, 0], truth)
    best = cross_entropy(features[:, 0] + told, truth)
    assert cross_entropy(correct(weights, withheld)[0], truth) < best + 0.3 * (start - best)
    assert np.abs(correct(weights, withheld) - correct(weights, features)).max() > 0.1


def test_saved_and_loaded_is_the_same(trained, tmp_path):
    path = str(tmp_path / "head.safetensors")
    save_head(trained[0], path, simulations=12, remark="toy")
    loaded = load_head(path)
    for one, two in zip(jax.tree.leaves(loaded.parameters), jax.tree.leaves(trained[0].parameters), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(loaded.mean, trained[0].mean)
    np.testing.assert_array_equal(loaded.scale, trained[0].scale)
    features, _ = problem(20, seed=6)
    np.testing.assert_array_equal(correct(loaded, features), correct(trained[0], features))
    with safe_open(path, "numpy") as stored:
        metadata = stored.metadata()
    assert json.loads(metadata["features"]) == list(FEATURES)
    assert (metadata["simulations"], metadata["remark"]) == ("12", "toy")


def test_weights_for_other_features_are_refused(tmp_path):
    path = str(tmp_path / "other.safetensors")
    save_file({"mean": np.zeros(2, np.float32)}, path, metadata={"features": json.dumps(["logit", "colour"])})
    with pytest.raises(ValueError, match=r"'path' .*other\.safetensors.* was trained on other features"):
        load_head(path)
