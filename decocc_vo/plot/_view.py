"""What the figures need of a result: stars, members, and the windows that show them."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Row, Table
from astropy.wcs import WCS

from ..columns import RESULTS, astrometry, conform, floats, positions_of, registry_names, stray
from ..exceptions import InputError
from ..membership import MEMBER
from ..region import check_region

# Magnitude and colour, the first pair a table has.
_PHOTOMETRY = (
    ("phot_g_mean_mag", r"$G$ [mag]", "bp_rp", r"BP $-$ RP [mag]"),
    ("hp_mag", r"$Hp$ [mag]", "b_v", r"$B - V$ [mag]"),
)
# Windows around the cluster, in the spread of its members: what is always seen, and how far they may open.
_NEAR, _FAR = 8.0, 30.0


@dataclass(frozen=True)
class View:
    """
    What the figures need of a result, with the number of further clusters in it.

    Proper motions are in the axes at the cluster's centre, as in the summary.
    """

    stars: Table
    probability: np.ndarray
    cluster: Row | None
    others: int

    @classmethod
    def of(cls, result, columns=None):
        if not (hasattr(result, "table") and hasattr(result, "summary")):
            msg = f"'result' must be what fit() returns, a Membership, not {type(result).__name__}"
            raise InputError(msg)
        names = registry_names(result.table, columns or None)
        stars = conform(result.table, {ours: names[ours] for ours in names if ours not in RESULTS})
        if "membership_prob" not in result.table.colnames:
            msg = "'result' has no column membership_prob in its table; plot what fit() returns"
            raise InputError(msg)
        cluster = result.summary[0] if len(result.summary) else None
        candidate = result.table["candidate"] if "candidate" in result.table.colnames else []
        others = int(np.max(floats(candidate), where=np.isfinite(floats(candidate)), initial=0))
        view = cls(stars, floats(result.table["membership_prob"]), cluster, others)
        centre = view.summary("ra"), view.summary("dec")
        if not np.all(np.isfinite(centre)):
            middle = mean_position(view)
            centre = middle.ra.deg, middle.dec.deg
        motions, _ = astrometry(stars, centre)
        stars["pmra"], stars["pmdec"] = motions[:, 0], motions[:, 1]
        return view

    def values(self, name):
        return floats(self.stars[name])

    @property
    def members(self):
        """Indices of the members, the surest last, so that they are drawn on top."""
        if self.cluster is None:
            return np.empty(0, int)
        chosen = np.flatnonzero(self.probability >= MEMBER)
        return chosen[np.argsort(self.probability[chosen], kind="stable")]

    @property
    def photometry(self):
        """Names and labels of magnitude and colour, or None."""
        has = self.stars.colnames
        return next((p for p in _PHOTOMETRY if {p[0], p[2]} <= set(has) and self._any(p[0], p[2])), None)

    @property
    def magnitude(self):
        """Name and label of the magnitude, or None."""
        return next((p[:2] for p in _PHOTOMETRY if p[0] in self.stars.colnames and self._any(p[0])), None)

    def _any(self, *names):
        return np.all([np.isfinite(self.values(name)) for name in names], axis=0).any()

    def summary(self, name):
        """A number of the cluster's summary; NaN where there is none."""
        if self.cluster is None or name not in self.cluster.colnames or np.ma.is_masked(self.cluster[name]):
            return np.nan
        return float(self.cluster[name])

    def window(self, *names):
        """
        Middle of a window in each of ``names``, and its common half width.

        It holds the cluster, as wide as the members spread by dispersion and errors, and as much of the field's core
        as leaves the cluster visible; the field alone where there is no cluster.
        """
        middles, low, high, near, far = [], [], [], 0.0, np.inf
        for name in names:
            values = self.values(name)
            values = values[np.isfinite(values)]
            if not values.size:
                return [0.0] * len(names), 1.0
            left, middle, right = np.percentile(values, [16, 50, 84])
            scale = (right - left) / 2 or 1.0
            of_members = self.values(name)[self.members]
            of_members = of_members[np.isfinite(of_members)]
            if not of_members.size:
                # Parallaxes lie to one side of their median.
                left, right = np.percentile(values, [1, 99])
                middles.append((left + right) / 2)
                near = max(near, 1.05 * (right - left) / 2, 0.1 * scale)
                continue
            left, centre, right = np.percentile(of_members, [16, 50, 84])
            # A single member has no spread: the field's keeps the window open.
            spread = max((right - left) / 2, 0.02 * scale)
            reach = max(_NEAR * spread, 1.1 * np.percentile(np.abs(of_members - centre), 98))
            middles.append(centre)
            low.append(min(centre - reach, middle - 2 * scale))
            high.append(max(centre + reach, middle + 2 * scale))
            near = max(near, reach)
            far = min(far, _FAR * spread)
        if not low:
            return middles, near
        low, high, middles = np.array(low), np.array(high), np.array(middles)
        half = np.clip(np.max(high - low) / 2, near, max(far, near))
        return list(np.clip((low + high) / 2, middles - (half - near), middles + (half - near))), half


def sky_positions(view):
    there = np.isfinite(view.values("ra")) & np.isfinite(view.values("dec"))
    ra, dec = (np.where(there, view.values(name), np.nan) for name in ("ra", "dec"))
    return SkyCoord(ra, dec, unit="deg")


def mean_position(view):
    """The stars' centre: the direction of their mean unit vector."""
    return SkyCoord(*positions_of(np.nanmean(sky_positions(view).cartesian.xyz.value, axis=1)), unit="rad")


def tangent_plane(view, region):
    """WCS in arcmin with the tangent point at the origin, and half the width that holds all stars but stray ones."""
    check_region(region)
    centre = mean_position(view) if region is None else region.center.icrs
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [centre.ra.deg, centre.dec.deg]
    wcs.wcs.crpix = [1, 1]
    wcs.wcs.cdelt = [-1 / 60, 1 / 60]
    wcs.wcs.radesys = "ICRS"
    half = _reach(np.abs(wcs.world_to_pixel_values(view.values("ra"), view.values("dec"))).max(axis=0), view.members)
    if region is not None:
        half = max(half, 60 * np.degrees(np.tan(min(region.radius.to_value(u.rad), 1.4))))
    return wcs, 1.04 * float(half) or 1.0


def _reach(offsets, members):
    """Largest offset of the stars, without stray ones that are no members."""
    there = np.isfinite(offsets)
    if not there.any():
        return 0.0
    shown = there.copy()
    shown[there] = ~stray(offsets[there])
    shown[members] = there[members]
    return np.max(offsets[shown], initial=0.0)


def robust_range(values, members):
    """Robust limits of the values that leave no member out."""
    values, members = values[np.isfinite(values)], members[np.isfinite(members)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, [0.5, 99.5])
    if members.size:
        low, high = min(low, members.min()), max(high, members.max())
    pad = 0.04 * (high - low) or 0.5
    return low - pad, high + pad
