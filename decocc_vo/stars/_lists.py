"""The lists of clusters: where each is served, what its columns are called there, and one set of names for all."""

import re
from dataclasses import dataclass
from types import MappingProxyType

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table

from ..columns._services import VIZIER
from ..exceptions import InputError, ServiceError

__all__ = ["CATALOGUES", "Catalogue", "read_list", "uniform"]

HEASARC = "https://heasarc.gsfc.nasa.gov/xamin/vo/tap"
_MASYR = u.mas / u.yr
_SIZE = ("diam", "r50")  # a list has one of them


@dataclass(frozen=True)
class Catalogue:
    """
    A list of clusters: where it is served, and what its columns are called there.

    ``services`` maps a key to (TAP URL, table); ``names`` maps our name to (unit or None for text, their spellings).
    """

    title: str
    citation: str
    services: MappingProxyType
    names: MappingProxyType


_OPENCLUST = {
    "name": (None, ("Cluster", "name")),
    "diam": (u.arcmin, ("Diam", "diameter", "angular_diameter")),
    "distance": (u.pc, ("Dist", "distance")),
    "ebv": (u.mag, ("E(B-V)", "e_bv", "ebv", "e_b_v")),
    "log_age": (u.one, ("Age", "log_age")),
    "pmra": (_MASYR, ("pmRA", "pm_ra")),
    "pmra_error": (_MASYR, ("e_pmRA", "pm_ra_error")),
    "pmdec": (_MASYR, ("pmDE", "pm_dec")),
    "pmdec_error": (_MASYR, ("e_pmDE", "pm_dec_error")),
    "n_members": (u.one, ("Nc", "num_members", "number_stars")),
    "radial_velocity": (u.km / u.s, ("RV", "radial_velocity", "rad_vel")),
    "radial_velocity_error": (u.km / u.s, ("e_RV", "radial_velocity_error", "rad_vel_error")),
    "fe_h": (u.one, ("[Fe/H]", "fe_h", "metallicity")),
    "class": (None, ("Class", "class_type", "cluster_class")),
    "trumpler": (None, ("TrType", "trumpler_type")),
}
_CANTAT = {
    "name": (None, ("Cluster",)),
    "r50": (u.deg, ("r50",)),
    "n_members": (u.one, ("nbstars07", "Nmemb")),
    "pmra": (_MASYR, ("pmRA*", "pmRA")),
    "pmdec": (_MASYR, ("pmDE",)),
    "parallax": (u.mas, ("plx",)),
    "log_age": (u.one, ("AgeNN",)),
    "av": (u.mag, ("AVNN",)),
    "distance": (u.pc, ("DistPc",)),
}
_HUNT = {
    "name": (None, ("Name",)),
    "all_names": (None, ("AllNames",)),
    "type": (None, ("Type",)),
    "r50": (u.deg, ("r50",)),
    "n_members": (u.one, ("N",)),
    "significance": (u.one, ("CST",)),
    "pmra": (_MASYR, ("pmRA",)),
    "pmra_dispersion": (_MASYR, ("s_pmRA",)),
    "pmra_error": (_MASYR, ("e_pmRA",)),
    "pmdec": (_MASYR, ("pmDE",)),
    "pmdec_dispersion": (_MASYR, ("s_pmDE",)),
    "pmdec_error": (_MASYR, ("e_pmDE",)),
    "parallax": (u.mas, ("Plx",)),
    "parallax_dispersion": (u.mas, ("s_Plx",)),
    "parallax_error": (u.mas, ("e_Plx",)),
    "distance": (u.pc, ("dist50",)),
    "radial_velocity": (u.km / u.s, ("RV",)),
    "log_age": (u.one, ("logAge50",)),
    "av": (u.mag, ("AV50",)),
}

CATALOGUES = MappingProxyType(
    {
        "openclust": Catalogue(
            "OpenClust V3.5",
            "Dias et al. 2002, A&A 389, 871 (CDS B/ocl)",
            MappingProxyType({"vizier": (VIZIER, '"B/ocl/clusters"'), "heasarc": (HEASARC, "openclust")}),
            MappingProxyType(_OPENCLUST),
        ),
        "cantat2020": Catalogue(
            "Cantat-Gaudin et al. 2020",
            "Cantat-Gaudin et al. 2020, A&A 640, A1 (CDS J/A+A/640/A1)",
            MappingProxyType({"vizier": (VIZIER, '"J/A+A/640/A1/table1"')}),
            MappingProxyType(_CANTAT),
        ),
        "hunt2023": Catalogue(
            "Hunt & Reffert 2023",
            "Hunt & Reffert 2023, A&A 673, A114 (CDS J/A+A/673/A114)",
            MappingProxyType({"vizier": (VIZIER, '"J/A+A/673/A114/clusters"')}),
            MappingProxyType(_HUNT),
        ),
    }
)
"""Lists of clusters by key."""


def read_list(path):
    """The table of a file: CDS's own format with its ReadMe beside it, or any that astropy reads."""
    if not path.exists():
        msg = f"'path' {path} is not there"
        raise InputError(msg)
    try:
        if path.suffix == ".dat":
            readme = next((f for f in path.parent.iterdir() if f.stem.lower() == "readme"), None)
            if readme is None:
                msg = f"'path' {path} is a CDS file, which needs its ReadMe beside it"
                raise InputError(msg)
            return Table.read(path, readme=str(readme), format="ascii.cds")
        if path.suffix == ".csv":
            return Table.read(path, format="ascii.csv", fill_values=[("nan", "0"), ("", "0")])
        return Table.read(path)
    except InputError:
        raise
    except Exception as error:  # readers raise many kinds
        msg = f"'path' {path} cannot be read as a table: {' '.join(str(error).split())[:200]}"
        raise InputError(msg) from error


def _plain(name):
    """A column's name without what services make of signs: ``pmRA*`` may come as ``pmRA_``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def uniform(table, catalogue, source):
    """A list's table, from ``source``, with our names and units and a position in degrees."""
    by_name = {name.lower(): name for name in table.colnames}
    by_plain = {_plain(name): name for name in table.colnames}

    def find(*spellings):
        exact = [by_name[s.lower()] for s in spellings if s.lower() in by_name]
        return next(iter(exact + [by_plain[_plain(s)] for s in spellings if _plain(s) in by_plain]), None)

    missing = [name for name in ("name", *_SIZE) if name in catalogue.names and not find(*catalogue.names[name][1])]
    if missing:
        msg = f"{source} does not look like {catalogue.title}: it has no {catalogue.names[missing[0]][1][0]}"
        raise ServiceError(msg)
    position = _position(table, find, source)
    out = Table(masked=True)
    for name, (unit, spellings) in catalogue.names.items():
        column = find(*spellings)
        if column is not None:
            out[name] = _text(table[column]) if unit is None else _number(table[column], unit)
        if name == "name":
            out["ra"] = MaskedColumn(position.ra.deg, unit="deg")
            out["dec"] = MaskedColumn(position.dec.deg, unit="deg")
    out.meta = {"source": source, "catalogue": catalogue.title, "citation": catalogue.citation}
    return out


def _position(table, find, source):
    parts = [find(name) for name in ("RAh", "RAm", "RAs", "DE-", "DEd", "DEm", "DEs")]
    if all(parts):
        h, m, s, sign, d, dm, ds = (table[name] for name in parts)
        dec = np.where(np.asarray(sign) == "-", -1, 1) * (np.asarray(d) + np.asarray(dm) / 60 + np.asarray(ds) / 3600.0)
        ra = 15 * (np.asarray(h) + np.asarray(m) / 60 + np.asarray(s) / 3600.0)
        return SkyCoord(ra * u.deg, dec * u.deg)
    ra, dec = find("RA_ICRS", "RAJ2000", "ra"), find("DE_ICRS", "DEJ2000", "dec")
    if ra is None or dec is None:
        msg = f"{source} has no position"
        raise ServiceError(msg)
    if table[ra].dtype.kind in "OSU":
        return SkyCoord([str(x) for x in table[ra]], [str(x) for x in table[dec]], unit=("hourangle", "deg"))
    return SkyCoord(np.asarray(table[ra], float) * u.deg, np.asarray(table[dec], float) * u.deg)


def _text(column):
    values = [("" if value is np.ma.masked else str(value)).strip().replace("_", " ") for value in column]
    return MaskedColumn(values, mask=[not value for value in values])


def _number(column, unit):
    values = np.ma.asarray(column)
    if values.dtype.kind in "OSU":
        text = [str(np.ma.filled(value, "")).strip() for value in values]
        values = np.array([float(x) if re.fullmatch(r"[-+.\deE]+", x) else np.nan for x in text])
    values = np.ma.masked_invalid(values.astype(float))
    given = column.unit
    # Logarithms and ratios have no unit, whatever a service writes there.
    factor = 1.0 if given is None or unit == u.one else given.to(unit)
    return MaskedColumn(values * factor, unit=None if unit == u.one else unit)
