import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decocc_vo.embedding.autoencoder import encode, new_autoencoder, reconstruct

WIDTHS = (4, 50, 50, 60, 7)


def _kernels(params):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params) if leaf.ndim == 2]


def _biases(params):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params) if leaf.ndim == 1]


def test_the_network_is_symmetric_and_float32():
    graphdef, params = new_autoencoder(WIDTHS, jax.random.key(0))
    x = jnp.zeros((3, 4))
    z = encode(graphdef, params, x)
    assert z.shape == (3, 7)
    assert reconstruct(graphdef, params, x).shape == (3, 4)
    assert z.dtype == jnp.float32
    shapes = [kernel.shape for kernel in _kernels(params)]
    assert sorted(shapes) == sorted([(4, 50), (50, 50), (50, 60), (60, 7), (7, 60), (60, 50), (50, 50), (50, 4)])


def test_weights_start_uniform_with_the_published_variance():
    _, params = new_autoencoder((4, 400, 300, 7), jax.random.key(1))
    for kernel in _kernels(params):
        # A uniform law of variance 1 / (3 fan_in) ends at 1 / sqrt(fan_in).
        bound = 1 / np.sqrt(kernel.shape[0])
        assert np.abs(kernel).max() <= bound
        if kernel.size > 10_000:
            assert np.abs(kernel).max() > 0.99 * bound
            assert np.var(kernel) == pytest.approx(1 / (3 * kernel.shape[0]), rel=0.05)
    assert all(np.all(bias == 0) for bias in _biases(params))


def test_the_code_and_the_output_are_linear_and_the_rest_is_not():
    graphdef, params = new_autoencoder((4, 30, 5), jax.random.key(2))
    x = jax.random.normal(jax.random.key(3), (200, 4))
    z = np.asarray(encode(graphdef, params, x))
    assert z.min() < 0 < z.max()  # no ReLU on the code
    k1, k2 = np.asarray(params["encoder"]["layers"][0]["kernel"][...]), params["encoder"]["layers"][2]["kernel"][...]
    np.testing.assert_allclose(z, np.maximum(np.asarray(x) @ k1, 0) @ np.asarray(k2), rtol=1e-5, atol=1e-6)


def test_the_key_decides_the_weights():
    same = [_kernels(new_autoencoder(WIDTHS, jax.random.key(5))[1]) for _ in range(2)]
    other = _kernels(new_autoencoder(WIDTHS, jax.random.key(6))[1])
    assert all(np.array_equal(a, b) for a, b in zip(*same, strict=True))
    assert not np.array_equal(same[0][0], other[0])


def test_two_networks_of_one_shape_share_compiled_programs():
    first, second = (new_autoencoder(WIDTHS, jax.random.key(k))[0] for k in (0, 1))
    assert first == second
    assert hash(first) == hash(second)
