"""The whole search: peaks, fits, evidence, choice, and how sure each probability is."""

import time
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .candidates import find_peaks
from .context import context_features, without_photometry
from .detection import Fit, against_field, anew, fit_peak, refine, repeat, straighten
from .embedded import Embedding
from .evidence import THRESHOLD, evidence, significance
from .features import observables
from .head import agreed, correct, load_head
from .matched_filter import Peak
from .pairs import separate
from .reasons import why_found, why_none
from .verdict import FEWEST, fault

__all__ = ["Found", "Group", "fit_candidates", "search_clusters"]

_SAME = 0.5  # two fits that share this part of their members are one cluster
_FAR = 9e3  # footprint radii: where a star is put that cannot be a member
_REPEATS = 6
_FIELDS = 4  # starts of the field that an answer is the mean of
_LISTED = 3  # candidates that are told of where none holds
_SHORT = 10.0  # a candidate that falls short of the threshold by no more may reach it with all stars
_COMPARABLE = 0.2  # a candidate with this part of the best one's significance may be the one that was asked for


class Group(NamedTuple):
    """A group of stars: ``probability`` (n,), ``significance``, and whether it holds as a cluster."""

    probability: np.ndarray
    significance: float
    accepted: bool = True


@dataclass(frozen=True)
class Found:
    """
    What a search found.

    Candidates: the cluster, others, then those that hold from one start of the field only; or, where none holds, the
    best. The group and the spread of each star; why it ended; more.
    """

    candidates: tuple[Group, ...]
    group: np.ndarray
    spread: np.ndarray | None
    stop_reason: str
    diagnostics: dict = field(default_factory=dict)


def search_clusters(
    stars,
    region,
    zero_point,
    *,
    seed=0,
    threshold=THRESHOLD,
    first="density",
    photometry=True,
    start=None,
    field_only=None,
):
    """
    Find the clusters among stars.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Usable rows in canonical order, as `~decocc_vo.columns.conform` gives them.
    region : `~decocc_vo.region.ClusterRegion`
        The best candidate is the cluster, or a comparable one that is surely nearer to its centre.
    zero_point : `~numpy.ndarray`, shape (n,)
        Parallax zero point in mas.
    seed : int
        Of the random draws.
    threshold : float
        Significance from which on a candidate is accepted.
    first : str
        First clustering: see `~decocc_vo.embedding.candidates.find_peaks`.
    photometry : bool
        Whether magnitudes and colours take part in the head's correction.
    start : `~numpy.ndarray`, shape (n,), optional
        Weights of stars to start from, instead of searching.
    field_only : `~numpy.ndarray` of bool, shape (n,), optional
        Stars known to be field.

    Returns
    -------
    found : Found
    """
    clock = time.perf_counter()
    obs = observables(stars, region, zero_point)
    sky = obs.xy / obs.footprint
    if field_only is not None:
        # Out of any profile's reach: such stars describe the field's motions and are no members.
        sky = np.where(field_only[:, None], _FAR, sky)
    embedding = Embedding.of(obs.x, obs.cov, sky, obs.footprint, seed)
    peaks = find_peaks(obs, embedding, seed, first=first) if start is None else [_peak_of(obs, start)]
    seconds = {"search": time.perf_counter() - clock}
    fits = fit_candidates(obs, embedding, peaks, seed, threshold)
    if field_only is not None:  # all at one place, out of reach, they may look like a cluster themselves
        fits = [f for f in fits if f.weight * f.probability @ field_only[f.rows] < 0.5 * f.n_expected]
    else:
        fits = [against_field(f, seed) if significance(f) >= threshold else f for f in fits]
    hold = [f for f in fits if not fault(f, threshold)]
    hold = _ranked(hold) if start is None else sorted(hold, key=lambda f: -float(start @ f.probability))
    seconds["candidates"] = time.perf_counter() - clock - seconds["search"]
    group = np.full(len(obs), -1, np.int16)
    diagnostics = {"seconds_by_stage": seconds, "peaks": len(peaks)}
    if not hold:
        fits = _ranked(fits)
        losers = tuple(Group(f.probability, significance(f), accepted=False) for f in fits[:_LISTED])
        return Found(losers, group, None, why_none(embedding, fits, peaks, threshold), diagnostics)
    answers, unsteady = _steady([_settled(fit, obs, seed, photometry, threshold) for fit in hold])
    if start is None:  # the one that was asked for is that of the stars given, or told by where it is
        answers = _nearest_first(answers)
    answers = _shared(answers)
    winner, probability = answers[0].fit, answers[0].fit.probability
    # One after the other: of a large table all at once would not fit into memory.
    squares = sum((repeat(winner, seed, number).probability - probability) ** 2 for number in range(_REPEATS))
    spread = np.sqrt(squares / _REPEATS + answers[0].spread ** 2)
    seconds["answers"] = time.perf_counter() - clock - sum(seconds.values())
    velocity = None if winner.perspective is None else winner.perspective.velocity.round(2).tolist()
    diagnostics |= {"velocity_km_s": velocity, "spread": float(np.max(spread, initial=0.0))}
    groups = tuple(Group(answer.probability, significance(answer.fit)) for answer in answers)
    for number in range(len(groups) - 1, -1, -1):
        group[groups[number].probability.astype(np.float32) >= 0.5] = number  # as in the table
    unsteady = tuple(Group(answer.probability, significance(answer.fit), accepted=False) for answer in unsteady)
    reason = why_found(embedding, [answer.fit for answer in answers], peaks, [g.significance for g in unsteady])
    return Found(groups + unsteady, group, spread, reason, diagnostics)


def fit_candidates(obs, embedding, peaks, seed, threshold):
    """
    Fit the mixture to every peak, and to all stars where the evidence asks for it.

    Parameters
    ----------
    obs : `~decocc_vo.embedding.features.Observables`
        The stars.
    embedding : `~decocc_vo.embedding.embedded.Embedding`
        The same, embedded.
    peaks : list of `~decocc_vo.embedding.matched_filter.Peak`
        Where to start.
    seed : int
        For the thinning of large tables.
    threshold : float
        Significance of a cluster: a candidate that falls short by little is looked at with all stars, and so are the
        best few, so as to be listed.

    Returns
    -------
    fits : list of `~decocc_vo.embedding.detection.Fit`
        Different ones, best first.
    """
    fits = [fit_peak(embedding, p.x, p.xy / obs.footprint, p.count, seed) for p in peaks]
    fits = _different(_ranked(fits))
    looked_at = [f for number, f in enumerate(fits) if number < _LISTED or _is_promising(f, threshold)]
    fits = _different(_ranked(_with_all_stars(f, obs, seed, threshold) for f in looked_at))
    return _ranked(part for f in fits for part in _one_or_two(f, threshold, seed))


def _ranked(fits):
    return sorted(fits, key=significance, reverse=True)


def _is_promising(fit, threshold):
    """Whether a fit to some of the stars may reach the threshold with all."""
    return significance(fit) >= threshold - _SHORT


def _with_all_stars(fit, obs, seed, threshold):
    """The fit to all stars, without perspective where there may be a cluster."""
    whole = refine(fit, seed)
    if not _is_promising(fit, threshold):
        return whole
    straight = straighten(whole, obs, seed)
    if straight.perspective:
        parts = _one_or_two(whole, threshold, seed)
        # Two clusters beside each other that move differently are like one in perspective, and explained better.
        if len(parts) > 1 and sum(map(evidence, parts)) > evidence(straight):
            return whole
    return straight


def _one_or_two(fit, threshold, seed):
    """The fit, or in its place those of two clusters of one motion and distance."""
    if significance(fit) < threshold or fit.perspective:
        return (fit,)
    return separate(fit, threshold, FEWEST, seed)


class _Answer(NamedTuple):
    """
    Of a candidate's fit: probability of every star, (n,), its spread, and from how many starts of the field it holds.
    """

    fit: Fit
    probability: np.ndarray
    spread: np.ndarray
    held: int


def _settled(fit, obs, seed, photometry, threshold):
    """Mean of the answers from several starts of the field, which end differently, and their spread."""
    # Sums, since of a large table not all would fit into memory.
    total, squares, starts, held = np.zeros(len(obs)), np.zeros(len(obs)), 0, 0
    # Two clusters that were fitted together would no longer share their stars.
    for number in range(_FIELDS if fit.rival is None else 1):
        one = anew(fit, seed, number) if number else fit
        if number and not _same(fit, one, max):  # it went to another cluster, or to none
            continue
        probability, spread = _answer(one, obs, seed, photometry)
        total, squares, starts = total + probability, squares + probability**2 + spread**2, starts + 1
        held += not fault(one, threshold)
    mean = total / starts
    return _Answer(fit, mean, np.sqrt(np.maximum(squares / starts - mean**2, 0.0)), held)


def _steady(answers):
    """
    Of candidates, the best first, those that are clusters, and those that hold from one start of the field only.

    The best is a cluster in any case. Of two that were fitted together there is one start.
    """
    steady, unsteady = [], []
    for answer in answers:
        holds = not steady or answer.fit.rival is not None or answer.held > 1
        (steady if holds else unsteady).append(answer)
    return steady, unsteady


def _answer(fit, obs, seed, photometry):
    """Probability of every star after the head's correction, and its spread over the head's networks."""
    probability, spread = fit.probability, np.zeros(len(obs))
    near, features = context_features(fit, obs, seed)
    if not photometry:
        features = without_photometry(features)
    logit = correct(load_head(), features)
    change = np.vstack([agreed(features[:, 0], logit), logit]) - features[:, 0]
    answers = fit.probability_after(change, near)
    probability[near] = answers[0]
    spread[near] = answers[1:].std(axis=0)
    return probability, spread


def _shared(answers):
    """
    Answers of clusters that hold, so that no star is in two: each was fitted against the field alone.

    Of two that were fitted together, each the other's rival, that is so already.
    """
    odds = [answer.probability / np.maximum(1 - answer.probability, 1e-9) for answer in answers]
    shared = []
    for answer, own in zip(answers, odds, strict=True):
        others = [
            theirs
            for other, theirs in zip(answers, odds, strict=True)
            if other is not answer and not _rivals(answer.fit, other.fit)
        ]
        shared.append(answer._replace(probability=own / (1 + own + sum(others))) if others else answer)
    return shared


def _rivals(one, other):
    """Whether two candidates were fitted together."""
    return one.rival is not None and np.array_equal(one.rival, other.scores.logit)


def _peak_of(obs, weight):
    """The place of stars somebody chose: medians of their motions, parallaxes and positions."""
    rows = np.flatnonzero(weight > 0.5 * np.max(weight))
    return Peak(np.median(obs.x[rows], axis=0), np.median(obs.xy[rows], axis=0), float(len(rows)), np.nan, np.nan)


def _different(fits):
    """Fits of one and the same cluster are one: the first stays."""
    kept = []
    for fit in fits:
        if not np.isfinite(significance(fit)) or fit.probability.sum() < 3:
            continue
        if not any(_same(fit, k) for k in kept):
            kept.append(fit)
    return kept


def _same(one, other, size=min):
    """Whether two fits share half the members of the smaller one, or of the larger."""
    _, first, second = np.intersect1d(one.rows, other.rows, assume_unique=True, return_indices=True)
    p, q = one.probability[first], other.probability[second]
    return np.minimum(p, q).sum() >= _SAME * size(p.sum(), q.sum())


def _distances(fit):
    """How near to the centre of the region a candidate's own may be, and how far, by two errors; footprint radii."""
    distance, error = float(np.hypot(*fit.model.centre)), fit.model.radius / np.sqrt(fit.n_expected)
    return distance - 2 * error, distance + 2 * error


def _nearest_first(answers):
    """The best comes first, or one comparable with it that is surely nearer to the centre of the region."""
    best, (near, _) = significance(answers[0].fit), _distances(answers[0].fit)
    nearer = [a for a in answers if significance(a.fit) >= _COMPARABLE * best and _distances(a.fit)[1] < near]
    asked = min(nearer, key=lambda a: _distances(a.fit)[1], default=answers[0])
    return [asked, *(a for a in answers if a is not asked)]
