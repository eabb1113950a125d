import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from decocc_vo.embedding.clustering import kl_divergence, label_change, student_t_assignment, target_distribution


@pytest.fixture(autouse=True)
def _strict():
    """Silent broadcasting and silent promotion are errors here."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def _assignments(rows=6, groups=3):
    positive = st.floats(0.0078125, 1, width=32)
    return hnp.arrays(np.float32, (rows, groups), elements=positive).map(lambda q: q / q.sum(1, keepdims=True))


def _numpy_target(q, weight, exponent=1.0):
    frequency = (weight[:, None] * q).sum(0)
    p = q**2 / frequency**exponent
    return p / p.sum(1, keepdims=True)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_assignment_is_the_published_kernel(alpha):
    rng = np.random.default_rng(0)
    z, centers = rng.normal(size=(20, 4)), rng.normal(size=(3, 4))
    kernel = (1 + ((z[:, None] - centers) ** 2).sum(-1) / alpha) ** (-(alpha + 1) / 2)
    q = student_t_assignment(jnp.asarray(z, jnp.float32), jnp.asarray(centers, jnp.float32), alpha)
    np.testing.assert_allclose(q, kernel / kernel.sum(1, keepdims=True), rtol=1e-5)


def test_a_far_star_still_has_an_assignment():
    q = student_t_assignment(jnp.full((1, 2), 1e15), jnp.array([[0.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(q, [[0.5, 0.5]], atol=1e-6)


@given(
    _assignments(), hnp.arrays(np.float32, 6, elements=st.sampled_from([0.0, 1.0])), st.sampled_from([0.0, 0.5, 1.0])
)
def test_target_is_the_published_formula(q, weight, exponent):
    weight[0] = 1
    p = target_distribution(jnp.asarray(q), jnp.asarray(weight), exponent=exponent)
    np.testing.assert_allclose(p, _numpy_target(q, weight, exponent), rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(np.sum(p, 1), 1, rtol=1e-5)


def test_target_ignores_padding():
    q = np.random.default_rng(1).dirichlet([1, 1, 1], 8).astype(np.float32)
    padded = np.vstack([q, [[1, 0, 0]] * 5]).astype(np.float32)
    weight = np.r_[np.ones(8), np.zeros(5)].astype(np.float32)
    p = target_distribution(jnp.asarray(padded), jnp.asarray(weight))
    np.testing.assert_allclose(p[:8], target_distribution(jnp.asarray(q)), rtol=1e-6)


def test_target_of_a_batch_is_not_the_target_of_all():
    # The classic mistake of re-implementations: frequencies from the mini-batch.
    q = jnp.asarray(np.random.default_rng(2).dirichlet([3, 1, 1], 40), jnp.float32)
    assert np.abs(target_distribution(q)[:10] - target_distribution(q[:10])).max() > 0.01


def test_the_exponent_decides_whether_small_groups_are_favoured():
    q = jnp.asarray([[0.5, 0.5]] + [[0.9, 0.1]] * 9, jnp.float32)
    assert target_distribution(q, exponent=1.0)[0, 1] > 0.7
    np.testing.assert_allclose(target_distribution(q, exponent=0.0)[0], [0.5, 0.5], rtol=1e-6)


def test_an_empty_group_does_not_break_the_target():
    q = jnp.asarray([[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(target_distribution(q), [[1, 0], [1, 0]], atol=1e-6)


def test_no_gradient_flows_through_the_target():
    q = jnp.asarray([[0.7, 0.3], [0.2, 0.8]])
    gradient = jax.grad(lambda q: jnp.sum(target_distribution(q) ** 2))(q)
    np.testing.assert_array_equal(gradient, 0)


@given(_assignments(), _assignments())
def test_divergence_is_that_of_scipy_and_never_negative(p, q):
    from scipy.stats import entropy

    value = float(kl_divergence(jnp.asarray(p), jnp.asarray(q)))
    assert value >= -1e-6
    assert value == pytest.approx(entropy(p.astype(float), q.astype(float), axis=1).mean(), abs=1e-5)


def test_divergence_counts_weights_and_zero_targets():
    p, q = jnp.asarray([[1.0, 0.0], [0.5, 0.5]]), jnp.asarray([[0.5, 0.5], [0.25, 0.75]])
    assert float(kl_divergence(p, q, jnp.asarray([1.0, 0.0]))) == pytest.approx(np.log(2))
    assert float(kl_divergence(p, q, jnp.asarray([0.0, 0.0]))) == 0


def test_gradient_is_that_of_the_publication():
    # Xie et al. 2016, eq. 5, alpha = 1: dL/dmu_j = 2 sum_i (1 + |z_i - mu_j|^2)^-1 (q_ij - p_ij) (z_i - mu_j)
    rng = np.random.default_rng(3)
    z, centers = rng.normal(size=(10, 2)).astype(np.float32), rng.normal(size=(3, 2)).astype(np.float32)
    q = np.asarray(student_t_assignment(jnp.asarray(z), jnp.asarray(centers)))
    p = _numpy_target(q, np.ones(10, np.float32))

    def loss(centers):
        return kl_divergence(jnp.asarray(p), student_t_assignment(jnp.asarray(z), centers))

    difference = z[:, None] - centers
    factor = 2 * (q - p) / (1 + (difference**2).sum(-1))
    expected = (factor[:, :, None] * difference).sum(0) / 10
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(centers)), expected, rtol=2e-3, atol=1e-6)


def test_label_change_counts_stars_only():
    labels, previous = jnp.asarray([0, 1, 2, 2]), jnp.asarray([0, 1, 1, 0])
    assert float(label_change(labels, previous, jnp.asarray([1.0, 1.0, 1.0, 0.0]))) == pytest.approx(1 / 3)
