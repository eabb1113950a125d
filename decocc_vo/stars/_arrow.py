"""A table of stars as Arrow, and back: how rows go to files and databases without losing a digit or a mask."""

import numpy as np
from astropy.table import MaskedColumn, Table

from ..columns import COLUMNS, describe


def to_arrow(table, names=None):
    """Columns ``names`` (registry names) of a table as an Arrow table; what is masked or not there is null."""
    import pyarrow as pa

    columns = {}
    for name in table.colnames if names is None else names:
        dtype = np.dtype(COLUMNS[name].dtype)
        if name not in table.colnames:
            columns[name] = pa.nulls(len(table), pa.from_numpy_dtype(dtype))
            continue
        values = np.ma.asarray(table[name])
        mask = np.ma.getmaskarray(values)
        columns[name] = pa.array(np.ma.getdata(values).astype(dtype), mask=mask if mask.any() else None)
    return pa.table(columns)


def from_arrow(arrow, meta=None):
    """The table of an Arrow table whose columns have registry names: units, UCDs, masked where null."""
    columns = []
    for name in arrow.column_names:
        column = arrow[name].combine_chunks()
        dtype = np.dtype(COLUMNS[name].dtype)
        if column.null_count:
            mask = column.is_null().to_numpy(zero_copy_only=False)
            values = column.fill_null(np.nan if dtype.kind == "f" else 0).to_numpy(zero_copy_only=False)
        else:
            mask, values = np.zeros(len(column), bool), column.to_numpy(zero_copy_only=False)
        # Arrow's memory cannot be written to, a table's can.
        columns.append(MaskedColumn(values.astype(dtype), mask=mask, name=name, copy=False))
        describe(columns[-1])
    return Table(columns, masked=True, meta=meta or {}, copy=False)
