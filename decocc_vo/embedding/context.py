"""What the head sees of a star: the mixture's opinion, its neighbours, its colour, and the field as a whole."""

import jax
import jax.numpy as jnp
import numpy as np

from .features import straightened
from .padding import bucket, pad, slices
from .thinning import thin_apart

__all__ = ["FEATURES", "NEAR", "context_features", "nearest_parallax", "parsec", "without_photometry"]

NEAR = -10.0
"""Logit of the mixture under which a star is not looked at again: it is too sure of those at its tails."""

FEATURES = (
    "logit",
    "kinematic",
    "log_field",
    "log_profile",
    "log_radius",
    "footprint_radius",
    "motion_distance2",
    "parallax_residual",
    "log_motion_error",
    "log_parallax_error",
    "magnitude_rank",
    "magnitude_offset",
    "inner_to_outer",
    "middle_to_outer",
    "inner_to_model",
    "outer_to_model",
    "colour_ratio",
    "colour_members",
    "colour_known",
    "neighbours",
    "log_ruwe",
    "log_separation",
    "field_members",
    "field_stars",
    "field_fraction",
    "field_radius",
    "field_doubt",
    "field_width",
    "field_gain",
    "field_certain",
    "field_parallax",
    "field_contrast",
)
"""Names of the columns of `context_features`; those that start with ``field_`` are the same for all stars."""

_PHOTOMETRIC = {
    "magnitude_rank": 0.5,
    "magnitude_offset": 0.0,
    "colour_ratio": 0.0,
    "colour_members": 0.0,
    "colour_known": 0.0,
}
"""Features that come from magnitudes and colours, and what stands for them where there are none."""

_BLOCK = 256  # stars whose kernels are summed at a time
_KERNELS = ((0.35, 0.05), (0.8, 0.12))  # mag in G and colour
# Median error of BP-RP in Gaia EDR3 by G (Riello et al. 2021, A&A 649, A3); widens the kernels.
_COLOUR_ERROR_G, _COLOUR_ERROR = (
    (13.0, 15.0, 17.0, 18.0, 19.0, 20.0, 21.0),
    (0.001, 0.004, 0.013, 0.027, 0.055, 0.12, 0.3),
)
_MOST = 12_000  # neighbours looked at
_UNUSUAL = 400.0  # times the members' median variance, 20 times their error, which few stars of Gaia have


def _kernel_sums(z, variance, others, weights):
    """Sum of Gaussian kernels of each star's own width over others: shape (n, number of weightings)."""
    size = bucket(len(others))
    others, weights = pad(others, size), pad(weights, size)
    rows = -(-len(z) // _BLOCK) * _BLOCK
    z, precision = pad(z, rows), pad(1 / variance, rows)
    blocks = [_block_sums(z[part], precision[part], others, weights) for part in slices(rows, _BLOCK)]
    return np.concatenate([np.zeros((0, weights.shape[1])), *blocks])[: len(variance)]


@jax.jit
def _block_sums(z, precision, others, weights):
    # Differences first: the terms of the expanded square would cancel in float32.
    distance2 = sum(precision[:, None, i] * (z[:, None, i] - others[None, :, i]) ** 2 for i in range(z.shape[1]))
    return jnp.exp(-0.5 * distance2) @ weights


def _log_ratio(a, b):
    return np.log(a + 0.3) - np.log(b + 0.3)


def _sample(near, n, seed):
    """How many stars each star stands for, 0 for most of a large table: near stars and others are thinned apart."""
    if n <= _MOST:
        return np.ones(n)
    others = np.setdiff1d(np.arange(n), near, assume_unique=True)
    sample, weight = thin_apart((near, others), (_MOST // 2, _MOST // 2), seed)
    stands_for = np.zeros(n)
    stands_for[sample] = weight
    return stands_for


def _colour_features(near, probability, field, mag, colour, stands_for):
    """Log ratio and log count of members against field around each star in the colour-magnitude diagram."""
    known = np.isfinite(mag) & np.isfinite(colour)
    ratio, count = np.zeros(len(near)), np.zeros(len(near))
    rows = np.flatnonzero(known[near])
    if len(rows) < 10:
        return ratio, count, np.zeros(len(near))
    weights = np.stack([probability, field], axis=1) * stands_for[:, None]
    members_all, field_all = probability[known].sum(), field[known].sum()
    sample = np.flatnonzero(known & (stands_for > 0))
    points = np.stack([mag, colour], axis=1)
    mine, own = points[near[rows]], weights[near[rows]]
    error = np.interp(mine[:, 0], _COLOUR_ERROR_G, _COLOUR_ERROR)
    for kernel in _KERNELS:
        # Both the star and its neighbours have errors.
        width = np.square(kernel) + np.stack([0 * error, 2 * error**2], axis=1)
        around = np.maximum(_kernel_sums(mine, width, points[sample], weights[sample]) - own, 0)
        ratio[rows] += 0.5 * (_log_ratio(around[:, 0], members_all) - _log_ratio(around[:, 1], field_all))
        count[rows] += 0.5 * np.log(around[:, 0] + 0.3)
    return np.clip(ratio, -4, 4), count, known[near].astype(float)


def _usual(variance, weight):
    """Variances (n, 3), those far above the members' median cut: a star that was hardly measured speaks for none."""
    median = np.quantile(variance, 0.5, axis=0, weights=weight, method="inverted_cdf")
    return np.minimum(variance, _UNUSUAL * median)


def context_features(fit, obs, seed=0):
    """
    Features of the stars that may be members, for the head.

    Parameters
    ----------
    fit : `~decocc_vo.embedding.detection.Fit`
        A fit of the mixture to all stars.
    obs : `~decocc_vo.embedding.features.Observables`
        The stars.
    seed : int
        For the thinning of the neighbours in large tables.

    Returns
    -------
    near : `~numpy.ndarray`, shape (m,)
        Rows of the stars whose logit is above `NEAR`.
    features : `~numpy.ndarray`, shape (m, number of `FEATURES`)
        Finite, float64.
    """
    scores, model, embedding = fit.scores, fit.model, fit.embedding
    near = np.flatnonzero(scores.logit > NEAR)
    radius, r = float(model.radius), np.hypot(*(embedding.sky - model.centre).T)[near]
    scatter = np.diag(model.scatter).astype(float)
    straight, cov, _ = straightened(
        embedding.z[near], embedding.z_cov[near], embedding.about[near], model.mean.astype(float)
    )
    error = np.sqrt(np.einsum("nii->ni", cov))

    # Mahalanobis distance in motion, and the parallax's residual, from scatter and errors together.
    offset, cov = straight - model.mean, cov + model.scatter
    motion2 = np.einsum("ni,ni->n", offset[:, :2], np.linalg.solve(cov[:, :2, :2], offset[:, :2, None])[..., 0])
    parallax = offset[:, 2] / np.sqrt(cov[:, 2, 2])

    stands_for = _sample(near, len(obs), seed)
    density, expected, neighbours = _neighbours(fit, near, stands_for)
    probability = fit.probability
    colour_ratio, colour_count, colour_known = _colour_features(
        near, probability, fit.free - probability, obs.mag, obs.colour, stands_for
    )
    mag = np.where(np.isfinite(obs.mag), obs.mag, np.nanmedian(obs.mag) if np.isfinite(obs.mag).any() else 0.0)
    rank = np.searchsorted(np.sort(mag), mag[near]) / len(mag) if np.ptp(mag) > 0 else np.full(len(near), 0.5)
    middle = np.average(mag, weights=probability + 1e-9)
    values = {
        "logit": scores.logit[near],
        "kinematic": scores.kinematic[near],
        "log_field": scores.log_field_of_all[near],
        "log_profile": scores.log_profile[near],
        "log_radius": np.log(r / radius + 0.05),
        "footprint_radius": r,
        "motion_distance2": np.minimum(motion2, 30),
        "parallax_residual": np.clip(parallax, -6, 6),
        "log_motion_error": np.mean(np.log(error[:, :2] / np.sqrt(scatter[:2])), axis=1),
        "log_parallax_error": np.log(error[:, 2] / np.sqrt(scatter[2])),
        "magnitude_rank": rank,
        "magnitude_offset": mag[near] - middle,
        "inner_to_outer": np.log(density[:, 0] / density[:, 2]),
        "middle_to_outer": np.log(density[:, 1] / density[:, 2]),
        "inner_to_model": np.log(density[:, 0] / expected),
        "outer_to_model": np.log(density[:, 2] / expected),
        "colour_ratio": colour_ratio,
        "colour_members": colour_count,
        "colour_known": colour_known,
        "neighbours": np.log(neighbours + 0.3),
        "log_ruwe": np.nan_to_num(np.clip(np.log(np.maximum(obs.ruwe[near], 0.1)), -0.3, 1.5)),
        "log_separation": np.log(parsec(fit) * r + 0.1),
        **_field_features(fit, error),
    }
    columns = [np.broadcast_to(values[name], len(near)) for name in FEATURES]
    features = np.nan_to_num(np.stack(columns, axis=1), nan=0.0, posinf=20.0, neginf=-20.0)
    if 2 * colour_known.sum() < len(near):
        # Among stars that have colours one without speaks against it, as it does to those who make lists. Where hardly
        # a star has one, those without are as if neither colour nor magnitude were known, which the networks know, too.
        blind = colour_known == 0
        features[blind] = without_photometry(features[blind])
    return near, features


def _neighbours(fit, near, stands_for):
    """
    Count each star's neighbours at its own resolution in the embedding.

    Density near the cluster's centre, around it, and outside, (m, 3); the density that the field's model expects, and
    the members among the neighbours, (m,).
    """
    scores, model, embedding = fit.scores, fit.model, fit.embedding
    z, probability, r = embedding.z, fit.probability, np.hypot(*(embedding.sky - model.centre).T)
    excluded, profile = scores.kinematic < -4, np.exp(scores.log_profile)
    inner = r < float(model.radius)
    outer = profile < max(0.3, float(np.quantile(profile, 0.3)))
    zones = np.stack([inner, ~inner & ~outer, outer], axis=1).astype(float)
    area = np.array([np.mean(zone[excluded]) if excluded.any() else 1.0 for zone in zones.T]) + 1e-3
    variance = np.einsum("nii->ni", embedding.z_cov[near]) + np.diag(model.scatter).astype(float)
    # A rival's stars, where there is one, are neither members nor field.
    counted = np.concatenate([zones * fit.free[:, None], probability[:, None]], axis=1) * stands_for[:, None]
    sample = np.flatnonzero(stands_for)
    sums = np.maximum(_kernel_sums(z[near], variance, z[sample], counted[sample]) - counted[near], 0)
    kernel = np.sqrt((2 * np.pi) ** 3 * np.prod(variance, axis=1))
    expected = fit.free.sum() * np.exp(scores.log_field_of_all[near]) * kernel + 0.3  # a star of the whole footprint
    return (sums[:, :3] + 0.3 * area) / area, expected, sums[:, 3]


def nearest_parallax(fit):
    """Parallax of the cluster that was fitted, in mas, not below that of any."""
    return max(float(fit.mean[2]), 0.02)


def parsec(fit):
    """Footprint radius at the cluster's distance, in pc."""
    return np.radians(fit.embedding.footprint / 60) * 1000 / nearest_parallax(fit)


def _field_features(fit, error):
    """What is the same for all stars; ``error`` (m, 3) are those of the stars that may be members."""
    scores, model, embedding = fit.scores, fit.model, fit.embedding
    probability, scatter = fit.probability, np.diag(model.scatter).astype(float)
    total, stars = probability.sum(), fit.free.sum()
    median_error = np.median(error, axis=0) if len(error) else np.ones(3)
    # Field stars in the volume of the embedding that the members fill.
    weight = probability + 1e-9
    spread = np.average(_usual(np.einsum("nii->ni", embedding.z_cov), weight), axis=0, weights=weight) + scatter
    log_density = np.average(scores.log_field_of_all, weights=weight)
    rivals = stars * np.exp(log_density) * np.sqrt((2 * np.pi) ** 3 * np.prod(spread))
    return {
        "field_members": np.log1p(total),
        "field_stars": np.log(stars),
        "field_fraction": np.log(total / stars + 1e-6),
        "field_radius": np.log(float(model.radius)),
        "field_doubt": np.sum(probability * (1 - probability)) / (total + 1),
        "field_width": np.mean(np.log(np.sqrt(scatter) / median_error)),
        "field_gain": np.log(max(float(fit.free @ scores.gain), 1.0) / (total + 1)),
        "field_certain": np.log((np.sum(probability > 0.9) + 1) / (total + 1)),
        "field_parallax": np.log(nearest_parallax(fit)),
        "field_contrast": np.log((total + 0.3) / (rivals + 0.3)),
    }


def without_photometry(features):
    """
    Take magnitudes and colours out of the context: the features of a table that has none.

    Parameters
    ----------
    features : `~numpy.ndarray`, shape (m, number of `FEATURES`)
        From `context_features`.

    Returns
    -------
    features : `~numpy.ndarray`
        A copy.
    """
    features = np.array(features)
    for name, value in _PHOTOMETRIC.items():
        features[:, FEATURES.index(name)] = value
    return features
