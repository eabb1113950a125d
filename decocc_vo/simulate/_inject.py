"""A simulated cluster put into a field."""

import astropy.units as u
import numpy as np
from astropy.coordinates import (
    CartesianDifferential,
    Distance,
    SphericalCosLatDifferential,
    SphericalRepresentation,
)
from astropy.table import vstack

from .._checks import check_seed
from ..columns import AU_YR, conform, correlations, floats, parallax_zero_point, standard_errors, usable_rows
from ..exceptions import InputError
from ._cluster import SimulatedCluster
from ._sequence import sequence
from ._sky import check_region, offset_to_sky, positions

__all__ = ["inject_cluster"]

_NOT_LENT = {"phot_bp_mean_mag", "phot_rp_mean_mag", "radial_velocity", "radial_velocity_error"}


def inject_cluster(field, region, cluster, seed=0, inside=None):
    """
    Put a simulated cluster into a field.

    Parameters
    ----------
    field : `~astropy.table.Table`
        Stars; see `~decocc_vo.columns.conform`. Needs magnitudes.
    region : `~decocc_vo.region.ClusterRegion`
        Whose centre the cluster's offset is counted from.
    cluster : SimulatedCluster
        What to put there.
    seed : int
        Of the random draws.
    inside : callable, optional
        ``inside(ra, dec) -> bool array``: the footprint; stars drawn outside it are drawn again. Default: within the
        farthest field star.

    Returns
    -------
    stars : `~astropy.table.Table`
        The field's usable rows and the members, with the column ``is_member`` (int16), in which the members of an
        earlier call are field; identifiers of members are negative.

    Raises
    ------
    InputError
        If fewer than ten stars of the field have magnitudes, the region is somewhere else, or the cluster lies outside
        the footprint.

    Notes
    -----
    Parallaxes of members have the zero point of the field's release, as those of its stars do. Members share one space
    velocity, whose projection on each star's own tangent plane, at its own distance, is its
    proper motion; the dispersion comes on top of it.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field
    >>> region = ClusterRegion.from_text("120 -30", "20arcmin")
    >>> stars = inject_cluster(simulate_field(region, 1000), region, SimulatedCluster(80, -3.0, 2.0, 1.1, 4.0))
    >>> len(stars), int(stars["is_member"].sum())
    (1080, 80)
    """
    if not isinstance(cluster, SimulatedCluster):
        msg = f"'cluster' must be a SimulatedCluster, not {type(cluster).__name__}"
        raise InputError(msg)
    check_region(region)
    check_seed(seed)
    rng, n = np.random.default_rng(seed), cluster.n_members
    field = conform(field)
    region.check_stars(field["ra"], field["dec"])
    field, mag = _lenders(field)
    field["is_member"] = np.zeros(len(field), np.int16)
    if inside is None:
        farthest = np.nanmax(np.hypot(*region.offsets(floats(field["ra"]), floats(field["dec"]))))
        xi, eta = positions(cluster, rng, n, lambda x, y: np.hypot(x, y) < farthest)
    else:
        xi, eta = positions(cluster, rng, n, lambda x, y: inside(*offset_to_sky(region, x, y)))
    g, colour = sequence(cluster, rng, n, np.quantile(mag, [0.001, 0.999]))
    # A field star of about the same magnitude lends errors and whatever else the table has.
    order = np.argsort(mag, kind="stable")
    near = np.clip(np.searchsorted(mag[order], g) + rng.integers(-3, 4, n), 0, len(mag) - 1)
    members = field[order[near]]
    members["ra"], members["dec"] = offset_to_sky(region, xi, eta)
    motion = _measured(members, region, cluster, rng)
    _repaint(members, g, colour)
    members["pmra"], members["pmdec"] = motion[:, 0], motion[:, 1]
    members["parallax"] = motion[:, 2]
    members["parallax"] = floats(members["parallax"]) + parallax_zero_point(members)
    # Below those of the cluster that an earlier call put in.
    lowest = min(0, int(np.ma.filled(field["source_id"], 0).min())) if "source_id" in field.colnames else 0
    members["source_id"] = lowest - np.arange(1, n + 1)
    members["is_member"] = np.ones(n, np.int16)
    stars = vstack([field, members], metadata_conflicts="silent")
    stars.meta = dict(field.meta)
    return stars


def _lenders(field):
    """The usable stars of a field that have magnitudes, and these."""
    mag = floats(field["phot_g_mean_mag"]) if "phot_g_mean_mag" in field.colnames else np.full(len(field), np.nan)
    usable = np.isfinite(mag) & usable_rows(field)
    if usable.sum() < 10:
        msg = "'field' has no stars with motions and phot_g_mean_mag to take errors from"
        raise InputError(msg)
    return field[usable], mag[usable]


def _measured(members, region, cluster, rng):
    """Proper motions and parallaxes [mas/yr, mas] as measured, with the errors that were lent: shape (n, 3)."""
    n, width = len(members), np.tan(np.radians(cluster.radius / 60))
    parallax = cluster.parallax * (1 + np.clip(rng.normal(0, width, n), -0.3, 0.3))
    sigma = cluster.dispersion * cluster.parallax / AU_YR
    disturbed = np.where(rng.uniform(0, 1, n) < cluster.binaries, rng.uniform(1.5, 3, n), 1.0)
    motion = rng.normal(0, 1, (n, 2)) * (sigma * disturbed)[:, None] * (parallax / cluster.parallax)[:, None]
    noise = _noise(members, rng) * cluster.error_scale
    noise *= np.where(rng.uniform(0, 1, n) < cluster.outliers, rng.uniform(1.5, 2.5, n), 1.0)[:, None]
    motion += _projected(region, cluster, floats(members["ra"]), floats(members["dec"]), parallax)
    return np.column_stack([motion, parallax]) + noise


def _repaint(members, g, colour):
    """Magnitudes and colours of the members' own; what a lender had and a member would have otherwise is masked."""
    members["phot_g_mean_mag"] = g.astype(np.float32)
    for name in _NOT_LENT & set(members.colnames):
        members[name] = np.ma.masked_all(len(members), members[name].dtype)
    if "bp_rp" in members.colnames:
        members["bp_rp"] = np.ma.masked_array(colour.astype(np.float32), np.ma.getmaskarray(members["bp_rp"]))


def _projected(region, cluster, ra, dec, parallax):
    """Proper motions of the cluster's mean space velocity at places [deg] and parallaxes [mas]: shape (n, 2)."""
    lon, lat = offset_to_sky(region, cluster.xi, cluster.eta)
    centre = SphericalRepresentation(lon * u.deg, lat * u.deg, Distance(parallax=cluster.parallax * u.mas))
    pmra, pmdec = cluster.pmra * u.mas / u.yr, cluster.pmdec * u.mas / u.yr
    mean = SphericalCosLatDifferential(pmra, pmdec, cluster.radial_velocity * u.km / u.s)
    velocity = mean.represent_as(CartesianDifferential, base=centre)
    stars = SphericalRepresentation(ra * u.deg, dec * u.deg, Distance(parallax=parallax * u.mas))
    motion = velocity.represent_as(SphericalCosLatDifferential, base=stars)
    return np.stack(
        [m.to_value("mas/yr", u.dimensionless_angles()) for m in (motion.d_lon_coslat, motion.d_lat)], axis=1
    )


def _noise(stars, rng):
    """Draw pmra, pmdec, parallax errors from each star's covariance, published or typical for its magnitude."""
    root = np.linalg.cholesky(correlations(stars))
    return np.einsum("nij,nj->ni", root, rng.normal(0, 1, (len(stars), 3))) * standard_errors(stars)
