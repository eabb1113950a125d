"""
Training of Deep Embedded Clustering: each of its two stages is one compiled program.

Stage one, `pretrain`, teaches the autoencoder to give the features back. Stage two, `cluster`, moves the encoder and
the centres towards the target distribution until the labels settle. No Python loop runs over batches. Arrays are
padded to a bucket of rows; the padding has weight zero, is never drawn into a batch of its own, and changes nothing.
"""

import enum
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from .autoencoder import encode, reconstruct
from .clustering import kl_divergence, label_change, student_t_assignment, target_distribution

__all__ = ["Clustered", "Pretrained", "StopReason", "cluster", "pretrain", "shuffled_rows"]


class StopReason(enum.Enum):
    """What ended a training, and what to do about it."""

    CONVERGED = "The labels settled: fewer than the tolerance changed between two target updates. Nothing to do."
    MAX_ITERATIONS = (
        "The largest number of iterations was reached before the labels settled; the groups may still be moving. "
        "Try another seed, or the default method."
    )
    COLLAPSED = (
        "The groups collapsed: every star is in one group, so nothing was separated. "
        "Try another seed or fewer groups, or use the default method."
    )
    DIVERGED = (
        "The clustering diverged (a value was no longer finite); the groups are those of the last finite target "
        "update. Try another seed, or the default method."
    )
    PRETRAINING_DIVERGED = (
        "The autoencoder diverged while it was pre-trained (a value was no longer finite), so there are no groups. "
        "Try another seed, or the default method."
    )

    def __str__(self):
        return self.value


_RUNNING, _CONVERGED, _MAX_ITERATIONS, _DIVERGED = range(4)
_REASONS = {
    _CONVERGED: StopReason.CONVERGED,
    _MAX_ITERATIONS: StopReason.MAX_ITERATIONS,
    _DIVERGED: StopReason.DIVERGED,
}


class Pretrained(NamedTuple):
    """Weights after pre-training, and the mean squared error of each epoch."""

    params: object
    loss: jax.Array


class Clustered(NamedTuple):
    """
    State after the clustering.

    ``loss`` and ``change`` have one entry a target update (the mean divergence of the iterations after it, and the
    fraction of labels changed before it), NaN where the training had stopped. ``code`` is read by `stop_reason`.
    """

    params: object
    centers: jax.Array
    q: jax.Array
    loss: jax.Array
    change: jax.Array
    iterations: jax.Array
    code: jax.Array


def stop_reason(clustered, weight):
    """The `StopReason` of a `Clustered`; ``weight`` as `cluster` took it."""
    used = jnp.sum(jax.nn.one_hot(jnp.argmax(clustered.q, axis=1), clustered.q.shape[1]) * weight[:, None], axis=0)
    if int(jnp.sum(used > 0)) == 1:
        return StopReason.COLLAPSED
    return _REASONS[int(clustered.code)]


def shuffled_rows(key, weight):
    """
    Row indices in random order, the rows of zero weight last.

    A row's place is drawn from the key and the row's own index, so that padding does not change the order of the
    others, as a permutation of the padded array would.
    """
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(weight.shape[0]))
    draw = jax.vmap(lambda one: jax.random.bits(one, dtype=jnp.uint32))(keys)  # whatever JAX_ENABLE_X64 says
    return jnp.lexsort((draw, weight == 0))


def _all_finite(tree):
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _check_batches(x, batch_size):
    if x.shape[0] % batch_size:
        msg = f"'x' has {x.shape[0]} rows, which is no multiple of the batch size {batch_size}; pad it with pad"
        raise ValueError(msg)


@partial(jax.jit, static_argnames=("graphdef", "epochs", "batch_size"))
def pretrain(graphdef, params, x, weight, key, *, epochs=30, batch_size=128, learning_rate=1.0, momentum=0.9):
    """
    Pre-train an autoencoder on the mean squared error of its reconstruction.

    Parameters
    ----------
    graphdef, params
        The autoencoder, from `~decocc_vo.embedding.autoencoder.new_autoencoder`.
    x : `jax.Array`
        Features, float32, shape (rows, features), rows a multiple of ``batch_size``.
    weight : `jax.Array`
        1 for a star, 0 for padding, shape (rows,).
    key : `jax.Array`
        Random key: the stars are shuffled anew each epoch.
    epochs, batch_size : int
        Passes over the stars, and stars in one step.
    learning_rate, momentum : float
        Of stochastic gradient descent.

    Returns
    -------
    pretrained : Pretrained
    """
    _check_batches(x, batch_size)
    optimizer = optax.sgd(learning_rate, momentum)
    batches = jnp.ceil(jnp.sum(weight) / batch_size).astype(jnp.int32)

    def batch_loss(params, rows):
        w = weight[rows]
        each = jnp.mean((reconstruct(graphdef, params, x[rows]) - x[rows]) ** 2, axis=1)
        return jnp.sum(w * each) / jnp.maximum(jnp.sum(w), 1.0)

    def epoch(carry, key):
        order = shuffled_rows(key, weight)

        def step(b, carry):
            params, state, total = carry
            rows = jax.lax.dynamic_slice_in_dim(order, b * batch_size, batch_size)
            loss, gradient = jax.value_and_grad(batch_loss)(params, rows)
            updates, state = optimizer.update(gradient, state)
            return optax.apply_updates(params, updates), state, total + loss

        params, state, total = jax.lax.fori_loop(0, batches, step, (*carry, jnp.zeros((), x.dtype)))
        return (params, state), total / jnp.maximum(batches, 1).astype(x.dtype)

    (params, _), loss = jax.lax.scan(epoch, (params, optimizer.init(params)), jax.random.split(key, epochs))
    return Pretrained(params, loss)


@partial(jax.jit, static_argnames=("graphdef", "batch_size", "update_interval", "max_iterations"))
def cluster(
    graphdef,
    params,
    centers,
    labels,
    x,
    weight,
    key,
    *,
    alpha=1.0,
    exponent=1.0,
    tolerance=1e-3,
    update_interval=20,
    max_iterations=2000,
    batch_size=128,
    learning_rate=1.0,
    momentum=0.9,
):
    """
    Train the encoder and the centres on KL(P || Q) until the labels settle.

    Every ``update_interval`` iterations the assignment, the labels and the target are computed on all stars.
    The batches go round a fixed random order of the stars; an iteration is one batch.

    Parameters
    ----------
    graphdef, params
        The pre-trained autoencoder.
    centers : `jax.Array`
        Starting centres, shape (groups, latent).
    labels : `jax.Array`
        Labels before the first update (those of K-Means), int32, shape (rows,).
    x, weight, key
        As for `pretrain`.
    alpha : float
        Degrees of freedom of the Student's t kernel.
    exponent : float
        Exponent of the frequency in the target; see `~decocc_vo.embedding.clustering.target_distribution`.
    tolerance : float
        The training stops when a smaller fraction of the labels changes between two target updates.
    update_interval, max_iterations, batch_size : int
        Iterations between two target updates, at most in all, and stars in one of them.
    learning_rate, momentum : float
        Of stochastic gradient descent.

    Returns
    -------
    clustered : Clustered
    """
    _check_batches(x, batch_size)
    optimizer = optax.sgd(learning_rate, momentum)
    batches = jnp.ceil(jnp.sum(weight) / batch_size).astype(jnp.int32)
    order = shuffled_rows(key, weight)
    updates_at_most = -(-max_iterations // update_interval) + 1

    def assign(trained, x):
        params, centers = trained
        return student_t_assignment(encode(graphdef, params, x), centers, alpha)

    def body(carry):
        trained, state, labels, iteration, update, _, losses, changes = carry
        q = assign(trained, x)
        new_labels = jnp.argmax(q, axis=1).astype(labels.dtype)
        change = label_change(new_labels, labels, weight)
        p = target_distribution(q, weight, exponent=exponent)
        converged = (iteration > 0) & (change < tolerance)
        steps = jnp.where(converged, 0, jnp.minimum(update_interval, max_iterations - iteration))

        def batch_loss(trained, rows):
            return kl_divergence(p[rows], assign(trained, x[rows]), weight[rows])

        def step(i, carry):
            trained, state, total = carry
            b = (iteration + i) % batches
            rows = jax.lax.dynamic_slice_in_dim(order, b * batch_size, batch_size)
            loss, gradient = jax.value_and_grad(batch_loss)(trained, rows)
            updates, state = optimizer.update(gradient, state)
            return optax.apply_updates(trained, updates), state, total + loss

        moved, new_state, total = jax.lax.fori_loop(0, steps, step, (trained, state, jnp.zeros((), x.dtype)))
        # Without a finite assignment there is no label to trust: go back to the last update that had one.
        finite = jnp.isfinite(total) & _all_finite(moved) & _all_finite(assign(moved, x[:batch_size]))
        trained, state = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old), (moved, new_state), (trained, state)
        )
        iteration = jnp.where(finite, iteration + steps, iteration)
        code = jnp.where(iteration >= max_iterations, _MAX_ITERATIONS, _RUNNING)
        code = jnp.where(converged, _CONVERGED, jnp.where(finite, code, _DIVERGED)).astype(jnp.int32)
        losses = losses.at[update].set(jnp.where(steps > 0, total / jnp.maximum(steps, 1).astype(x.dtype), jnp.nan))
        return trained, state, new_labels, iteration, update + 1, code, losses, changes.at[update].set(change)

    trained = (params, centers)
    empty = jnp.full(updates_at_most, jnp.nan, x.dtype)
    zero = jnp.zeros((), jnp.int32)
    start = (trained, optimizer.init(trained), labels, zero, zero, jnp.full((), _RUNNING, jnp.int32), empty, empty)
    trained, _, _, iteration, _, code, losses, changes = jax.lax.while_loop(
        lambda carry: carry[5] == _RUNNING, body, start
    )
    return Clustered(*trained, assign(trained, x), losses, changes, iteration, code)
