"""What a simulated cluster is."""

from dataclasses import dataclass, fields
from numbers import Real

import numpy as np

from .._checks import check_integer
from ..exceptions import InputError


@dataclass(frozen=True)
class SimulatedCluster:
    """
    A cluster to simulate.

    Attributes
    ----------
    n_members : int
        Stars in the table, whatever their magnitude.
    pmra, pmdec, parallax : float
        Mean motion [mas/yr] and parallax [mas], at its centre.
    radius : float
        Scale radius of the profile [arcmin].
    xi, eta : float
        Offset of its centre from the field's [arcmin].
    dispersion : float
        One-dimensional velocity dispersion [km/s].
    profile : str
        ``"plummer"``, ``"king"`` (truncated at five scale radii) or ``"powerlaw"`` (a halo of slope -2.5).
    axis_ratio, position_angle : float
        Shape on the sky; the angle of the longer axis from north towards east, in radians.
    binaries : float
        Fraction of stars whose motion is disturbed by a companion, 1.5 to 3 times the dispersion.
    turnoff : float
        Absolute G of the brightest main sequence stars.
    giants : float
        Fraction of stars that are giants, half in the red clump and half on the branch, where these are in range.
    extinction : float
        In G [mag]; the reddening of BP-RP is 0.42 times that.
    error_scale, outliers : float
        True errors over the published ones, and the fraction of stars with errors 1.5 to 2.5 times as large again.
    radial_velocity : float
        Mean radial velocity at its centre [km/s]: in a wide field it changes the proper motions.
    """

    n_members: int
    pmra: float
    pmdec: float
    parallax: float
    radius: float
    xi: float = 0.0
    eta: float = 0.0
    dispersion: float = 0.6
    profile: str = "plummer"
    axis_ratio: float = 1.0
    position_angle: float = 0.0
    binaries: float = 0.12
    turnoff: float = 0.0
    giants: float = 0.02
    extinction: float = 0.3
    error_scale: float = 1.05
    outliers: float = 0.03
    radial_velocity: float = 0.0

    def __post_init__(self):
        for item in fields(self):
            value = getattr(self, item.name)
            if item.type is not str and not (isinstance(value, Real) and np.isfinite(value)):
                msg = f"'{item.name}' must be a number, not {value!r}"
                raise InputError(msg)
        check_integer("n_members", self.n_members, 1)
        if self.parallax <= 0 or self.radius <= 0 or not 0 < self.axis_ratio <= 1:
            msg = "'parallax' and 'radius' must be positive, 'axis_ratio' between 0 and 1"
            raise InputError(msg)
        for name in ("binaries", "giants", "outliers"):
            if not 0 <= getattr(self, name) <= 1:
                msg = f"'{name}' is a fraction, from 0 to 1, not {getattr(self, name)!r}"
                raise InputError(msg)
        if self.dispersion < 0 or self.error_scale < 0:
            msg = "'dispersion' and 'error_scale' must not be negative"
            raise InputError(msg)
        if self.profile not in ("plummer", "king", "powerlaw"):
            msg = f"'profile' must be plummer, king or powerlaw, not {self.profile!r}"
            raise InputError(msg)
