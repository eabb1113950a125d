"""From the places where a cluster may be to fitted candidates."""

from dataclasses import dataclass, replace

import numpy as np

from ..columns import AU_YR
from .embedded import Embedding, intrinsic_dispersion
from .evidence import evidence
from .mixture import GRADES, Mixture, Prior, Scores, Stars, fit_mixture, score_stars
from .padding import AT_A_TIME, bucket, pad, slices
from .perspective import Perspective, fit_perspective
from .profile import log_plummer
from .thinning import thin_apart

__all__ = ["Fit", "again", "against_field", "anew", "fit_peak", "refine", "repeat", "straighten"]

_CANDIDATE_STARS, _FINAL_STARS = 8_000, 15_000  # that a fit sees at most; the others are thinned and weighted
_LARGEST = 25.0  # pc: no open cluster's profile has a larger scale radius
_PRIOR_STRENGTH = 20.0  # stars the prior on the intrinsic scatter is worth
_FIELD_STRENGTH, _FIELD_WIDTH = 10.0, 0.1  # the same for the field's Gaussians: stars, and width in the embedding
_FLOOR = 9.0  # a field Gaussian on the cluster is at least 3 times as wide as the cluster may be
_NEAR = 6.0  # sigma: stars that matter to a candidate
_START_RADIUS = 0.35  # footprint radii
_WARM = 10
_CANDIDATE_STEPS, _FINAL_STEPS = 30, 60
_CROWDED = 0.05  # share of all stars that are as a candidate's may be, from which on the field has to do without it
_OUT_OF_REACH, _ALONE_STEPS = 80.0, 100  # log of what a profile is divided by, so that no star is a member
_PERSPECTIVE_ROUNDS, _SETTLED = 10, 0.3  # at most; km/s that the velocity still moves


@dataclass(frozen=True)
class Fit:
    """
    One candidate fitted.

    ``model`` is in the embedding; ``scores`` are those of the stars ``rows``, which stand for ``weight`` stars each
    (all rows and weight 1 after `refine`); ``mean`` is the cluster's place as pmra, pmdec, parallax; ``perspective`` is
    set where the field is so wide that it matters. ``rival`` is the log odds of each star to be of another cluster,
    against the field, where two were fitted together. ``explained`` is what a field without the cluster has of the log
    evidence of its motions; see `against_field`.
    """

    model: Mixture
    scores: Scores
    mean: np.ndarray
    dispersion: np.ndarray
    embedding: Embedding
    rows: np.ndarray
    weight: np.ndarray
    perspective: Perspective | None = None
    rival: np.ndarray | None = None
    explained: float = 0.0

    @property
    def free(self):
        """Probability that a star of ``rows`` is not the rival's."""
        if self.rival is None:
            return np.ones(len(self.rows))
        mine = np.logaddexp(0, self.scores.logit)
        return np.exp(mine - np.logaddexp(mine, self.rival))

    @property
    def probability(self):
        """Membership probability of the stars ``rows``."""
        return self.probability_after(0.0)

    @property
    def n_expected(self):
        """Expected number of members, of all stars."""
        return float(self.weight @ self.probability)

    def probability_after(self, change, part=slice(None)):
        """Membership probability of a part of ``rows``, after their log odds against the field change."""
        logit = self.scores.logit[part] + change
        if self.rival is not None:  # what speaks against a member of one cluster does so for the other
            logit = logit - np.logaddexp(0, self.rival[part] + change)
        return 1 / (1 + np.exp(-np.clip(logit, -50, 50)))


def _device_stars(embedding, rows, weight, n):
    cov = pad(embedding.z_cov[rows], n)
    cov[len(rows) :] = np.eye(3, dtype=np.float32)
    z, about, sky = pad(embedding.z[rows], n), pad(embedding.about[rows], n), pad(embedding.sky[rows], n, 9e3)
    return Stars(z, cov, about, sky, pad(weight, n), pad(embedding.grade[rows], n).astype(np.int32))


def _choose(embedding, place, dispersion, most, seed):
    """Rows a fit sees, and their weights: near stars and others are thinned apart where there are too many."""
    n = len(embedding.x)
    if n <= most:
        return np.arange(n), np.ones(n)
    width2 = np.einsum("nii->ni", embedding.cov) + (3 * dispersion) ** 2
    near = np.sum((embedding.x - place) ** 2 / width2, axis=1) < _NEAR**2
    near, far = np.flatnonzero(near), np.flatnonzero(~near)
    keep_near = max(2 * most // 3, most - len(far))
    return thin_apart((near, far), (keep_near, most - min(len(near), keep_near)), seed)


def _prior(embedding, place, dispersion):
    scatter = np.diag((embedding.slope(place) * dispersion) ** 2 + 1e-8)
    floor = _FLOOR * np.diag(scatter) * np.array([1.0, 1.0, 0.0])
    largest = np.degrees(_LARGEST * (max(place[2], 0.0) + 0.03) / 1000) * 60 / embedding.footprint
    return Prior(
        *(
            np.asarray(v, np.float32)
            for v in (scatter, _PRIOR_STRENGTH, np.full(3, _FIELD_WIDTH**2), _FIELD_STRENGTH, floor, largest)
        )
    )


def _fresh(embedding, place, dispersion):
    """The parts of a model that do not depend on an earlier fit: the cluster's scatter, and the field."""
    means, covs, weights = embedding.field(place, dispersion)
    scatter = _prior(embedding, place, dispersion).scatter
    return {"scatter": scatter, "field_mean": means, "field_scatter": covs, "field_weight": weights}


def _run(embedding, start, place, dispersion, *, steps, warm=0, seed=0, quick=False, draws=None):
    """Fit, and score every star; a ``quick`` fit sees fewer of a large table, and scores only those."""
    prior = _prior(embedding, place, dispersion)
    most = _CANDIDATE_STARS if quick else _FINAL_STARS
    rows, weight = _choose(embedding, place, dispersion, most, seed)
    fitted = _device_stars(embedding, rows, weight if draws is None else weight * draws[rows], bucket(len(rows)))
    model = fit_mixture(fitted, Mixture(*(np.asarray(v, np.float32) for v in start)), prior, steps, warm)
    if not quick:
        rows, weight = np.arange(len(embedding.x)), np.ones(len(embedding.x))
    scores = _score(embedding, rows, model)
    model = Mixture(*(np.asarray(v) for v in model))
    return Fit(model, scores, embedding.inverse(model.mean.astype(float)), dispersion, embedding, rows, weight)


def _score(embedding, rows, model):
    size, parts = min(bucket(len(rows)), AT_A_TIME), []
    for part in (rows[chosen] for chosen in slices(len(rows), size)):
        scores = score_stars(_device_stars(embedding, part, np.ones(len(part)), size), model)
        parts.append([np.asarray(v, float)[: len(part)] for v in scores])
    return Scores(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def fit_peak(embedding, place, sky, count, seed=0, steps=_CANDIDATE_STEPS):
    """
    Fit the mixture from a place where a cluster may be.

    Parameters
    ----------
    embedding : Embedding
        The stars.
    place : `~numpy.ndarray`, shape (3,)
        pmra, pmdec, parallax.
    sky : `~numpy.ndarray`, shape (2,)
        Its centre on the sky, in footprint radii.
    count : float
        How many members there may be.
    seed : int
        For the thinning of large tables.
    steps : int
        Steps of expectation maximisation.

    Returns
    -------
    fit : Fit
    """
    dispersion = intrinsic_dispersion(place[2])
    fresh = _fresh(embedding, place, dispersion)
    sky = np.asarray(sky) * min(1.0, 0.5 / (np.hypot(*sky) + 1e-9))
    profile = np.exp(log_plummer(embedding.sky, sky, _START_RADIUS))
    start = Mixture(
        mean=embedding.forward(place),
        centre=sky,
        radius=_START_RADIUS,
        log_norm=np.log(np.mean(profile)),
        fraction=np.full(GRADES, np.clip(count / len(embedding.x), 1e-3, 0.6)),
        **fresh | {"scatter": 2.25 * fresh["scatter"]},
    )
    return _run(embedding, start, place, dispersion, steps=steps, warm=_WARM, seed=seed, quick=True)


def again(fit, start, steps, seed=0, draws=None):
    """
    Fit a candidate to all stars once more.

    Parameters
    ----------
    fit : Fit
        The candidate; of its ``rival``, if it has one, are no stars that count.
    start : `~decocc_vo.embedding.mixture.Mixture`
        Where to start.
    steps : int
        Steps of expectation maximisation; with none the stars are scored.
    seed : int
        For the thinning of large tables.
    draws : `~numpy.ndarray`, optional
        Weight of every star.

    Returns
    -------
    fit : Fit
    """
    if fit.rival is not None:
        draws = fit.free if draws is None else draws * fit.free
    new = _run(fit.embedding, start, fit.mean, fit.dispersion, steps=steps, seed=seed, draws=draws)
    return replace(new, perspective=fit.perspective, rival=fit.rival)


def refine(fit, seed=0, steps=_FINAL_STEPS):
    """
    Go on with the fit of a candidate.

    Parameters
    ----------
    fit : Fit
        A candidate.
    seed : int
        For the thinning of large tables.
    steps : int
        Steps of expectation maximisation.

    Returns
    -------
    fit : Fit
        With all stars scored.
    """
    return again(fit, fit.model, steps, seed)


def straighten(fit, obs, seed=0):
    """
    Model the perspective of a candidate in a wide field, where it is more than the cluster's own dispersion.

    Alternates between the fit of the space velocity to the members and the fit of the mixture to motions with its
    perspective taken out. The depth along the line of sight is held to be the width on the sky.

    Parameters
    ----------
    fit : Fit
        The candidate as fitted without perspective.
    obs : `~decocc_vo.embedding.features.Observables`
        The stars.
    seed : int
        For the thinning of large tables.

    Returns
    -------
    fit : Fit
        The same one where perspective does not matter, or does not hold its members together better.
    """
    rows, weight = _choose(fit.embedding, fit.mean, fit.dispersion, _FINAL_STARS, seed)
    # A large table settles with some of its stars; all of them have the last word.
    some, sky, probability = obs.take(rows), fit.embedding.sky[rows], fit.probability[rows]
    now = fit
    for _ in range(_PERSPECTIVE_ROUNDS):
        if not weight @ probability > 3:  # the members were lost, and nothing is left to fit
            return fit
        depth = np.hypot(0.7 * float(now.model.radius) * np.radians(obs.footprint / 60) * max(now.mean[2], 0.0), 0.02)
        perspective = fit_perspective(some.x, some.cov, some.xy, weight * probability, depth)
        if now is fit and perspective.amplitude(some.xy) < intrinsic_dispersion(perspective.parallax)[0]:
            return fit
        before = now.perspective
        if before is not None and np.abs(perspective.velocity - before.velocity).max() < _SETTLED:
            break
        now = _fit_straight(now, perspective, depth, some, sky, seed, weight)
        probability = now.probability
    if now is not fit and len(rows) < len(obs):
        now = _fit_straight(now, now.perspective, depth, obs, fit.embedding.sky, seed)
    return now if evidence(now) > evidence(fit) else fit


def _fit_straight(fit, perspective, depth, obs, sky, seed, weight=None):
    """Fit the mixture to motions with a perspective taken out, from where a fit ended."""
    x, cov = perspective.straighten(obs.x, obs.cov, obs.xy)
    embedding = Embedding.of(x, cov, sky, obs.footprint, seed)
    place = np.append(perspective.parallax * perspective.velocity[:2] / AU_YR, perspective.parallax)
    dispersion = np.append(np.full(2, np.hypot(0.8 * perspective.parallax / AU_YR, 0.05)), depth)
    start = fit.model._replace(mean=embedding.forward(place), **_fresh(embedding, place, dispersion))
    new = _run(embedding, start, place, dispersion, steps=_CANDIDATE_STEPS, warm=_WARM // 2, seed=seed, draws=weight)
    return replace(new, perspective=perspective)


def against_field(fit, seed=0):
    """
    Let the field alone explain what it can of a candidate, in a table that was cut to a narrow range of motions.

    The field of a candidate starts without the stars that may be its own. In such a table they are a good part of all,
    the field is left with a hole, and whatever fills it looks like a cluster. Where all motions are seen the field's
    Gaussians would imitate a cluster that is as wide as the table, and nothing is asked of them.

    Parameters
    ----------
    fit : Fit
        A candidate, with all stars scored.
    seed : int
        For the thinning of large tables.

    Returns
    -------
    fit : Fit
        With ``explained``: the log likelihood that the field's Gaussians gain when they are fitted to all stars.
    """
    embedding = fit.embedding
    if not embedding.cut or np.mean(embedding.as_of(fit.rows, fit.mean, fit.dispersion)) <= _CROWDED:
        return fit
    start, steps = fit.model._replace(log_norm=_OUT_OF_REACH), _ALONE_STEPS
    alone = _run(embedding, start, fit.mean, fit.dispersion, steps=steps, warm=steps, seed=seed, draws=fit.free)
    gained = fit.free @ (alone.scores.log_field - fit.scores.log_field)
    return replace(fit, explained=max(float(gained), 0.0))


def anew(fit, seed, number):
    """
    Fit again to all stars, with the field's Gaussians started elsewhere: what another seed would have given.

    Parameters
    ----------
    fit : Fit
        A candidate, without a rival.
    seed : int
        Of the groups of K-Means that the field starts from, and of the thinning of a large table.
    number : int
        Which of the starts of this seed.

    Returns
    -------
    fit : Fit
    """
    other = int(np.random.SeedSequence([seed, 78, number]).generate_state(1)[0])
    embedding = fit.embedding.regrouped(other)
    start = fit.model._replace(**_fresh(embedding, fit.mean, fit.dispersion))
    new = _run(embedding, start, fit.mean, fit.dispersion, steps=_FINAL_STEPS, warm=_WARM, seed=other)
    return replace(new, perspective=fit.perspective, explained=fit.explained)


def repeat(fit, seed, number, steps=10):
    """
    Fit again to a bootstrap of the stars, from where the fit ended: what another sample would have given.

    Parameters
    ----------
    fit : Fit
        A candidate.
    seed : int
        Of the Poisson weights of the stars, and of the thinning of a large table.
    number : int
        Which of the bootstraps of this seed.
    steps : int
        Steps of expectation maximisation.

    Returns
    -------
    fit : Fit
    """
    draws = np.random.default_rng([seed, 77, number]).poisson(1.0, len(fit.embedding.x)).astype(float)
    return again(fit, fit.model, steps, seed, draws)
