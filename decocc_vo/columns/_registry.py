"""Every column a star's table may have: its unit, UCD, type and meaning."""

from dataclasses import dataclass, replace
from types import MappingProxyType

import astropy.units as u
import numpy as np

from ._services import VIZIER_DR2, VIZIER_DR3, VIZIER_EDR3


@dataclass(frozen=True)
class ColumnInfo:
    """What one column means: its name, unit, UCD, dtype, description, and other spellings tables use for it."""

    name: str
    unit: u.UnitBase | None
    ucd: str
    dtype: str
    description: str
    aliases: tuple[str, ...] = ()

    @property
    def largest(self):
        """Absolute value, in the column's unit, that no star has: beyond it stands what was not measured."""
        if self.name.endswith("_corr"):
            return 1.001  # one, and what rounding makes of it
        if self.name == "parallax":
            return 1e3  # mas: the nearest star is at 769
        return next((most for unit, most in _LARGEST if unit == self.unit), np.finfo("float32").max)


_MASYR = u.mas / u.yr
# Barnard's star moves by 10 400 mas/yr. Errors may be larger than any parallax.
_LARGEST = ((_MASYR, 1e5), (u.mas, 1e4), (u.mag, 60.0))


def _correlation(first, second):
    ucd = {"ra": "pos.eq.ra", "dec": "pos.eq.dec", "parallax": "pos.parallax", "pmra": "pos.pm;pos.eq.ra"}
    ucd["pmdec"] = "pos.pm;pos.eq.dec"
    words = f"stat.correlation;{ucd[first]};{ucd[second]}".split(";")
    return ColumnInfo(
        f"{first}_{second}_corr",
        None,
        ";".join(dict.fromkeys(words)),
        "float32",
        f"Correlation between the errors of {first} and {second}",
        (f"{first}_{second}_cor",),
    )


_FIVE = ("ra", "dec", "parallax", "pmra", "pmdec")

_REGISTRY = (
    ColumnInfo("source_id", None, "meta.id;meta.main", "int64", "Identifier of the star in its release", ("hip",)),
    ColumnInfo("ra", u.deg, "pos.eq.ra;meta.main", "float64", "Right ascension (ICRS) at the release's epoch"),
    ColumnInfo(
        "dec",
        u.deg,
        "pos.eq.dec;meta.main",
        "float64",
        "Declination (ICRS) at the release's epoch",
        ("dec_icrs",),
    ),
    ColumnInfo(
        "ra_error", u.mas, "stat.error;pos.eq.ra", "float32", "Standard error of right ascension, times cos(dec)"
    ),
    ColumnInfo("dec_error", u.mas, "stat.error;pos.eq.dec", "float32", "Standard error of declination"),
    ColumnInfo("parallax", u.mas, "pos.parallax", "float64", "Parallax, as published"),
    ColumnInfo("parallax_error", u.mas, "stat.error;pos.parallax", "float32", "Standard error of parallax"),
    ColumnInfo(
        "pmra", _MASYR, "pos.pm;pos.eq.ra", "float64", "Proper motion in right ascension, times cos(dec)", ("pmra*",)
    ),
    ColumnInfo("pmra_error", _MASYR, "stat.error;pos.pm;pos.eq.ra", "float32", "Standard error of pmra", ("e_pmra*",)),
    ColumnInfo("pmdec", _MASYR, "pos.pm;pos.eq.dec", "float64", "Proper motion in declination"),
    ColumnInfo("pmdec_error", _MASYR, "stat.error;pos.pm;pos.eq.dec", "float32", "Standard error of pmdec"),
    *(_correlation(a, b) for i, a in enumerate(_FIVE) for b in _FIVE[i + 1 :]),
    ColumnInfo("phot_g_mean_mag", u.mag, "phot.mag;em.opt", "float32", "Mean magnitude in Gaia's G band", ("g_mag",)),
    ColumnInfo("phot_bp_mean_mag", u.mag, "phot.mag;em.opt.B", "float32", "Mean magnitude in the BP band"),
    ColumnInfo("phot_rp_mean_mag", u.mag, "phot.mag;em.opt.R", "float32", "Mean magnitude in the RP band"),
    ColumnInfo("bp_rp", u.mag, "phot.color;em.opt.B;em.opt.R", "float32", "Colour BP - RP", ("bprp", "bp_rp_")),
    ColumnInfo("phot_bp_rp_excess_factor", None, "stat.value", "float32", "Flux excess of BP and RP over G"),
    ColumnInfo("ruwe", None, "stat.error", "float32", "Renormalised unit weight error of the astrometry"),
    ColumnInfo(
        "astrometric_params_solved",
        None,
        "meta.number",
        "int16",
        "Which astrometric parameters were solved for: 31 five, 95 six, 3 position only",
    ),
    ColumnInfo(
        "nu_eff_used_in_astrometry",
        u.um**-1,
        "em.wavenumber",
        "float32",
        "Effective wavenumber used in the five-parameter solution",
    ),
    ColumnInfo(
        "pseudocolour",
        u.um**-1,
        "em.wavenumber",
        "float32",
        "Astrometric estimate of the colour in the six-parameter solution",
    ),
    ColumnInfo("ecl_lat", u.deg, "pos.ecliptic.lat", "float64", "Ecliptic latitude"),
    ColumnInfo(
        "radial_velocity",
        u.km / u.s,
        "spect.dopplerVeloc.opt",
        "float32",
        "Barycentric radial velocity",
        ("dr2_radial_velocity",),
    ),
    ColumnInfo(
        "radial_velocity_error",
        u.km / u.s,
        "stat.error;spect.dopplerVeloc.opt",
        "float32",
        "Standard error of radial_velocity",
        ("dr2_radial_velocity_error",),
    ),
    ColumnInfo("hp_mag", u.mag, "phot.mag;em.opt", "float32", "Magnitude in Hipparcos's Hp band", ("hpmag",)),
    ColumnInfo("b_v", u.mag, "phot.color;em.opt.B;em.opt.V", "float32", "Colour B - V", ("b-v",)),
    ColumnInfo(
        "membership_prob",
        None,
        "stat.probability",
        "float32",
        "Probability that the star is a member of the cluster; masked where the star could not be used",
    ),
    ColumnInfo("group", None, "meta.code", "int16", "Group the clustering put the star in; -1 the field"),
    ColumnInfo(
        "candidate", None, "meta.code", "int16", "0 the cluster, 1, 2, ... other groups that hold as clusters, -1 none"
    ),
    ColumnInfo(
        "membership_prob_std",
        None,
        "stat.stdev;stat.probability",
        "float32",
        "Spread of membership_prob over bootstraps of the stars, starts of the field, and networks",
    ),
)


_VIZIER = VIZIER_DR3, VIZIER_EDR3, VIZIER_DR2

SPELT = frozenset(spelling for names in _VIZIER for spelling in names.values() if spelling)
"""The columns' names as VizieR spells them."""


def _as_vizier_spells(info):
    """The column, with its spellings in VizieR's copies of the releases among its aliases."""
    spelt = [names[info.name].lower() for names in _VIZIER if info.name in names]
    return replace(info, aliases=tuple(s for s in dict.fromkeys([*spelt, *info.aliases]) if s != info.name))


COLUMNS = MappingProxyType({c.name: _as_vizier_spells(c) for c in _REGISTRY})
"""Every column of a star's table by name, in the order tables show them."""

ASTROMETRY = ("ra", "dec", "pmra", "pmdec", "parallax")
"""The columns no method can do without."""

RESULTS = ("membership_prob", "group", "candidate", "membership_prob_std")
"""The columns a method adds."""

CORRELATIONS = ("pmra_pmdec_corr", "parallax_pmra_corr", "parallax_pmdec_corr")
"""Correlations of proper motion and parallax, in the order (12, 13, 23) of (pmra, pmdec, parallax)."""


def describe(column, info=None, *, missing_only=False):
    """
    Give a table's column the unit, UCD and description of the registry.

    Parameters
    ----------
    column : `~astropy.table.Column`
        The column; changed in place.
    info : ColumnInfo, optional
        What it is; default: what the registry has for its name, and a column that it does not have stays as it is.
    missing_only : bool
        Whether what the column says itself is kept.

    Returns
    -------
    column : `~astropy.table.Column`
        The same.
    """
    info = info or COLUMNS.get(column.name)
    if info is not None:
        if column.unit is None or not missing_only:
            column.unit = info.unit
        if not column.description or not missing_only:
            column.description = info.description
        if "ucd" not in column.meta or not missing_only:
            column.meta["ucd"] = info.ucd
    return column
