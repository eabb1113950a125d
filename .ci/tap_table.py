"""Write what DaCHS needs to serve real fields as one Gaia table: the resource descriptor and a CSV of the rows."""

import sys
from pathlib import Path

import numpy as np
from astropy.table import Table, unique, vstack

from decocc_vo.columns import COLUMNS, conform, get_release

FIELDS = ("edr3_*", "melotte22_wide", "ngc2682_wide", "control_ra45_dec0")
TYPES = {"int64": "bigint", "int16": "smallint", "float32": "real", "float64": "double precision"}

DESCRIPTOR = """<resource schema="gaiadr3" resdir="gaiadr3">
  <meta name="title">Gaia stars for tests</meta>
  <meta name="description">Real stars of a few fields, for tests of decocc_vo on loopback.</meta>
  <meta name="creationDate">2026-01-01T00:00:00Z</meta>
  <meta name="subject">astrometry</meta>
  <table id="gaia_source" onDisk="True" adql="True" primary="source_id">
    <mixin>//scs#pgs-pos-index</mixin>
    <index columns="source_id"/>
{columns}
  </table>
  <data id="import">
    <sources item="no rows"/>
    <nullGrammar/>
    <make table="gaia_source"/>
  </data>
</resource>
"""


def main(folder, descriptor, rows):
    """Read the fields in ``folder``; write the resource ``descriptor`` and the ``rows``."""
    release = get_release("gaia_dr3")
    paths = sorted(path for pattern in FIELDS for path in Path(folder).glob(f"{pattern}.fits"))
    tables = []
    for path in paths:
        table = conform(Table.read(path))
        table.meta.clear()
        table.keep_columns([name for name in release.columns if name in table.colnames])
        tables.append(table)
    stars = unique(vstack(tables, join_type="outer"), "source_id")
    # A table that holds a source_id as VARCHAR-free CSV: floats by repr, so that every digit arrives.
    stars.write(rows, format="ascii.csv", overwrite=True, fill_values=[("nan", ""), ("--", ""), ("N/A", "")])
    lines = []
    for name in stars.colnames:
        info = COLUMNS[name]
        unit = "" if info.unit is None else info.unit.to_string("vounit")
        nulls = '<values nullLiteral="-1"/>' if np.dtype(info.dtype).kind == "i" else ""
        lines.append(
            f'    <column name="{name}" type="{TYPES[info.dtype]}" unit="{unit}" ucd="{info.ucd}"'
            f' description="{info.description}">{nulls}</column>'
        )
    Path(descriptor).write_text(DESCRIPTOR.format(columns="\n".join(lines)))
    print(f"{len(stars)} stars of {len(paths)} fields")


if __name__ == "__main__":
    main(*sys.argv[1:])
