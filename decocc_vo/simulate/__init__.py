"""
Clusters whose members are known: simulated stars put into a field of real or simulated ones, with Gaia-like errors.

A simulated member takes its magnitude from a cluster sequence, and its errors, correlations and other columns from a
field star of the same magnitude, so that a field keeps the properties of its survey.
"""

from ._cluster import SimulatedCluster
from ._field import shuffle_positions, simulate_field
from ._inject import inject_cluster
from ._sequence import REDDENING, main_sequence_colour

__all__ = [
    "REDDENING",
    "SimulatedCluster",
    "inject_cluster",
    "main_sequence_colour",
    "shuffle_positions",
    "simulate_field",
]
