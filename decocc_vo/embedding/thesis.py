"""
The published DECOCC: Deep Embedded Clustering of an open cluster's field as in the master's thesis that named it.

Proper motions over parallax and the parallax, scaled to [0, 1]; K by the silhouette; an autoencoder pre-trained with
plain gradient descent; K-Means in its latent space; training on the self-sharpened target. Kept as published,
with its weaknesses, so that others can be measured against it; the default method does without them.

Where the publication is silent, this is what is done: the batches of the clustering go round a random order of the
stars that the seed fixes; the width of the widest hidden layer, chosen by hand there (200, 60 or 40), is 60;
and stars with a negative parallax are kept, as they are there.

References
----------
C. D. Alvaro Yunta, master's thesis, "Machine Learning Tools for Open Cluster Characterization with Gaia DR2 Data".
Xie, Girshick & Farhadi 2016, PMLR 48, 478.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from .. import _groups
from ..exceptions import InputError
from .autoencoder import encode_jit, new_autoencoder
from .padding import bucket_size, pad
from .training import StopReason, cluster, pretrain, stop_reason

__all__ = ["ThesisGroups", "run_thesis"]

_WEIGHTS, _PRETRAIN, _CLUSTER = range(3)  # what a random key is for


@dataclass(frozen=True)
class ThesisGroups:
    """
    What the published recipe makes of a field.

    Attributes
    ----------
    q : `~numpy.ndarray`
        Soft assignment, float32, shape (n, K); NaN for stars without features, and for all if there are no groups.
    labels : `~numpy.ndarray`
        The group with the largest ``q``, int, shape (n,); -1 where there is none.
    latent : `~numpy.ndarray`
        Position in the latent space, float32, shape (n, K).
    usable : `~numpy.ndarray`
        Which stars have features (no missing value, parallax not zero), boolean, shape (n,).
    n_clusters : int
        The number of groups K.
    silhouettes : dict of int to float
        Silhouette of each K that was tried; empty if the caller chose K.
    pretrain_loss : `~numpy.ndarray`
        Mean squared error of each epoch.
    loss, label_change : `~numpy.ndarray`
        Mean KL divergence after, and fraction of labels changed before, each target update.
    iterations : int
        Batches the clustering took.
    stop_reason : `~decocc_vo.embedding.training.StopReason`
        What ended the training; its value is a sentence.
    """

    q: np.ndarray
    labels: np.ndarray
    latent: np.ndarray
    usable: np.ndarray
    n_clusters: int
    silhouettes: dict
    pretrain_loss: np.ndarray
    loss: np.ndarray
    label_change: np.ndarray
    iterations: int
    stop_reason: StopReason

    def membership(self, group):
        """
        Soft membership of one group: its assignment against that of its strongest rival.

        The publication takes the group with the largest ``q`` for each star, and with K groups that may be far
        below a half. ``q_g / (q_g + max q_j)`` over the other groups j is at least a half just for those stars.

        Parameters
        ----------
        group : int
            The group.

        Returns
        -------
        probability : `~numpy.ndarray`
            Shape (n,), in [0, 1]; NaN for stars without features.
        """
        own = self.q[:, group].astype(float)
        rival = np.delete(self.q, group, axis=1).max(axis=1).astype(float)
        return own / (own + rival)

    def quantile_filter(self, parallax, group, quantile=0.1):
        """
        The published clean-up: the stars of a group between two quantiles of its parallaxes.

        Parameters
        ----------
        parallax : array-like
            Parallax in mas, shape (n,), in the order the stars were given.
        group : int
            The group.
        quantile : float
            Lower quantile; the upper one is ``1 - quantile``. 0.10 in the publication, 0.15 for NGC 2516.

        Returns
        -------
        kept : `~numpy.ndarray`
            Boolean, shape (n,).
        """
        if not 0 <= quantile < 0.5:
            msg = f"'quantile' must be at least 0 and below 0.5, not {quantile!r}"
            raise InputError(msg)
        parallax = np.asarray(parallax, float)
        member = self.labels == group
        if not member.any():
            return member
        low, high = np.quantile(parallax[member], [quantile, 1.0 - quantile])
        return member & (parallax >= low) & (parallax <= high)


def run_thesis(
    pmra,
    pmdec,
    parallax,
    *,
    n_clusters=None,
    width=60,
    seed=0,
    learning_rate=1.0,
    momentum=0.9,
    epochs=30,
    max_iterations=2000,
    update_interval=20,
    tolerance=1e-3,
    batch_size=128,
):
    """
    Group the stars of a field by the published recipe.

    The stars must come in the canonical order (`~decocc_vo.columns.canonical_order`): random draws go by the row,
    and the same rows in the same order give the same result bit for bit on one kind of device.

    Parameters
    ----------
    pmra, pmdec : array-like
        Proper motion in mas/yr, shape (n,); NaN where missing.
    parallax : array-like
        Parallax in mas, shape (n,); a star of parallax zero cannot be used by this recipe.
    n_clusters : int, optional
        Number of groups; by default the one of 3 to 10 with the best silhouette.
    width : int
        Width L of the widest hidden layer.
    seed : int
        Seed of the weights, the batches and K-Means.
    learning_rate, momentum : float
        Of stochastic gradient descent, in both stages.
    epochs : int
        Passes of the pre-training.
    max_iterations, update_interval : int
        Batches of the clustering at most, and between two target updates.
    tolerance : float
        Fraction of changed labels below which the clustering stops.
    batch_size : int
        Stars in a batch.

    Returns
    -------
    groups : ThesisGroups

    Raises
    ------
    InputError
        If there are too few usable stars for the groups, or a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.embedding.thesis import run_thesis
    >>> rng = np.random.default_rng(1)
    >>> field = rng.normal(0, 4, (2, 300)), rng.uniform(0.5, 2, 300)
    >>> groups = run_thesis(*field[0], field[1], n_clusters=3, epochs=2, max_iterations=40)
    >>> groups.q.shape
    (300, 3)
    """
    _check_positive(width=width, epochs=epochs, max_iterations=max_iterations, update_interval=update_interval)
    _check_positive(batch_size=batch_size, learning_rate=learning_rate)
    raw, usable = _groups.thesis_features(pmra, pmdec, parallax)
    if n_clusters is not None and not 2 <= n_clusters < len(raw):
        msg = f"'n_clusters' must be at least 2 and less than the {len(raw)} usable stars, not {n_clusters!r}"
        raise InputError(msg)
    if len(raw) <= min(_groups.N_CLUSTERS):
        msg = f"'parallax' and the proper motions are usable for {len(raw)} stars, too few for groups"
        raise InputError(msg)
    features = _groups.min_max(raw)
    scores = _groups.silhouettes(features, seed=seed) if n_clusters is None else {}
    k = int(n_clusters or max(scores, key=scores.get))

    size = bucket_size(len(features), multiple=batch_size)
    x = jnp.asarray(pad(features, size), jnp.float32)
    weight = jnp.asarray(pad(np.ones(len(features)), size), jnp.float32)
    key = jax.random.key(seed)
    graphdef, params = new_autoencoder((features.shape[1], 50, 50, width, k), jax.random.fold_in(key, _WEIGHTS))
    descent = {"learning_rate": learning_rate, "momentum": momentum, "batch_size": batch_size}
    pretrained = pretrain(graphdef, params, x, weight, jax.random.fold_in(key, _PRETRAIN), epochs=epochs, **descent)
    latent = np.asarray(encode_jit(graphdef, pretrained.params, x))[: len(features)]
    found = {"usable": usable, "n_clusters": k, "silhouettes": scores, "pretrain_loss": np.asarray(pretrained.loss)}
    if not (np.all(np.isfinite(pretrained.loss)) and np.all(np.isfinite(latent))):
        nothing = np.full((len(features), k), np.nan, np.float32)
        return ThesisGroups(
            q=_rows(nothing, usable, np.nan),
            labels=np.full(len(usable), -1),
            latent=_rows(nothing, usable, np.nan),
            loss=np.empty(0, np.float32),
            label_change=np.empty(0, np.float32),
            iterations=0,
            stop_reason=StopReason.PRETRAINING_DIVERGED,
            **found,
        )

    labels, centers = _groups.kmeans(latent, k, seed=seed)
    trained = cluster(
        graphdef,
        pretrained.params,
        jnp.asarray(centers, jnp.float32),
        jnp.asarray(pad(labels, size), jnp.int32),
        x,
        weight,
        jax.random.fold_in(key, _CLUSTER),
        tolerance=tolerance,
        update_interval=update_interval,
        max_iterations=max_iterations,
        **descent,
    )
    q = np.asarray(trained.q)[: len(features)]
    latent = np.asarray(encode_jit(graphdef, trained.params, x))[: len(features)]
    updates = int(np.sum(np.isfinite(trained.change)))
    return ThesisGroups(
        q=_rows(q, usable, np.nan),
        labels=_rows(np.argmax(q, axis=1), usable, -1),
        latent=_rows(latent, usable, np.nan),
        loss=np.asarray(trained.loss)[:updates],
        label_change=np.asarray(trained.change)[:updates],
        iterations=int(trained.iterations),
        stop_reason=stop_reason(trained, weight),
        **found,
    )


def _rows(values, usable, missing):
    """Spread the values of the usable stars over all rows."""
    full = np.full((len(usable), *values.shape[1:]), missing, values.dtype)
    full[usable] = values
    return full


def _check_positive(**numbers):
    for name, value in numbers.items():
        if not value > 0:
            msg = f"{name!r} must be positive, not {value!r}"
            raise InputError(msg)
