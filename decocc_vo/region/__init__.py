"""Where a cluster is: a cone on the sky, from a name, a position, a table of stars or a catalogue's row."""

from ._region import DEFAULT_RADIUS, ClusterRegion
from ._usable import check_region, usable_stars

__all__ = ["DEFAULT_RADIUS", "ClusterRegion", "check_region", "usable_stars"]
