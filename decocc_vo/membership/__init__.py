"""The result of every method: the user's table with probabilities, the cluster's characterisation, and why."""

from ._assembly import assemble, make_room, with_rows_outside
from ._result import MEMBER, Candidate, Membership
from ._summary import characterise, summary_table

__all__ = [
    "MEMBER",
    "Candidate",
    "Membership",
    "assemble",
    "characterise",
    "make_room",
    "summary_table",
    "with_rows_outside",
]
