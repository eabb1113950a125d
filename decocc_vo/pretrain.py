"""
Training the head: simulated clusters in real fields without theirs, and published members where they are at hand.

    python -m decocc_vo.pretrain FIELDS WEIGHTS.safetensors [--simulations N] [--seed N] [--folds DIR]
"""

import numpy as np

from .columns import canonical_order, floats
from .embedding.candidates import find_peaks
from .embedding.context import context_features
from .embedding.detection import Embedding, evidence, fit_peak, refine, straighten
from .embedding.features import observables, parallax_zero_point
from .membership import parallax_zero_point_rule
from .simulate import SimulatedCluster, inject_cluster, shuffle_positions

__all__ = ["draw_cluster", "example", "field_for_simulation", "solve"]

_FIELD_STARS = 4_000  # a larger field is thinned: small ones teach as much and cost less
_LOST = 0.3  # a simulation of which the mixture finds less (F1) teaches nothing


def field_for_simulation(stars, rng):
    """Thin a field and deal out its positions anew, so that nothing in it clusters on the sky."""
    n = len(stars)
    if n > _FIELD_STARS:
        stars = stars[np.sort(rng.permutation(n)[: int(rng.uniform(0.3, 1) * _FIELD_STARS)])]
    return shuffle_positions(stars, int(rng.integers(2**31)))


def draw_cluster(field, region, rng):
    """
    Draw a cluster that could be in a field.

    Sizes, distances, concentrations, ages and reddenings are log-uniform or uniform over what open clusters have; its
    mean motion is that of a field star, or now and then far from all.
    """
    n = len(field)
    xi, eta = region.offsets(floats(field["ra"]), floats(field["dec"]))
    footprint = float(np.quantile(np.hypot(xi, eta), 0.999))
    parallax = float(np.exp(rng.uniform(np.log(0.12), np.log(4.0))))
    star = field[int(rng.integers(n))]
    motion = np.array([float(star["pmra"]), float(star["pmdec"])])
    if rng.uniform() < 0.25:
        centre = np.array([np.median(floats(field["pmra"])), np.median(floats(field["pmdec"]))])
        motion = centre + (motion - centre) * 2
    motion = motion + rng.normal(0, 0.2, 2)
    # No cluster's scale radius is much above 10 pc.
    largest = np.degrees(10 * parallax / 1000) * 60
    return SimulatedCluster(
        n_members=int(np.exp(rng.uniform(np.log(8), np.log(min(900, 0.6 * n))))),
        pmra=float(motion[0]),
        pmdec=float(motion[1]),
        parallax=parallax,
        radius=float(min(np.exp(rng.uniform(np.log(0.04), np.log(0.7))) * footprint, largest)),
        xi=float(rng.uniform(-0.25, 0.25) * footprint),
        eta=float(rng.uniform(-0.25, 0.25) * footprint),
        dispersion=float(rng.uniform(0.2, 1.2)),
        profile=("plummer", "king", "powerlaw")[int(rng.integers(3))],
        axis_ratio=float(rng.uniform(0.65, 1)),
        position_angle=float(rng.uniform(0, np.pi)),
        binaries=0.12,
        turnoff=float(rng.uniform(-2, 4)),
        giants=float(rng.uniform(0, 0.12)),
        extinction=float(np.exp(rng.uniform(np.log(0.05), np.log(2.5)))),
        error_scale=float(rng.uniform(1.0, 1.15)),
    )


def solve(obs, seed=0):
    """Fit the mixture to the best candidate, as `~decocc_vo.DECOCC` does; None if there is no candidate."""
    embedding = Embedding.of(obs.x, obs.cov, obs.xy / obs.footprint, obs.footprint, seed)
    fits = [fit_peak(embedding, p.x, p.xy / obs.footprint, p.count, seed) for p in find_peaks(obs, embedding.z, seed)]
    fits = [fit for fit in fits if np.isfinite(evidence(fit))]
    return straighten(refine(max(fits, key=evidence), seed), obs, seed) if fits else None


def example(field, region, cluster, seed):
    """
    Simulate a field with a cluster, and return what the head would see of it.

    Returns
    -------
    example : dict or None
        ``X`` features and ``y`` truth of the stars near the cluster, ``near`` their rows, ``lab`` the truth and ``p`` the
        mixture's probability of all; None if the mixture does not find the cluster.
    """
    stars = inject_cluster(field, region, cluster, seed)
    stars = stars[canonical_order(stars)]
    zero_point = parallax_zero_point(stars, *parallax_zero_point_rule(stars))
    # Simulated parallaxes have no zero point of their own.
    stars["parallax"] = floats(stars["parallax"]) + np.where(stars["is_member"] == 1, zero_point, 0.0)
    obs = observables(stars, region, zero_point)
    fit = solve(obs)
    truth = np.asarray(stars["is_member"], int)
    if fit is None:
        return None
    member = fit.probability >= 0.5
    if 2 * np.sum(member & (truth == 1)) / (member.sum() + truth.sum()) < _LOST:
        return None
    near, features = context_features(fit, obs)
    return {"X": features, "y": truth[near], "near": near, "lab": truth, "p": fit.probability, "E": evidence(fit)}
