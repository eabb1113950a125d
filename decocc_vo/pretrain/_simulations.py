"""Simulated clusters, drawn as open clusters are, in real fields without theirs."""

import numpy as np

from ..columns import canonical_order, floats, parallax_zero_point
from ..simulate import SimulatedCluster, inject_cluster, shuffle_positions
from ._reddening import cluster_extinction

_FIELD_STARS = 80, 4_000  # a field is thinned to: small ones teach as much and cost less
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


def draw_cluster(field, region, rng, *, members=None, distances=(50.0, 10_000.0)):
    """
    Draw a cluster that could be in a field.

    Sizes, distances (log-uniform), concentrations and ages are log-uniform or uniform over what open clusters have; its
    mean motion is that of a field star, or now and then far from all, and its reddening about that of field stars at
    its distance.

    Parameters
    ----------
    field : `~astropy.table.Table`
        Its stars.
    region : `~decocc_vo.region.ClusterRegion`
        Its region.
    rng : `~numpy.random.Generator`
        For the draws.
    members : int, optional
        Stars of the cluster; default is log-uniform, from 8.
    distances : tuple of float
        Nearest and farthest [pc].

    Returns
    -------
    cluster : `~decocc_vo.simulate.SimulatedCluster`
    """
    n = len(field)
    xi, eta = region.offsets(floats(field["ra"]), floats(field["dec"]))
    footprint = float(np.quantile(np.hypot(xi, eta), 0.999))
    nearest, farthest = (np.log(1000 / distance) for distance in distances)
    parallax = float(np.exp(rng.uniform(farthest, nearest)))
    star = field[int(rng.integers(n))]
    motion = np.array([float(star["pmra"]), float(star["pmdec"])])
    if rng.uniform() < 0.25:
        centre = np.array([np.median(floats(field["pmra"])), np.median(floats(field["pmdec"]))])
        motion = centre + (motion - centre) * 2
    motion = motion + rng.normal(0, 0.2, 2)
    # Streams of their own, so that what is drawn next does not depend on them.
    velocity, dust, stars = rng.spawn(3)
    extinction = cluster_extinction(field, region.center.galactic.b.deg, 1000 / parallax, dust)
    turnoff = float(rng.uniform(-2, 4))
    # Of a cluster whose turnoff is hardly in view giants are what one sees.
    depth = np.nanmax(floats(field["phot_g_mean_mag"])) - extinction + 5 * np.log10(parallax) - 10 - turnoff
    giants = stars.uniform(0, 0.12) + np.clip(1 - depth / _IN_VIEW, 0, 1) * stars.uniform(0.2, 0.8)
    # No cluster's scale radius is much above 10 pc.
    largest = np.degrees(10 * parallax / 1000) * 60
    return SimulatedCluster(
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
        turnoff=turnoff,
        giants=float(giants),
        extinction=extinction,
        error_scale=float(rng.uniform(1.0, 1.15)),
        radial_velocity=float(velocity.normal(0, _RADIAL_VELOCITY)),
    )


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
