"""
Nested HEALPix (Gorski et al. 2005, ApJ 622, 759): the pixel of a position, and the pixels that cover a cone.

Only what an index of stars needs; for sky coverage proper there is `mocpy`.
"""

import numpy as np

ORDER = 12
_RING = np.array([2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4])
_SECTOR = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7])
_DEEPER = 3  # orders a cone's rim is resolved below the order at which a pixel is as large as the cone


def _spread(values):
    """Put a zero bit in front of every bit of 32-bit numbers."""
    values = values.astype(np.uint64)
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        values = (values | (values << np.uint64(shift))) & np.uint64(mask)
    return values


def _gather(values):
    """Undo `_spread`."""
    values = values.astype(np.uint64) & np.uint64(0x5555555555555555)
    for shift, mask in (
        (1, 0x3333333333333333),
        (2, 0x0F0F0F0F0F0F0F0F),
        (4, 0x00FF00FF00FF00FF),
        (8, 0x0000FFFF0000FFFF),
        (16, 0x00000000FFFFFFFF),
    ):
        values = (values | (values >> np.uint64(shift))) & np.uint64(mask)
    return values.astype(np.int64)


def pixel_of(ra, dec, order=ORDER):
    """Nested pixel (int64) of positions in degrees."""
    ra, dec = np.broadcast_arrays(np.asarray(ra, float), np.asarray(dec, float))
    nside = 2**order
    z = np.sin(np.radians(dec))
    turn = np.mod(ra, 360.0) / 90.0
    # Around the equator: the lines jp (up) and jm (down) through the position.
    jp = np.floor(nside * (0.5 + turn - 0.75 * z)).astype(np.int64)
    jm = np.floor(nside * (0.5 + turn + 0.75 * z)).astype(np.int64)
    up, down = jp >> order, jm >> order
    face = np.where(up == down, up | 4, np.where(up < down, up, down + 8))
    ix, iy = jm & (nside - 1), nside - (jp & (nside - 1)) - 1
    # Around the poles; the second form of sqrt(3 (1 - |z|)) keeps its digits there.
    sector = np.minimum(turn.astype(np.int64), 3)
    along = turn - sector
    height = nside * np.cos(np.radians(dec)) / np.sqrt((1 + np.abs(z)) / 3)
    kp = np.minimum((along * height).astype(np.int64), nside - 1)
    km = np.minimum(((1 - along) * height).astype(np.int64), nside - 1)
    polar, north = np.abs(z) > 2 / 3, z > 0
    face = np.where(polar, np.where(north, sector, sector + 8), face)
    ix = np.where(polar, np.where(north, nside - km - 1, kp), ix)
    iy = np.where(polar, np.where(north, nside - kp - 1, km), iy)
    return (face << (2 * order)) + (_spread(ix) | (_spread(iy) << np.uint64(1))).astype(np.int64)


def center_of(pixel, order=ORDER):
    """Centres (ra, dec in degrees) of nested pixels."""
    pixel = np.asarray(pixel, np.int64)
    nside = 2**order
    face, inside = pixel >> (2 * order), pixel & (nside**2 - 1)
    ix, iy = _gather(inside), _gather(inside >> 1)
    ring = _RING[face] * nside - ix - iy - 1
    north, south = ring < nside, ring > 3 * nside
    along = np.where(north, ring, np.where(south, 4 * nside - ring, nside))
    cap = along**2 / (3.0 * nside**2)
    z = np.where(north, 1 - cap, np.where(south, cap - 1, (2 * nside - ring) * 2 / (3.0 * nside)))
    shift = np.where(north | south, 0, (ring - nside) & 1)
    step = np.mod((_SECTOR[face] * along + ix - iy + 1 + shift) // 2 - 1, 4 * along) + 1
    return (step - (shift + 1) / 2) * 90.0 / along, np.degrees(np.arcsin(z))


def pixel_radius(order):
    """Largest distance in degrees from a pixel's centre to a corner."""
    nside = 2**order
    longitude, z = np.pi / (4 * nside), 1 - (1 - 1 / nside) ** 2 / 3
    flat = np.array([np.sqrt(5) / 3 * np.cos(longitude), np.sqrt(5) / 3 * np.sin(longitude), 2 / 3])
    high = np.array([np.sqrt(1 - z * z), 0, z])
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(flat, high)), flat @ high))


def separation(ra, dec, center_ra, center_dec):
    """Angle in degrees between positions in degrees, by the haversine formula: exact to 1e-13 or so when small."""
    ra, dec, ra0, dec0 = (np.radians(np.asarray(x, float)) for x in (ra, dec, center_ra, center_dec))
    half = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    return np.degrees(2 * np.arctan2(np.sqrt(half), np.sqrt(np.maximum(0.0, 1 - half))))


def cover(ra, dec, radius, order=ORDER):
    """
    Ranges of pixels, together covering all of a cone and little more.

    Parameters
    ----------
    ra, dec, radius : float
        Centre and radius in degrees.
    order : int, optional
        Order of the pixels.

    Returns
    -------
    ranges : `~numpy.ndarray` of int64, shape (n, 2)
        First pixel and one past the last, in order.
    """
    if radius >= 180:
        return np.array([[0, 12 << (2 * order)]])
    finest = min(order, max(0, int(np.ceil(np.log2(58.6 / max(radius, 1e-6))))) + _DEEPER)
    found, pixels = [], np.arange(12)
    for level in range(finest + 1):
        distance, reach = separation(*center_of(pixels, level), ra, dec), pixel_radius(level) * (1 + 1e-9) + 1e-9
        pixels, distance = pixels[distance <= radius + reach], distance[distance <= radius + reach]
        whole = distance + reach <= radius if level < finest else np.ones(len(pixels), bool)
        scale = 2 * (order - level)
        found.append(np.stack([pixels[whole] << scale, (pixels[whole] + 1) << scale], axis=1))
        pixels = (4 * pixels[~whole][:, None] + np.arange(4)).ravel()
    ranges = np.concatenate(found)
    ranges = ranges[np.argsort(ranges[:, 0])]
    new = np.r_[True, ranges[1:, 0] > ranges[:-1, 1]]
    return np.stack([ranges[new, 0], ranges[np.r_[new[1:], True], 1]], axis=1)
