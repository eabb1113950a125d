"""What a table, or the VOTable that it is in, says of the release and the epoch of its stars."""

import logging
import re
from io import BytesIO

import numpy as np

from ..exceptions import InputError, ServiceError
from ._releases import RELEASES, get_release

log = logging.getLogger(__name__)

STATEMENTS = ("release_key", "release", "ref_epoch", "refepoch")
"""Where files state release and epoch, in any case."""

SIMULATED = "simulated"
"""What simulated stars say their release is."""


def stated_release(stars):
    """The release that a table's ``meta`` states under ``release_key`` or ``release``, in any case, or None."""
    stated = {release.key: release for release in map(_known, _releases(stars)) if release is not None}
    if len(stated) > 1:
        msg = (
            f"'table' is said to be from {' and from '.join(sorted(stated))}: of table.meta['release'] and "
            "table.meta['release_key'] correct one, or delete it; of a file say which release it is where it is read"
        )
        raise InputError(msg)
    return next(iter(stated.values()), None)


def release_name(stars):
    """What a table's ``meta`` calls its release, known to this package or not; ``"unknown"`` where it says nothing."""
    release = stated_release(stars)
    if release is not None:
        return release.name
    return next(iter(_releases(stars)), "unknown")


def _releases(stars):
    """All that a table's ``meta`` says of its release: a key that is not known may stand beside a name that is."""
    names = ("release_key", "release")
    said = [value for name in names for key, value in stars.meta.items() if str(key).lower() == name]
    return [text.strip() for text in said if isinstance(text, str) and text.strip() not in ("", "unknown")]


def _known(name):
    """The release of a name, or None."""
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
    return _known(stated.pop()) if len(stated) == 1 else None


def julian_year(value):
    """A Julian year from a number or from text such as J2000; None where it is none."""
    try:
        year = float(str(value).strip().lstrip("Jj"))
    except ValueError:
        return None
    return year if 1800 < year < 2200 else None


def state_release(stars, release=None):
    """
    Say in the ``meta`` of a table what release and epoch its stars are of, in the one way the package reads them.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Its ``meta`` has what the file states; changed in place: ``release`` and ``release_key`` ("unknown" where
        neither ``meta`` nor designations state it), ``ref_epoch`` and ``citation`` where known.
    release : Release, optional
        What they are of, whatever the table states.

    Raises
    ------
    InputError
        If the table states two.
    """
    names = _releases(stars)
    if release is None:
        release = stated_release(stars)
    keys = [key for key in stars.meta if str(key).lower() in STATEMENTS]
    stated = {key.lower(): stars.meta.pop(key) for key in reversed(keys)}  # the first of two spellings counts
    if release is None and names:
        log.info("the release that is stated, %r, is not one of %s", names[0], ", ".join(RELEASES))
    elif release is None:
        release = designated_release(stars)
    epoch = julian_year(stated.get("ref_epoch", stated.get("refepoch")))
    if epoch is None and "ref_epoch" in stars.colnames:
        values = np.ma.compressed(np.ma.unique(np.ma.asarray(stars["ref_epoch"])))
        epoch = julian_year(values[0]) if len(values) == 1 else None
    if release is None:
        named = stated.get("release")
        stars.meta.update(release=(named.strip() if isinstance(named, str) else "") or "unknown", release_key="unknown")
    else:
        stars.meta.update(release=release.name, release_key=release.key, citation=release.citation)
        epoch = release.ref_epoch if epoch is None else epoch
    if epoch is not None:
        stars.meta["ref_epoch"] = epoch


# STIL makes one of the COMMENT cards of a FITS file. In quotes there may be a ">".
_MORE = rb"""(?:"[^"]*"|'[^']*'|[^"'>])*?"""
_TEXT_ARRAY = re.compile(
    rb'<PARAM arraysize="\d+x[^"]*"' + _MORE + rb' datatype="char"' + _MORE + rb"(?:/>|>.*?</PARAM>)", re.DOTALL
)


_STREAM_ELSEWHERE = re.compile(rb"<(?:\w+:)?STREAM\b" + _MORE + rb"""\bhref\s*=\s*["']([^"']*)""")
_FITS_INSIDE = re.compile(rb"<(?:\w+:)?FITS\b")


def parse_document(content, name="the VOTable"):
    """
    The VOTable document in ``content``, bytes; a PARAM that is an array of text is left out: astropy has none.

    What has its rows elsewhere, or as FITS, is refused: no other file is opened, nor fetched, and astropy does not
    read these. ``name`` is what an error calls it.
    """
    from astropy.io import votable

    elsewhere = _STREAM_ELSEWHERE.search(content)
    if elsewhere or _FITS_INSIDE.search(content):
        where = f"in another file ({elsewhere[1].decode(errors='replace')})" if elsewhere else "as FITS inside"
        msg = (
            f"{name} has its rows {where}; save it as a VOTable with rows of its own (in TOPCAT, TABLEDATA or BINARY2)"
        )
        raise ServiceError(msg)
    return votable.parse(BytesIO(_TEXT_ARRAY.sub(b"", content)), verify="ignore")


def resources_around(document, table):
    """The RESOURCEs of a VOTable that a TABLE is in, the innermost first: programs nest them."""
    for resource in document.resources:
        if any(inner is table for inner in resource.iter_tables()):
            return [*resources_around(resource, table), resource]
    return []


def _all_resources(document):
    for resource in document.resources:
        yield resource
        yield from _all_resources(resource)


def votable_statements(document, table):
    """
    Release and epoch as a VOTable states them of one of its tables.

    Parameters
    ----------
    document : `~astropy.io.votable.tree.VOTableFile`
        The document.
    table : `~astropy.io.votable.tree.TableElement`
        The table.

    Returns
    -------
    statements : dict of str to str
        Names of `STATEMENTS`, as they are spelt there, ``source`` and ``query``, and what they say: INFO and PARAM, the
        nearest to the table first, and the epoch of the COOSYS that its fields refer to.
    """
    from ._provenance import decode

    meta, stated = {}, [*table.infos, *table.params]
    for resource in resources_around(document, table):
        stated += [*resource.infos, *resource.params]
    for item in [*stated, *document.infos]:
        if item.name and item.name.lower() in STATEMENTS:
            meta.setdefault(item.name, str(item.value))
        elif item.name in ("source", "query"):  # as this package writes them
            meta.setdefault(item.name, str(decode(str(item.value))))
    systems = [*document.coordinate_systems]
    for resource in _all_resources(document):
        systems += resource.coordinate_systems
    epochs = {system.ID: system.epoch for system in systems if system.epoch}
    referred = {epochs[field.ref] for field in table.fields if field.ref in epochs} or set(epochs.values())
    if len(referred) == 1:
        meta.setdefault("ref_epoch", referred.pop())
    return meta


def check_status(document, name):
    """
    Heed what the service that wrote a VOTable says of it (IVOA DALI, section 4.4): a table cut off is warned of.

    Parameters
    ----------
    document : `~astropy.io.votable.tree.VOTableFile`
        The document.
    name : str
        What it is called in messages.

    Raises
    ------
    ServiceError
        If it holds the service's error in place of a table.
    """
    infos = [*document.infos, *(info for resource in _all_resources(document) for info in resource.infos)]
    for info in (info for info in infos if info.name == "QUERY_STATUS"):
        if str(info.value).upper() == "ERROR":
            reason = " ".join(str(info.content or "").split()) or "it does not say which"
            msg = f"{name} holds no stars but an error of the service: {reason}"
            raise ServiceError(msg)
        if str(info.value).upper() == "OVERFLOW":
            log.warning("%s is incomplete: the service has cut it off at its limit of rows (OVERFLOW)", name)
