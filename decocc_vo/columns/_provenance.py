"""
Provenance as text: nested meta as flat (name, value) pairs, which is what INFO elements and header cards can hold.

A value that is text stands as it is; any other is JSON (``5``, ``0.1``, ``[1, 2]``), and what JSON does not know
(Quantity, Time, arrays, ...) is one of astropy's YAML documents, which begin with ``---``.  Text that could be
mistaken for one of these is quoted as JSON, so that reading is exact.
"""

import json
import logging
import re
from urllib.parse import quote, unquote

import numpy as np
from astropy.io.misc import yaml

log = logging.getLogger(__name__)

# Outside XML's attribute values, where line ends do not survive either.
_NOT_XML = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_YAML = "---"


def is_plain(text, ascii_only=False):
    """Whether a text can stand in an XML attribute, or in a FITS card, and be read back as it is."""
    # A card's text loses blanks at its end, an ampersand there means that it goes on, and astropy takes "'/" for the
    # beginning of the comment.
    if ascii_only and (not text.isascii() or not text or text.endswith((" ", "&")) or "'" in text):
        return False
    return _NOT_XML.search(text) is None


def encode(value, ascii_only=False):
    """
    Text that `decode` turns back into ``value``.

    Raises
    ------
    TypeError
        If neither JSON nor astropy's YAML can hold the value.
    """
    if isinstance(value, str):
        if is_plain(value, ascii_only) and decode(value) == value:
            return str(value)
    elif not _is_json(value):
        try:
            text = yaml.dump(value, explicit_start=True, allow_unicode=False, width=float("inf"))
            yaml.load(text)
        except Exception as error:
            msg = f"{type(value).__name__} cannot be written as text"
            raise TypeError(msg) from error
        value = text  # quoted below, since line ends do not survive in an attribute
    text = json.dumps(value, ensure_ascii=False, default=_numpy_scalar)
    if not is_plain(text, ascii_only):
        text = json.dumps(value, default=_numpy_scalar)
    return text.replace("'", r"\u0027") if ascii_only else text


def decode(text):
    """The value that `encode` wrote; a text it did not write stays a text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, str) and value.startswith(_YAML):
        try:
            return yaml.load(value)
        except Exception:
            return value
    return value


def _numpy_scalar(value):
    return value.item()


def _is_json(value):
    if isinstance(value, dict):
        return all(type(key) is str and _is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_json(item) for item in value)
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return True
    return value is None or type(value) in (str, bool, int, float)


def flatten(meta, ascii_only=False, prefix=""):
    """
    Flat (name, text) pairs of a nested mapping: ``{"decocc": {"seed": 0}}`` gives ``("decocc.seed", "0")``.

    Dots and other signs inside a key are percent-encoded. A value that cannot be written is kept as its ``str``,
    with a warning.
    """
    pairs = []
    for key, value in meta.items():
        name = prefix + quote(str(key), safe="").replace(".", "%2E")
        if isinstance(value, dict) and value and all(type(k) is str and k for k in value):
            pairs.extend(flatten(value, ascii_only, name + "."))
            continue
        try:
            text = encode(value, ascii_only)
        except TypeError as error:
            log.warning("meta %r: %s; its str() is kept instead", name, error)
            text = encode(str(value), ascii_only)
        pairs.append((name, text))
    return pairs


def unflatten(pairs):
    """The nested mapping `flatten` was given."""
    meta = {}
    for name, text in pairs:
        *parents, last = [unquote(part) for part in name.split(".")]
        here = meta
        for part in parents:
            here = here.setdefault(part, {})
        here[last] = decode(text)
    return meta
