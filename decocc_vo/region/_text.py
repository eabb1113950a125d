"""Positions and angles as people write them."""

import re

import astropy.units as u
import numpy as np
from astropy.coordinates import Angle, IllegalHourWarning, IllegalMinuteWarning, IllegalSecondWarning, SkyCoord

from .._quietly import quietly
from ..exceptions import InputError

__all__ = ["parse_position", "parse_radius"]


def parse_position(text):
    """Read one ICRS position from text."""
    msg = f"'center' {text!r} cannot be read; write 'RA DEC' as '66.725 15.867' (deg) or '04 26 54 +15 52 00' (h, deg)"
    if not isinstance(text, str):
        raise InputError(msg)
    halves = [half.split() for half in text.split(",")]
    if len(halves) == 1:
        halves = _halve(halves[0])
    if len(halves) != 2 or not all(1 <= len(half) <= 3 for half in halves):
        raise InputError(msg)
    # Hours where the right ascension is written with its parts, degrees where it is one number.
    parts = len(halves[0]) > 1 or re.search(r"[:h]", halves[0][0])
    try:
        ra = _angle(halves[0], u.hourangle if parts else u.deg)
        dec = _angle(halves[1], u.deg)
    except (ValueError, TypeError, u.UnitsError):
        raise InputError(msg) from None
    if not (np.isfinite(ra) and np.isfinite(dec)):
        raise InputError(msg)
    if not (-360 <= ra.deg <= 360 and -90 <= dec.deg <= 90):
        msg = f"'center' {text!r} is off the sky: RA is 0 to 360 deg (0 to 24 h), Dec is -90 to +90 deg"
        raise InputError(msg)
    return SkyCoord(ra, dec)


def _angle(words, unit):
    try:
        return Angle(float(*words), unit)
    except (ValueError, TypeError):  # more than a plain number
        marked = [not word.rstrip(".")[-1:].isdecimal() for word in words]
        if marked[-1] and not all(marked):
            raise ValueError from None  # of "05 35 17.3s" astropy takes all for seconds
        # 24h00m00s and 59m60s, as rounding writes them, are on the sky.
        with quietly(IllegalHourWarning, IllegalMinuteWarning, IllegalSecondWarning):
            return Angle(" ".join(words), unit)


def _halve(words):
    """Split words into right ascension and declination: where the sign is, else where a unit ends, else halfway."""
    signs = [i for i, word in enumerate(words) if i and word[0] in "+-−"]
    if len(signs) == 1:
        cut = signs[0]
    elif len(words) % 2 == 0 and not signs:
        cut = len(words) // 2
    else:
        return []
    return [words[:cut], [word.replace("−", "-") for word in words[cut:]]]


def parse_radius(text):
    """Read an angle with its unit, as a Quantity of whatever unit there is."""
    for parse in (Angle, u.Quantity):
        try:
            return u.Quantity(parse(text), subok=False)
        except (TypeError, ValueError, u.UnitsError):
            continue
    msg = f"'radius' {text!r} cannot be read; write a number and a unit, such as '60arcmin' or '1.5deg'"
    raise InputError(msg)
