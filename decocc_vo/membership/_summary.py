"""The characterisation of a group of stars: centre, mean motion, parallax, distance and counts, with errors."""

from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.table import MaskedColumn, Table

from ..columns import (
    astrometry,
    expected_errors,
    floats,
    positions_of,
    standard_errors,
    unit_vectors,
    zero_point_uncertainty,
)
from ._result import MEMBER

_NOBODY = 1e-6  # a probability that makes no difference to any mean
_STEPS, _ZOOMS, _UNLIKELY = 41, 8, 12.0  # of the grids of dispersions
_CENTRE_STEPS = 30
_PARTS = 512  # errors that are told apart, by logarithm, of more stars
_SUMMARY = (
    ("name", None, "meta.id;meta.main", "Name of the region"),
    ("ra", u.deg, "pos.eq.ra;meta.main", "Right ascension of the likeliest centre"),
    ("dec", u.deg, "pos.eq.dec;meta.main", "Declination of the likeliest centre"),
    ("n_members", None, "meta.number", "Stars with membership_prob >= 0.5"),
    ("n_expected", None, "meta.number", "Sum of membership_prob"),
    ("pmra", u.mas / u.yr, "pos.pm;pos.eq.ra;stat.mean", "Mean proper motion in right ascension, times cos(dec)"),
    ("pmra_error", u.mas / u.yr, "stat.error;pos.pm;pos.eq.ra", "Standard error of the mean pmra"),
    (
        "pmra_dispersion",
        u.mas / u.yr,
        "stat.stdev;pos.pm;pos.eq.ra",
        "Dispersion of pmra, measurement errors taken out; in a wide field it has the perspective in it",
    ),
    ("pmdec", u.mas / u.yr, "pos.pm;pos.eq.dec;stat.mean", "Mean proper motion in declination"),
    ("pmdec_error", u.mas / u.yr, "stat.error;pos.pm;pos.eq.dec", "Standard error of the mean pmdec"),
    (
        "pmdec_dispersion",
        u.mas / u.yr,
        "stat.stdev;pos.pm;pos.eq.dec",
        "Dispersion of pmdec, measurement errors taken out; in a wide field it has the perspective in it",
    ),
    ("parallax", u.mas, "pos.parallax;stat.mean", "Mean parallax, zero point not subtracted"),
    ("parallax_error", u.mas, "stat.error;pos.parallax", "Standard error of the mean parallax"),
    (
        "parallax_dispersion",
        u.mas,
        "stat.stdev;pos.parallax",
        "Intrinsic dispersion of parallax, measurement errors taken out",
    ),
    (
        "parallax_zero_point",
        u.mas,
        "arith.zp;pos.parallax",
        "Zero point used for the distance: subtract it from parallax",
    ),
    (
        "distance",
        u.pc,
        "pos.distance",
        "Inverse of the mean parallax after the zero point; masked where that is not positive",
    ),
    (
        "distance_low",
        u.pc,
        "pos.distance;stat.min",
        "Lower end of the 68 % interval of distance, systematics of the zero point included",
    ),
    (
        "distance_high",
        u.pc,
        "pos.distance;stat.max",
        "Upper end of the 68 % interval of distance, systematics of the zero point included",
    ),
    ("r50", u.deg, "phys.angSize", "Radius around the centre that holds half of the members in the table"),
    (
        "significance",
        None,
        "stat.likelihood",
        "Evidence for the cluster in natural log units, as the method defines it",
    ),
    (
        "purity",
        None,
        "stat.value",
        "Expected fraction of true members among stars with membership_prob >= 0.5; masked where a method's "
        "membership_prob is not calibrated",
    ),
    (
        "completeness",
        None,
        "stat.value",
        "Expected fraction of the members that have membership_prob >= 0.5; masked as purity is",
    ),
    ("release", None, "meta.version", "Release the stars come from"),
)


def characterise(stars, probability, region, *, zero_point=0.0, significance=float("nan"), release="unknown"):
    """
    Characterise one group of stars: centre, mean motion, parallax, counts, with errors.

    Everything weighs a star by its probability. The centre is the likeliest of a Plummer profile; motions are in the
    axes there, which near a pole are not those at each star. The intrinsic dispersion is separated from the measurement
    errors by likelihood; where a table has no errors, those expected at the magnitude stand in, and where it has no
    magnitudes, either, the dispersion has the errors in it.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Rows as `~decocc_vo.columns.conform` gives them, all usable.
    probability : `~numpy.ndarray`
        Membership probability, shape (n,).
    region : `~decocc_vo.region.ClusterRegion`
        Whose centre is the origin of the tangent plane.
    zero_point : float or `~numpy.ndarray`
        Parallax zero point in mas, one or one a star; the summary has its mean, each star weighing as much as in that
        of the parallaxes.
    significance : float
        Evidence for the group.
    release : str
        Name of the release.

    Returns
    -------
    row : dict
        One value for each column of the summary.
    """
    p = np.asarray(probability, float)
    row = {"name": region.name or "", "release": release, "significance": significance}
    unit = unit_vectors(np.radians(floats(stars["ra"])), np.radians(floats(stars["dec"])))
    centre, row["r50"] = _centre(unit, p)
    row["ra"], row["dec"] = np.degrees(positions_of(centre))
    values, turn = astrometry(stars, (row["ra"], row["dec"]))
    values[:, 2] -= zero_point
    errors = np.sqrt(np.einsum("nij,nj->ni", turn**2, _errors(stars) ** 2))
    for name, value, error in zip(("pmra", "pmdec", "parallax"), values.T, errors.T, strict=True):
        *found, weights = _mean_and_dispersion(value, error, p)
        row |= dict(zip((name, f"{name}_error", f"{name}_dispersion"), found, strict=True))
    total = p.sum()
    # Of the stars that the mean parallax comes from: faint ones, which say little of it, have another zero point.
    row["parallax_zero_point"] = zero = float(np.sum(weights * zero_point)) if total > 0 else np.nan
    true, row["parallax"] = row["parallax"], row["parallax"] + zero
    sigma = np.hypot(row["parallax_error"], zero_point_uncertainty(release))
    for name, value in (("distance", true), ("distance_low", true + sigma), ("distance_high", true - sigma)):
        row[name] = 1000.0 / value if value > 0 else np.nan
    chosen = p.astype(np.float32) >= MEMBER  # as in the table
    row["n_members"] = int(chosen.sum())
    row["n_expected"] = float(total)
    row["purity"] = float(p[chosen].mean()) if chosen.any() else np.nan
    row["completeness"] = float(p[chosen].sum() / total) if total > 0 else np.nan
    return row


def _centre(unit, weight):
    """
    Centre of stars on the sphere, and the radius around it that holds half of them [deg].

    The likeliest centre of a Plummer profile of that radius, which the outermost stars hardly move: a mean is drawn to
    where a few of them happen to be, or away from where the footprint cuts them off.
    """
    good = weight > _NOBODY
    unit, weight = unit[good], weight[good]
    if weight.size == 0:
        return np.full(3, np.nan), np.nan
    inward = np.ones(len(unit))
    for _ in range(_CENTRE_STEPS):
        centre = (weight * inward) @ unit
        centre /= np.linalg.norm(centre)
        distance = np.linalg.norm(unit - centre, axis=1)
        half = np.quantile(distance, 0.5, weights=weight, method="inverted_cdf")
        inward = half**2 / np.maximum(half**2 + distance**2, np.finfo(float).tiny)
        if not inward.any():
            break
    return centre, np.degrees(2 * np.arcsin(half / 2))


def _mean_and_dispersion(x, error, weight):
    """
    Mean, its standard error, and intrinsic dispersion of values with known errors.

    Of few stars the dispersion is hardly known, and the mean must not be as sure as if it were: both come from the
    restricted likelihood of the dispersion s, in which the mean is integrated out. The dispersion is its mode; the mean
    is averaged over it, with the prior 1 / sqrt(s^2 + the median error^2). Beside them the weight of each value in the
    mean is returned.
    """
    weights = np.zeros(len(x))
    good = np.isfinite(x) & (weight > _NOBODY)
    x, error, weight = x[good], error[good], weight[good]
    if x.size == 0:
        return np.nan, np.nan, np.nan, weights
    weight = weight * max(1.0, min(2, x.size) / weight.sum())  # less than two stars say nothing of a dispersion
    middle = np.average(x, weights=weight)
    sums, part = _Sums.of(x - middle, error, weight)
    spread = np.sqrt(np.sum(sums.squares) / np.sum(sums.weight)) or 1e-6
    # Of two stars the variance is twice that of their spread.
    s, likelihood = _zoom(sums, (1e-6 * spread, 4 * np.sqrt(2) * spread), _UNLIKELY)
    mode, at_mode = _zoom(sums, (s[0], s[-1]), 0.0)
    chance = np.exp(likelihood - likelihood.max()) / np.sqrt(s**2 + np.median(error) ** 2)
    chance /= chance.sum()
    _, total, means = sums.at(s)
    mean = chance @ means
    weights[good] = weight * ((chance / total) @ sums.precision(s))[part]
    sure = np.sqrt(chance @ (1 / total + (means - mean) ** 2))
    return float(middle + mean), float(sure), float(mode[np.argmax(at_mode)]), weights


class _Sums(NamedTuple):
    """Of values and their squares, for each of some errors: all that the likelihood of a dispersion needs of many."""

    error2: np.ndarray
    weight: np.ndarray
    values: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, x, error, weight):
        """The sums, and to which of them each value belongs."""
        part = np.arange(len(x))
        if len(x) > _PARTS:
            size = np.log(np.maximum(error, 1e-9))
            part = np.digitize(size, np.linspace(size.min(), size.max(), _PARTS))
            part = np.unique(part, return_inverse=True)[1]
        error2, total, values, squares = (
            np.bincount(part, w) for w in (weight * error**2, weight, weight * x, weight * x**2)
        )
        return cls(error2 / total, total, values, squares), part

    def at(self, s):
        """Restricted log likelihood of dispersions, the mean integrated out; the mean's inverse variance, and it."""
        precision = self.precision(s)
        total = precision @ self.weight
        mean = precision @ self.values / total
        doubt = np.log(total) + precision @ self.squares - total * mean**2 - np.log(precision) @ self.weight
        return -0.5 * doubt, total, mean

    def precision(self, s):
        """Inverse variance of one value of each error, by dispersions: shape (dispersions, errors)."""
        return 1 / (self.error2 + s[:, None] ** 2)


def _zoom(sums, ends, unlikely):
    """A grid of dispersions, and their likelihoods, that are hardly less likely than so much; it zooms in on them."""
    low, high = ends
    for _ in range(_ZOOMS):
        s = np.linspace(low, high, _STEPS)
        likelihood = sums.at(s)[0]
        likely = np.flatnonzero(likelihood >= likelihood.max() - unlikely)
        if len(likely) > _STEPS / 3:
            break
        low, high = s[max(likely[0] - 1, 0)], s[min(likely[-1] + 1, _STEPS - 1)]
    return s, likelihood


def _errors(stars):
    """
    Standard errors, shape (n, 3): zero where nothing is known of a column's, else those of a G = 18 star stand in.

    Without any the dispersions have the errors in them; a few stars without must not weigh more than all others.
    """
    errors = standard_errors(stars)
    unknown = ~np.isfinite(errors)
    stand_in = np.where(unknown.all(axis=0), 0.0, expected_errors(np.array([18.0])))
    return np.where(unknown, stand_in, errors)


def summary_table(rows):
    """The summary or candidates table of rows made by `characterise`."""
    table = Table(masked=True)
    for name, unit, ucd, description in _SUMMARY:
        values = [row[name] for row in rows]
        if name in ("name", "release"):
            table[name] = MaskedColumn(np.array(values, dtype=str if values else "U1"), description=description)
        elif name == "n_members":
            table[name] = MaskedColumn(np.array(values, dtype=np.int64), description=description)
        else:
            data = np.ma.masked_invalid(np.array(values, dtype=float))
            table[name] = MaskedColumn(data, unit=unit, description=description)
        table[name].meta["ucd"] = ucd
    return table
