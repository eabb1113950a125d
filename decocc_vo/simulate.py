"""
Clusters whose members are known: simulated stars put into a field of real or simulated ones, with Gaia-like errors.

A simulated member takes its magnitude from a cluster sequence, and its errors, correlations and other columns from a
field star of the same magnitude, so that a field keeps the properties of its survey.
"""

from dataclasses import dataclass, fields
from numbers import Real

import astropy.units as u
import numpy as np
from astropy.coordinates import (
    CartesianDifferential,
    Distance,
    SphericalCosLatDifferential,
    SphericalRepresentation,
)
from astropy.table import Table, vstack

from ._checks import check_integer, check_seed
from .columns import (
    AU_YR,
    SIMULATED,
    conform,
    correlations,
    expected_errors,
    floats,
    parallax_zero_point,
    registry_names,
    standard_errors,
    usable_rows,
)
from .exceptions import InputError

__all__ = ["SimulatedCluster", "inject_cluster", "shuffle_positions", "simulate_field"]

_NOT_LENT = {"phot_bp_mean_mag", "phot_rp_mean_mag", "radial_velocity", "radial_velocity_error"}

# Main sequence of the solar neighbourhood, BP-RP against absolute G, read off Gaia's Hertzsprung-Russell diagram
# (Gaia Collaboration, Babusiaux et al. 2018, A&A 616, A10, figure 5), to 0.2 mag.
_MAIN_SEQUENCE_G = (-3.0, -1.0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5, 13.0, 15.0)
_MAIN_SEQUENCE_COLOUR = (-0.35, -0.2, -0.05, 0.1, 0.35, 0.57, 0.78, 0.97, 1.25, 1.6, 1.9, 2.15, 2.45, 2.75, 3.3, 4.4)
_GIANT_G, _GIANT_COLOUR = 0.5, 1.25  # red clump
_BRANCH_G, _BRANCH_SLOPE = (-1.5, 3.0), -0.12  # red giant branch: absolute G, and colour per magnitude about the clump
REDDENING = 0.42  # excess in BP-RP for a magnitude of extinction in G


@dataclass(frozen=True)
class SimulatedCluster:
    """
    A cluster to simulate.

    Attributes
    ----------
    n_members : int
        Stars in the table, whatever their magnitude.
    pmra, pmdec, parallax : float
        Mean motion [mas/yr] and parallax [mas], at its centre.
    radius : float
        Scale radius of the profile [arcmin].
    xi, eta : float
        Offset of its centre from the field's [arcmin].
    dispersion : float
        One-dimensional velocity dispersion [km/s].
    profile : str
        ``"plummer"``, ``"king"`` (truncated at five scale radii) or ``"powerlaw"`` (a halo of slope -2.5).
    axis_ratio, position_angle : float
        Shape on the sky; the angle of the longer axis from north towards east, in radians.
    binaries : float
        Fraction of stars whose motion is disturbed by a companion, 1.5 to 3 times the dispersion.
    turnoff : float
        Absolute G of the brightest main sequence stars.
    giants : float
        Fraction of stars that are giants, half in the red clump and half on the branch, where these are in range.
    extinction : float
        In G [mag]; the reddening of BP-RP is 0.42 times that.
    error_scale, outliers : float
        True errors over the published ones, and the fraction of stars with errors 1.5 to 2.5 times as large again.
    radial_velocity : float
        Mean radial velocity at its centre [km/s]: in a wide field it changes the proper motions.
    """

    n_members: int
    pmra: float
    pmdec: float
    parallax: float
    radius: float
    xi: float = 0.0
    eta: float = 0.0
    dispersion: float = 0.6
    profile: str = "plummer"
    axis_ratio: float = 1.0
    position_angle: float = 0.0
    binaries: float = 0.12
    turnoff: float = 0.0
    giants: float = 0.02
    extinction: float = 0.3
    error_scale: float = 1.05
    outliers: float = 0.03
    radial_velocity: float = 0.0

    def __post_init__(self):
        for item in fields(self):
            value = getattr(self, item.name)
            if item.type is not str and not (isinstance(value, Real) and np.isfinite(value)):
                msg = f"'{item.name}' must be a number, not {value!r}"
                raise InputError(msg)
        check_integer("n_members", self.n_members, 1)
        if self.parallax <= 0 or self.radius <= 0 or not 0 < self.axis_ratio <= 1:
            msg = "'parallax' and 'radius' must be positive, 'axis_ratio' between 0 and 1"
            raise InputError(msg)
        for name in ("binaries", "giants", "outliers"):
            if not 0 <= getattr(self, name) <= 1:
                msg = f"'{name}' is a fraction, from 0 to 1, not {getattr(self, name)!r}"
                raise InputError(msg)
        if self.dispersion < 0 or self.error_scale < 0:
            msg = "'dispersion' and 'error_scale' must not be negative"
            raise InputError(msg)
        if self.profile not in ("plummer", "king", "powerlaw"):
            msg = f"'profile' must be plummer, king or powerlaw, not {self.profile!r}"
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


def main_sequence_colour(absolute):
    """BP-RP of main sequence stars of an absolute G magnitude, without reddening."""
    return np.interp(absolute, _MAIN_SEQUENCE_G, _MAIN_SEQUENCE_COLOUR)


def _sequence(cluster, rng, n, limits):
    """G and BP-RP of cluster stars between magnitude limits: a luminosity function that rises to the faint end."""
    modulus = 10 - 5 * np.log10(cluster.parallax) + cluster.extinction
    faint = min(limits[1] - modulus, 14.0)
    bright = min(max(cluster.turnoff, limits[0] - modulus), faint - 0.5)
    grid = np.linspace(bright, faint, 500)
    cumulative = np.cumsum(np.exp(0.16 * (grid - bright)))
    absolute = np.interp(rng.uniform(0, cumulative[-1], n), cumulative, grid)
    colour = main_sequence_colour(absolute)
    pair = rng.uniform(0, 1, n) < 0.3  # unresolved binaries: up to 0.75 mag above the sequence, and redder
    q = rng.uniform(0, 1, n)
    absolute = absolute - np.where(pair, 0.75 * q**3, 0.0)
    colour = colour + np.where(pair, 0.06 * q, 0.0)
    evolved = rng.uniform(0, 1, n) < cluster.giants
    of_branch = rng.spawn(1)[0]  # of a stream of its own: what is drawn next does not depend on the branch
    branch = of_branch.uniform(0, 1, n) < 0.5
    red = np.where(branch, of_branch.uniform(*_BRANCH_G, n), _GIANT_G + rng.normal(0, 0.35, n))
    giant = evolved & (limits[0] < modulus + red) & (modulus + red < limits[1])
    absolute = np.where(giant, red, absolute)
    slope = np.where(branch, _BRANCH_SLOPE, 0.0)
    colour = np.where(giant, _GIANT_COLOUR + slope * (red - _GIANT_G) + rng.normal(0, 0.06, n), colour)
    noise = 0.01 + 0.02 * np.maximum(absolute + modulus - 16, 0) ** 1.5
    return absolute + modulus, colour + REDDENING * cluster.extinction + rng.normal(0, noise)


def _offset_to_sky(region, xi, eta):
    """Inverse of the tangent plane projection: degrees."""
    xi, eta = np.radians(np.asarray(xi) / 60), np.radians(np.asarray(eta) / 60)
    ra0, dec0 = region.center.ra.rad, region.center.dec.rad
    depth = np.cos(dec0) - eta * np.sin(dec0)
    ra = ra0 + np.arctan2(xi, depth)
    dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, depth))
    return np.degrees(ra) % 360, np.degrees(dec)


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
    _check_region(region)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    field = conform(field)
    region.check_stars(field["ra"], field["dec"])
    mag = floats(field["phot_g_mean_mag"]) if "phot_g_mean_mag" in field.colnames else np.full(len(field), np.nan)
    usable = np.isfinite(mag) & usable_rows(field)
    if usable.sum() < 10:
        msg = "'field' has no stars with motions and phot_g_mean_mag to take errors from"
        raise InputError(msg)
    field, mag = field[usable], mag[usable]
    field["is_member"] = np.zeros(len(field), np.int16)
    n = cluster.n_members
    if inside is None:
        farthest = np.nanmax(np.hypot(*region.offsets(floats(field["ra"]), floats(field["dec"]))))
        xi, eta = _positions(cluster, rng, n, lambda x, y: np.hypot(x, y) < farthest)
    else:
        xi, eta = _positions(cluster, rng, n, lambda x, y: inside(*_offset_to_sky(region, x, y)))
    g, colour = _sequence(cluster, rng, n, np.quantile(mag, [0.001, 0.999]))

    # A field star of about the same magnitude lends errors and whatever else the table has.
    order = np.argsort(mag, kind="stable")
    near = np.clip(np.searchsorted(mag[order], g) + rng.integers(-3, 4, n), 0, len(mag) - 1)
    members = field[order[near]]
    width = np.tan(np.radians(cluster.radius / 60))
    parallax = cluster.parallax * (1 + np.clip(rng.normal(0, width, n), -0.3, 0.3))
    sigma = cluster.dispersion * cluster.parallax / AU_YR
    disturbed = np.where(rng.uniform(0, 1, n) < cluster.binaries, rng.uniform(1.5, 3, n), 1.0)
    motion = rng.normal(0, 1, (n, 2)) * (sigma * disturbed)[:, None] * (parallax / cluster.parallax)[:, None]
    noise = _noise(members, rng) * cluster.error_scale
    noise *= np.where(rng.uniform(0, 1, n) < cluster.outliers, rng.uniform(1.5, 2.5, n), 1.0)[:, None]
    members["ra"], members["dec"] = _offset_to_sky(region, xi, eta)
    motion += _projected(region, cluster, floats(members["ra"]), floats(members["dec"]), parallax)
    members["pmra"] = motion[:, 0] + noise[:, 0]
    members["pmdec"] = motion[:, 1] + noise[:, 1]
    members["parallax"] = parallax + noise[:, 2]
    members["phot_g_mean_mag"] = g.astype(np.float32)
    # What the field star lent and the member would have otherwise.
    for name in _NOT_LENT & set(members.colnames):
        members[name] = np.ma.masked_all(n, members[name].dtype)
    if "bp_rp" in members.colnames:
        members["bp_rp"] = np.ma.masked_array(colour.astype(np.float32), np.ma.getmaskarray(members["bp_rp"]))
    members["parallax"] = floats(members["parallax"]) + parallax_zero_point(members)
    # Below those of the cluster that an earlier call put in.
    lowest = min(0, int(np.ma.filled(field["source_id"], 0).min())) if "source_id" in field.colnames else 0
    members["source_id"] = lowest - np.arange(1, n + 1)
    members["is_member"] = np.ones(n, np.int16)
    stars = vstack([field, members], metadata_conflicts="silent")
    stars.meta = dict(field.meta)
    return stars


def _check_region(region):
    if not hasattr(region, "offsets"):
        msg = f"'region' must be a ClusterRegion, not {type(region).__name__}"
        raise InputError(msg)


def _projected(region, cluster, ra, dec, parallax):
    """Proper motions of the cluster's mean space velocity at places [deg] and parallaxes [mas]: shape (n, 2)."""
    lon, lat = _offset_to_sky(region, cluster.xi, cluster.eta)
    centre = SphericalRepresentation(lon * u.deg, lat * u.deg, Distance(parallax=cluster.parallax * u.mas))
    pmra, pmdec = cluster.pmra * u.mas / u.yr, cluster.pmdec * u.mas / u.yr
    mean = SphericalCosLatDifferential(pmra, pmdec, cluster.radial_velocity * u.km / u.s)
    velocity = mean.represent_as(CartesianDifferential, base=centre)
    stars = SphericalRepresentation(ra * u.deg, dec * u.deg, Distance(parallax=parallax * u.mas))
    motion = velocity.represent_as(SphericalCosLatDifferential, base=stars)
    return np.stack(
        [m.to_value("mas/yr", u.dimensionless_angles()) for m in (motion.d_lon_coslat, motion.d_lat)], axis=1
    )


def _positions(cluster, rng, n, inside):
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


def _noise(stars, rng):
    """Draw pmra, pmdec, parallax errors from each star's covariance, published or typical for its magnitude."""
    root = np.linalg.cholesky(correlations(stars))
    return np.einsum("nij,nj->ni", root, rng.normal(0, 1, (len(stars), 3))) * standard_errors(stars)


def shuffle_positions(stars, seed=0):
    """
    Deal the positions of stars out to other stars: the footprint stays, and no cluster can remain on the sky.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        With ra and dec.
    seed : int
        Of the permutation.

    Returns
    -------
    shuffled : `~astropy.table.Table`

    Raises
    ------
    InputError
        If there are no positions.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.simulate import shuffle_positions, simulate_field
    >>> stars = simulate_field(ClusterRegion.from_text("120 -30", "20arcmin"), 100)
    >>> shuffled = shuffle_positions(stars, seed=1)
    >>> sorted(shuffled["ra"]) == sorted(stars["ra"]), list(shuffled["ra"]) == list(stars["ra"])
    (True, False)
    """
    shuffled = Table(stars, copy=True)
    check_seed(seed)
    order, names = np.random.default_rng(seed).permutation(len(stars)), registry_names(stars)
    if not {"ra", "dec"} <= set(names):
        msg = "'stars' must have ra and dec; rename the columns that are meant"
        raise InputError(msg)
    for name in (names["ra"], names["dec"]):
        shuffled[name] = stars[name][order]
    return shuffled


def simulate_field(region, n_stars, seed=0, limits=(8.0, 18.0)):
    """
    Simulate a field without a cluster: a disc population seen from the Sun.

    Distances are those of a disc seen to a magnitude limit, about 1.3 kpc at G = 15 and more for fainter stars; motions
    scatter by 35 km/s around a mean that is drawn for the field; positions are uniform on the region's tangent plane.

    Parameters
    ----------
    region : `~decocc_vo.region.ClusterRegion`
        Where.
    n_stars : int
        How many.
    seed : int
        Of the random draws.
    limits : tuple of float
        Bright and faint magnitude limit in G.

    Returns
    -------
    stars : `~astropy.table.Table`
        With positions, motions, parallaxes, their errors, G and BP-RP.

    Raises
    ------
    InputError
        If the first of the limits is not the bright one, or there are no stars.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> from decocc_vo.simulate import simulate_field
    >>> stars = simulate_field(ClusterRegion.from_text("120 -30", "20arcmin"), 1000, limits=(10.0, 16.0))
    >>> len(stars), bool(stars["phot_g_mean_mag"].max() <= 16)
    (1000, True)
    """
    _check_region(region)
    try:
        bright, faint = map(float, limits)
    except (TypeError, ValueError):
        bright = faint = np.nan
    if not bright < faint:
        msg = f"'limits' must be a bright and a faint magnitude, not {limits!r}"
        raise InputError(msg)
    check_integer("n_stars", n_stars, 1)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    radius = 60 * np.degrees(np.tan(region.radius.to_value("rad"))) * np.sqrt(rng.uniform(0, 1, n_stars))
    angle = rng.uniform(0, 2 * np.pi, n_stars)
    ra, dec = _offset_to_sky(region, radius * np.cos(angle), radius * np.sin(angle))
    g = faint + np.log(rng.uniform(np.exp(0.6 * (bright - faint)), 1, n_stars)) / 0.6
    distance = np.clip(rng.gamma(3.0, 0.45, n_stars) * 10 ** (0.12 * (g - 15)), 0.05, 15)
    drift = rng.normal(0, 15, 2)
    motion = (drift + rng.normal(0, 35, (n_stars, 2))) / distance[:, None] / AU_YR
    error = expected_errors(g)
    noise = rng.normal(0, error)
    stars = Table(
        {
            "source_id": np.arange(1, n_stars + 1),
            "ra": ra,
            "dec": dec,
            "parallax": 1 / distance + noise[:, 2],
            "parallax_error": error[:, 2],
            "pmra": motion[:, 0] + noise[:, 0],
            "pmra_error": error[:, 0],
            "pmdec": motion[:, 1] + noise[:, 1],
            "pmdec_error": error[:, 1],
            "phot_g_mean_mag": g,
            "bp_rp": rng.gamma(6.0, 0.18, n_stars) + 0.2,
        },
        meta={"release": SIMULATED},
    )
    return conform(stars)
