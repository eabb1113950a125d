"""
Lists of open clusters: OpenClust, to choose what to look at; newer ones, to compare with.

They come by TAP and are kept in the cache folder, or are read from a file. Columns have one set of names and units,
whatever the list calls them.
"""

import hashlib
import logging
import os
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import MaskedColumn, Table

from ..config import cache_folder, conf
from ..exceptions import InputError, ServiceError
from ..region import ClusterRegion
from ._arguments import is_url, limits
from ._lists import CATALOGUES, read_list, uniform

__all__ = ["CATALOGUES", "cluster_list", "openclust", "query_table", "regions_of", "select_openclust", "simbad_motion"]

log = logging.getLogger(__name__)

_LARGEST = 100_000


def query_table(query, url, *, cache=True, offline=False, deadline=None, timeout=None, tries=8, backoff=1.0):
    """
    Ask a TAP service for a small table, and keep the answer.

    Parameters
    ----------
    query : str
        ADQL.
    url : str
        TAP service.
    cache : bool, path-like or None, optional
        Folder in which answers are kept; True for astropy's cache folder, None or False for none.
    offline : bool, optional
        Only take what is kept.
    deadline, timeout, tries, backoff
        As for `decocc_vo.stars.tap.query_region`.

    Returns
    -------
    table : `~astropy.table.Table`
        As the service sent it.

    Raises
    ------
    InputError
        If an argument makes no sense.
    ServiceError
        If the service fails, leaves rows out, or must not be asked.
    """
    from ._folder import QueryFolder, disk
    from ._http import Patience, open_session
    from ._jobs import Jobs

    if not is_url(url):
        msg = f"'url' must be the URL of a TAP service, such as https://host/tap, not {url!r}"
        raise InputError(msg)
    patience = Patience(**limits(deadline, timeout, tries, backoff))
    keep = cache is not None and cache is not False
    folder = cache_folder() if cache is True or not keep else Path(cache)
    name = hashlib.sha256(f"{url}\n{query}".encode()).hexdigest()[:24]
    kept = folder / "catalogues" / f"{name}.vot"
    if keep and (table := _read_kept(kept)) is not None:
        return table
    if offline:
        msg = f"'offline' forbids to ask {url} for a table that is not kept as {kept}; fetch it once with the network"
        raise ServiceError(msg)
    work = QueryFolder(folder / "tap" / name)
    work.acquire(patience)
    try:
        # Another run may have fetched it, which was waited for.
        if keep and (table := _read_kept(kept)) is not None:
            work.discard()
            return table
        with open_session(url, patience) as session:
            jobs = Jobs(url, session, patience, work.save)
            entry, path = work.state.setdefault("job", {}), work.path / "table.vot"
            table, overflow = jobs.run(entry, query, _LARGEST, path, stubborn=False)
            jobs.delete(entry)
            if overflow:
                work.discard()
                msg = f"{url} sent only {len(table)} rows of the table; use another service"
                raise ServiceError(msg)
            if keep:
                with disk(kept.parent):
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(path, kept)
        work.discard()
    finally:
        work.release()
    return table


def _read_kept(path):
    """The answer that is kept at ``path``; None where there is none, or a damaged one, which the next replaces."""
    from ._jobs import read_result

    if not path.exists():
        return None
    try:
        return read_result(path)[0]
    except ServiceError as error:
        log.warning("%s is not used: %s", path, error)
        return None


def cluster_list(key, *, path=None, service="vizier", **options):
    """
    A list of clusters.

    Parameters
    ----------
    key : str
        ``openclust``, ``cantat2020`` or ``hunt2023``.
    path : path-like, optional
        Read this file instead of asking a service: a CDS ``.dat`` file with its ``ReadMe`` beside it, or a table
        with the columns VizieR gives it, in any format astropy reads.
    service : str, optional
        ``vizier``, or ``heasarc`` for OpenClust.
    **options
        Of `query_table`: ``cache``, ``offline``, ...

    Returns
    -------
    clusters : `~astropy.table.Table`
        One row a cluster: name, ra and dec in degrees (ICRS), and what else the list has, masked where it is
        unknown. ``meta`` says where it comes from.

    Raises
    ------
    InputError
        If there is no such list, service or file, or the file is another table.
    ServiceError
        If the service fails.
    """
    if key not in CATALOGUES:
        msg = f"'catalogue' {key!r} is not known; choose one of {', '.join(CATALOGUES)}"
        raise InputError(msg)
    catalogue = CATALOGUES[key]
    if path is not None:
        table, source = read_list(Path(path)), str(path)
    else:
        if service not in catalogue.services:
            msg = f"'service' {service!r} does not have {catalogue.title}; use {' or '.join(catalogue.services)}"
            raise InputError(msg)
        url, name = catalogue.services[service]
        table, source = query_table(f"SELECT * FROM {name}", url, **options), f"{url} ({name})"
    return uniform(table, catalogue, source)


def openclust(path=None, **options):
    """
    OpenClust, the catalogue of optically visible open clusters: ``cluster_list("openclust")``.

    Dias et al. 2002, A&A 389, 871, version 3.5: 2167 clusters and candidates.
    """
    return cluster_list("openclust", path=path, **options)


def select_openclust(
    min_diameter=25 * u.arcmin,
    *,
    max_diameter=None,
    max_distance=None,
    known=(),
    classes=None,
    clusters=None,
    **options,
):
    """
    Choose clusters of OpenClust; by default as the thesis did: more than 25 arcmin across.

    Parameters
    ----------
    min_diameter : `~astropy.units.Quantity`, optional
        The apparent diameter must be more than this.
    max_diameter, max_distance : `~astropy.units.Quantity`, optional
        Largest apparent diameter and distance.
    known : iterable of str, optional
        Columns that must have a value: ``("pmra", "distance")``.
    classes : iterable of str, optional
        Classification flags to keep; the empty one marks a plain open cluster.
    clusters : `~astropy.table.Table`, optional
        What to choose from; by default `openclust`.
    **options
        Of `openclust`: ``path``, ``service``, ``offline``, ...

    Returns
    -------
    clusters : `~astropy.table.Table`
        The rows that pass; `regions_of` makes regions of them.

    Examples
    --------
    >>> from decocc_vo.stars.catalogues import regions_of, select_openclust
    >>> chosen = select_openclust(known=("pmra",))  # doctest: +SKIP
    >>> regions = regions_of(chosen)  # doctest: +SKIP
    """
    table = openclust(**options) if clusters is None else clusters
    keep = np.ma.filled(_values(table, "diam", u.arcmin) > _size(min_diameter, "min_diameter", u.arcmin), False)
    if max_diameter is not None:
        keep &= np.ma.filled(_values(table, "diam", u.arcmin) <= _size(max_diameter, "max_diameter", u.arcmin), False)
    if max_distance is not None:
        keep &= np.ma.filled(_values(table, "distance", u.pc) <= _size(max_distance, "max_distance", u.pc), False)
    for name in [known] if isinstance(known, str) else known:
        if name not in table.colnames:
            msg = f"'known' names {name!r}, which is no column of the list; it has {', '.join(table.colnames)}"
            raise InputError(msg)
        keep &= ~np.ma.getmaskarray(table[name])
    if classes is not None:
        keep &= np.isin(np.asarray(np.ma.filled(table["class"], "")), list(classes))
    return table[keep]


def regions_of(clusters):
    """Regions of the rows of `openclust`: cones of 1.5 times the catalogued radius, and of 15 arcmin at least."""
    return [ClusterRegion.from_openclust(row) for row in clusters]


def simbad_motion(name):
    """
    What Simbad says of a cluster's mean motion and parallax, for the tables that compare.

    Parameters
    ----------
    name : str
        Name of the cluster.

    Returns
    -------
    cluster : `~astropy.table.Table`
        One row: name, ra, dec, pmra, pmdec, parallax, parallax_error, radial_velocity; masked where Simbad has none.

    Raises
    ------
    InputError
        If Simbad does not know the name.
    ServiceError
        If Simbad cannot be asked.
    """
    from astroquery.simbad import Simbad

    if not conf.resolve_names_online:
        msg = "'resolve_names_online' is off, so that Simbad is not asked; set decocc_vo.conf.resolve_names_online"
        raise ServiceError(msg)
    columns = ("main_id", "ra", "dec", "pmra", "pmdec", "plx_value", "plx_err", "rvz_radvel")
    names = ("name", "ra", "dec", "pmra", "pmdec", "parallax", "parallax_error", "radial_velocity")
    units = (None, u.deg, u.deg, u.mas / u.yr, u.mas / u.yr, u.mas, u.mas, u.km / u.s)
    for spelling in (name, f"Cl {name}"):
        quoted = spelling.replace("'", "''")
        query = f"SELECT {', '.join(columns)} FROM basic JOIN ident ON oid = oidref WHERE id = '{quoted}'"
        try:
            found = Simbad.query_tap(query)
        except Exception as error:  # astroquery and pyvo raise many kinds
            msg = f"Simbad cannot be asked for {name!r}: {' '.join(str(error).split())[:200]}; try again later"
            raise ServiceError(msg) from error
        if found is not None and len(found):
            row = Table(found[:1], masked=True, copy=True)
            row.rename_columns(columns, names)
            for column, unit in zip(names, units, strict=True):
                if unit is not None:
                    values = np.ma.masked_invalid(np.ma.asarray(row[column]).astype(float))
                    row[column] = MaskedColumn(values, unit=unit)
            row.meta = {"source": "Simbad, CDS", "query": query, "citation": "Wenger et al. 2000, A&AS 143, 9"}
            return row
    msg = f"'name' {name!r} is not known to Simbad"
    raise InputError(msg)


def _values(table, name, unit):
    values = np.ma.masked_invalid(np.ma.asarray(table[name]).astype(float))
    return values * (table[name].unit or unit).to(unit)


def _size(value, argument, unit):
    try:
        return u.Quantity(value).to_value(unit)
    except (u.UnitConversionError, TypeError) as error:
        msg = f"'{argument}' must be a Quantity that converts to {unit}, such as {25 * unit!s}"
        raise InputError(msg) from error
