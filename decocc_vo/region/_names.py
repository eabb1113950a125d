"""What a cluster's name stands for: OpenNGC, which comes with the install, and CDS Sesame."""

import difflib
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..config import conf
from ..exceptions import ServiceError

__all__ = ["Found", "advice", "find_offline", "find_online"]

# OpenNGC's types that are clusters: open, with nebula, association, globular.
_CLUSTERS = ("OCl", "Cl+N", "*Ass", "GCl")
# How people spell catalogues, and how OpenNGC does.
_SPELLINGS = {
    "MELOTTE": "MEL",
    "MESSIER": "M",
    "CALDWELL": "C",
    "COLLINDER": "CL",
    "COL": "CL",
    "CR": "CL",
    "HARVARD": "H",
}


@dataclass(frozen=True)
class Found:
    """What a catalogue says about a name: position (ICRS, deg), diameter (arcmin, or None) and kind of object."""

    ra: float
    dec: float
    diameter_arcmin: float | None
    kind: str
    is_cluster: bool
    catalogue: str


def _normalise(name):
    """One spelling for all: upper case, no spaces, no leading zeros; digits stay apart from digits."""
    text = name.upper().replace("'", "").replace("’", "")
    words = re.findall(r"[^\W\d_]+|\d+", text)
    if words and words[0] == "THE":
        words = words[1:]
    if len(words) > 1 and words[-1] == "CLUSTER":
        words = words[:-1]
    words = [str(int(w)) if w.isdecimal() else w for w in words]
    if len(words) > 1 and words[1].isdecimal():
        words[0] = _SPELLINGS.get(words[0], words[0])
    return re.sub(r"(?<=\d) (?=\d)", "-", " ".join(words)).replace(" ", "")


@cache
def _clusters():
    """The clusters of OpenNGC: normalised name -> (name as written, what is known). One query of a small database."""
    from pyongc import DBPATH

    query = (
        "SELECT o.name, o.ra, o.dec, o.majax, t.typedesc, o.messier, o.ngc, o.ic, o.identifiers, o.commonnames "
        "FROM objects o JOIN objTypes t ON o.type = t.type WHERE o.ra IS NOT NULL AND o.type IN (?, ?, ?, ?) "
        "ORDER BY o.id"
    )
    with closing(sqlite3.connect(DBPATH)) as database:
        rows = database.execute(query, _CLUSTERS).fetchall()
    index = {}
    for name, ra, dec, size, kind, messier, ngc, ic, others, common in rows:
        found = Found(float(np.degrees(ra)), float(np.degrees(dec)), size or None, kind, True, "OpenNGC")
        names = [name, *(f"{prefix}{n}" for prefix, n in (("M", messier), ("NGC", ngc), ("IC", ic)) if n)]
        names += [n.strip() for n in f"{others},{common}".split(",") if n.strip()]
        for spelling in names:
            index.setdefault(_normalise(spelling), (spelling, found))
    return index


def find_offline(name):
    """Look a name up in OpenNGC; None if it is not there. Any object is found, clusters by more of their names."""
    key = _normalise(name)
    if key in _clusters():
        return _clusters()[key][1]
    from pyongc.ongc import get

    entry = get(key)  # knows galaxies, nebulae and duplicated numbers, too
    if entry is None or entry.rad_coords is None:
        return None
    if _normalise(entry.name) in _clusters():
        return _clusters()[_normalise(entry.name)][1]
    ra, dec = np.degrees(entry.rad_coords)
    return Found(float(ra), float(dec), entry.dimensions[0] or None, entry.type, False, "OpenNGC")


def find_online(name):
    """
    Ask CDS Sesame for a name; None if it does not know it.

    Raises
    ------
    ServiceError
        If no Sesame server answers within ``conf.timeout``.
    """
    from astropy.coordinates import SkyCoord
    from astropy.coordinates.name_resolve import NameResolveError
    from astropy.utils.data import conf as data_conf

    try:
        with data_conf.set_temp("remote_timeout", min(conf.timeout, data_conf.remote_timeout)):
            center = SkyCoord.from_name(name)
    except NameResolveError as err:
        if str(err).startswith("Unable to find"):
            return None
        reason = "did not answer"
    except (OSError, ValueError) as err:
        reason = f"failed ({err})"
    else:
        return Found(center.ra.deg, center.dec.deg, None, "", True, "CDS Sesame")
    msg = f"'name' {name!r} is not in OpenNGC, and CDS Sesame {reason}; {advice(name)}, or try again later"
    raise ServiceError(msg)


def advice(name):
    """What to do about a name that is not known: names of clusters like it, or its position."""
    index = _clusters()
    similar = [index[key][0] for key in difflib.get_close_matches(_normalise(name), list(index), n=2)]
    hint = f"did you mean {' or '.join(similar)}? Else " if similar else ""
    return f"{hint}give its position: center 'RA DEC' and radius"
