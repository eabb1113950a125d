from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decocc_vo.embedding.autoencoder import encode, new_autoencoder, reconstruct
from decocc_vo.embedding.clustering import label_change, student_t_assignment, target_distribution
from decocc_vo.embedding.padding import bucket_size, pad
from decocc_vo.embedding.training import StopReason, cluster, pretrain, shuffled_rows, stop_reason

BATCH = 32
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _strict():
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(scope="module")
def network():
    return new_autoencoder((4, 8, 8, 3), jax.random.key(1))


def _blobs(n=300, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n)
    x = np.array([[0.2, 0.2, 0.2, 0.2], [0.8, 0.2, 0.8, 0.2], [0.5, 0.8, 0.2, 0.8]])[kind]
    return np.clip(x + rng.normal(0, 0.05, (n, 4)), 0, 1), kind


def _padded(x, size):
    return jnp.asarray(pad(x, size), jnp.float32), jnp.asarray(pad(np.ones(len(x)), size), jnp.float32)


@partial(jax.jit, static_argnames="graphdef")
def _first_groups(graphdef, params, x):
    z = encode(graphdef, params, x)
    return z[:3], jnp.argmax(student_t_assignment(z, z[:3]), axis=1).astype(jnp.int32)


def _start(network, x, weight):
    return *network, *_first_groups(*network, x), x, weight, KEY


def _pretrain(network, x, weight, key=KEY, **changes):
    """`pretrain` with every setting given, so that all tests share compiled programs."""
    settings = {"epochs": 3, "batch_size": BATCH, "learning_rate": 0.5, "momentum": 0.9}
    return pretrain(*network, x, weight, key, **(settings | changes))


def _cluster(start, **changes):
    """`cluster` with every setting given, so that all tests share compiled programs."""
    settings = {"alpha": 1.0, "exponent": 1.0, "tolerance": 1e-3, "update_interval": 20, "max_iterations": 200}
    settings |= {"batch_size": BATCH, "learning_rate": 0.01, "momentum": 0.9}
    return cluster(*start, **(settings | changes))


def _leaves(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_pretraining_lowers_the_error_of_the_reconstruction(network):
    x, weight = _padded(_blobs()[0], 320)
    done = _pretrain(network, x, weight, epochs=60)
    assert done.loss.shape == (60,)
    assert done.loss[-1] < 0.5 * done.loss[0]
    graphdef, params = network
    before, after = (np.mean((reconstruct(graphdef, p, x) - x)[:300] ** 2) for p in (params, done.params))
    assert after < 0.5 * before


def _descend(loss, trained, batches, rate):
    """Momentum descent written out: v <- 0.9 v + g, w <- w - rate v."""
    gradient = jax.jit(jax.grad(loss))
    velocity = jax.tree.map(np.zeros_like, trained)
    for rows in batches:
        velocity = jax.tree.map(lambda v, g: 0.9 * v + np.asarray(g), velocity, gradient(trained, rows))
        trained = jax.tree.map(lambda w, v: np.asarray(w) - np.float32(rate) * v, trained, velocity)
    return trained


def test_pretraining_is_plain_momentum_descent_over_shuffled_batches(network):
    x, weight = _padded(_blobs(n=70)[0], 320)
    graphdef, params = network
    done = _pretrain(network, x, weight, learning_rate=0.3)
    batches = []
    for key in jax.random.split(KEY, 3):
        order = np.asarray(shuffled_rows(key, weight))[:70]
        batches += [order[start : start + BATCH] for start in range(0, 70, BATCH)]

    def loss(params, rows):
        return jnp.mean((reconstruct(graphdef, params, x[rows]) - x[rows]) ** 2)

    np.testing.assert_allclose(
        _leaves(done.params), _leaves(_descend(loss, params, batches, 0.3)), rtol=1e-3, atol=1e-6
    )


def test_the_shuffle_is_a_permutation_that_padding_does_not_change():
    weight = jnp.asarray(np.r_[np.ones(50), np.zeros(14)], jnp.float32)
    longer = jnp.asarray(np.r_[np.ones(50), np.zeros(78)], jnp.float32)
    order = np.asarray(shuffled_rows(KEY, weight))
    assert sorted(order[:50]) == list(range(50))
    assert not np.array_equal(order[:50], np.arange(50))
    np.testing.assert_array_equal(np.asarray(shuffled_rows(KEY, longer))[:50], order[:50])


def test_padding_changes_nothing(network):
    x, _ = _blobs()
    results = []
    for size in (320, 512):
        padded, weight = _padded(x, size)
        before = _pretrain(network, padded, weight)
        start = _start((network[0], before.params), padded, weight)
        after = _cluster(start, tolerance=0.0)
        results.append((before.loss, after.q[:300], after.centers, _leaves(after.params), after.iterations))
    for short, long in zip(*results, strict=True):
        np.testing.assert_allclose(short, long, rtol=1e-4, atol=1e-5)


def test_what_stands_in_the_padding_does_not_matter(network):
    x, weight = _padded(_blobs()[0], 320)
    dirty = x.at[300:].set(7.0)
    results = [_cluster(_start(network, values, weight), learning_rate=0.1) for values in (x, dirty)]
    np.testing.assert_array_equal(results[0].q[:300], results[1].q[:300])


def test_one_target_interval_by_hand(network):
    # The target stays that of all stars over the whole interval, whatever the batch is.
    x, weight = _padded(_blobs(n=90)[0], 320)
    graphdef, params, centers, *_ = start = _start(network, x, weight)
    done = _cluster(start, tolerance=0.0, learning_rate=0.2, update_interval=5, max_iterations=5)
    p = target_distribution(student_t_assignment(encode(graphdef, params, x[:90]), centers))
    order = np.asarray(shuffled_rows(KEY, weight))[:90]
    thirds = [order[start : start + BATCH] for start in range(0, 90, BATCH)]

    def loss(trained, rows):
        q = student_t_assignment(encode(graphdef, trained[0], x[rows]), trained[1])
        return jnp.mean(jnp.sum(p[rows] * jnp.log(p[rows] / q), axis=1))

    expected = _descend(loss, (params, centers), [*thirds, *thirds[:2]], 0.2)
    np.testing.assert_allclose(done.centers, expected[1], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(_leaves(done.params), _leaves(expected[0]), rtol=1e-3, atol=1e-5)
    assert int(done.iterations) == 5
    assert stop_reason(done, weight) is StopReason.MAX_ITERATIONS


def test_the_tolerance_stops_the_training(network):
    x, weight = _padded(_blobs()[0], 320)
    settings = {"learning_rate": 0.05}
    never = _cluster(_start(network, x, weight), tolerance=0.0, **settings)
    assert int(never.iterations) == 200
    assert stop_reason(never, weight) is StopReason.MAX_ITERATIONS
    at_once = _cluster(_start(network, x, weight), tolerance=1.1, **settings)
    assert int(at_once.iterations) == 20  # never before the first interval is done
    assert stop_reason(at_once, weight) is StopReason.CONVERGED
    change = np.asarray(never.change)
    # A tolerance between two of the changes seen stops at the first that is smaller, and not before.
    tolerance = float(np.median(change[1:10])) + 1e-6
    expected = 20 * int(np.argmax(change[1:10] < tolerance) + 1)
    some = _cluster(_start(network, x, weight), tolerance=tolerance, **settings)
    assert int(some.iterations) == expected


def test_reported_changes_are_those_of_the_labels(network):
    x, weight = _padded(_blobs()[0], 320)
    graphdef, params, centers, labels, *rest = _start(network, x, weight)
    wrong = (labels + 1) % 3
    done = _cluster((graphdef, params, centers, wrong, *rest))
    assert float(done.change[0]) == 1.0
    assert float(label_change(labels, wrong, weight)) == 1.0


def test_divergence_is_seen_and_the_last_finite_state_is_kept(network):
    x, weight = _padded(_blobs()[0], 320)
    start = _start(network, x, weight)
    done = _cluster(start, learning_rate=1e30)
    assert stop_reason(done, weight) in (StopReason.DIVERGED, StopReason.COLLAPSED)
    assert int(done.code) == 3
    assert int(done.iterations) == 0
    assert np.all(np.isfinite(done.q))
    np.testing.assert_array_equal(done.centers, start[2])


def test_diverging_pretraining_shows_in_its_loss(network):
    x, weight = _padded(_blobs()[0], 320)
    done = _pretrain(network, x, weight, learning_rate=1e6)
    assert not np.all(np.isfinite(done.loss))


def test_collapse_is_told():
    network = new_autoencoder((4, 8, 8, 3), jax.random.key(1))
    x, weight = _padded(_blobs()[0], 320)
    graphdef, params, centers, labels, *rest = _start(network, x, weight)
    far = centers.at[1:].set(1e3)  # every star is nearest to the first centre
    done = _cluster((graphdef, params, far, labels, *rest))
    assert stop_reason(done, weight) is StopReason.COLLAPSED


def test_tables_of_one_bucket_share_one_program(network):
    size = bucket_size(280, multiple=BATCH, smallest=320)
    assert size == bucket_size(310, multiple=BATCH, smallest=320)
    counts = []
    for n, seed in ((280, 0), (310, 1)):
        x, weight = _padded(_blobs(n, seed)[0], size)
        before = _pretrain(network, x, weight, jax.random.key(seed), learning_rate=0.1 * (1 + seed))
        start = _start((network[0], before.params), x, weight)
        _cluster(start, tolerance=0.01 * (1 + seed))
        counts.append((pretrain._cache_size(), cluster._cache_size()))
    assert counts[0] == counts[1]
    assert min(counts[0]) >= 1


def test_rows_must_be_whole_batches(network):
    with pytest.raises(ValueError, match="'x' has 300 rows"):
        pretrain(*network, jnp.zeros((300, 4)), jnp.ones(300), KEY, batch_size=BATCH)


def test_every_reason_says_what_happened_and_what_to_do():
    for reason in StopReason:
        assert str(reason).endswith(".")
        assert len(str(reason).split(". ")) >= 2
