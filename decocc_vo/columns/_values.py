"""Values of a column in the registry's unit and type."""

import re

import astropy.units as u
import numpy as np

from ..exceptions import InputError
from ._numbers import floats, says_none

_MEASURED = "pmra", "pmdec", "parallax"
_NOT_MEASURED = -999.0, -9999.0, -99999.0  # what stands for "no value" in many a table

# How people write units that astropy does not know.
_SPELLINGS = (
    (r"milli-?arc-?sec(ond)?s?", "mas"),
    (r"arc-?seconds?|''", "arcsec"),
    (r'"', "arcsec"),
    (r"degrees?|\bdeg\b", "deg"),
    (r"^\[(.*)\]$", r"\1"),
    (r"\bmas(?=yr)", "mas "),
    (r"\bmas\b", "mas"),
    (r"\b(years?|yrs?|y)\b", "yr"),
    (r"\bkm\b", "km"),
    (r"\b(seconds?|sec|s)\b", "s"),
)


def degrees(values):
    """Degrees as float64; NaN where masked. A unit is heeded, plain numbers are degrees."""
    unit = getattr(values, "unit", None)
    try:
        factor = 1.0 if unit is None or unit == u.dimensionless_unscaled else _unit(unit).to(u.deg)
        return floats(getattr(values, "value", values)) * factor
    except (u.UnitConversionError, TypeError, ValueError) as err:
        msg = f"positions must be numbers or angles, in degrees where they have no unit: {err}"
        raise InputError(msg) from None


def to_registry(column, info, source):
    """Return the values of ``column`` in the registry's unit and dtype, masked where not a number."""
    unit = getattr(column, "unit", None)
    factor = 1.0
    if unit is not None and unit != u.dimensionless_unscaled:
        try:
            factor = _unit(unit).to(info.unit or u.dimensionless_unscaled)
        except (u.UnitConversionError, TypeError, ValueError):
            if info.unit is not None:  # where there is none, people write "---" and the like
                msg = (
                    f"'{source}' has the unit {unit!s}, which does not convert to {info.unit!s}; "
                    f"set table[{source!r}].unit, or correct it in the file"
                )
                raise InputError(msg) from None
    values = np.ma.asarray(getattr(column, "value", column))
    if values.ndim != 1:
        msg = (
            f"'{source}' must have one value a row, and has an array of the shape {values.shape[1:]}; of a "
            "FITS file that holds each column as one array make one with a row for each star"
        )
        raise InputError(msg)
    if np.dtype(info.dtype).kind == "i":
        return _integers(values, info, source)
    return _measured(values, factor, info, source)


def _integers(values, info, source):
    """Integers of the registry's type, masked where there is none, and where many stars have one identifier of none."""
    dtype = np.dtype(info.dtype)
    if values.dtype.kind == "f" and info.name == "source_id" and not _keeps_digits(values):
        msg = f"'{source}' is stored as floating point, which loses digits of a 64-bit identifier; read it as int64"
        raise InputError(msg)
    if values.dtype.kind == "f":
        values = np.ma.masked_invalid(values)
    if values.dtype.kind in "SU":
        values = np.ma.masked_where(says_none(values), values)
    filled = np.ma.filled(values, 0)
    try:
        integers = filled.astype(dtype)
        whole = filled.dtype.kind not in "iuf" or np.array_equal(integers, filled)
    except (ValueError, TypeError, OverflowError):
        whole = False
    if not whole:
        wrong = _first_not_integer(values, dtype)
        msg = f"'{source}' must hold integers that {dtype.name} can hold, and holds {wrong!r}"
        raise InputError(msg)
    mask = np.ma.getmaskarray(values)
    if info.name == "source_id":
        # As catalogues have it for stars without an identifier, 0 or -1; simulated stars have others below 0.
        low, counts = np.unique(integers[~mask & (integers <= 0)], return_counts=True)
        mask = mask | np.isin(integers, low[counts > 1])
    return np.ma.masked_array(integers, mask=mask)


def _measured(values, factor, info, source):
    """Floating-point numbers in the registry's unit, masked where they are none, or none that a star has."""
    try:
        values = floats(values)
    except (ValueError, TypeError):
        angles = " in degrees" if info.unit == u.deg else ""
        msg = f"'{source}' must hold numbers{angles}, and holds {_first_text(values)!r}"
        raise InputError(msg) from None
    if info.name in _MEASURED:
        values[np.isin(values, _NOT_MEASURED)] = np.nan
    values *= factor
    return np.ma.masked_invalid(np.where(np.abs(values) <= info.largest, values, np.nan).astype(info.dtype))


def _keeps_digits(values):
    """Whether these floating-point numbers can be integers that lost no digit."""
    largest = 2.0 ** (np.finfo(values.dtype).nmant + 1)
    values = np.ma.compressed(values)
    return bool(np.all(np.abs(values[np.isfinite(values)]) < largest))


def _unit(unit):
    """A unit as astropy knows it: magnitudes of any system are magnitudes, and a year may be spelled out."""
    unit = u.Unit(unit)
    if isinstance(unit, u.MagUnit):
        return u.mag
    text = unit.to_string()
    if isinstance(unit, u.UnrecognizedUnit):
        for pattern, spelling in _SPELLINGS:
            text = re.sub(pattern, spelling, text, flags=re.IGNORECASE)
        return u.mag if re.match(r"mag(?![a-z])", text, flags=re.IGNORECASE) else u.Unit(text)
    # As another format spells them, such as "degree" in a VOTable, units are others than astropy's of that name.
    spelt = u.Unit(text, parse_strict="silent")
    return unit if isinstance(spelt, u.UnrecognizedUnit) else spelt


def _first_text(values):
    """The first value that is no number."""
    return _first_not(lambda value: [float(value)], values)


def _first_not_integer(values, dtype):
    """The first value that is no integer, or none of the type."""
    info = np.iinfo(dtype)

    def good(value):
        whole = not isinstance(value, float) or value.is_integer()
        return whole and info.min <= int(value) <= info.max

    return _first_not(good, values)


def _first_not(good, values):
    for value in np.ma.compressed(values).tolist():
        try:
            if not good(value):
                return value
        except (ValueError, TypeError, OverflowError):
            return value
    return values.dtype.name
