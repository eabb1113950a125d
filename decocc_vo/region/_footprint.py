"""The footprint of a table of stars: the smallest cone around them."""

import numpy as np
from astropy.coordinates import angular_separation

from ..columns import positions_of, stray, unit_vectors
from ..exceptions import InputError

__all__ = ["footprint"]

# Stars the radius leaves out: stray ones must not blow up the cone.
_HELD, _STRAY = 0.999, 0.01  # held at least of the others; stray at most, for else they are a field around a cluster


def footprint(lon, lat):
    """
    Centre and radius, in radians, of the smallest cone around positions in radians.

    Raises
    ------
    InputError
        If there is no finite position, all are the same, or they spread too far for one cone.
    """
    good = np.isfinite(lon) & np.isfinite(lat)
    if not good.any():
        msg = "'stars' holds no position; fill ra and dec"
        raise InputError(msg)
    lon, lat = lon[good], lat[good]
    vectors = unit_vectors(lon, lat)
    mean = vectors.mean(axis=0)
    if np.linalg.norm(mean) < 0.5:  # a cone of 60 deg, evenly filled, has 0.75
        msg = "'stars' spread over more of the sky than one cone can hold; give a center and a radius"
        raise InputError(msg)
    chord = np.linalg.norm(vectors - mean / np.linalg.norm(mean), axis=1)
    far = stray(chord)
    if np.sum(far) <= max(1, _STRAY * len(far)):
        vectors, lon, lat, chord = vectors[~far], lon[~far], lat[~far], chord[~far]
    axis = _smallest_cone(vectors[chord <= np.quantile(chord, _HELD, method="higher")])
    lon0, lat0 = positions_of(axis)
    radius = np.quantile(angular_separation(lon0, lat0, lon, lat), _HELD, method="higher")
    if radius < np.radians(1e-2 / 3600):
        msg = "'stars' all lie at one point; give a center and a radius"
        raise InputError(msg)
    return lon0, lat0, radius


def _smallest_cone(vectors, directions=360, steps=4000):
    """
    Axis of the smallest cone around unit vectors, by Badoiu and Clarkson's (2003) walk to the farthest point.

    Only the outermost star in each of some directions is kept first; none other can lie on the rim by more than a
    hundred-thousandth of the radius.
    """
    axis = vectors.mean(axis=0)
    axis /= np.linalg.norm(axis)
    east = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    east /= np.linalg.norm(east)
    angle = np.linspace(0, 2 * np.pi, directions, endpoint=False)
    rays = np.outer(np.cos(angle), east) + np.outer(np.sin(angle), np.cross(axis, east))
    outer = vectors[np.unique([np.argmax(vectors @ ray) for ray in rays])]
    for step in range(1, steps + 1):
        farthest = outer[np.argmin(outer @ axis)]
        axis = axis + (farthest - axis) / (step + 1)
        axis /= np.linalg.norm(axis)
    return axis
