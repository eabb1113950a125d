"""
ADQL as plain text: areas of the sky, columns, cuts, and the queries made of them.

Nothing here asks anybody. A query names its columns as the service spells them, and says nothing that ADQL 2.0 does
not have, so that every TAP service takes it.
"""

import re

import numpy as np

from ..exceptions import InputError

__all__ = [
    "HEALPIX_ORDER",
    "area",
    "bounding_cone",
    "box",
    "cone",
    "count",
    "healpix_ranges",
    "histogram",
    "polygon",
    "predicates",
    "quality",
    "select",
]

HEALPIX_ORDER = 12
"""Order of the nested HEALPix index that a Gaia source_id carries: ``source_id // SOURCES_PER_PIXEL``."""

SOURCES_PER_PIXEL = 2**35
LARGEST_ID = 2**63 - 1

_REGULAR = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\b[A-Za-z_]\w*|.", re.DOTALL)
_POSITION = ("ra", "dec")
NEEDED = ("source_id", "ra", "dec", "pmra", "pmdec", "parallax")


def identifier(name):
    """
    Write a column's name, in quotes where ADQL asks for them.

    Examples
    --------
    >>> from decocc_vo.stars.adql import identifier
    >>> identifier("pmra"), identifier("BP-RP")
    ('pmra', '"BP-RP"')
    """
    return name if _REGULAR.match(name) else '"' + name.replace('"', '""') + '"'


def _number(value, argument):
    value = float(value)
    if not np.isfinite(value):
        msg = f"'{argument}' must be a finite number of degrees"
        raise InputError(msg)
    return repr(value)


def _point(names):
    return f"POINT('ICRS', {identifier(names[0])}, {identifier(names[1])})"


def cone(ra, dec, radius, names=_POSITION):
    """
    The predicate of a cone.

    Parameters
    ----------
    ra, dec, radius : float
        Centre (ICRS) and radius in degrees.
    names : tuple of str, optional
        How the service spells right ascension and declination.

    Examples
    --------
    >>> from decocc_vo.stars.adql import cone
    >>> cone(56.6, 24.1, 2)
    "1 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 56.6, 24.1, 2.0))"
    """
    if not 0 < float(radius) <= 180:
        msg = "'radius' must lie between 0 and 180 deg"
        raise InputError(msg)
    circle = ", ".join([_number(ra, "ra"), _number(dec, "dec"), _number(radius, "radius")])
    return f"1 = CONTAINS({_point(names)}, CIRCLE('ICRS', {circle}))"


def polygon(ra, dec, names=_POSITION):
    """
    The predicate of a polygon whose edges are great circles.

    Parameters
    ----------
    ra, dec : array_like
        Corners (ICRS) in degrees, three or more, in order.
    names : tuple of str, optional
        How the service spells right ascension and declination.
    """
    corners = list(zip(np.atleast_1d(ra), np.atleast_1d(dec), strict=True))
    if len(corners) < 3:
        msg = "'region' must have three corners or more to be a polygon"
        raise InputError(msg)
    text = ", ".join(_number(value, "vertices") for corner in corners for value in corner)
    return f"1 = CONTAINS({_point(names)}, POLYGON('ICRS', {text}))"


def box(center, width, height, angle=None, names=_POSITION):
    """
    The predicate of a box: the polygon of its four corners, since ADQL's own BOX is on its way out.

    Parameters
    ----------
    center : `~astropy.coordinates.SkyCoord`
    width, height : `~astropy.units.Quantity`
        Full sizes, seen from the centre, along longitude and latitude.
    angle : `~astropy.units.Quantity`, optional
        Rotation, from north to east.
    names : tuple of str, optional
        How the service spells right ascension and declination.
    """
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    half_width, half_height = width.to_value(u.deg) / 2, height.to_value(u.deg) / 2
    if not (0 < half_width < 90 and 0 < half_height < 90):
        msg = "'region' must be a box less than 180 deg wide and high"
        raise InputError(msg)
    frame = center.icrs.skyoffset_frame(rotation=0 * u.deg if angle is None else angle)
    corners = SkyCoord(
        np.array([-1, 1, 1, -1]) * half_width * u.deg, np.array([-1, -1, 1, 1]) * half_height * u.deg, frame=frame
    ).icrs
    return polygon(corners.ra.deg, corners.dec.deg, names)


def healpix_ranges(ranges, source_id="source_id", order=HEALPIX_ORDER):
    """
    The predicate of ranges of nested HEALPix pixels, which a Gaia source_id carries.

    A source_id was given once and for all from an early position: of Gaia's stars between 1 and 9 in 1000 have it
    from the pixel next to the one they are in.

    Parameters
    ----------
    ranges : array_like, shape (n, 2)
        First pixel and one past the last of each range.
    source_id : str, optional
        How the service spells the identifier.
    order : int, optional
        Order of the pixels, 0 to 12.

    Examples
    --------
    >>> from decocc_vo.stars.adql import healpix_ranges
    >>> healpix_ranges([[10, 12]])
    '(source_id BETWEEN 343597383680 AND 412316860415)'
    """
    ranges = np.asarray(ranges, dtype=object).reshape(-1, 2)
    if not len(ranges):
        msg = "'region' covers no HEALPix pixel"
        raise InputError(msg)
    size = SOURCES_PER_PIXEL * 4 ** (HEALPIX_ORDER - order)
    return "(" + " OR ".join(between(int(a) * size, int(b) * size - 1, source_id) for a, b in ranges) + ")"


def between(first, last, source_id="source_id"):
    """The predicate of identifiers from ``first`` to ``last``, both included."""
    return f"{identifier(source_id)} BETWEEN {int(first)} AND {int(last)}"


def _moc(region, source_id):
    if region.max_order > HEALPIX_ORDER:
        msg = f"'region' is a MOC finer than order {HEALPIX_ORDER}; use region.degrade_to_order({HEALPIX_ORDER})"
        raise InputError(msg)
    ranges = np.asarray(region.to_depth29_ranges, dtype=np.uint64) >> np.uint64(2 * (29 - HEALPIX_ORDER))
    return healpix_ranges(ranges, source_id)


def area(region, service=None):
    """
    The predicate of an area of the sky.

    Parameters
    ----------
    region : `~decocc_vo.ClusterRegion`, `regions.SkyRegion` or `mocpy.MOC`
        A circle (with ``center`` and ``radius``), a rectangle (``center``, ``width``, ``height``, ``angle``), a
        polygon (``vertices``), or a MOC of order 12 or less, which becomes ranges of source_id.
    service : `~decocc_vo.columns.Service`, optional
        Whose spelling to use; by default the registry's names.

    Raises
    ------
    InputError
        If ``region`` is none of these, or has a size that makes no sense.
    """
    import astropy.units as u

    spell = (lambda name: name) if service is None else service.spelling
    names = spell("ra"), spell("dec")
    if hasattr(region, "to_depth29_ranges"):
        return _moc(region, spell("source_id"))
    if hasattr(region, "vertices"):
        corners = region.vertices.icrs
        return polygon(corners.ra.deg, corners.dec.deg, names)
    if hasattr(region, "center") and hasattr(region, "radius"):
        center = region.center.icrs
        return cone(center.ra.deg, center.dec.deg, region.radius.to_value(u.deg), names)
    if all(hasattr(region, name) for name in ("center", "width", "height")) and "Rectangle" in type(region).__name__:
        return box(region.center, region.width, region.height, getattr(region, "angle", None), names)
    kind = type(region).__name__
    msg = f"'region' must be a ClusterRegion, or a circle, rectangle, polygon or MOC on the sky, not {kind}"
    raise InputError(msg)


def bounding_cone(region):
    """Centre (SkyCoord) and radius in degrees of a cone around a region; the whole sky around a MOC."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    if hasattr(region, "to_depth29_ranges"):
        return SkyCoord(0 * u.deg, 0 * u.deg), 180.0
    if hasattr(region, "vertices"):
        corners = region.vertices.icrs
        center = SkyCoord(corners.cartesian.mean(), frame="icrs")
        center = SkyCoord(center.spherical.lon, center.spherical.lat)
        return center, float(center.separation(corners).max().deg)
    if hasattr(region, "radius"):
        return region.center.icrs, float(region.radius.to_value(u.deg))
    return region.center.icrs, float(np.hypot(region.width.to_value(u.deg), region.height.to_value(u.deg)) / 2)


def predicates(where):
    """
    The predicates a user adds, as a list: each is checked to stay within its parentheses.

    Raises
    ------
    InputError
        If one is empty, leaves a quote or parenthesis open, or holds ``;`` or a comment.

    Examples
    --------
    >>> from decocc_vo.stars.adql import predicates
    >>> predicates(" phot_g_mean_mag < 18 ")
    ['phot_g_mean_mag < 18']
    """
    given = [] if where is None else [where] if isinstance(where, str) else list(where)
    given = [str(text).strip() for text in given]
    for text in given:
        depth, trouble = 0, "" if text else "is empty"
        tokens = _TOKEN.findall(text)
        for token in tokens:
            depth += (token == "(") - (token == ")")
            if depth < 0 or token in {";", "'", '"'}:
                trouble = f"has a stray {token}"
                break
        code = "".join(token for token in tokens if token[0] not in "'\"")
        if "--" in code or "/*" in code:
            trouble = "holds a comment"
        if trouble or depth:
            msg = f"'where' must be one ADQL condition, such as 'ruwe < 1.4'; {text!r} {trouble or 'misses a )'}"
            raise InputError(msg)
    return given


def translate(predicate, service):
    """
    Write a predicate that uses the registry's names as the service spells them.

    Raises
    ------
    InputError
        If the service does not have a column.
    """
    words = []
    for token in _TOKEN.findall(predicate):
        spelling = service.names.get(token.lower(), token)
        if spelling is None:
            msg = f"'where' uses {token}, which {service.table} at {service.url} does not have; leave it out"
            raise InputError(msg)
        words.append(token if spelling == token else identifier(spelling))
    return "".join(words)


def quality(*, five_parameters=False, max_g=None, max_ruwe=None, min_parallax=None, min_parallax_over_error=None):
    """
    Usual cuts on quality, as predicates for ``where``.

    Parameters
    ----------
    five_parameters : bool, optional
        Only stars with parallax and proper motion.
    max_g : float, optional
        Faintest G in mag.
    max_ruwe : float, optional
        Largest renormalised unit weight error; Lindegren et al. (2021, A&A 649, A2) use 1.4.
    min_parallax : float, optional
        The parallax must be above this, in mas; the thesis's cut is 0.
    min_parallax_over_error : float, optional
        The parallax must be above this many of its errors.

    Returns
    -------
    predicates : list of str

    Examples
    --------
    >>> from decocc_vo.stars.adql import quality
    >>> quality(five_parameters=True, max_g=18)
    ['parallax IS NOT NULL', 'phot_g_mean_mag <= 18.0']
    """
    cuts = ["parallax IS NOT NULL"] if five_parameters else []
    for value, text in (
        (max_g, "phot_g_mean_mag <= {}"),
        (max_ruwe, "ruwe <= {}"),
        (min_parallax, "parallax > {}"),
        (min_parallax_over_error, "parallax > {} * parallax_error"),
    ):
        if value is not None:
            cuts.append(text.format(_number(value, "quality")))
    return cuts


def columns_of(release, service, columns=None):
    """
    Registry names to ask a service for: the wanted ones and those no method can do without.

    Raises
    ------
    InputError
        If the release or the service does not have one that was named.
    """
    there = [name for name in release.columns if service.spelling(name) is not None]
    if columns is None:
        return there
    columns = [columns] if isinstance(columns, str) else list(columns)
    missing = [name for name in columns if name not in there]
    if missing:
        msg = f"'columns' names {', '.join(missing)}, which {release.name} at {service.url} does not have"
        raise InputError(msg)
    return [name for name in there if name in NEEDED or name in columns]


def _where(conditions):
    return "".join(f"\n{'AND' if i else 'WHERE'} {text}" for i, text in enumerate(conditions))


def select(service, columns, conditions=()):
    """
    The query for rows.

    Parameters
    ----------
    service : `~decocc_vo.columns.Service`
        Which table, and how it spells the names.
    columns : iterable of str
        Registry names.
    conditions : iterable of str, optional
        Predicates in the service's spelling, joined by AND.
    """
    names = ", ".join(identifier(service.spelling(name)) for name in columns)
    return f"SELECT {names}\nFROM {service.table}{_where(conditions)}"


def count(service, conditions=()):
    """The query for the number of rows, in the column ``n``."""
    return f"SELECT COUNT(*) AS n\nFROM {service.table}{_where(conditions)}"


def histogram(service, conditions, width):
    """
    The query for the number of rows ``n`` in each range ``pixel`` of ``width`` identifiers.

    With widths of 4**k times 2**35 the ranges are HEALPix pixels; the sum over them is the count of all rows.
    """
    source_id = identifier(service.spelling("source_id"))
    inner = f"SELECT {source_id} / {int(width)} AS pixel\nFROM {service.table}{_where(conditions)}"
    return f"SELECT pixel, COUNT(*) AS n\nFROM (\n{inner}\n) AS pixels\nGROUP BY pixel"
