"""What a method found: the groups it hands over, and the result that a user holds."""

from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table

MEMBER = 0.5
"""A star counts as a member from this probability on."""


@dataclass(frozen=True)
class Candidate:
    """
    A group that may be a cluster, as a method hands it over.

    Attributes
    ----------
    probability : `~numpy.ndarray`
        Membership probability of each usable star, shape (n,).
    significance : float
        Evidence for the group, in natural log units where the method has one, else NaN.
    accepted : bool
        Whether it holds as a cluster.
    """

    probability: np.ndarray
    significance: float = float("nan")
    accepted: bool = True


@dataclass(frozen=True, eq=False)  # tables are not compared: a result is itself
class Membership:
    """
    What a method found.

    Attributes
    ----------
    table : `~astropy.table.Table`
        The user's rows in the user's order, with the columns ``membership_prob``, ``group``, ``candidate`` and
        ``membership_prob_std``; masked where a star could not be used. A column of the user's own with one of these
        names is kept as ``NAME_original``.
    summary : `~astropy.table.Table`
        One row that characterises the cluster, or no row when there is none.
    candidates : `~astropy.table.Table`
        Every group that holds as a cluster, the cluster first, and after them those that do so from one start of the
        field only; or up to three that came close. With the columns of the summary and ``accepted``: 1 for one that
        holds.
    diagnostics : dict
        ``stop_reason`` (a sentence), ``not_used`` (stars that did not take part, by the reason), seed, settings,
        version, seconds, and what else the method tells.
    """

    table: Table
    summary: Table
    candidates: Table
    diagnostics: dict = field(default_factory=dict)

    def __repr__(self):
        """One line: the tables are long."""
        return f"<Membership of {len(self.table)} stars: {self.stop_reason}>"

    @property
    def found(self):
        """Whether there is a cluster."""
        return len(self.summary) > 0

    @property
    def stop_reason(self):
        """The sentence that says how the fit ended."""
        return self.diagnostics.get("stop_reason", "")

    @property
    def members(self):
        """The rows with ``membership_prob >= 0.5``."""
        return self.table[np.ma.filled(self.table["membership_prob"], 0) >= MEMBER]
