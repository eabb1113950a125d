"""Where a cluster is: a cone on the sky, from a name, a position, a table of stars or a catalogue's row."""

import logging
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord, angular_separation

from ..columns import degrees, floats, positions_of, registry_names, unit_vectors
from ..config import conf
from ..exceptions import InputError
from ._footprint import footprint
from ._names import advice, find_offline, find_online
from ._text import parse_position, parse_radius

__all__ = ["DEFAULT_RADIUS", "ClusterRegion"]

log = logging.getLogger(__name__)

DEFAULT_RADIUS = 0.5 * u.deg
"""Radius of a cone around a name whose catalogue states no size."""

# A cone is 1.5 times the catalogued radius, so that the field around the cluster is seen, too (the thesis's recipe).
_MARGIN = 1.5
# But not less than this: for 5 of 27 clusters it would hold less than half of their published members.
_SMALLEST = 15 * u.arcmin
# Beyond this the tangent plane stretches offsets by more than a factor of four along the radius.
_LARGEST = 60 * u.deg


@dataclass(frozen=True, eq=False, repr=False)
class ClusterRegion:
    """
    A cone on the sky in which a cluster is looked for.

    Parameters
    ----------
    center : `~astropy.coordinates.SkyCoord`
        Centre, one position in any frame; kept in ICRS.
    radius : `~astropy.units.Quantity` or str
        Angular radius, more than 0 and at most 60 deg, with a unit: ``1.5 * u.deg`` or ``"90arcmin"``.
    name : str, optional
        Name of the cluster.

    Raises
    ------
    InputError
        If ``center`` is not one finite position on the sky, or ``radius`` not an angle in that range.

    Examples
    --------
    >>> from decocc_vo import ClusterRegion
    >>> region = ClusterRegion.from_name("Melotte 25")
    >>> print(region)
    Melotte 25: ICRS 66.7250 +15.8667 deg, radius 4.1125 deg
    """

    center: SkyCoord
    radius: u.Quantity
    name: str | None = None

    def __post_init__(self):
        object.__setattr__(self, "center", _as_center(self.center))
        object.__setattr__(self, "radius", _as_radius(self.radius))
        if self.name is not None:
            if not isinstance(self.name, str):
                msg = f"'name' must be text, not {type(self.name).__name__}"
                raise InputError(msg)
            object.__setattr__(self, "name", self.name.strip() or None)

    @property
    def ra_deg(self):
        """Right ascension of the centre in degrees, ICRS."""
        return float(self.center.ra.deg)

    @property
    def dec_deg(self):
        """Declination of the centre in degrees, ICRS."""
        return float(self.center.dec.deg)

    @property
    def radius_deg(self):
        """Radius in degrees."""
        return float(self.radius.to_value(u.deg))

    @property
    def _key(self):
        return self.ra_deg, self.dec_deg, self.radius_deg, self.name

    def __eq__(self, other):
        return self._key == other._key if isinstance(other, ClusterRegion) else NotImplemented

    def __hash__(self):
        return hash(self._key)

    def __str__(self):
        cone = f"ICRS {self.ra_deg:.4f} {self.dec_deg:+.4f} deg, radius {self.radius_deg:.4f} deg"
        return f"{self.name}: {cone}" if self.name else cone

    def __repr__(self):
        return f"<ClusterRegion {self}>"

    @classmethod
    def from_name(cls, name, radius=None, online=None):
        """
        Cone around a cluster's name.

        The name is looked up in OpenNGC, which comes with the install (NGC, IC, Messier, Caldwell, Melotte,
        Collinder, MWSC numbers and common names; any case and spacing), then at CDS Sesame.

        Parameters
        ----------
        name : str
            A name of the cluster: ``"M 44"``, ``"NGC2632"``, ``"Praesepe"``.
        radius : `~astropy.units.Quantity` or str, optional
            Radius of the cone. By default 1.5 times the catalogued radius, which often is that of the core alone, and
            15 arcmin at least; `DEFAULT_RADIUS` where the catalogue states none (Sesame never does), which is logged.
        online : bool, optional
            Whether Sesame may be asked; by default as ``conf.resolve_names_online`` says.

        Returns
        -------
        `ClusterRegion`
            The cone, with ``name`` as given.

        Raises
        ------
        InputError
            If no catalogue asked knows the name; the message suggests similar ones.
        ServiceError
            If Sesame does not answer.
        """
        if not isinstance(name, str) or not name.strip():
            msg = "'name' must be the name of a cluster, such as 'NGC 2632'"
            raise InputError(msg)
        name = " ".join(name.split())
        if radius is not None:
            radius = _as_radius(radius)
        found = find_offline(name)
        if found is None and (conf.resolve_names_online if online is None else online):
            found = find_online(name)
        if found is None:
            msg = f"'name' {name!r} is not known; {advice(name)}"
            raise InputError(msg)
        if radius is None:
            if found.diameter_arcmin:
                radius = _around(found.diameter_arcmin * u.arcmin)
            else:
                radius = DEFAULT_RADIUS
                log.warning("%s states no size for %s; the radius is %s", found.catalogue, name, radius)
        if not found.is_cluster:
            log.warning("%s lists %s as %s, not as a cluster", found.catalogue, name, found.kind)
        return cls(SkyCoord(found.ra, found.dec, unit="deg"), radius, name)

    @classmethod
    def from_text(cls, center, radius, name=None):
        """
        Cone from a position and a radius written as text.

        Parameters
        ----------
        center : str
            Right ascension and declination, ICRS: decimal degrees (``"66.725 15.867"``), or sexagesimal with hours
            first (``"04 26 54 +15 52"``, ``"04:26:54 +15:52:00"``, ``"4h26m54s +15d52m"``).
        radius : str or `~astropy.units.Quantity`
            Angle with its unit: ``"60arcmin"``, ``"1.5 deg"``.
        name : str, optional
            Name of the cluster.

        Raises
        ------
        InputError
            If either cannot be read.

        Examples
        --------
        >>> from decocc_vo import ClusterRegion
        >>> print(ClusterRegion.from_text("04 26 54 +15 52", "90arcmin"))
        ICRS 66.7250 +15.8667 deg, radius 1.5000 deg
        """
        return cls(parse_position(center), radius, name)

    @classmethod
    def from_table(cls, stars, name=None):
        """
        Cone that holds a table's stars: its footprint.

        The centre is that of the smallest circle around the stars, so a cluster, or a denser side, does not pull it;
        the radius reaches 99.9 % of the stars (all of them where there are fewer than a thousand), but for stray ones:
        a hundredth at most that are far outside the field of all others.

        Parameters
        ----------
        stars : `~astropy.table.Table`
            Stars with ``ra`` and ``dec`` (degrees where they have no unit), or spelt as `decocc_vo.columns.conform`
            knows them.
        name : str, optional
            Name of the cluster.

        Raises
        ------
        InputError
            If no position is there, all are the same, or they span more than a cone of 60 deg.
        """
        if not hasattr(stars, "colnames"):
            msg = f"'stars' must be an astropy Table, not {type(stars).__name__}"
            raise InputError(msg)
        names = registry_names(stars)
        missing = " and ".join(column for column in ("ra", "dec") if column not in names)
        if missing:
            msg = f"'stars' has no column {missing}; rename the one that is meant"
            raise InputError(msg)
        lon, lat = (np.radians(degrees(stars[names[column]])) for column in ("ra", "dec"))
        lon, lat, radius = footprint(lon, lat)
        # A milliarcsecond more, so that rounding leaves no star of the rim outside.
        radius = np.degrees(radius) * u.deg + 1 * u.mas
        return cls(SkyCoord(lon, lat, unit="rad"), radius, name)

    @classmethod
    def from_openclust(cls, row):
        """
        Cone around a row of an open cluster catalogue: 1.5 times the catalogued radius, 15 arcmin at least.

        Parameters
        ----------
        row : `~astropy.table.Row` or mapping
            With ``RA``, ``Dec`` (degrees where they have no unit, or sexagesimal text with hours first), ``Diam``
            (apparent diameter, in arcmin where it has no unit; `DEFAULT_RADIUS` is taken where it is missing) and, if
            there, ``Cluster`` or ``Name``; any case.

        Raises
        ------
        InputError
            If the row lacks a position.
        """
        keys = {str(key).lower(): key for key in getattr(row, "colnames", None) or row}

        def get(*names):
            key = next((keys[n] for n in names if n in keys), None)
            value = None if key is None else row[key]
            if value is None or np.ma.is_masked(value):
                return None
            unit = getattr(getattr(row, "columns", {}).get(key), "unit", None)
            return value if unit is None or isinstance(value, str | u.Quantity) else u.Quantity(value, unit)

        ra, dec, diameter = get("ra"), get("dec"), get("diam")
        if ra is None or dec is None:
            msg = "'row' must have RA and Dec"
            raise InputError(msg)
        name = get("cluster", "name")
        name = None if name is None else str(name)
        if diameter is not None and not isinstance(diameter, u.Quantity):
            diameter = _as_arcmin(diameter)
        if diameter is not None and not diameter.unit.is_equivalent(u.deg):
            msg = f"'row' has a diameter in {diameter.unit}, which is no angle"
            raise InputError(msg)
        if diameter is not None and diameter > 0:
            radius = _around(diameter)
        else:
            radius = DEFAULT_RADIUS
            log.warning("the catalogue states no diameter for %s; the radius is %s", name, radius)
        return cls(parse_position(f"{_plain(ra)}, {_plain(dec)}"), radius, name)

    def offsets(self, ra_deg, dec_deg):
        """
        Project positions on the tangent plane (gnomonic projection): their offsets from the centre.

        Parameters
        ----------
        ra_deg, dec_deg : array-like
            ICRS positions in degrees.

        Returns
        -------
        xi : `~numpy.ndarray` of float64
            Offsets towards east in arcmin; NaN where a position is missing or 90 deg or more away.
        eta : `~numpy.ndarray` of float64
            Offsets towards north, likewise.
        """
        ra, dec = np.radians(degrees(ra_deg)), np.radians(degrees(dec_deg))
        ra0, dec0 = np.radians(self.ra_deg), np.radians(self.dec_deg)
        # Half-angle forms keep their digits near the centre.
        bend = 2 * np.cos(dec) * np.sin((ra - ra0) / 2) ** 2
        depth = np.cos(dec - dec0) - np.cos(dec0) * bend
        depth = np.where(depth > 1e-12, depth, np.nan)
        scale = np.degrees(1) * 60 / depth
        return scale * np.cos(dec) * np.sin(ra - ra0), scale * (np.sin(dec - dec0) + np.sin(dec0) * bend)

    def contains(self, ra_deg, dec_deg):
        """
        Tell which positions lie in the cone, by their true angular separation from the centre.

        Parameters
        ----------
        ra_deg, dec_deg : array-like
            ICRS positions in degrees.

        Returns
        -------
        `~numpy.ndarray` of bool
            False where a position is missing, too.
        """
        ra, dec = np.radians(degrees(ra_deg)), np.radians(degrees(dec_deg))
        separation = angular_separation(np.radians(self.ra_deg), np.radians(self.dec_deg), ra, dec)
        return np.degrees(separation) <= self.radius_deg

    def check_stars(self, ra_deg, dec_deg):
        """
        Refuse stars that are somewhere else: no circle around them all reaches the region.

        Parameters
        ----------
        ra_deg, dec_deg : array-like
            ICRS positions in degrees.

        Raises
        ------
        InputError
            If there is a position, and the region is away from all of them.
        """
        ra, dec = np.radians(degrees(ra_deg)), np.radians(degrees(dec_deg))
        known = np.isfinite(ra) & np.isfinite(dec)
        if not known.any():
            return
        ra, dec = ra[known], dec[known]
        middle = positions_of(unit_vectors(ra, dec).mean(axis=0))
        reach = np.degrees(np.max(angular_separation(*middle, ra, dec)))
        away = np.degrees(angular_separation(np.radians(self.ra_deg), np.radians(self.dec_deg), *middle))
        if away > reach + self.radius_deg:
            middle = SkyCoord(*middle, unit="rad")
            msg = (
                f"'region' ({self}) is not where the stars are: they lie within {reach:.3g} deg of RA "
                f"{middle.ra.deg % 360:.4f}, Dec {middle.dec.deg:.4f} deg; give the region of these stars, or none"
            )
            raise InputError(msg)


def _as_arcmin(diameter):
    """A catalogue's diameter that says no unit of its own, or says it in text; None where there is none."""
    text = str(diameter).strip()
    try:
        return float(text) * u.arcmin if text.strip("-") else None
    except ValueError:
        pass
    try:
        return parse_radius(text)
    except InputError:
        msg = f"'row' has a diameter {text!r}, which is neither a number nor an angle"
        raise InputError(msg) from None


def _around(diameter):
    """Radius of the cone around a cluster of a catalogued diameter."""
    return max((_MARGIN * diameter / 2).to(u.arcmin), _SMALLEST)


def _plain(value):
    """A catalogue's entry as text: sexagesimal as it is, a number or an angle in degrees."""
    return value if isinstance(value, str) else repr(float(degrees(value)))


def _as_center(center):
    if not isinstance(center, SkyCoord):
        msg = "'center' must be a SkyCoord; for text use ClusterRegion.from_text('RA DEC', radius)"
        raise InputError(msg)
    if not center.isscalar:
        msg = f"'center' must be one position, not an array of {center.size}"
        raise InputError(msg)
    try:
        center = center.icrs
    except Exception as err:
        msg = f"'center' cannot be turned into ICRS: {err}"
        raise InputError(msg) from None
    ra, dec = floats(center.ra.deg), floats(center.dec.deg)
    if not (np.isfinite(ra) and np.isfinite(dec)):
        msg = "'center' must be finite, and its RA or Dec is not"
        raise InputError(msg)
    return SkyCoord(float(ra), float(dec), unit="deg")  # the direction alone: no distance, no motion


def _as_radius(radius):
    if isinstance(radius, str):
        radius = parse_radius(radius.strip())
    if not isinstance(radius, u.Quantity) or radius.unit == u.dimensionless_unscaled:
        msg = f"'radius' needs a unit: 60arcmin, 1.5deg (got {radius!s})"
        raise InputError(msg)
    if not radius.isscalar:
        msg = f"'radius' must be one angle, not an array of {radius.size}"
        raise InputError(msg)
    if not radius.unit.is_equivalent(u.deg):
        msg = f"'radius' must be an angle, and {radius.unit} is none; use deg, arcmin or arcsec"
        raise InputError(msg)
    if not 0 < radius.to_value(u.deg) <= _LARGEST.value:
        msg = f"'radius' must be more than 0 and at most {_LARGEST} (the tangent plane's reach), not {radius}"
        raise InputError(msg)
    return u.Quantity(radius, dtype=float, copy=True, subok=False)
