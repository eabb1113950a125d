"""
The autoencoder of Deep Embedded Clustering, as a Flax NNX module.

NNX only says what the network is. Training works on the split state with plain `jax` transformations, which spares
the cost of walking the module at every step and lets the whole run be one compiled program.
"""

from itertools import pairwise

import jax
from flax import nnx

__all__ = ["Autoencoder", "encode", "encode_jit", "new_autoencoder", "reconstruct"]


def _dense(widths, rngs):
    """Dense layers of these widths, ReLU between them, the last one linear."""
    initializer = nnx.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")
    layers = []
    for n_in, n_out in pairwise(widths):
        layers += [nnx.Linear(n_in, n_out, kernel_init=initializer, rngs=rngs), nnx.relu]
    return nnx.Sequential(*layers[:-1])


class Autoencoder(nnx.Module):
    """
    Symmetric dense autoencoder, ReLU inside, linear in the latent space and at the output.

    The weights start uniform with variance ``1 / (3 fan_in)`` and the biases at zero, as in Xie, Girshick &
    Farhadi (2016, PMLR 48, 478) and its Keras implementations.

    Parameters
    ----------
    widths : sequence of int
        Number of features, the hidden widths, and the size of the latent space: ``(4, 50, 50, 60, 8)``.
    rngs : `flax.nnx.Rngs`
        Source of the starting weights.
    """

    def __init__(self, widths, *, rngs):
        self.encoder = _dense(tuple(widths), rngs)
        self.decoder = _dense(tuple(widths)[::-1], rngs)

    def encode(self, x):
        """Latent positions, shape (n, latent), of features of shape (n, features)."""
        return self.encoder(x)

    def decode(self, z):
        """Features, shape (n, features), of latent positions of shape (n, latent)."""
        return self.decoder(z)

    def __call__(self, x):
        """Features as the network gives them back."""
        return self.decode(self.encode(x))


def new_autoencoder(widths, key):
    """
    Make an autoencoder and split it into its structure and its weights.

    Parameters
    ----------
    widths : sequence of int
        As `Autoencoder` takes them.
    key : `jax.Array`
        Random key, from ``jax.random.key(seed)``.

    Returns
    -------
    graphdef : `flax.nnx.GraphDef`
        Structure: hashable, a static argument of compiled functions.
    params : `flax.nnx.State`
        Weights: a pytree of float32 arrays.

    Examples
    --------
    >>> import jax
    >>> from decocc_vo.embedding.autoencoder import encode, new_autoencoder
    >>> graphdef, params = new_autoencoder((4, 50, 50, 60, 8), jax.random.key(0))
    >>> encode(graphdef, params, jax.numpy.zeros((3, 4))).shape
    (3, 8)
    """
    return nnx.split(Autoencoder(widths, rngs=nnx.Rngs(key)))


def encode(graphdef, params, x):
    """Latent positions of the features ``x`` under the weights ``params``; a pure function for `jax.jit`."""
    return nnx.merge(graphdef, params).encode(x)


def reconstruct(graphdef, params, x):
    """Features as the autoencoder gives them back; a pure function for `jax.jit`."""
    return nnx.merge(graphdef, params)(x)


encode_jit = jax.jit(encode, static_argnames="graphdef")
