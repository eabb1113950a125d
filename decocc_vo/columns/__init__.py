"""
The one registry of what a table of stars holds and where it comes from.

Every column the package reads or writes is described once, in `COLUMNS`, and every catalogue release once, in
`RELEASES`.  `conform` is the door: a table is checked there once against the registry.
"""

from ._door import conform
from ._errors import correlations, expected_errors, magnitudes, standard_errors
from ._names import check_mapping, registry_names, unused_name
from ._numbers import NO_VALUE, floats, is_number
from ._registry import ASTROMETRY, COLUMNS, CORRELATIONS, RESULTS, ColumnInfo, describe
from ._releases import RELEASES, Release, Service, get_release
from ._rows import canonical_order, requires, usable_rows
from ._sky import AU_YR, astrometry, footprint_radius, positions_of, stray, turns, unit_vectors
from ._statements import (
    SIMULATED,
    check_status,
    designated_release,
    julian_year,
    parse_document,
    release_name,
    resources_around,
    state_release,
    stated_release,
    votable_statements,
)
from ._values import degrees
from ._zero_point import parallax_zero_point, values_or_nan, zero_point_uncertainty

__all__ = [
    "ASTROMETRY",
    "AU_YR",
    "COLUMNS",
    "CORRELATIONS",
    "NO_VALUE",
    "RELEASES",
    "RESULTS",
    "SIMULATED",
    "ColumnInfo",
    "Release",
    "Service",
    "astrometry",
    "canonical_order",
    "check_mapping",
    "check_status",
    "conform",
    "correlations",
    "degrees",
    "describe",
    "designated_release",
    "expected_errors",
    "floats",
    "footprint_radius",
    "get_release",
    "is_number",
    "julian_year",
    "magnitudes",
    "parallax_zero_point",
    "parse_document",
    "positions_of",
    "registry_names",
    "release_name",
    "requires",
    "resources_around",
    "standard_errors",
    "state_release",
    "stated_release",
    "stray",
    "turns",
    "unit_vectors",
    "unused_name",
    "usable_rows",
    "values_or_nan",
    "votable_statements",
    "zero_point_uncertainty",
]
