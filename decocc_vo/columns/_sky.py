"""Directions on the sky, and proper motions in the axes of another place."""

import numpy as np

__all__ = ["turns", "unit_vectors"]


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
