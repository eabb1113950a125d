"""A filter matched to clusters: how well one at a place explains motions, errors and positions of the stars there."""

from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from .embedded import intrinsic_dispersion
from .thinning import thin

__all__ = ["Match", "MatchedFilter", "Peak", "distinct"]

_RADII = (0.04, 0.1, 0.25, 0.6)  # Plummer radii tried, in footprint radii
_COUNTS = (6, 15, 40, 100, 250, 600, 1500, 4000)  # members tried
_NEAR2 = 25.0  # squared distance from which on a star cannot be a member
_RECENTRED = 16  # of the best distinct trials are looked at again from where they lead
_APART = 0.25  # footprint radii: peaks of one motion that are further from each other are two
_ROUNDS = 3


@dataclass(frozen=True)
class Peak:
    """
    One place where a cluster may be.

    ``x`` (3,): pmra, pmdec, parallax; ``xy`` (2,): its centre on the sky [arcmin]; ``count``: members; ``gain``: log
    evidence of a cluster there over the field alone; ``concentration``: the part of it that the positions give.
    """

    x: np.ndarray
    xy: np.ndarray
    count: float
    gain: float
    concentration: float


class Match(NamedTuple):
    """
    What the filter finds at a place.

    Evidence in nats, the part of it that comes from the concentration on the sky, the number of members, and which rows
    may be members, with their probability.
    """

    gain: float
    concentration: float
    count: float
    near: np.ndarray
    share: np.ndarray


class MatchedFilter:
    """
    The matched filter over one sample of the stars.

    A place is an array of five: the embedding's three coordinates, and the position in footprint radii. Stars are where
    they were measured: the field's density is that of stars of all errors, and those of wide ones drawn to the middle
    would make bumps there that it does not have.
    """

    def __init__(self, embedding, rows, sky, log_field, seed):
        self.embedding, self.sky, self.log_field, self.seed = embedding, sky, log_field, seed
        x, variance = embedding.x[rows], np.einsum("nii->ni", embedding.cov[rows])
        self.z, self.variance = embedding.forward(x), variance * embedding.slope(x) ** 2
        self.error = np.sqrt(np.median(variance, axis=0))
        n = len(rows)
        self.fractions = np.array([count / n for count in _COUNTS if count <= 0.6 * n] or [0.5])

    def match(self, place):
        """
        The `Match` at a place; None where there are no stars.

        The log evidence of a cluster that has the fraction f of the stars is the sum of ln(1 + f (C P / F - 1)), with
        the densities C of the cluster's and F of the field's motions at each star, and the profile P over the
        footprint; the best of some f and of some radii, a flat profile among them, counts.
        """
        z0, centre = place[:3], place[3:]
        x = self.embedding.inverse(z0)
        scatter = (self.embedding.slope(x) * intrinsic_dispersion(x[2])) ** 2
        width2 = self.variance + scatter
        distance2 = np.sum((self.z - z0) ** 2 / width2, axis=1)
        near = np.flatnonzero(distance2 < _NEAR2)
        if len(near) < 5:
            return None
        log_cluster = -0.5 * (distance2[near] + np.sum(np.log(2 * np.pi * width2[near]), axis=1))
        ratio = np.exp(np.clip(log_cluster - self.log_field[near], -30, 30))
        far = np.flatnonzero(distance2 >= _NEAR2)
        far = far[thin(len(far), 1024, self.seed)] if len(far) > 20 else np.arange(len(self.z))
        r2, far2 = (np.sum((self.sky[part] - centre) ** 2, axis=1) for part in (near, far))
        a2 = np.square(_RADII)[:, None]
        profile = (1 + r2 / a2) ** -2 / np.maximum(np.mean((1 + far2 / a2) ** -2, axis=1, keepdims=True), 1e-6)
        profile = np.vstack([np.ones(len(near)), profile])
        others = (len(self.z) - len(near)) * np.log1p(-self.fractions)
        excess = ratio * profile - 1
        gains = np.stack([np.log1p(f * excess).sum(axis=1) for f in self.fractions], axis=1) + others
        radius, fraction = np.unravel_index(np.argmax(gains), gains.shape)
        gain = max(float(gains[radius, fraction]), 0.0)
        odds = self.fractions[fraction] * ratio
        share = odds * profile[radius] / (odds * profile[radius] + 1 - self.fractions[fraction])
        kinematic = odds / (odds + 1 - self.fractions[fraction])
        concentration = float(np.log1p(kinematic * (profile[radius] - 1)).sum())
        return Match(gain, concentration, float(share.sum()), near, share)

    def members_place(self, match):
        """The place of the stars that the filter takes for members."""
        near, share = match.near, match.share
        weight = share[:, None] / (self.variance[near] + 1e-6)
        z0 = np.sum(weight * self.z[near], axis=0) / np.sum(weight, axis=0)
        return np.append(z0, np.sum(share[:, None] * self.sky[near], axis=0) / share.sum())

    def peaks(self, trials, footprint, n):
        """
        The trials that lead to something, from where they lead; counts are of the ``n`` stars the sample stands for.

        Those of much evidence and of much concentration take turns: where the field's density is not described well,
        all its bumps have much evidence.
        """
        first = [
            (match.gain, match.concentration, tuple(place))
            for place in trials
            if (match := self.match(place)) is not None
        ]
        by_gain, by_concentration = (sorted(first, key=lambda t: (t[i], t), reverse=True) for i in (0, 1))
        peaks, tried = [], []
        for _, _, place in chain.from_iterable(zip(by_gain, by_concentration, strict=True)):
            here = self._physical(np.array(place))
            if any(_same_place(here, other, self.error) for other in tried):
                continue
            tried.append(here)
            place, match = self._climb(np.array(place))
            if match is not None:
                x, centre = self._physical(place)
                count = max(match.count, 3.0) * n / len(self.z)
                peaks.append(Peak(x, centre * footprint, count, match.gain, match.concentration))
                tried.append((x, centre))
            if len(peaks) == _RECENTRED:
                break
        return peaks

    def _physical(self, place):
        """Motions and parallax of a place, and its position."""
        return self.embedding.inverse(place[:3]), place[3:]

    def _climb(self, place):
        """From a place to that of its members, some times: the best on the way, with its match, None where none is."""
        best = place, None
        for _ in range(_ROUNDS):
            match = self.match(place)
            if match is None or match.count < 1:
                break
            if best[1] is None or match.gain > best[1].gain:
                best = place, match
            place = self.members_place(match)
        return best


def _same_place(one, other, error):
    """Whether two places, each motions and parallax and a position in footprint radii, are of one cluster."""
    width = 3 * np.hypot(0.5 * error, intrinsic_dispersion(one[0][2]))
    return np.max(np.abs(one[0] - other[0]) / width) < 1 and np.hypot(*(one[1] - other[1])) < _APART


def distinct(peaks, footprint, error, most):
    """The best by evidence and by concentration, in turn, each away from the others in motion or position."""
    kept = []
    rankings = [sorted(peaks, key=key, reverse=True) for key in (lambda p: p.gain, lambda p: p.concentration)]

    def is_new(peak):
        return not any(
            _same_place((peak.x, peak.xy / footprint), (other.x, other.xy / footprint), error) for other in kept
        )

    while len(kept) < most and any(rankings):
        for ranking in rankings:
            while ranking:
                peak = ranking.pop(0)
                if is_new(peak):
                    kept.append(peak)
                    break
            if len(kept) >= most:
                break
    return kept
