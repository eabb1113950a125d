"""Where simulated stars are on the sky."""

import numpy as np

from ..exceptions import InputError


def check_region(region):
    """Refuse what is not a region."""
    if not hasattr(region, "offsets"):
        msg = f"'region' must be a ClusterRegion, not {type(region).__name__}"
        raise InputError(msg)


def offset_to_sky(region, xi, eta):
    """Inverse of the tangent plane projection: degrees."""
    xi, eta = np.radians(np.asarray(xi) / 60), np.radians(np.asarray(eta) / 60)
    ra0, dec0 = region.center.ra.rad, region.center.dec.rad
    depth = np.cos(dec0) - eta * np.sin(dec0)
    ra = ra0 + np.arctan2(xi, depth)
    dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, depth))
    return np.degrees(ra) % 360, np.degrees(dec)


def positions(cluster, rng, n, inside):
    """Tangent plane offsets of n stars inside the footprint."""
    xi, eta = np.empty(0), np.empty(0)
    for _ in range(200):
        r, angle = _radii(cluster, rng, 2 * n) * cluster.radius, rng.uniform(0, 2 * np.pi, 2 * n)
        x, y = r * np.cos(angle), r * np.sin(angle) * cluster.axis_ratio
        north, east = np.cos(cluster.position_angle), np.sin(cluster.position_angle)
        x, y = cluster.xi + east * x - north * y, cluster.eta + north * x + east * y
        good = inside(x, y)
        xi, eta = np.append(xi, x[good]), np.append(eta, y[good])
        if len(xi) >= n:
            return xi[:n], eta[:n]
    msg = "'cluster' lies outside the footprint; move it with xi and eta"
    raise InputError(msg)


def _radii(cluster, rng, n):
    """Projected radii in scale radii."""
    share = rng.uniform(0, 1, n)
    if cluster.profile == "plummer":
        return np.sqrt(share / np.maximum(1 - share, 1e-3))
    grid = np.linspace(0, 5 if cluster.profile == "king" else 15, 2000)
    if cluster.profile == "king":
        density = np.maximum(1 / np.sqrt(1 + grid**2) - 1 / np.sqrt(26.0), 0) ** 2
    else:
        density = (1 + grid**2) ** -1.25
    cumulative = np.cumsum(density * grid)
    return np.interp(share, cumulative / cumulative[-1], grid)
