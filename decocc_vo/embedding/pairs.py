"""Two clusters that were fitted as one: told apart by where they are on the sky, as h and chi Persei, or by motion."""

from dataclasses import replace

import numpy as np

from .detection import again
from .evidence import significance
from .profile import log_plummer
from .thinning import thin

__all__ = ["separate"]

_RADII = (0.03, 0.06, 0.12, 0.25)  # Plummer radii of a second cluster that are tried, in footprint radii
_SHARES = (0.03, 0.1, 0.2, 0.35, 0.5)  # parts of the members that it may have
_TRIALS = 400  # members that are tried as its centre
_FIELD_STARS = 3_000  # that profiles are normalised over when they are looked for
_PROMISING = 20.0  # log evidence of a second profile from which on two clusters are fitted
_LOPSIDED = 4.0  # sigma: a cluster is the same on both sides; its chance clumps were under 2.5, second clusters over 5
_STARTS, _APART = 3, 0.2  # second centres that are tried, and how far from each other, in footprint radii
_ROUNDS, _STEPS = 8, 10
_VALLEY = 0.5  # density between two clusters, in parts of the lower peak's
_WIDTHS = (0.4, 1.0)  # of a second motion, in parts of the dispersion that clusters have
_MEMBERS = 5_000  # whose motions two clusters have to explain
_PARTS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)  # of the members, that one of the two has
_EXCHANGES = 2
_SEPARATED = 2.5  # sigma of both motions together: halves of one cluster are nearer
# The same with a star's errors: pairs of clusters were over 1.4, halves of globulars at 50 kpc under 0.6.
_RESOLVED = 1.0


def separate(fit, threshold, fewest, seed=0):
    """
    Tell two clusters apart that were fitted as one.

    A second profile on the sky is looked for among the members, and a second motion. Where one is, both clusters are
    fitted together: in turn, each to the stars as far as the other does not have them, which is expectation
    maximisation of a mixture of both. They are two if each holds for itself, and if either their motions differ by
    2.5 times what both scatter, and by more than a star's error, or there is a valley between them on the sky, and
    opposite to the smaller one, seen from the larger, nothing like it: a single cluster, elongated or not, has two
    sides.

    Parameters
    ----------
    fit : `~decocc_vo.embedding.detection.Fit`
        A candidate fitted to all stars.
    threshold : float
        Significance each of the two has to reach.
    fewest : float
        Members each has to have.
    seed : int
        For the thinning of large tables.

    Returns
    -------
    fits : tuple of `~decocc_vo.embedding.detection.Fit`
        Two, of which each knows of the other, or the one that was given.
    """
    for starts in (starts for places in (_two_motions, _two_places) for starts in places(fit)):
        pair = _fit_both(fit, starts, seed)
        hold = all(significance(one) >= threshold and one.probability.sum() >= fewest for one in pair)
        if hold and (_are_two_motions(*pair) or _are_two_places(*pair)):
            return pair
    return (fit,)


def _two_motions(fit):
    """Where two clusters of different motions start that explain the members' motions better than one does."""
    embedding, model = fit.embedding, fit.model
    near = np.flatnonzero(fit.probability >= 0.05)
    stands_for = max(len(near) / _MEMBERS, 1.0)
    near = near[thin(len(near), _MEMBERS, 0)]
    if len(near) < 2:
        return []
    x, cov, slope = embedding.x[near], embedding.cov[near], embedding.slope(fit.mean)
    odds = np.exp(np.clip(fit.scores.logit[near], -30, 30))
    own = _log_normal(x - fit.mean, model.scatter / slope[:, None] / slope + cov)
    # Either is at one of the better measured stars; the odds of all to be of such a cluster, against the field.
    order = np.argsort(np.einsum("nii->n", cov), kind="stable")
    trials = x[order[np.unique(np.linspace(0, (len(order) - 1) // 2, _TRIALS // 2).astype(int))]]
    scatters = [np.diag((scale * fit.dispersion) ** 2) for scale in _WIDTHS]
    places = [(place, scatter) for scatter in scatters for place in trials]
    theirs = np.concatenate([_log_normal(x - trials[:, None], scatter + cov) - own for scatter in scatters])
    theirs = odds * np.exp(np.clip(theirs, -30, 30))
    other, numbers = odds, [0, 0]
    for turn in range(2 * _EXCHANGES):
        gains = [np.log1p(share * theirs + (1 - share) * other).sum(axis=1) for share in _PARTS]
        part, numbers[turn % 2] = np.unravel_index(np.argmax(gains), np.shape(gains))
        other, share = theirs[numbers[turn % 2]], _PARTS[part]
    gain = np.max(gains) - np.log1p(odds).sum()
    if stands_for * gain < _PROMISING:
        return []
    starts = []
    for number, part in zip(numbers, (1 - share, share), strict=True):
        place, scatter = places[number]
        slope = embedding.slope(place)
        mean, scatter = embedding.forward(place), scatter * slope[:, None] * slope + 1e-8 * np.eye(3)
        starts.append(model._replace(mean=mean, scatter=scatter, fraction=part * model.fraction))
    return [tuple(starts)]


def _log_normal(offset, cov):
    """Log density of normals, but for the constant."""
    distance2 = np.einsum("...ni,nij,...nj->...n", offset, np.linalg.inv(cov), offset)
    return -0.5 * (distance2 + np.linalg.slogdet(cov)[1])


def _are_two_motions(*pair):
    # What differs by less than a star's error may be halves of one cluster, which is far wider in them than it is.
    return _separation(*pair) > _SEPARATED and _separation(*pair, errors=True) > _RESOLVED


def _separation(one, other, *, errors=False):
    """How far two motions are from each other, in the scatter of both together: intrinsic, or with their errors."""
    apart = (one.model.mean - other.model.mean)[:2].astype(float)
    scatter = (one.model.scatter + other.model.scatter).astype(float)
    if errors:
        scatter += sum(_typical_error(fit) for fit in (one, other))
    return float(np.sqrt(apart @ np.linalg.solve(scatter[:2, :2], apart)))


def _typical_error(fit):
    """Median covariance of the members in the embedding, shape (3, 3)."""
    probability = fit.probability
    return np.median(fit.embedding.z_cov[probability >= min(0.5, probability.max())], axis=0)


def _are_two_places(*pair):
    return _lopsidedness(*pair) > _LOPSIDED and _valley(*pair) < _VALLEY


def _outside(fit):
    """Places of stars that cannot be members by their motion, of a large table some."""
    outside = fit.embedding.sky[fit.scores.kinematic < -4]
    outside = outside[np.sum(outside**2, axis=1) < 100]  # stars known to be field are put far away
    return outside[thin(len(outside), _FIELD_STARS, 0)]


def _log_norm(outside, centre, radius):
    """Log of a profile's mean over the stars outside."""
    return np.log(np.mean(np.exp(log_plummer(outside, centre, radius))) + 1e-12) if len(outside) else 0.0


def _two_places(fit):
    """Where a second cluster starts whose place explains where the members are, beside the first one; best first."""
    outside = _outside(fit)
    members = np.flatnonzero(fit.probability >= 0.5)
    near = np.flatnonzero(fit.probability >= 0.05)
    sky, odds = fit.embedding.sky, np.exp(np.clip(fit.scores.logit[near], -30, 30))
    kinematic = np.exp(np.clip(fit.scores.kinematic[near], -30, 30))
    trials = members[np.linspace(0, len(members) - 1, min(len(members), _TRIALS)).astype(int)]
    found = []
    for trial in trials:
        if np.hypot(*sky[trial]) > 1:
            continue
        best = (-np.inf, None, None, None)
        for radius in _RADII:
            profile = np.exp(log_plummer(sky[near], sky[trial], radius) - _log_norm(outside, sky[trial], radius))
            excess = (kinematic * profile - odds) / (1 + odds)
            gains = [np.log1p(share * excess).sum() for share in _SHARES]
            number = int(np.argmax(gains))
            best = max(best, (gains[number], sky[trial], radius, _SHARES[number]), key=lambda one: one[0])
        found.append(best)
    kept = []
    for gain, *profile in sorted(found, key=lambda one: -one[0]):
        if gain < _PROMISING or len(kept) == _STARTS:
            break
        if all(np.hypot(*(profile[0] - other[0])) > _APART for other in kept):
            kept.append(profile)
    model = fit.model
    return [
        (model, model._replace(centre=c, radius=r, log_norm=_log_norm(outside, c, r), fraction=share * model.fraction))
        for c, r, share in kept
    ]


def _fit_both(fit, starts, seed):
    """Fit two clusters together."""
    pair = [again(fit, start, 0, seed) for start in starts]
    for _ in range(_ROUNDS):
        for mine, other in ((1, 0), (0, 1)):
            one = replace(pair[mine], rival=pair[other].scores.logit)
            pair[mine] = again(one, one.model, _STEPS, seed)
    return tuple(replace(pair[i], rival=pair[1 - i].scores.logit) for i in (0, 1))


def _counts(pair, places, near):
    """Members of either cluster around places on the sky."""
    members, sky = sum(fit.probability for fit in pair), pair[0].embedding.sky
    return np.array([members[np.hypot(*(sky - place).T) < near].sum() for place in places])


def _lopsidedness(*pair):
    """Significance [sigma] of the stars at the smaller cluster over those opposite to it, seen from the larger."""
    larger, smaller = (fit.model.centre.astype(float) for fit in sorted(pair, key=lambda fit: -fit.probability.sum()))
    here, there = _counts(pair, (smaller, 2 * larger - smaller), np.hypot(*(larger - smaller)) / 4)
    return (here - there) / np.sqrt(max(here + there, 1e-9))


def _valley(*pair):
    """Density of members between two clusters, over that at the lower peak: as modelled or as counted, the higher."""
    ends = np.stack([fit.model.centre for fit in pair]).astype(float)
    path = ends[0] + np.linspace(0, 1, 41)[:, None] * (ends[1] - ends[0])
    modelled = sum(
        fit.n_expected * np.exp(log_plummer(path, centre, float(fit.model.radius)) - float(fit.model.log_norm))
        for fit, centre in zip(pair, ends, strict=True)
    )
    counted = _counts(pair, path, np.hypot(*(ends[1] - ends[0])) / 6)
    return max(density[1:-1].min() / max(min(density[0], density[-1]), 1e-9) for density in (modelled, counted))
