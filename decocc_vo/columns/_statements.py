"""What a table says of the release and the epoch of its stars."""

import numpy as np

from ..exceptions import InputError
from ._releases import get_release


def stated_release(stars):
    """The release that a table's ``meta`` states, or None."""
    name = stars.meta.get("release_key") or stars.meta.get("release") or stars.meta.get("RELEASE")
    try:
        return get_release(name)
    except InputError:
        return None


def designated_release(table):
    """The release that Gaia's designations state, as in "Gaia DR3 2130...", if they all state one, or None."""
    name = next((name for name in table.colnames if name.lower() == "designation"), None)
    if name is None or getattr(table[name], "dtype", np.dtype(float)).kind not in "SUO":
        return None
    stated = {" ".join(text.split()[:-1]) for text in np.ma.compressed(np.ma.asarray(table[name]).astype(str)).tolist()}
    try:
        return get_release(stated.pop()) if len(stated) == 1 else None
    except InputError:
        return None


def julian_year(value):
    """A Julian year from a number or from text such as J2000; None where it is none."""
    try:
        year = float(str(value).strip().lstrip("Jj"))
    except ValueError:
        return None
    return year if 1800 < year < 2200 else None
