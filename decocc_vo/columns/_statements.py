"""What a table says of the release and the epoch of its stars."""

import numpy as np

from ..exceptions import InputError
from ._releases import get_release

SIMULATED = "simulated"
"""What simulated stars say their release is."""


def stated_release(stars):
    """The release that a table's ``meta`` states under ``release_key`` or ``release``, in any case, or None."""
    stated = {get_release(name).key for name in _releases(stars) if _is_known(name)}
    if len(stated) > 1:
        msg = (
            f"'table' is said to be from {' and from '.join(sorted(stated))}: of table.meta['release'] and "
            "table.meta['release_key'] correct one, or delete it"
        )
        raise InputError(msg)
    return get_release(stated.pop()) if stated else None


def release_name(stars):
    """What a table's ``meta`` calls its release, known to this package or not; ``"unknown"`` where it says nothing."""
    release = stated_release(stars)
    if release is not None:
        return release.name
    return next((name for name in _releases(stars) if name and name != "unknown"), "unknown")


def _releases(stars):
    """All that a table's ``meta`` says of its release: a key that is not known may stand beside a name that is."""
    names = ("release_key", "release")
    return [str(value).strip() for name in names for key, value in stars.meta.items() if str(key).lower() == name]


def _is_known(release):
    try:
        get_release(release)
    except InputError:
        return False
    return True


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
