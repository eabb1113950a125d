"""One table of a live session: what is known of it, what is to be fitted, and what a star's numbers are."""

import threading
from dataclasses import dataclass, field, replace

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord, angular_separation

from ..columns import astrometry, conform, floats
from ..exceptions import InputError
from ..membership import with_rows_outside
from ..region import ClusterRegion
from .sending import member_rows

__all__ = ["SELECTIONS", "Job", "LiveTable", "star_line", "star_numbers"]

SELECTIONS = ("region", "field", "seed")
"""What a selection made in a program can mean."""


@dataclass(eq=False)
class LiveTable:
    """
    A table of a live session.

    Attributes
    ----------
    table : `~astropy.table.Table`
        The table as it came.
    name, table_id, url : str
        As the sender gave them; ``url`` is empty for a table given from Python.
    region : `~decocc_vo.ClusterRegion`
        Where the cluster is looked for: at first the table's footprint.
    membership : `~decocc_vo.membership.Membership` or None
        The newest result; its table has all rows, masked outside the region. None until the first fit is done.
    result_id, result_url : str
        Under which the programs have the result.
    fits : int
        How many fits were made.
    home, inside, owed, holders, used, lock
        The session's own bookkeeping: the first region, rows in the region, who is still to get the result, who has
        it, when the table was last named.
    """

    table: object
    name: str
    table_id: str
    url: str
    region: ClusterRegion
    stars: object = field(repr=False)
    home: ClusterRegion = field(default=None, repr=False)
    membership: object = field(default=None, repr=False)
    result_id: str = ""
    result_url: str = ""
    sender: str = ""
    fits: int = 0
    inside: object = field(default=None, repr=False)
    owed: set = field(default_factory=set, repr=False)
    holders: set = field(default_factory=set, repr=False)
    used: float = 0.0
    lock: object = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def of(cls, table, *, name, table_id, url="", sender="", region=None, columns=None):
        """Check a table and take its footprint for the region, where none is given."""
        stars = conform(table, columns)
        region = region or ClusterRegion.from_table(stars, name=name or None)
        return cls(table, name, table_id, url, region, stars, region, sender=sender)

    @property
    def rows(self):
        """Row numbers of the members."""
        return np.array([], int) if self.membership is None else member_rows(self.membership.table)

    def covers(self, ra, dec):
        """Whether a position in degrees is within the table's footprint, or just beside it."""
        place = np.radians([ra, dec, self.home.ra_deg, self.home.dec_deg])
        return bool(np.degrees(angular_separation(*place)) <= 1.1 * self.home.radius_deg)

    def separation(self, row, ra, dec):
        """Degrees of a star from a position."""
        place = (floats(self.stars["ra"])[row], floats(self.stars["dec"])[row], ra, dec)
        return float(np.degrees(angular_separation(*np.radians(place))))

    def distance_to(self, ra, dec):
        """Degrees from the region's centre."""
        return np.degrees(angular_separation(*np.radians([ra, dec, self.region.ra_deg, self.region.dec_deg])))


@dataclass(frozen=True)
class Job:
    """A fit to make: ``kind`` is ``"all"``, one of `SELECTIONS`, or ``"center"``, which has a ``point`` for rows."""

    entry: LiveTable
    kind: str
    rows: np.ndarray | None = None
    point: tuple[float, float] | None = None

    def run(self, fit):
        """
        Fit the table as the job says and keep the result in it.

        A selection starts from what the last fit found, so that it takes seconds: from its members, without those
        now said to be field, or from the members the user chose.
        """
        entry = self.entry
        region, start, field_only = entry.region, self._last(), None
        if self.kind == "region":
            region = ClusterRegion.from_table(entry.stars[self.rows], name=region.name)
        elif self.kind == "center":
            region, start = replace(region, center=SkyCoord(*self.point, unit=u.deg)), None
        elif self.kind == "all":
            region = entry.home
        elif self.kind == "seed":
            start = self._mask().astype(float)
        elif self.kind == "field":
            field_only = self._mask()
            start = None if start is None else np.where(field_only, 0.0, start)
        if self.kind in ("region", "center"):
            inside = region.contains(floats(entry.stars["ra"]), floats(entry.stars["dec"]))
        elif self.kind == "all" or entry.inside is None:  # a footprint may leave out a stray row
            inside = np.ones(len(entry.table), bool)
        else:
            inside = entry.inside
        if not inside.any():
            msg = "no star of the table lies in the region"
            raise InputError(msg)
        if start is not None and not np.any(start[inside] >= 0.5):
            start = None
        membership = fit(
            entry.table[inside],
            region,
            start=None if start is None else start[inside],
            field_only=None if field_only is None else field_only[inside],
        )
        membership = with_rows_outside(membership, entry.table, inside)
        with entry.lock:
            entry.region, entry.inside, entry.membership = region, inside, membership
            entry.fits += 1
        return membership

    def _mask(self):
        mask = np.zeros(len(self.entry.table), bool)
        mask[self.rows] = True
        return mask

    def _last(self):
        membership = self.entry.membership
        if membership is None or self.kind == "all":
            return None
        return np.nan_to_num(floats(membership.table["membership_prob"]), nan=0.0)


def star_numbers(entry, row):
    """
    What there is to say of one star: the numbers a highlighted row is described by.

    Returns
    -------
    numbers : dict
        ``row``; ``source_id`` where known; ``membership_prob``, ``group`` and ``candidate`` (None where the star was
        not used); ``sigma``, a dict of its distance from the cluster's mean ``pmra``, ``pmdec`` and ``parallax``, in
        the axes at the cluster's centre, in standard deviations, the measurement's error and the cluster's dispersion
        and error together; ``separation``
        from the cluster's centre in arcmin.
    """
    stars, membership = entry.stars, entry.membership
    numbers = {"row": int(row)}
    if "source_id" in stars.colnames and not np.ma.is_masked(stars["source_id"][row]):
        numbers["source_id"] = int(stars["source_id"][row])
    if membership is None:
        return numbers
    for name, kind in (("membership_prob", float), ("group", int), ("candidate", int)):
        value = membership.table[name][row] if name in membership.table.colnames else np.ma.masked
        numbers[name] = None if np.ma.is_masked(value) else kind(value)
    if len(membership.summary) == 0:
        return numbers
    cluster, sigma = membership.summary[0], {}
    values = astrometry(stars[[row]], (_number(cluster, "ra"), _number(cluster, "dec")))[0][0]
    for name, value in zip(("pmra", "pmdec", "parallax"), values, strict=True):
        spread = [_number(cluster, f"{name}_dispersion"), _number(cluster, f"{name}_error")]
        if f"{name}_error" in stars.colnames:
            spread.append(floats(stars[f"{name}_error"])[row])
        width = np.sqrt(np.nansum(np.square(spread)))
        if np.isfinite(value) and width > 0:
            sigma[name] = float((value - _number(cluster, name)) / width)
    numbers["sigma"] = sigma
    place = (floats(stars["ra"])[row], floats(stars["dec"])[row], _number(cluster, "ra"), _number(cluster, "dec"))
    numbers["separation"] = float(60 * np.degrees(angular_separation(*np.radians(place))))
    return numbers


def _number(row, name):
    value = row[name] if name in row.colnames else np.nan
    return np.nan if np.ma.is_masked(value) else float(getattr(value, "value", value))


def star_line(numbers):
    """The numbers of one star as one line of text."""
    text = f"row {numbers['row']}"
    if "source_id" in numbers:
        text += f", source_id {numbers['source_id']}"
    if "membership_prob" not in numbers:
        return f"{text}: no fit yet"
    if numbers["membership_prob"] is None:
        return f"{text}: not used in the fit"
    text += f": membership probability {numbers['membership_prob']:.3f}, group {numbers['group']}"
    if "sigma" in numbers:
        text += "; " + ", ".join(f"{name} {value:+.1f} sigma" for name, value in numbers["sigma"].items())
        text += f"; {numbers['separation']:.1f} arcmin from the centre"
    return text
