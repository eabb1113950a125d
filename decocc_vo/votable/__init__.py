"""
The ways out to files: VOTable 1.5 first, and FITS, ECSV and Parquet by the file's ending.

Whatever the format, a table that is read back is the table that was written: values, masks, units, UCDs,
descriptions and the whole provenance in ``table.meta``.
"""

from ._atomic import atomic_path
from ._files import file_format, read_table, write_table
from ._reading import parse_votable, read_votable
from ._votable import to_votable, write_votable

__all__ = [
    "atomic_path",
    "file_format",
    "parse_votable",
    "read_table",
    "read_votable",
    "to_votable",
    "write_table",
    "write_votable",
]
