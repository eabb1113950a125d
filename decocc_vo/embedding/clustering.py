"""
The clustering layer of Deep Embedded Clustering: soft assignment, target distribution and divergence.

Pure functions of `jax.Array`. Every one takes a ``weight`` a star, 1 for a star and 0 for the padding that fills
an array up to its bucket (`~decocc_vo.embedding.padding.bucket_size`), so that padding changes nothing.

References
----------
Xie, Girshick & Farhadi 2016, PMLR 48, 478, "Unsupervised Deep Embedding for Clustering Analysis".
"""

import jax
import jax.numpy as jnp

__all__ = ["kl_divergence", "label_change", "student_t_assignment", "target_distribution"]


def student_t_assignment(z, centers, alpha=1.0):
    r"""
    Soft assignment of latent positions to groups by a Student's t kernel.

    .. math:: q_{ij} = \frac{(1 + |z_i - \mu_j|^2 / \alpha)^{-(\alpha + 1) / 2}}
              {\sum_{j'} (1 + |z_i - \mu_{j'}|^2 / \alpha)^{-(\alpha + 1) / 2}}

    Parameters
    ----------
    z : `jax.Array`
        Latent positions, shape (n, latent).
    centers : `jax.Array`
        Centres of the groups, shape (groups, latent).
    alpha : float
        Degrees of freedom of the kernel.

    Returns
    -------
    q : `jax.Array`
        Shape (n, groups); every row sums to one.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from decocc_vo.embedding.clustering import student_t_assignment
    >>> student_t_assignment(jnp.array([[0.0]]), jnp.array([[0.0], [1.0]])).tolist()
    [[0.6666667, 0.3333333]]
    """
    distance2 = jnp.sum((z[:, None, :] - centers[None, :, :]) ** 2, axis=-1)
    # In logarithms: a far centre underflows to zero and not to 0/0.
    return jax.nn.softmax(-0.5 * (alpha + 1.0) * jnp.log1p(distance2 / alpha), axis=1)


def target_distribution(q, weight=None, *, exponent=1.0):
    r"""
    Target of the self-training: the assignment sharpened, and divided by how frequent each group is.

    .. math:: p_{ij} = \frac{q_{ij}^2 / f_j^\beta}{\sum_{j'} q_{ij'}^2 / f_{j'}^\beta}, \quad f_j = \sum_i w_i q_{ij}

    The frequencies are those of all stars, so ``q`` must be the whole table, never a batch.

    Parameters
    ----------
    q : `jax.Array`
        Soft assignment, shape (n, groups).
    weight : `jax.Array`, optional
        Weight of each row in the frequencies, shape (n,): 1 a star, 0 padding.
    exponent : float
        The exponent beta of the frequency: 1 is the published DEC, which pulls the groups to equal sizes; 0 does
        not look at sizes.

    Returns
    -------
    p : `jax.Array`
        Shape (n, groups); every row sums to one. No gradient flows through it.
    """
    if weight is None:
        weight = jnp.ones(q.shape[0], q.dtype)
    frequency = jnp.sum(weight[:, None] * q, axis=0)
    tiny = jnp.finfo(q.dtype).tiny
    logits = 2.0 * jnp.log(jnp.maximum(q, tiny)) - exponent * jnp.log(jnp.maximum(frequency, tiny))[None, :]
    return jax.lax.stop_gradient(jax.nn.softmax(logits, axis=1))


def kl_divergence(p, q, weight=None):
    """
    Kullback-Leibler divergence KL(P || Q), in nats, averaged over the stars.

    Parameters
    ----------
    p, q : `jax.Array`
        Target and assignment, shape (n, groups).
    weight : `jax.Array`, optional
        Weight of each row in the average, shape (n,).

    Returns
    -------
    divergence : `jax.Array`
        A scalar.
    """
    if weight is None:
        weight = jnp.ones(q.shape[0], q.dtype)
    tiny = jnp.finfo(q.dtype).tiny
    each = jnp.sum(p * (jnp.log(jnp.maximum(p, tiny)) - jnp.log(jnp.maximum(q, tiny))), axis=1)
    return jnp.sum(weight * each) / jnp.maximum(jnp.sum(weight), 1.0)


def label_change(labels, previous, weight):
    """Fraction of the stars whose label is not the previous one; rows of zero weight do not count."""
    changed = jnp.where(labels == previous, 0.0, weight)
    return jnp.sum(changed) / jnp.maximum(jnp.sum(weight), 1.0)
