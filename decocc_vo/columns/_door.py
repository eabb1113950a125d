"""The door: a table of stars is checked here once, and everything behind it can trust what it sees."""

import numpy as np

from ..exceptions import InputError
from ._names import find_names
from ._numbers import floats
from ._registry import ASTROMETRY, COLUMNS, describe
from ._statements import designated_release, stated_release
from ._values import to_registry

_MADE = {
    "DataFrame": "Table.from_pandas",
    "ndarray": "Table",
    "str": "decocc_vo.read_stars",
    "PosixPath": "decocc_vo.read_stars",
    "WindowsPath": "decocc_vo.read_stars",
}


def conform(table, columns=None):
    """
    Check a table of stars and bring the columns the package knows to the registry's names, units and types.

    This is the one place where data is checked. The rows stay as they are, in number and order; columns the
    registry does not know are left out of the copy.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Stars, one a row. Columns are found by their registry name (`decocc_vo.COLUMNS`), in any case, or by the
        spelling VizieR uses. A column without unit is taken to be in the registry's unit.
    columns : mapping of str to str, optional
        Registry name to the name in ``table``, where they differ: ``{"pmra": "pmRA"}``.

    Returns
    -------
    `~astropy.table.Table`
        The known columns but for those that methods add (``membership_prob`` and its like), with unit, UCD and
        description, masked where a value is missing, not finite, or one that no star has, as 1e20: beyond 1e5 mas/yr,
        60 mag, a parallax of 1e3 mas, and a correlation of one; motions and parallaxes of -999, -9999 and -99999, too.
        ``table.meta`` is copied; a release that it does not state is read off Gaia's designations.

    Raises
    ------
    InputError
        If ``table`` has no rows, lacks a column of `ASTROMETRY`, or holds one with a unit, type or range that
        makes no sense.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import Table
    >>> from decocc_vo.columns import conform
    >>> raw = Table({"RA_ICRS": [56.7], "DE_ICRS": [24.1], "pmRA": [0.02], "pmDE": [-0.045], "Plx": [7.4]})
    >>> raw["pmRA"].unit = raw["pmDE"].unit = u.arcsec / u.yr
    >>> stars = conform(raw)
    >>> stars["pmra"][0], str(stars["pmra"].unit)
    (np.float64(20.0), 'mas / yr')
    """
    plain = _plain_table(table)
    if plain is None:
        kind = type(table).__name__
        made = "; make one with " + _MADE[kind] if kind in _MADE else ""
        msg = f"'table' must be an astropy Table of stars, not {kind}{made}"
        raise InputError(msg)
    found = find_names(table, columns or {})
    missing = [name for name in ASTROMETRY if name not in found]
    if missing:
        aliases = {alias for name in missing for alias in COLUMNS[name].aliases}
        textual = [repr(name) for name in table.colnames if name.lower() in aliases]
        msg = (
            f"'table' lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            "rename, or say columns={'pmra': 'your_name', ...}, on the command line --columns pmra=your_name,..."
            + (f" ({', '.join(textual)}: text, not numbers)" if textual else "")
        )
        raise InputError(msg)
    if len(table) == 0:
        msg = "'table' has no rows; a cluster needs stars"
        raise InputError(msg)
    stars = plain(masked=True, meta=dict(table.meta))
    release = stated_release(table) or designated_release(table)
    if release is not None:
        stars.meta |= {"release": release.name, "release_key": release.key}
    for name, source in found.items():
        stars[name] = to_registry(table[source], COLUMNS[name], source)
        describe(stars[name])
    if "bp_rp" not in stars.colnames and {"phot_bp_mean_mag", "phot_rp_mean_mag"} <= set(stars.colnames):
        stars["bp_rp"] = stars["phot_bp_mean_mag"] - stars["phot_rp_mean_mag"]
        describe(stars["bp_rp"])
    for name, low, high in (("ra", -360.0, 720.0), ("dec", -90.0, 90.0)):
        values = floats(stars[name])
        if np.any((values < low) | (values > high)):
            msg = f"'{found[name]}' leaves {low:g} to {high:g} deg; is it in another unit?"
            raise InputError(msg)
    return stars


def _plain_table(table):
    """The class Table behind a table, found without importing astropy.table here; None where it is no table."""
    bases = (c for c in type(table).__mro__ if c.__module__ == "astropy.table.table" and c.__name__ == "Table")
    return next(bases, None)
