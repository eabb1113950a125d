"""Take messages apart; what other programs send is checked here before anything acts on it."""

import numpy as np

from ..exceptions import InputError

__all__ = ["position", "row_number", "row_numbers", "text"]


def text(params, key, *, required=False):
    """A parameter as text, empty where it is missing."""
    value = params.get(key, "")
    if not isinstance(value, str):
        msg = f"'{key}' must be a string"
        raise InputError(msg)
    if required and not value.strip():
        msg = f"'{key}' is missing"
        raise InputError(msg)
    return value.strip()


def _integer(value, length, key):
    try:
        number = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None:
        msg = f"'{key}' must hold row numbers, not {value!r}"
        raise InputError(msg)
    if not 0 <= number < length:
        msg = f"'{key}' has row {number}, and the table has rows 0 to {length - 1}"
        raise InputError(msg)
    return number


def row_number(params, length):
    """The row of ``table.highlight.row``."""
    return _integer(params.get("row"), length, "row")


def row_numbers(params, length):
    """The rows of ``table.select.rowList``, each once, in order; none when the user selected nothing."""
    values = params.get("row-list")
    if not isinstance(values, list | tuple):
        msg = "'row-list' must be a list"
        raise InputError(msg)
    return np.unique(np.array([_integer(value, length, "row-list") for value in values], int))


def position(params):
    """Right ascension and declination of ``coord.pointAt.sky``, in degrees."""
    try:
        ra, dec = float(params["ra"]), float(params["dec"])
    except (KeyError, TypeError, ValueError):
        msg = "'ra' and 'dec' must be numbers in degrees"
        raise InputError(msg) from None
    if not (np.isfinite(ra) and -360 <= ra <= 360 and -90 <= dec <= 90):
        msg = f"'ra' and 'dec' are off the sky: {ra}, {dec}"
        raise InputError(msg)
    return ra % 360.0, dec
