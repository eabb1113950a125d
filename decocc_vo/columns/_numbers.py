"""Numbers of columns, which may be text, with words for no value among them."""

import numpy as np

NO_VALUE = ("", "null", "nan", "none", "--", "---", "-", "...", "na", "n/a", "\\n")
"""Words that stand for no value among numbers, in small letters."""


def floats(column):
    """Values of a column as float64, NaN where masked; text is read as numbers, and else a ValueError."""
    values = np.ma.asarray(column)
    if values.dtype.kind not in "SUO":
        with np.errstate(invalid="ignore"):  # whatever lies behind a mask
            return np.ma.filled(values.astype(float), np.nan)
    numbers, known = np.full(values.shape, np.nan), ~np.ma.getmaskarray(values)  # what lies behind a mask is no number
    try:
        numbers[known] = np.ma.getdata(values)[known].astype(float)
    except ValueError:
        known &= ~says_none(values)
        numbers[known] = np.ma.getdata(values)[known].astype(float)
    return numbers


def says_none(values):
    """Where text stands for no value."""
    cells = np.ma.getdata(values)
    text = np.char.decode(cells, "latin-1") if cells.dtype.kind == "S" else cells.astype(str)
    return np.isin(np.char.lower(np.char.strip(text)), NO_VALUE)


def is_number(text):
    """Whether text can be read as a number."""
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True
