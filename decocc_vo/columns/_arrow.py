"""Values of Arrow's columns, as Parquet and CSV files give them."""

import numpy as np

__all__ = ["arrow_values"]


def arrow_values(column):
    """
    Values of a column of Parquet or CSV.

    Parameters
    ----------
    column : `pyarrow.ChunkedArray`
        The column; lists of one size are rows of an array.

    Returns
    -------
    values : `~numpy.ndarray`
        A masked array where there are nulls. Integers keep their digits; times are text.
    """
    import pyarrow as pa

    if pa.types.is_fixed_size_list(column.type):
        cells = arrow_values(pa.chunked_array([column.combine_chunks().values]))
        return cells.reshape(len(column), column.type.list_size)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_temporal(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if pa.types.is_null(column.type):
        column = column.cast(pa.float64())
    values = column.drop_null().to_numpy()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = values.astype(str)
    if column.null_count:
        missing = column.is_null().to_numpy()
        filled = np.zeros(len(column), values.dtype)
        filled[~missing] = values
        values = np.ma.masked_array(filled, mask=missing)
    return values
