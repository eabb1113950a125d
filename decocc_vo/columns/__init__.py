"""
The one registry of what a table of stars holds and where it comes from.

Every column the package reads or writes is described once, in `COLUMNS`, and every catalogue release once, in
`RELEASES`.  `conform` is the door: a table is checked there once against the registry.
"""

from ._door import canonical_order, check_mapping, conform, floats, requires, unused_name, usable_rows
from ._errors import correlations, expected_errors, magnitudes, standard_errors
from ._registry import ASTROMETRY, COLUMNS, CORRELATIONS, RESULTS, ColumnInfo, describe
from ._releases import RELEASES, Release, Service, get_release
from ._sky import turns, unit_vectors
from ._zero_point import parallax_zero_point, values_or_nan, zero_point_uncertainty

__all__ = [
    "ASTROMETRY",
    "COLUMNS",
    "CORRELATIONS",
    "RELEASES",
    "RESULTS",
    "ColumnInfo",
    "Release",
    "Service",
    "canonical_order",
    "check_mapping",
    "conform",
    "correlations",
    "describe",
    "expected_errors",
    "floats",
    "get_release",
    "magnitudes",
    "parallax_zero_point",
    "requires",
    "standard_errors",
    "turns",
    "unit_vectors",
    "unused_name",
    "usable_rows",
    "values_or_nan",
    "zero_point_uncertainty",
]
