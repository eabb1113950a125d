"""Sentences for the user: what was found and what to think of it, or why nothing was."""

import numpy as np

from .embedded import intrinsic_dispersion
from .evidence import significance
from .verdict import fault

__all__ = ["why_found", "why_none"]

_ASIDE = 0.5  # footprint radii: no published cluster is further from the centre it is asked for at
_ALIKE = 0.7  # share of all stars that are as a cluster's may be, from which on a table has hardly a field
_CUT_MOTIONS = "the table is cut in proper motion, so that the field is hardly known; give stars of all motions"
_NO_FIELD = (
    "for their errors most stars of the table have the same motion and parallax, so there is no field to tell members "
    "from; give a table that is not cut in them"
)


def why_found(embedding, fits, peaks, unsteady=()):
    """
    Say what was found.

    Parameters
    ----------
    embedding : `~decocc_vo.embedding.embedded.Embedding`
        The stars.
    fits : list of `~decocc_vo.embedding.detection.Fit`
        Candidates that hold; the first is the cluster.
    peaks : list of `~decocc_vo.embedding.matched_filter.Peak`
        What was tried.
    unsteady : sequence of float
        Significance of those that hold from one start of the field only.

    Returns
    -------
    reason : str
    """
    told = f"found {_counted(len(fits), 'cluster')} among {_counted(len(peaks), 'candidate')}; significance "
    told += ", ".join(f"{significance(fit):.1f}" for fit in fits)
    told += "".join(f"; one more, of {value:.1f}, holds from one start of the field only" for value in unsteady)
    return told + _aside(fits) + _without_field(embedding, fits[0].mean)


def why_none(embedding, fits, peaks, threshold):
    """
    Say why no candidate holds.

    Parameters
    ----------
    embedding : `~decocc_vo.embedding.embedded.Embedding`
        The stars.
    fits : list of `~decocc_vo.embedding.detection.Fit`
        Candidates, best first.
    peaks : list of `~decocc_vo.embedding.matched_filter.Peak`
        Where they came from.
    threshold : float
        Significance from which on one holds.

    Returns
    -------
    reason : str
    """
    best, place = "no stars move together", peaks[0].x if peaks else None
    if fits:
        best = f"the best of {_counted(len(peaks), 'candidate')} has {fault(fits[0], threshold)}"
        place = fits[0].mean
    return f"no cluster: {best}{_without_field(embedding, place) or '; try a larger region, or fainter stars'}"


def _without_field(embedding, place):
    """What is to be said of a table that was cut in motion, or to stars like those of a cluster at a place."""
    if place is not None and np.mean(embedding.as_of(slice(None), place, intrinsic_dispersion(place[2]))) > _ALIKE:
        return f"; {_NO_FIELD}"
    return f"; {_CUT_MOTIONS}" if embedding.cut else ""


def _counted(number, noun):
    return f"{number} {noun}{'s' * (number != 1)}"


def _aside(fits):
    """What is to be said of a cluster that is not where one was asked for."""
    distances = [_to_members(fit) for fit in fits]
    if distances[0] <= _ASIDE:
        return ""
    footprint, nearest = fits[0].embedding.footprint, int(np.argmin(distances))
    told = f"; it is {distances[0] * footprint:.1f} arcmin from the centre of the region, and may be another cluster"
    return told + (f": candidate {nearest} is at {distances[nearest] * footprint:.1f} arcmin" if nearest else "")


def _to_members(fit):
    """From the centre of the region to the middle of a candidate's members, in footprint radii."""
    # The fit holds the profile's own centre within half the footprint.
    members = fit.embedding.sky[fit.rows][fit.probability >= 0.5]
    return float(np.hypot(*np.median(members, axis=0))) if len(members) else 0.0
