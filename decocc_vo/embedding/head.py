"""
The deep part of the default method: an encoder and a clustering layer, trained beforehand, that correct the mixture.

A star's context (`~decocc_vo.embedding.context`) is encoded into a small latent space, in which members and field have
a centre each. The logarithm of the ratio of the star's kernels to the two, the soft assignment of Deep Embedded
Clustering (Xie, Girshick & Farhadi 2016, PMLR 48, 478), is added to the mixture's logit. The kernels are Gaussian, the
limit of Student's t for many degrees of freedom: with one degree, as published, no star can be far from both centres
and certain of one. Several networks that differ only in their seed have to agree.
"""

import json
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ..exceptions import InputError
from .context import FEATURES
from .padding import AT_A_TIME, bucket, pad, slices

__all__ = ["Head", "HeadWeights", "agreed", "correct", "embed", "load_head", "save_head", "train_heads"]

LATENT, HIDDEN = 8, (64, 48)
_SMALLEST = 256  # rows that contexts are padded to at least
_CLIP = 4.0  # standard deviations a feature may be from its mean
_NOISE = 0.1  # standard deviations of noise on the features in training
_WITHHELD = 0.3  # how often a star in training is not told of its field as a whole
_LISTS = 0.5  # weight in the loss of what each published list says, beside the truth
_STRICT = 0.15  # logit by which the answers fall short of exact truth, by folds
_DOUBT = 2.0  # weight of the answers' disagreement against what they agree on
_OF_FIELD = np.array([name.startswith("field_") for name in FEATURES])


class Head(nnx.Module):
    """Encoder of the standardised context, and the two centres of the clustering layer."""

    def __init__(self, rngs):
        self.first = nnx.Linear(len(FEATURES), HIDDEN[0], rngs=rngs)
        self.second = nnx.Linear(HIDDEN[0], HIDDEN[1], rngs=rngs)
        small = nnx.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")
        self.latent = nnx.Linear(HIDDEN[1], LATENT, kernel_init=small, rngs=rngs)
        centre = 0.5 * jnp.ones(LATENT) / np.sqrt(LATENT)
        self.centres = nnx.Param(jnp.stack([-centre, centre]))

    def hidden(self, x):
        """What the latent place is read from: (..., HIDDEN[-1])."""
        return jax.nn.gelu(self.second(jax.nn.gelu(self.first(x))))

    def encode(self, x):
        """Latent place of standardised features: (..., LATENT)."""
        return self.latent(self.hidden(x))

    def __call__(self, x):
        """Log ratio of the assignments to members and to field: (...,)."""
        distance2 = jnp.sum((self.encode(x)[..., None, :] - self.centres[...]) ** 2, axis=-1)
        return 0.5 * (distance2[..., 0] - distance2[..., 1])


class Pupil(nnx.Module):
    """A head in training, which has to tell from the same hidden layer what each published list says."""

    def __init__(self, rngs, lists):
        self.head = Head(rngs)
        self.lists = nnx.Linear(HIDDEN[-1], lists, rngs=rngs)

    def __call__(self, x):
        """Corrections for the truth, (...,), and for the lists, (..., lists)."""
        return self.head(x), self.lists(self.head.hidden(x))


class HeadWeights(NamedTuple):
    """Parameters of the networks, stacked along a first axis, and the standardisation of the features."""

    parameters: nnx.State
    mean: np.ndarray
    scale: np.ndarray


def _graph():
    return nnx.split(Head(nnx.Rngs(0)))


def _standardise(x, mean, scale):
    return jnp.clip((x - mean) / scale, -_CLIP, _CLIP)


@jax.jit
def _corrections(parameters, x, mean, scale):
    graph, _ = _graph()
    return jax.vmap(lambda state: nnx.merge(graph, state)(_standardise(x, mean, scale)))(parameters)


@jax.jit
def _latents(parameters, x, mean, scale):
    graph, _ = _graph()
    return jax.vmap(lambda state: nnx.merge(graph, state).encode(_standardise(x, mean, scale)))(parameters)


def correct(weights, features):
    """
    Correct the mixture's logit.

    Parameters
    ----------
    weights : HeadWeights
        From `load_head`.
    features : `~numpy.ndarray`, shape (m, number of features)
        From `~decocc_vo.embedding.context.context_features`; the first column is the mixture's logit.

    Returns
    -------
    logit : `~numpy.ndarray`, shape (networks, m)
        Each network's answer.
    """
    if len(features) == 0:
        return np.zeros((len(weights.parameters["centres"]), 0))
    size = min(bucket(len(features), _SMALLEST), AT_A_TIME)
    change = [
        _corrections(weights.parameters, pad(features[part], size), weights.mean, weights.scale)
        for part in slices(len(features), size)
    ]
    return features[:, 0] + np.concatenate(change, axis=1).astype(float)[:, : len(features)]


def agreed(mixture, logit):
    """
    One answer of several: their mean correction, and less of it the less they agree.

    A correction c of which the answers' variance is v becomes c^3 / (c^2 + 2 v). Where all say the same, as in fields
    like those of their training, that is c; where they contradict each other, the mixture has the last word. What the
    answers fall short of exact truth by folds, with published lists in the training or without, is given back to all
    stars alike.

    Parameters
    ----------
    mixture : `~numpy.ndarray`, shape (m,)
        The mixture's logit.
    logit : `~numpy.ndarray`, shape (networks, m)
        From `correct`.

    Returns
    -------
    logit : `~numpy.ndarray`, shape (m,)
    """
    change = logit - mixture
    mean, variance = change.mean(axis=0), change.var(axis=0)
    return mixture + mean**3 / (mean**2 + _DOUBT * variance + 1e-12) + _STRICT


def embed(weights, features):
    """
    Look at stars in the latent space of the first network.

    Parameters
    ----------
    weights : HeadWeights
        From `load_head`.
    features : `~numpy.ndarray`, shape (m, number of features)
        As of `correct`.

    Returns
    -------
    latent : `~numpy.ndarray`, shape (m, LATENT)
    centres : `~numpy.ndarray`, shape (2, LATENT)
        Of the field and of the members.
    """
    padded = pad(features, bucket(len(features), _SMALLEST))
    latent = _latents(weights.parameters, padded, weights.mean, weights.scale)
    return np.asarray(latent)[0, : len(features)], np.asarray(weights.parameters["centres"][...])[0]


def train_heads(features, truth, weight, lists=None, *, networks=16, steps=4000, batch=2048, seed=0):
    """
    Train the networks on stars whose membership is known.

    The loss is the cross entropy of the corrected logit; stars are drawn by weight. The features get some noise, and
    those of the field as a whole are withheld now and then. Published lists differ, and stars that only some of them
    have are neither members nor field stars; what each list says is learned beside the truth, by a layer of its own
    that the trained head does without. The whole run is one compiled scan.

    Parameters
    ----------
    features : `~numpy.ndarray`, shape (n, number of features)
        Contexts.
    truth : `~numpy.ndarray`, shape (n,)
        1 for a member, 0 for a field star, -1 where that is not known.
    weight : `~numpy.ndarray`, shape (n,)
        How often a star is drawn, relative to others.
    lists : `~numpy.ndarray`, shape (n, number of lists), optional
        Probability that each published list gives the star; NaN where it does not say.
    networks, steps, batch, seed : int
        How many networks, steps of AdamW, stars a step; and the seed.

    Returns
    -------
    weights : HeadWeights
    losses : `~numpy.ndarray`, shape (networks, steps)
    """
    probability = weight / weight.sum()
    mean = np.average(features, axis=0, weights=probability)
    scale = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=probability)) + 1e-3
    mean, scale = mean.astype(np.float32), scale.astype(np.float32)
    x, y = jnp.asarray(features, jnp.float32), jnp.asarray(truth, jnp.float32)
    lists = np.full((len(features), 1), np.nan) if lists is None else lists
    said = jnp.asarray(np.where(np.isfinite(lists), lists, -1), jnp.float32)
    cumulative = jnp.asarray(np.cumsum(probability), jnp.float32)
    optimiser = optax.adamw(optax.cosine_decay_schedule(3e-3, steps), weight_decay=3e-3)
    graph, _ = nnx.split(Pupil(nnx.Rngs(0), said.shape[1]))

    def entropy(logit, target):
        """Mean over the batch; -1 is not known, and counts as nothing."""
        return jnp.mean(jnp.where(target < 0, 0.0, optax.sigmoid_binary_cross_entropy(logit, target)), axis=0)

    def loss(state, key):
        draw, shake, withhold = jax.random.split(key, 3)
        rows = jnp.minimum(jnp.searchsorted(cumulative, jax.random.uniform(draw, (batch,))), len(x) - 1)
        inputs = _standardise(x[rows], mean, scale)
        inputs = inputs + _NOISE * jax.random.normal(shake, inputs.shape)
        blind = jax.random.uniform(withhold, (batch,)) < _WITHHELD
        inputs = jnp.where(_OF_FIELD & blind[:, None], 0.0, inputs)
        correction, of_lists = nnx.merge(graph, state)(inputs)
        mixture = x[rows, 0]
        return entropy(mixture + correction, y[rows]) + _LISTS * jnp.sum(
            entropy(mixture[:, None] + of_lists, said[rows])
        )

    def train(key):
        state = nnx.state(Pupil(nnx.Rngs(key), said.shape[1]))

        def step(carry, key):
            state, momenta = carry
            value, gradient = jax.value_and_grad(loss)(state, key)
            updates, momenta = optimiser.update(gradient, momenta, state)
            return (optax.apply_updates(state, updates), momenta), value

        (state, _), losses = jax.lax.scan(step, (state, optimiser.init(state)), jax.random.split(key, steps))
        return state["head"], losses

    trained = [jax.jit(train)(key) for key in jax.random.split(jax.random.key(seed), networks)]
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(state for state, _ in trained))
    return HeadWeights(states, mean, scale), np.stack([losses for _, losses in trained])


def _flatten(parameters):
    return {"/".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(parameters)}


def save_head(weights, path, **metadata):
    """
    Write weights to a safetensors file.

    Parameters
    ----------
    weights : HeadWeights
        From `train_heads`.
    path : str or `~pathlib.Path`
        File to write; one that is there is replaced.
    **metadata
        How they were made; kept as text.
    """
    from safetensors.numpy import save_file

    arrays = {name: np.asarray(leaf[...]) for name, leaf in _flatten(weights.parameters).items()}
    arrays |= {"mean": weights.mean, "scale": weights.scale}
    save_file(arrays, path, metadata={"features": json.dumps(FEATURES), **{k: str(v) for k, v in metadata.items()}})


def load_head(path=None):
    """
    Read weights.

    Parameters
    ----------
    path : str, optional
        File written by `save_head`; default: the one that comes with the package.

    Returns
    -------
    weights : HeadWeights

    Raises
    ------
    InputError
        If the file was made for other features.
    """
    return _shipped() if path is None else _read(str(path))


@lru_cache(maxsize=1)
def _shipped():
    return _read(str(files("decocc_vo.embedding") / "weights" / "head.safetensors"))


def _read(path):
    from safetensors import safe_open

    with safe_open(path, "numpy") as stored:
        if json.loads((stored.metadata() or {}).get("features", "[]")) != list(FEATURES):
            msg = f"'path' {path!r} was trained on other features; train it again with python -m decocc_vo.pretrain"
            raise InputError(msg)
        arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    _, template = _graph()
    flat = [(p, leaf.replace(jnp.asarray(arrays["/".join(map(str, p))]))) for p, leaf in nnx.to_flat_state(template)]
    return HeadWeights(nnx.from_flat_state(flat), arrays["mean"], arrays["scale"])
