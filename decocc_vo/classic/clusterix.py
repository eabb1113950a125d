"""Clusterix: membership from the densities of proper motions in a cluster area and a field area."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from .. import _groups
from ..exceptions import InputError
from ._field import Field

__all__ = ["Clusterix", "density_bandwidth"]

_BANDWIDTHS = np.geomspace(0.02, 0.5, 14)  # in robust standard deviations of the proper motions
_INNER = (0.12, 0.16, 0.22, 0.3, 0.4, 0.5, 0.6, 0.7)  # trial radii of the cluster area over the region's
_GAP = 1.15  # the field area starts at this many radii of the cluster area
_LIMIT = 0.998  # stars of the fastest proper motions that do not take part: one minus this
_CELLS = 4.0  # grid cells in one bandwidth
_LARGEST_GRID = 2000
_UNIFORM = 0.05
_NOBODY = 0.01  # stars under the kernel below which F_cf is empty: more than the rounding of float32
_BANDWIDTH_STARS = 2500


@dataclass(frozen=True)
class Clusterix:
    """
    Nonparametric membership from proper motions alone, after Clusterix 2.0.

    The density of proper motions in the cluster area, ``F_cf`` (cluster and field), and that of the field area scaled
    to the same area of sky, ``F_f``, give ``P = (F_cf - F_f) / F_cf``, clipped to [0, 1]. Both are kernel densities
    with one round Gaussian kernel; a star does not count in its own ``F_cf``, so that a lone star is no cluster.
    Stars outside the cluster area have probability 0: the method says nothing about them.

    Where Clusterix asks for two areas drawn by hand and a smoothing, the rules here are: the cluster area is the
    circle about the region's centre whose excess of stars at one proper motion is the most significant; the field
    area is all of the footprint beyond 1.15 of its radius; the smoothing is that of `density_bandwidth`.

    Parameters
    ----------
    inner_radius : `~astropy.units.Quantity`, optional
        Radius of the cluster area; by default from the data.
    bandwidth : `~astropy.units.Quantity`, optional
        Standard deviation of the kernel, a proper motion; by default from the data.
    pm_limit : `~astropy.units.Quantity`, optional
        Only stars within this of the median proper motion take part; by default the 99.8 % nearest.

    Notes
    -----
    Clipping leaves the field a small positive probability where the two counts differ by chance, so means weighted
    by probability are drawn towards the field; the published results were refined by hand for that reason.

    References
    ----------
    Balaguer-Nunez et al. 2020, MNRAS 492, 5811 (Clusterix 2.0); Galadi-Enriquez, Jordi & Trullols 1998, A&A 337, 125.

    Examples
    --------
    >>> from decocc_vo import Clusterix, ClusterRegion
    >>> from decocc_vo.stars.hipparcos import query_region
    >>> region = ClusterRegion.from_name("Melotte 25")
    >>> result = Clusterix().fit(query_region(region), region)
    >>> bool(result.table["membership_prob"].max() <= 1)
    True
    """

    inner_radius: u.Quantity | None = None
    bandwidth: u.Quantity | None = None
    pm_limit: u.Quantity | None = None

    def __post_init__(self):
        for name, unit in (("inner_radius", u.arcmin), ("bandwidth", u.mas / u.yr), ("pm_limit", u.mas / u.yr)):
            self._value(name, unit)

    def _value(self, name, unit):
        """The setting ``name`` as a number in ``unit``, or None."""
        given = getattr(self, name)
        if given is None:
            return None
        try:
            value = float(u.Quantity(given).to_value(unit))
        except (TypeError, ValueError, u.UnitConversionError):
            msg = f"{name!r} must be a Quantity that converts to {unit}, not {given!r}"
            raise InputError(msg) from None
        if not value > 0 or not np.isfinite(value):
            msg = f"{name!r} must be positive, not {given!r}"
            raise InputError(msg)
        return value

    def fit(self, table, region=None, columns=None):
        """
        Compare the proper motions in the two areas.

        Parameters
        ----------
        table : `~astropy.table.Table`
            Stars.
        region : `~decocc_vo.region.ClusterRegion`, optional
            Whose centre is that of the cluster area; by default the table's own footprint.
        columns : mapping of str to str, optional
            Registry name to the name in ``table``, where they differ.

        Returns
        -------
        membership : `~decocc_vo.membership.Membership`
            With no row in its summary if no proper motion is in excess in the cluster area.

        Raises
        ------
        InputError
            If the table has fewer than 20 usable stars, or one of the areas would hold no sky or hardly a star.
        """
        field = Field.from_table(table, region, columns)
        pm = np.stack([field.pmra, field.pmdec], axis=1)
        speed = np.linalg.norm(pm - np.median(pm, axis=0), axis=1)
        limit = self._value("pm_limit", u.mas / u.yr) or float(np.quantile(speed, _LIMIT))
        part = speed <= limit
        r = np.hypot(field.xi, field.eta)
        sky = np.hypot(*_groups.footprint_grid(field.xi, field.eta))
        within = part & (r < 0.5 * field.radius)
        given = "region" if self.pm_limit is None else "pm_limit"
        bandwidth = self._value("bandwidth", u.mas / u.yr) or density_bandwidth(pm[within], given)
        inner = self._value("inner_radius", u.arcmin)
        trials = [inner] if inner is not None else [f * field.radius for f in _INNER]
        areas = [a for a in (_Areas.of(radius, r, sky, part) for radius in trials) if a is not None]
        if not areas:
            name = "inner_radius" if inner is not None else "pm_limit" if self.pm_limit is not None else "table"
            msg = (
                f"{name!r} leaves hardly a star, or no sky, in the cluster area or in the field area around it; "
                f"the region's radius is {field.radius:.4g} arcmin, and {part.sum()} stars take part"
            )
            raise InputError(msg)
        finest = _Grid.finest(pm[part])
        if self.bandwidth is None:
            bandwidth = max(bandwidth, finest)
        elif bandwidth < finest:
            msg = f"'bandwidth' must be {finest:.3g} mas/yr or more for motions up to {limit:.4g}; or lower 'pm_limit'"
            raise InputError(msg)
        grid = _Grid.over(pm[part], bandwidth)
        excess = [grid.most_significant_excess(pm, area) for area in areas]
        best = int(np.argmax(excess))
        area, evidence = areas[best], 0.5 * excess[best] ** 2
        probability = np.where(area.inner, grid.probability(pm, area), 0.0)
        found = bool(evidence >= _groups.EVIDENCE)
        said = (
            f"the largest excess of stars at one proper motion within {area.radius:.4g} arcmin is {excess[best]:.1f} "
            "standard deviations"
        )
        if found:
            sentence = f"There is a cluster: {said}."
        else:
            needed = np.sqrt(2 * _groups.EVIDENCE)
            which = "an" if self.inner_radius is None else "another"
            sentence = (
                f"There is no cluster in the proper motions: {said}, and {needed:.1f} are needed. Give {which} "
                "'inner_radius', try a region about twice the cluster's size, or the default method."
            )
        return field.membership(
            "clusterix",
            self,
            [(probability, evidence, found)],
            np.where(found & (probability >= 0.5), 0, -1),
            sentence,
            inner_radius_arcmin=area.radius,
            bandwidth_mas_yr=bandwidth,
            pm_limit_mas_yr=limit,
            area_ratio=area.ratio,
            excess=excess[best],
        )


@dataclass(frozen=True)
class _Areas:
    """The two areas: which stars are in them, and the sky of the inner one over that of the outer one."""

    radius: float
    inner: np.ndarray
    outer: np.ndarray
    ratio: float

    @classmethod
    def of(cls, radius, r, sky, part):
        """The areas of one radius, or None if one of them holds hardly anything."""
        inner, outer = part & (r <= radius), part & (r > _GAP * radius)
        sky_in, sky_out = np.mean(sky <= radius), np.mean(sky > _GAP * radius)
        if min(inner.sum(), outer.sum()) < 10 or sky_out < 0.1 or sky_in == 0:
            return None
        return cls(float(radius), inner, outer, float(sky_in / sky_out))


@dataclass(frozen=True)
class _Grid:
    """Counts of proper motions on a grid of cells a quarter of the bandwidth wide, smoothed by the kernel."""

    low: np.ndarray
    cell: float
    shape: tuple
    bandwidth: float

    @staticmethod
    def finest(pm):
        """The narrowest kernel that still spreads over the cells of a grid of these motions."""
        return float(np.ptp(pm, axis=0).max()) / (_LARGEST_GRID - 6)  # three kernels beyond on either side

    @classmethod
    def over(cls, pm, bandwidth):
        low, high = pm.min(axis=0) - 3 * bandwidth, pm.max(axis=0) + 3 * bandwidth
        cell = max(bandwidth / _CELLS, float((high - low).max()) / _LARGEST_GRID)
        return cls(low, cell, tuple(np.ceil((high - low) / cell).astype(int) + 1), bandwidth)

    def index(self, pm):
        """Cell of each proper motion; those off the grid go to the nearest one on its rim."""
        cell = np.floor((pm - self.low) / self.cell).astype(int)
        return np.clip(cell[:, 0], 0, self.shape[0] - 1), np.clip(cell[:, 1], 0, self.shape[1] - 1)

    def smooth(self, pm):
        """Stars under the kernel in each cell: the kernel has unit height, so that one star counts as one."""
        from scipy.ndimage import gaussian_filter

        counts = np.zeros(self.shape, np.float32)
        np.add.at(counts, self.index(pm), 1.0)
        width = self.bandwidth / self.cell
        return gaussian_filter(counts, width, mode="constant", truncate=4.0) / _peak(width)

    def most_significant_excess(self, pm, area):
        """Largest excess of the inner area over the scaled outer one, in standard deviations of the two counts."""
        inner, outer = self.smooth(pm[area.inner]), self.smooth(pm[area.outer])
        # Under a Gaussian kernel of unit height the variance of a count is half of it.
        return float(np.max((inner - area.ratio * outer) / np.sqrt((inner + area.ratio**2 * outer) / 2 + 1.0)))

    def probability(self, pm, area):
        """``(F_cf - F_f) / F_cf`` at the proper motion of each star, clipped to [0, 1]."""
        at = self.index(pm)
        both = self.smooth(pm[area.inner])[at] - area.inner  # a star of the inner area counts itself as one
        field = area.ratio * self.smooth(pm[area.outer])[at]
        return np.where(both > _NOBODY, np.clip(1.0 - field / np.maximum(both, _NOBODY), 0.0, 1.0), 0.0)


def _peak(width):
    """Height of `scipy.ndimage.gaussian_filter`'s kernel of this width, in two dimensions."""
    x = np.arange(-int(4.0 * width + 0.5), int(4.0 * width + 0.5) + 1)
    return 1.0 / np.sum(np.exp(-0.5 * (x / width) ** 2)) ** 2


def density_bandwidth(pm, given="pm"):
    """
    Width of the kernel under which the stars predict each other best.

    The leave-one-out likelihood of the kernel density is largest (Duin 1976, IEEE Trans. Comput. 25, 1175) over 14
    widths from 0.02 to 0.5 robust standard deviations. One star in twenty is thought of as spread evenly, for else
    a lone fast star decides. Above 2500 stars, 2500 evenly spaced rows stand for all.

    Parameters
    ----------
    pm : `~numpy.ndarray`
        Proper motions in mas/yr, shape (n, 2).
    given : str
        What the caller's argument is called, for the message.

    Returns
    -------
    bandwidth : float
        Standard deviation of the kernel in mas/yr.

    Raises
    ------
    InputError
        If there are fewer than three.
    """
    from scipy.spatial.distance import pdist, squareform

    if len(pm) < 3:
        msg = f"{given!r} leaves {len(pm)} stars in the inner half of the region, too few for a density"
        raise InputError(msg)
    if len(pm) > _BANDWIDTH_STARS:
        pm = pm[np.linspace(0, len(pm) - 1, _BANDWIDTH_STARS).astype(int)]
    low, high = np.quantile(pm, [0.25, 0.75], axis=0)
    scale = max(float(np.sqrt(np.prod(high - low)) / 1.349), 1e-6)
    d2 = squareform(pdist(pm, "sqeuclidean"))
    np.fill_diagonal(d2, np.inf)
    even = _UNIFORM / max(float(np.prod(np.ptp(pm, axis=0))), 1e-12)
    likelihood = []
    for h in _BANDWIDTHS * scale:
        density = np.exp(-0.5 * d2 / h**2).sum(axis=1) / (2 * np.pi * h**2 * (len(pm) - 1))
        likelihood.append(np.log((1 - _UNIFORM) * density + even).sum())
    return float(_BANDWIDTHS[int(np.argmax(likelihood))] * scale)
