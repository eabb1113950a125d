"""Scripts for Aladin: the members over an image of the sky."""

import time

import numpy as np

from ..columns import degrees, registry_names
from ..exceptions import InputError, ServiceError
from .client import NAME, connect
from .sending import START_SECONDS, find_programs, member_rows

__all__ = ["overlay_script", "send_script"]

DSS = "CDS/P/DSS2/color"
"""The colour image of the Digitized Sky Survey, as a HiPS."""

_PER_MESSAGE = 400  # members drawn by one script, so that no message grows too large for Aladin


def overlay_script(table, region=None, *, members=None, color="red", size="10arcsec", image=DSS, name="DECOCC members"):
    """
    Write an Aladin script that draws the members over an image of the region.

    Parameters
    ----------
    table : `~astropy.table.Table` or `~decocc_vo.membership.Membership`
        Stars with ``ra`` and ``dec``, in degrees where they have no unit, or the result of a fit.
    region : `~decocc_vo.ClusterRegion`, optional
        What the view shows; by default the footprint of the table.
    members : array, optional
        As for `send_table`.
    color : str
        A colour Aladin knows: ``red``, ``orange``, ``cyan``, ... or ``rgb(r,g,b)``.
    size : str or `~astropy.units.Quantity`
        Radius of the circle around each member.
    image : str or None
        Identifier of the HiPS in the background, which Aladin fetches from the CDS; None keeps what is there.
    name : str
        Name of the overlay in Aladin's stack.

    Returns
    -------
    script : str
        One command a line; Aladin also runs it from its console or a file.

    Raises
    ------
    InputError
        If the table has no positions, ``size`` is no angle, or ``name`` has quotes or line ends.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from decocc_vo.samp import overlay_script
    >>> stars = Table({"ra": [56.7, 56.8], "dec": [24.1, 24.2], "membership_prob": [0.9, 0.1]})
    >>> print(overlay_script(stars))
    get hips(CDS/P/DSS2/color) 56.749980 +24.150008 4.1arcmin
    zoom 0.135deg
    draw newtool("DECOCC members")
    set "DECOCC members" color=red
    draw mode(radec)
    draw circle(56.7000000,+24.1000000,10.0arcsec)
    """
    import astropy.units as u
    from astropy.coordinates import Angle
    from astropy.table import Table

    from ..region import ClusterRegion

    if '"' in name or "\n" in name:
        msg = "'name' must be text without quotes or line ends"
        raise InputError(msg)
    try:
        radius = Angle(size).arcsec
    except (u.UnitsError, ValueError, TypeError):
        msg = f"'size' must be an angle with its unit, such as '10arcsec', not {size!r}"
        raise InputError(msg) from None
    table = getattr(table, "table", table)
    names = registry_names(table)
    if not {"ra", "dec"} <= set(names):
        msg = "'table' has no positions; it needs the columns ra and dec"
        raise InputError(msg)
    place = Table({name: degrees(table[names[name]]) for name in ("ra", "dec")})
    region = region or ClusterRegion.from_table(place)
    rows = member_rows(table, members)
    lines = []
    if image is not None:
        lines.append(f"get hips({image}) {region.ra_deg:.6f} {region.dec_deg:+.6f} {60 * region.radius_deg:.1f}arcmin")
    lines.append(f"zoom {2 * region.radius_deg:.3f}deg")
    lines += [f'draw newtool("{name}")', f'set "{name}" color={color}', "draw mode(radec)"]
    for ra, dec in zip(place["ra"][rows], place["dec"][rows], strict=True):
        if np.isfinite(ra) and np.isfinite(dec):
            lines.append(f"draw circle({ra:.7f},{dec:+.7f},{radius:.1f}arcsec)")
    return "\n".join(lines)


def send_script(script, *, hub=False, timeout=60.0):
    """
    Let Aladin run a script.

    Parameters
    ----------
    script : str
        Commands of Aladin's script language, one a line, as `overlay_script` writes them.
    hub : bool
        Start a hub in this process if none runs, and wait for Aladin to join it.
    timeout : float
        Seconds to wait in all.

    Raises
    ------
    ServiceError
        If there is no hub or no Aladin on it, or it does not take the script.
    """
    deadline = time.monotonic() + timeout
    with connect(NAME, hub=hub) as connection:
        patience = timeout if connection.hub is not None else START_SECONDS
        for program in find_programs(connection, "aladin", mtype="script.aladin.send", patience=patience):
            run_script(connection, program, script, timeout=deadline - time.monotonic())


def run_script(connection, program, script, *, timeout):
    """Send a script to one Aladin in pieces it can swallow; every piece must be accepted."""
    deadline = time.monotonic() + timeout
    lines = script.splitlines()
    for start in range(0, len(lines), _PER_MESSAGE):
        piece = "\n".join(lines[start : start + _PER_MESSAGE])
        try:
            connection.call(program, "script.aladin.send", {"script": piece}, max(deadline - time.monotonic(), 0.1))
        except TimeoutError as exc:
            raise ServiceError(str(exc)) from exc
