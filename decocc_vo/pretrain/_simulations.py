"""Simulated clusters, drawn as open clusters are, in real fields without theirs."""

from dataclasses import replace

import numpy as np

from ..columns import canonical_order, floats, parallax_zero_point, standard_errors
from ..simulate import SimulatedCluster, inject_cluster, shuffle_positions
from ._reddening import cluster_extinction

_FIELD_STARS = 80, 4_000  # a field is thinned to: small ones teach as much and cost less
_DEPTH, _PECULIAR = 0.1, (0.1, 0.8)  # share of the parallax that is one distance; of the scatter that clusters have
_IN_VIEW = 2.0  # mag: so far down the main sequence giants are few
_RADIAL_VELOCITY = 30.0  # km/s, standard deviation over clusters


def field_for_simulation(stars, rng):
    """
    Thin a field, by little or much, and deal out its positions anew, so that nothing in it clusters on the sky.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Of a field without its cluster.
    rng : `~numpy.random.Generator`
        For the draws.

    Returns
    -------
    field : `~astropy.table.Table`
        80 to 4000 of them, or all where there are fewer.
    """
    most = min(len(stars), _FIELD_STARS[1])
    kept = int(most * max(rng.uniform(0, 1), min(_FIELD_STARS[0] / most, 1)))
    stars = stars[np.sort(rng.permutation(len(stars))[:kept])]
    return shuffle_positions(stars, int(rng.integers(2**31)))


def draw_cluster(field, region, rng, *, members=None, distances=(50.0, 10_000.0), of_disc=False):
    """
    Draw a cluster that could be in a field.

    Sizes, distances (log-uniform), concentrations and ages are log-uniform or uniform over what open clusters have; its
    mean motion is that of a field star, or now and then far from all, and its reddening about that of field stars at
    its distance.

    Parameters
    ----------
    field : `~astropy.table.Table`
        Its stars, with magnitudes.
    region : `~decocc_vo.region.ClusterRegion`
        Its region.
    rng : `~numpy.random.Generator`
        For the draws.
    members : int, optional
        Stars of the cluster; default is log-uniform, from 8.
    distances : tuple of float
        Nearest and farthest [pc].
    of_disc : bool
        Whether its mean motion is that of field stars at its distance, as clusters of the disc have it, which hides it
        among them; by default it is any field star's.

    Returns
    -------
    cluster : `~decocc_vo.simulate.SimulatedCluster`
    """
    n = len(field)
    xi, eta = region.offsets(floats(field["ra"]), floats(field["dec"]))
    footprint = float(np.quantile(np.hypot(xi, eta), 0.999))
    nearest, farthest = (np.log(1000 / distance) for distance in distances)
    parallax = float(np.exp(rng.uniform(farthest, nearest)))
    # Streams of their own, so that what is drawn next does not depend on them.
    velocity, dust, evolved, disc = rng.spawn(4)
    motions = np.stack([floats(field["pmra"]), floats(field["pmdec"])], axis=1)
    motion = _motion_of_any(motions, rng)  # drawn in any case, for the same reason
    if of_disc:
        motion = _motion_at(field, motions, parallax, disc)
    # No cluster's scale radius is much above 10 pc.
    largest = np.degrees(10 * parallax / 1000) * 60
    cluster = SimulatedCluster(
        n_members=members or int(np.exp(rng.uniform(np.log(8), np.log(min(3000, n))))),
        pmra=float(motion[0]),
        pmdec=float(motion[1]),
        parallax=parallax,
        radius=float(min(np.exp(rng.uniform(np.log(0.04), np.log(0.7))) * footprint, largest)),
        xi=float(rng.uniform(-0.25, 0.25) * footprint),
        eta=float(rng.uniform(-0.25, 0.25) * footprint),
        dispersion=float(rng.uniform(0.2, 1.2)),
        profile=("plummer", "king", "powerlaw")[int(rng.integers(3))],
        axis_ratio=float(rng.uniform(0.65, 1)),
        position_angle=float(np.pi / 2 - rng.uniform(0, np.pi)),
        binaries=0.12,
        turnoff=float(rng.uniform(-2, 4)),
        giants=float(rng.uniform(0, 0.12)),
        extinction=float(np.exp(rng.uniform(np.log(0.05), np.log(2.5)))),
        error_scale=float(rng.uniform(1.0, 1.15)),
        radial_velocity=float(velocity.normal(0, _RADIAL_VELOCITY)),
    )
    return _as_seen(cluster, field, region.center.galactic.b.deg, dust, evolved)


def _as_seen(cluster, field, latitude, dust, evolved):
    """The cluster behind the field's dust, if that is known; if its turnoff is hardly in view, mostly giants."""
    extinction = cluster_extinction(field, latitude, 1000 / cluster.parallax, dust) or cluster.extinction
    modulus = 10 - 5 * np.log10(cluster.parallax) + extinction
    depth = np.nanmax(floats(field["phot_g_mean_mag"])) - modulus - cluster.turnoff
    giants = cluster.giants + np.clip(1 - depth / _IN_VIEW, 0, 1) * evolved.uniform(0.2, 0.8)
    return replace(cluster, extinction=extinction, giants=float(giants))


def _motion_of_any(motions, rng):
    """Motion of a field star, or now and then twice as far from the others."""
    motion = motions[int(rng.integers(len(motions)))]
    if rng.uniform() < 0.25:
        centre = np.median(motions, axis=0)
        motion = centre + (motion - centre) * 2
    return motion + rng.normal(0, 0.2, 2)


def _motion_at(field, motions, parallax, rng):
    """Motion that a cluster of the disc may have at a parallax: the field stars' there, with less scatter."""
    error = np.hypot(standard_errors(field)[:, 2], _DEPTH * parallax)
    weight = np.exp(-0.5 * ((floats(field["parallax"]) - parallax_zero_point(field) - parallax) / error) ** 2) / error
    known = np.isfinite(motions).all(axis=1)
    # Where no star is as near as that, it is any star's.
    motions, weight = motions[known], np.nan_to_num(weight[known]) + 1e-12
    centre = [np.quantile(motion, 0.5, weights=weight, method="inverted_cdf") for motion in motions.T]
    star = motions[rng.choice(len(motions), p=weight / weight.sum())]
    return centre + (star - centre) * rng.uniform(*_PECULIAR)


def simulated(field, region, cluster, seed):
    """
    Inject a cluster.

    Parameters
    ----------
    field, region, cluster, seed
        See `~decocc_vo.simulate.inject_cluster`.

    Returns
    -------
    stars : `~astropy.table.Table`
        In canonical order.
    truth : `~numpy.ndarray`, shape (n,)
        1 member, 0 field.
    zero_point : `~numpy.ndarray`, shape (n,)
        Of the parallaxes [mas].
    """
    stars = inject_cluster(field, region, cluster, seed)
    stars = stars[canonical_order(stars)]
    return stars, np.asarray(stars["is_member"], int), parallax_zero_point(stars)
