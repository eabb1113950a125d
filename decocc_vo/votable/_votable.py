"""VOTable 1.5 (BINARY2) with COOSYS, UCDs and provenance."""

import astropy.units as u
import numpy as np
from astropy.io import votable
from astropy.io.votable import tree
from astropy.io.votable.ucd import check_ucd
from astropy.table import Column, MaskedColumn, Table
from astropy.table.serialize import represent_mixins_as_columns
from astropy.utils.xml.check import fix_id

from .. import __version__
from ..columns import COLUMNS, julian_year, registry_names, stated_release
from ..columns._provenance import flatten, is_plain
from ..columns._votable import MARK
from ..exceptions import InputError
from ._atomic import atomic_path
from ._binary2 import Binary2Table

_OTHERS = (".fits", ".fit", ".fts", ".ecsv", ".csv", ".tsv", ".parquet", ".parq")  # endings of other formats
_COOSYS = "ICRS"
_IN_FRAME = ("ra", "dec", "parallax", "pmra", "pmdec", "radial_velocity")
# numpy types a FIELD has a datatype for; every other is noted and restored.
_NATIVE = {np.dtype(code) for code in ("u1", "i2", "i4", "i8", "f4", "f8", "c8", "c16")}
_LARGER = {"b": "i2", "i1": "i2", "u2": "i4", "u4": "i8", "u8": "i8", "f2": "f4"}


def to_votable(table):
    """
    Build a VOTable 1.5 document of a table, for a file or for SAMP.

    Positions and motions refer to a COOSYS (ICRS, at ``table.meta["ref_epoch"]``). Every FIELD has a UCD and a
    description: the column's own, else the registry's (`decocc_vo.COLUMNS`), else a general one. ``table.meta``
    becomes INFO elements, nested keys joined by dots: ``decocc.seed``. Booleans are written as ``short``, since
    TOPCAT and TAP services fail on the ``bit`` other writers make of them; `read_votable` gives booleans again.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table; mixin columns (SkyCoord, Time, ...) are written as their components.

    Returns
    -------
    document : `~astropy.io.votable.tree.VOTableFile`
        One RESOURCE with one TABLE; its serialisation is BINARY2.

    Raises
    ------
    InputError
        If ``table`` is no table, or a column holds what VOTable cannot.

    References
    ----------
    VOTable Format Definition 1.5, IVOA Recommendation 2025; Data Origin in the VO, IVOA Note 2024.

    Examples
    --------
    >>> from astropy.table import Column, MaskedColumn, Table
    >>> from decocc_vo.votable import to_votable
    >>> stars = Table({"ra": [56.7], "membership_prob": [0.9]}, meta={"ref_epoch": 2016.0, "decocc": {"seed": 0}})
    >>> document = to_votable(stars)
    >>> document.resources[0].coordinate_systems[0].epoch
    'J2016.0'
    >>> [(info.name, info.value) for info in document.resources[0].infos]
    [('ref_epoch', '2016.0'), ('decocc.seed', '0')]
    """
    stars = plain_table(table)
    document = tree.VOTableFile(version="1.5")
    document.infos.append(_info(MARK, __version__))
    document.infos[0].content = "Written by decocc_vo; an INFO below is text, or JSON where it reads as JSON"
    resource = tree.Resource(type="results")
    document.resources.append(resource)
    epoch = _epoch(stars)
    frame = tree.CooSys(
        ID=_COOSYS,
        system="ICRS",
        epoch=None if epoch is None else f"J{epoch}",
        refposition="BARYCENTER",
        config=document._config,
    )
    meaning = {theirs: ours for ours, theirs in registry_names(stars).items()}
    if any(map(_is_in_frame, meaning.values())):
        resource.coordinate_systems.append(frame)
    resource.infos.extend(_info(name, text) for name, text in flatten(stars.meta))

    element = Binary2Table(document, name="stars", nrows=len(stars))
    element.format = "binary2"
    release = stars.meta.get("release", "")
    element.description = f"Stars of {release}" if isinstance(release, str) and is_plain(release) else "Stars"
    used, notes, data = {_COOSYS}, {}, {}
    for name in stars.colnames:
        values, note = _storable(stars[name])
        field, more = _field(document, stars[name], values, used, meaning.get(name))
        element.fields.append(field)
        data[field.ID] = values
        if note | more:
            notes[name] = note | more
    element.array = _record_array(data, len(stars))
    element.infos.extend(_info(name, text) for name, text in flatten(notes))
    resource.tables.append(element)
    return document


def write_votable(table, path, *, overwrite=True):
    """
    Write a table as a VOTable 1.5 file (BINARY2), see `to_votable` for what it holds.

    The file appears under its name only when it is complete.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The table, usually ``result.table``.
    path : str or path-like
        Where to write.
    overwrite : bool, optional
        Whether an existing file is replaced.

    Raises
    ------
    InputError
        If the table cannot be written as a VOTable, the name is that of another format, or the file exists and
        ``overwrite`` is false.
    ServiceError
        If the folder does not exist or the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> from astropy.table import Column, MaskedColumn, Table
    >>> from decocc_vo import write_votable
    >>> from decocc_vo.votable import read_votable
    >>> path = os.path.join(tempfile.mkdtemp(), "stars.vot")
    >>> write_votable(Table({"source_id": [66733552578791296]}, meta={"release": "Gaia DR3"}), path)
    >>> stars = read_votable(path)
    >>> stars["source_id"][0], stars["source_id"].meta["ucd"], stars.meta
    (np.int64(66733552578791296), 'meta.id;meta.main', {'release': 'Gaia DR3'})
    """
    if str(path).lower().removesuffix(".gz").endswith(_OTHERS):
        msg = f"'path' {path} is no name of a VOTable; end it in .vot, or take write_table, which follows the ending"
        raise InputError(msg)
    document = to_votable(table)
    with atomic_path(path, overwrite) as temporary:
        document.to_xml(str(temporary))


def _info(name, text):
    info = tree.Info(ID="info", name=name, value=text, config={"version_1_2_or_later": True})
    info.ID = None  # without one astropy makes it of the name, which another element may have
    return info


def _epoch(stars):
    """Epoch of the positions, as the table says or as its release has."""
    for key in ("ref_epoch", "REFEPOCH"):
        if (year := julian_year(stars.meta.get(key))) is not None:
            return year
    release = stated_release(stars)
    return None if release is None else release.ref_epoch


def _is_in_frame(name):
    return name is not None and name.removesuffix("_error") in _IN_FRAME


def plain_table(table):
    """
    A Table of plain columns: quantities by their unit, other mixins by their components.

    Angles in hours are in degrees: "15deg", as a VOTable says it, readers take for degrees.
    """
    if not isinstance(table, Table):
        msg = f"'table' must be an astropy Table, not {type(table).__name__}; give result.table"
        raise InputError(msg)
    plain = represent_mixins_as_columns(Table(table, copy=False))
    plain.meta.pop("__serialized_columns__", None)
    for name in plain.colnames:
        if plain[name].unit == u.hourangle:
            plain[name] = _in_degrees(plain[name])
    return plain


def _in_degrees(column):
    attributes = {key: getattr(column, key) for key in ("name", "description", "meta")}
    values = 15.0 * np.ma.asarray(column).astype(float)
    return (MaskedColumn if np.ma.is_masked(values) else Column)(values, unit=u.deg, **attributes)


def _storable(column):
    """Masked values a FIELD can hold, and notes on what must be restored: the dtype, masks within a cell."""
    values, note = np.ma.asarray(column), {}
    if 0 in values.shape[1:]:
        msg = f"'table' column {column.name!r} has arrays without a value, which VOTable cannot hold; leave it out"
        raise InputError(msg)
    mask = np.ma.getmaskarray(values)
    if values.dtype.kind in "OSU":
        values, note = as_texts(column.name, values, mask)
    elif values.dtype.newbyteorder("=") not in _NATIVE:
        code = "b" if values.dtype.kind == "b" else values.dtype.str[1:]
        if code not in _LARGER or (code == "u8" and np.any(values.filled(0) > np.iinfo(np.int64).max)):
            msg = f"'table' column {column.name!r} has values of type {values.dtype}, which VOTable cannot hold"
            raise InputError(msg)
        note["dtype"] = values.dtype.name
        values = values.astype(_LARGER[code])
    if values.ndim > 1 and len(values):
        cells = mask.reshape(len(values), -1)
        if np.any(cells.any(axis=1) & ~cells.all(axis=1)):
            note["mask"] = mask
    return values, note


def as_texts(name, values, mask):
    """Strings as str, and what type they were."""
    dtype = values.dtype
    if values.ndim > 1:
        msg = f"'table' column {name!r} holds arrays of strings, which cannot be written; split it or leave it out"
        raise InputError(msg)
    texts = [
        "" if null else v.decode() if isinstance(v, bytes) else v for v, null in zip(values.data, mask, strict=True)
    ]
    if dtype.kind == "O":
        texts = ["" if v is None else v for v in texts]
        mask = mask | np.array([v is None for v in values.data], dtype=bool)
    if not all(isinstance(v, str) for v in texts):
        msg = f"'table' column {name!r} holds objects; give it one type, or leave it out"
        raise InputError(msg)
    data = np.array(texts, dtype=str) if texts else np.empty(0, "U1")
    return np.ma.masked_array(data, mask=mask), {"dtype": "object" if dtype.kind == "O" else dtype.str[1:]}


def _field(document, column, values, used, meaning):
    """The FIELD of a column, which is the registry's ``meaning`` or None, and notes on what it cannot say."""
    note, own = {}, dict(column.meta)
    registry = COLUMNS.get(meaning)
    identifier = fix_id(column.name) or "column"
    while identifier in used:
        identifier += "_"
    used.add(identifier)

    added = []
    ucd = own.pop("ucd", None)
    if not (isinstance(ucd, str) and check_ucd(ucd, check_controlled_vocabulary=True, has_colon=True)):
        if ucd is not None:
            note["ucd"] = ucd
        added.append("ucd")
        general = "meta.note" if values.dtype.kind == "U" else "meta.code" if column.dtype.kind == "b" else "arith"
        ucd = registry.ucd if registry else general
    description = column.description
    if not description:
        added.append("description")
        description = registry.description if registry else f"Column {column.name}"
    if description != " ".join(description.split()) or not is_plain(description):
        note["description"] = description
        description = " ".join("".join(c if is_plain(c) else " " for c in description).split()) or "Described in INFO"
    if added and not registry:
        note["added"] = added

    unit = column.unit
    if unit is None and registry:
        unit = registry.unit
    if unit is not None and not is_spelt(unit, "vounit"):
        note["unit"] = unit.to_string()
        unit = registry.unit if registry and registry.unit == u.mag and isinstance(unit, u.MagUnit) else None
    attributes = {}
    for key in ("utype", "xtype"):
        if isinstance(own.get(key), str) and own[key] and is_plain(own[key]):
            attributes[key] = own.pop(key)
    own = {key: item for key, item in own.items() if not key.startswith("_votable_")}
    if own:
        note["meta"] = own
    if column.format is not None and isinstance(column.format, str):
        note["format"] = column.format

    name = column.name
    if not is_plain(name) or name != " ".join(name.split()):
        note["id"] = identifier
        name = identifier
    field = tree.Field(
        document,
        ID=identifier,
        name=name,
        unit=unit,
        ucd=ucd,
        ref=_COOSYS if _is_in_frame(meaning) else None,
        config=document._config,
        **_datatype(values),
        **attributes,
    )
    field.description = description
    return field, note


def _datatype(values):
    """
    Datatype and size of a FIELD; strings have the size of the longest, in ASCII where that is enough.

    At least two characters, since a size of one is deprecated.
    """
    if values.dtype.kind != "U":
        return votable.converters.numpy_to_votable_dtype(
            values.dtype.newbyteorder("="), tuple(reversed(values.shape[1:]))
        )
    texts = values.data.tolist()
    ascii_only = all(text.isascii() for text in texts)
    size = max((len(t) if ascii_only else len(t.encode("utf_16_be")) // 2 for t in texts), default=1)
    return {"datatype": "char" if ascii_only else "unicodeChar", "arraysize": str(max(size, 2))}


def is_spelt(unit, form):
    """Whether a unit can be written in a format of astropy's, and be read back from it as it is."""
    try:
        return u.Unit(unit.to_string(form, deprecations="raise"), format=form) == unit
    except (u.UnitsError, ValueError, TypeError):
        return False


def _record_array(data, n_rows):
    """Masked record array of the columns, with astropy's field IDs."""
    dtype = [(name, values.dtype.newbyteorder("="), values.shape[1:]) for name, values in data.items()]
    array = np.ma.zeros(n_rows, dtype=dtype)
    array.mask = np.zeros(n_rows, dtype=array.mask.dtype)
    for name, values in data.items():
        array.data[name] = values.data
        array.mask[name] = np.ma.getmaskarray(values)
    return array
