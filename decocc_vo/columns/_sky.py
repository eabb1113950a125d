"""Directions on the sky, proper motions in the axes of another place, and how far a field's stars reach."""

import numpy as np

from ._numbers import floats

__all__ = ["AU_YR", "astrometry", "footprint_radius", "positions_of", "stray", "turns", "unit_vectors"]

AU_YR = 4.740470463
"""One au a year in km/s: what turns proper motion over parallax into velocity."""

_STRAY = 1.5  # times the radius that holds 95 %, where no field ends; 1.03 in a full circle, 1.2 at most in 62 fields


def unit_vectors(lon, lat):
    """
    Directions of positions.

    Parameters
    ----------
    lon, lat : `~numpy.ndarray`
        Longitude and latitude [rad], of one shape.

    Returns
    -------
    vectors : `~numpy.ndarray`, shape (..., 3)
    """
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def positions_of(vectors):
    """
    Positions of directions: the inverse of `unit_vectors`, of vectors of any length.

    Parameters
    ----------
    vectors : `~numpy.ndarray`, shape (..., 3)

    Returns
    -------
    lon, lat : `~numpy.ndarray`
        Longitude from 0 to 2 pi and latitude [rad].

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.columns import positions_of, unit_vectors
    >>> np.degrees(positions_of(2 * unit_vectors(np.radians(300.0), np.radians(-20.0)))).round(9)
    array([300., -20.])
    """
    x, y, z = np.moveaxis(np.asarray(vectors, float), -1, 0)
    return np.arctan2(y, x) % (2 * np.pi), np.arctan2(z, np.hypot(x, y))


def _axes(lon, lat):
    """Unit vectors to the east and to the north: shape (..., 2, 3)."""
    lon, lat = np.broadcast_arrays(lon, lat)
    east = np.stack([-np.sin(lon), np.cos(lon), np.zeros(np.shape(lon))], axis=-1)
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=-1)
    return np.stack([east, north], axis=-2)


def turns(ra, dec, centre):
    """
    Rotations of proper motions from the axes at each star to those at a centre.

    East and north turn over a field, the more the nearer it is to a pole. The centre's axes are moved to the star along
    the great circle between them; opposite to the centre there is no such circle.

    Parameters
    ----------
    ra, dec : `~numpy.ndarray`, shape (n,)
        Positions [deg].
    centre : tuple of float
        Right ascension and declination of the centre [deg].

    Returns
    -------
    turns : `~numpy.ndarray`, shape (n, 2, 2)
        ``turns @ (pmra, pmdec)`` is the motion in the centre's axes.

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.columns import turns
    >>> (turns(np.array([10.0]), np.array([89.0]), (0.0, 89.0)) @ [1.0, 0.0]).round(2)
    array([[0.98, 0.17]])
    """
    ra, dec = np.radians(ra), np.radians(dec)
    lon, lat = np.radians(centre[0]), np.radians(centre[1])
    star, middle, axes = unit_vectors(ra, dec), unit_vectors(lon, lat), _axes(lon, lat)
    along = star @ axes.T / np.maximum(1 + star @ middle, 1e-9)[:, None]
    moved = axes - along[:, :, None] * (star + middle)[:, None, :]
    return np.einsum("nij,nkj->nik", moved, _axes(ra, dec))


def astrometry(stars, centre):
    """
    Motions in the axes of a centre, and parallax.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        As `conform` gives them.
    centre : tuple of float
        Right ascension and declination of the centre [deg].

    Returns
    -------
    values : `~numpy.ndarray`, shape (n, 3)
        Motions to the east and to the north [mas/yr], and parallax [mas].
    turn : `~numpy.ndarray`, shape (n, 3, 3)
        What turned them: covariances are turned by it, too.
    """
    turn = np.tile(np.eye(3), (len(stars), 1, 1))
    turn[:, :2, :2] = turns(floats(stars["ra"]), floats(stars["dec"]), centre)
    values = np.stack([floats(stars[name]) for name in ("pmra", "pmdec", "parallax")], axis=1)
    return np.einsum("nij,nj->ni", turn, values), turn


def footprint_radius(distance):
    """
    Radius of a field: 99.9 % of the stars are nearer to the centre, but for stray ones far out.

    Parameters
    ----------
    distance : `~numpy.ndarray`, shape (n,)
        Of the stars from the centre.

    Returns
    -------
    radius : float
        In the unit of the distances.

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.columns import footprint_radius
    >>> round(footprint_radius(np.append(np.sqrt(np.linspace(0, 1, 500)), 90.0)), 2)
    1.0
    """
    inner, outer = np.quantile(distance, [0.95, 0.999])
    # Beside stray stars the others' footprint is that of a full circle.
    return float(outer if outer < _STRAY * inner else inner / np.sqrt(0.95))


def stray(distance):
    """
    Which stars are far outside the field that all others are in.

    Parameters
    ----------
    distance : `~numpy.ndarray`, shape (n,)
        Of the stars from the field's centre.

    Returns
    -------
    stray : `~numpy.ndarray` of bool, shape (n,)
        True beyond 1.5 times the `footprint_radius`.
    """
    return distance > _STRAY * footprint_radius(distance)
