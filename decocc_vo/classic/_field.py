"""What the classic methods do alike: from a table to arrays, and from the picked group to a `Membership`."""

import time
from dataclasses import asdict, dataclass

import astropy.units as u
import numpy as np

from ..columns import COLUMNS, astrometry, floats, parallax_zero_point, requires
from ..exceptions import InputError
from ..membership import Candidate, assemble
from ..region import ClusterRegion, usable_stars

FEWEST = 20  # stars under which no field can be told from a cluster


@dataclass(frozen=True)
class Field:
    """
    A table of stars as the methods see it: the usable rows in canonical order, as float64 arrays of shape (n,).

    ``pmra``, ``pmdec`` in mas/yr, in the axes at the region's centre, ``parallax`` in mas, ``xi``, ``eta`` and
    ``radius`` in arcmin.
    """

    table: object
    stars: object
    region: ClusterRegion
    used: np.ndarray
    pmra: np.ndarray
    pmdec: np.ndarray
    parallax: np.ndarray
    xi: np.ndarray
    eta: np.ndarray
    radius: float
    columns: dict
    began: float

    @classmethod
    def from_table(cls, table, region=None, columns=None, usable=None):
        """
        Check a table and take what can be used of it.

        ``usable`` may narrow it further: a function of (pmra, pmdec, parallax) that returns a boolean array.
        """
        began = time.perf_counter()
        stars, region, used = usable_stars(table, region, columns, FEWEST)
        motion = astrometry(stars[used], (region.ra_deg, region.dec_deg))[0]
        if usable is not None:
            good = usable(*motion.T)
            used, motion = used[good], motion[good]
            requires(stars, used, FEWEST)
        xi, eta = region.offsets(floats(stars["ra"])[used], floats(stars["dec"])[used])
        radius = float(region.radius.to_value(u.arcmin))
        return cls(table, stars, region, used, *motion.T, xi, eta, radius, columns, began)

    @property
    def motion(self):
        """The arguments of `~decocc_vo._groups.pick_group` after the labels."""
        return self.pmra, self.pmdec, self.parallax, self.xi, self.eta, self.radius

    def robust_features(self):
        """Proper motions and parallax by median and interquartile range, through arcsinh; shape (n, 3)."""
        x = np.stack([self.pmra, self.pmdec, self.parallax], axis=1)
        low, middle, high = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
        scale = (high - low) / 1.349  # one standard deviation, were they normal
        return np.arcsinh((x - middle) / np.where(scale > 0, scale, 1.0))

    def membership(self, method, config, candidates, group, stop_reason, **diagnostics):
        """Put candidates, as of `~decocc_vo._groups.group_candidates`, and the stars' groups into a `Membership`."""
        largest = np.iinfo(COLUMNS["group"].dtype).max
        if np.max(group) > largest:
            msg = f"the settings make {np.max(group) + 1} groups, and {largest} can be numbered; make them larger"
            raise InputError(msg)
        return assemble(
            self.table,
            self.stars,
            self.region,
            self.used,
            [Candidate(*candidate) for candidate in candidates],
            group=np.asarray(group, np.int16),
            method=method,
            stop_reason=stop_reason,
            settings={k: str(v) if isinstance(v, u.Quantity) else v for k, v in asdict(config).items()},
            zero_point=parallax_zero_point(self.stars[self.used]),
            columns=self.columns,
            calibrated=False,
            diagnostics={**diagnostics, "seconds": time.perf_counter() - self.began},
        )
