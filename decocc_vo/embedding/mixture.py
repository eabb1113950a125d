"""
Probability from errors: one cluster in a mixed field, every star with its own covariance.

The cluster is a Gaussian in motions and parallax with an intrinsic scatter, and a Plummer profile on the sky; the field
is a sum of Gaussians in the embedding, flat over the footprint whatever its shape. Each star's measurement covariance
is added to the components' own (extreme deconvolution: Bovy, Hogg & Roweis 2011, AnAS 5, 1657), and expectation
maximisation with priors on the intrinsic scatter finds the rest. What a field is made of depends on the errors: faint
stars are farther away, and move less. So the parts that the components have of the stars are those of stars of one
grade, from the best measured to the worst, of which a small table has fewer. Everything is a pure function of fixed
shapes; rows of weight zero are padding.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from .features import straightened
from .profile import log_plummer

__all__ = ["GRADES", "Mixture", "Prior", "Scores", "Stars", "fit_mixture", "score_stars"]

_RADII = np.geomspace(0.03, 2.0, 32).astype(np.float32)  # of the profile, in footprint radii
_MIN_VARIANCE = 1e-9
GRADES = 6
"""Parts of a table, from the best measured stars to the worst."""
_OF_ALL, _MEMBERS_OF_ALL = 20.0, 5.0  # field stars and members of each grade that are as those of all grades are
_EXCLUDED = 0.02  # kinematic probability under which a star counts as field when profiles are normalised


class Stars(NamedTuple):
    """
    Stars in the embedding: ``z`` (n, 3), ``cov`` (n, 3, 3), ``about`` (n, 3) where it is linear for each of them,
    ``xy`` (n, 2) in footprint radii, ``weight`` (n,), ``grade`` (n,) of the measurement, from 0 to `GRADES` - 1.
    """

    z: jax.Array
    cov: jax.Array
    about: jax.Array
    xy: jax.Array
    weight: jax.Array
    grade: jax.Array


class Mixture(NamedTuple):
    """
    The model's parameters.

    Cluster: ``mean`` (3,), intrinsic ``scatter`` (3, 3) in the embedding's units there, ``centre`` (2,) and Plummer
    ``radius`` on the sky, ``log_norm`` (log of the profile's mean over the field's stars), ``fraction`` (grades,) of
    the stars of each grade. Field: ``field_mean`` (k, 3), ``field_scatter`` (k, 3, 3), ``field_weight`` (grades, k).
    """

    mean: jax.Array
    scatter: jax.Array
    centre: jax.Array
    radius: jax.Array
    log_norm: jax.Array
    fraction: jax.Array
    field_mean: jax.Array
    field_scatter: jax.Array
    field_weight: jax.Array


class Prior(NamedTuple):
    """
    What is held against small numbers: the cluster's intrinsic ``scatter`` (3, 3) worth ``strength`` stars, the
    field's variance ``field_variance`` (3,) worth ``field_strength`` stars, and ``floor`` (3,): the least variance of
    a field component that sits on the cluster, so that none imitates it; and ``largest``, the largest Plummer radius
    in footprint radii.
    """

    scatter: jax.Array
    strength: jax.Array
    field_variance: jax.Array
    field_strength: jax.Array
    floor: jax.Array
    largest: jax.Array


class Scores(NamedTuple):
    """
    Per star, each (n,): ``logit`` of the membership, ``kinematic`` log ratio without position, ``log_profile`` (log of
    the cluster's surface density over the field's), ``log_field`` and ``log_field_of_all`` (log density of the field's
    stars of that grade, and of all), ``spatial_gain`` and ``gain`` (log evidence from the profile alone, and of the
    whole).
    """

    logit: jax.Array
    kinematic: jax.Array
    log_profile: jax.Array
    log_field: jax.Array
    log_field_of_all: jax.Array
    spatial_gain: jax.Array
    gain: jax.Array


class _Normal(NamedTuple):
    """Of 3-D normals: ``log_density``, ``solved`` cov^-1 (x - mean) by axis, ``inverse`` by pair, ``distance2``."""

    log_density: jax.Array
    solved: tuple
    inverse: tuple
    distance2: jax.Array


_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _normal(x, mean, cov):
    """
    Evaluate 3-D normals for stacks of covariances.

    Written out by element as an LDL decomposition: batched 3 x 3 linear algebra is slow on a CPU, and in float32 the
    adjugate formulas lose positive definiteness.
    """
    a = jnp.maximum(cov[..., 0, 0], _MIN_VARIANCE)
    l1, l2 = cov[..., 0, 1] / a, cov[..., 0, 2] / a
    d = jnp.maximum(cov[..., 1, 1] - cov[..., 0, 1] * l1, _MIN_VARIANCE)
    rest = cov[..., 1, 2] - cov[..., 0, 2] * l1
    l3 = rest / d
    f = jnp.maximum(cov[..., 2, 2] - cov[..., 0, 2] * l2 - rest * l3, _MIN_VARIANCE)
    u0 = x[..., 0] - mean[..., 0]
    u1 = x[..., 1] - mean[..., 1] - l1 * u0
    u2 = x[..., 2] - mean[..., 2] - l2 * u0 - l3 * u1
    distance2 = u0**2 / a + u1**2 / d + u2**2 / f
    log_density = -0.5 * (distance2 + jnp.log(a * d * f) + 3 * jnp.log(2 * jnp.pi))
    y2 = u2 / f
    y1 = u1 / d - l3 * y2
    y0 = u0 / a - l1 * y1 - l2 * y2
    m1, m2, m3 = -l1, l1 * l3 - l2, -l3
    inverse = (
        1 / a + m1 * m1 / d + m2 * m2 / f,
        m1 / d + m2 * m3 / f,
        m2 / f,
        1 / d + m3 * m3 / f,
        m3 / f,
        1 / f,
    )
    return _Normal(log_density, (y0, y1, y2), inverse, distance2)


def _moments(normal, share, mean, scatter):
    """
    Mean and scatter of the stars' true places, given their shares of a component: shapes (k, 3) and (k, 3, 3).

    With ``y = T^-1 (x - mean)`` the posterior mean of a star's place is ``mean + V y`` and its covariance
    ``V - V T^-1 V``, so the moments need only the sums of y, y y^T and T^-1.
    """
    count = share.sum(0)
    first = jnp.stack([(share * y).sum(0) for y in normal.solved], -1) / count[..., None]
    second = [
        (share * (normal.solved[i] * normal.solved[j] - inverse)).sum(0)
        for (i, j), inverse in zip(_PAIRS, normal.inverse, strict=True)
    ]
    rows = [[second[_PAIRS.index((min(i, j), max(i, j)))] for j in range(3)] for i in range(3)]
    second = jnp.stack([jnp.stack(row, -1) for row in rows], -2) / count[..., None, None]
    second = second - first[..., :, None] * first[..., None, :]
    new_mean = mean + jnp.einsum("...ij,...j->...i", scatter, first)
    new_scatter = scatter + jnp.einsum("...ij,...jk,...kl->...il", scatter, second, scatter)
    return new_mean, 0.5 * (new_scatter + jnp.swapaxes(new_scatter, -1, -2))


def _bent(straight, scatter, place):
    """A mean and a scatter from where the embedding is linear about a place to where it is about that mean."""
    mean = jnp.arcsinh(jnp.sinh(place) + jnp.cosh(place) * (straight - place))
    slope = jnp.cosh(place) / jnp.cosh(mean)
    return mean, scatter * slope[:, None] * slope


def _expectation(stars, model):
    # In the embedding itself a cluster whose errors are wide is bent, and no Gaussian.
    straight, cov, log_slope = straightened(stars.z, stars.cov, stars.about, model.mean, jnp)
    cluster = _normal(straight, model.mean, model.scatter + cov)
    field = _normal(stars.z[:, None], model.field_mean, model.field_scatter + stars.cov[:, None])
    profile = log_plummer(stars.xy, model.centre, model.radius, jnp) - model.log_norm
    fraction = model.fraction[stars.grade]
    log_components = field.log_density + jnp.log(model.field_weight[stars.grade]) + jnp.log1p(-fraction)[:, None]
    log_kinematic = cluster.log_density + log_slope + jnp.log(fraction)
    return cluster, field, profile, log_kinematic, log_components


def _update(stars, model, prior, warm):
    """One step of expectation maximisation; while ``warm`` the cluster's place is held and the field adapts."""
    cluster, field, profile, log_kinematic, log_components = _expectation(stars, model)
    log_field = logsumexp(log_components, axis=1)
    total = jnp.logaddexp(log_kinematic + profile, log_field)
    member = stars.weight * jnp.exp(log_kinematic + profile - total) + 1e-12
    shares = stars.weight[:, None] * jnp.exp(log_components - total[:, None])
    n_members = member.sum()

    # The cluster in the embedding.
    mean, scatter = _bent(*_moments(cluster, member, model.mean, model.scatter), model.mean)
    scatter = (n_members * scatter + prior.strength * prior.scatter) / (n_members + prior.strength)

    # The cluster on the sky: a robust centre, and the best of a grid of radii. The profile is normalised over the
    # stars that cannot be members by their motion, so that any footprint and any extinction is right.
    robust = member / (1 + jnp.sum((stars.xy - model.centre) ** 2, -1) / model.radius**2)
    centre = (robust[:, None] * stars.xy).sum(0) / robust.sum()
    centre = centre * jnp.minimum(1.0, 0.5 / (jnp.sqrt(jnp.sum(centre**2)) + 1e-9))
    excluded = stars.weight * (jax.nn.sigmoid(log_kinematic - log_field) < _EXCLUDED) + 1e-4 * (stars.weight - member)
    excluded = excluded / excluded.sum()
    profiles = log_plummer(stars.xy, centre, _RADII[:, None], jnp)
    norms = jnp.log(jnp.exp(profiles) @ excluded + 1e-12)
    allowed = jnp.maximum(prior.largest, _RADII[0]) >= _RADII
    best = jnp.argmax(jnp.where(allowed, profiles @ member - norms * member.sum(), -jnp.inf))

    # The field.
    shares = shares + 1e-9
    n_field = shares.sum(0)
    field_mean, field_scatter = _moments(field, shares, model.field_mean, model.field_scatter)
    field_scatter = n_field[:, None, None] * field_scatter + prior.field_strength * jnp.diag(prior.field_variance)
    field_scatter = field_scatter / (n_field + prior.field_strength)[:, None, None]
    variance = jnp.diagonal(field_scatter, axis1=1, axis2=2)
    near = jnp.exp(-0.5 * jnp.sum((field_mean - mean) ** 2 / (variance + prior.floor), axis=1))
    lift = jnp.maximum(prior.floor * near[:, None] - variance, 0)
    field_scatter = field_scatter + lift[:, :, None] * jnp.eye(3, dtype=lift.dtype)

    def held(new, old):
        return jnp.where(warm, old, new)

    # What either has of the stars of each grade; of few, about what it has of all.
    of_grade = (stars.grade == jnp.arange(GRADES)[:, None]).astype(shares.dtype)
    all_fraction, all_weight = n_members / stars.weight.sum(), (n_field + 1) / (n_field + 1).sum()
    all_of_grade = of_grade @ stars.weight + _MEMBERS_OF_ALL / all_fraction
    of_field = of_grade @ shares + _OF_ALL * all_weight

    return Mixture(
        mean=held(mean, model.mean),
        scatter=held(scatter, model.scatter),
        centre=held(centre, model.centre),
        radius=held(jnp.asarray(_RADII)[best], model.radius),
        log_norm=held(norms[best], model.log_norm),
        fraction=jnp.clip((of_grade @ member + _MEMBERS_OF_ALL) / all_of_grade, 1e-5, 0.95),
        field_mean=field_mean,
        field_scatter=field_scatter,
        field_weight=of_field / of_field.sum(1, keepdims=True),
    )


@jax.jit
def fit_mixture(stars, start, prior, steps, warm_steps):
    """
    Fit the mixture by expectation maximisation.

    Parameters
    ----------
    stars : Stars
        The stars; rows of weight zero do not count.
    start : Mixture
        Where to start.
    prior : Prior
        Priors of the scatters.
    steps, warm_steps : int
        Number of steps, and how many of the first hold the cluster's place while the field adapts. They are traced:
        another number does not compile anew.

    Returns
    -------
    model : Mixture
    """
    return jax.lax.fori_loop(0, steps, lambda i, model: _update(stars, model, prior, i < warm_steps), start)


@jax.jit
def score_stars(stars, model):
    """
    Score every star under a fitted model.

    Parameters
    ----------
    stars : Stars
        The stars; their weights do not matter.
    model : Mixture
        From `fit_mixture`.

    Returns
    -------
    scores : Scores
    """
    _, field, profile, log_kinematic, log_components = _expectation(stars, model)
    log_field, log_rest = logsumexp(log_components, axis=1), jnp.log1p(-model.fraction[stars.grade])
    of_all = logsumexp(field.log_density + jnp.log(model.field_weight.mean(axis=0)), axis=1)
    kinematic = log_kinematic - log_field
    logit = kinematic + profile
    spatial = jax.nn.softplus(logit) - jax.nn.softplus(kinematic)
    gain = log_rest + jax.nn.softplus(logit)
    return Scores(logit, kinematic, profile, log_field - log_rest, of_all, spatial, gain)
