"""The matched filter: which of many trials it looks at closely, and where it leads from beside a cluster."""

import numpy as np
import pytest

from decocc_vo.embedding.embedded import Embedding
from decocc_vo.embedding.matched_filter import _RECENTRED, Match, MatchedFilter


def test_bumps_of_much_evidence_do_not_crowd_out_a_concentration():
    """The core of a field whose density is not described well has more of them than are looked at closely."""

    class Made(MatchedFilter):
        def match(self, place):
            last = place[0] == trials[-1, 0]
            return Match(1.0, 30.0, 9.0, place, None) if last else Match(500.0 - place[0], 1.0, 9.0, place, None)

        def members_place(self, match):
            return match.near

    rng = np.random.default_rng(0)
    x, sky = rng.normal(0, [6, 6, 0.8], (200, 3)), rng.uniform(-1, 1, (200, 2))
    embedding = Embedding.of(x, np.tile(0.01 * np.eye(3), (200, 1, 1)), sky, 30.0)
    trials = np.zeros((3 * _RECENTRED, 5))
    trials[:, 0] = np.linspace(-5, 5, len(trials))
    peaks = Made(embedding, np.arange(200), sky, np.zeros(200), 0).peaks(trials, 30.0, 200)
    assert len(peaks) == _RECENTRED
    assert max(p.concentration for p in peaks) == 30.0
    assert max(p.gain for p in peaks) == 505.0


@pytest.fixture(scope="module")
def matched():
    """A filter over 40 stars of one motion and place among 400."""
    rng = np.random.default_rng(1)
    x, sky = rng.normal(0, [6, 6, 0.8], (440, 3)), rng.uniform(-1, 1, (440, 2))
    x[:40], sky[:40] = rng.normal([3, -4, 1.2], 0.03, (40, 3)), rng.normal(0.3, 0.05, (40, 2))
    embedding = Embedding.of(x, np.tile(1e-3 * np.eye(3), (440, 1, 1)), sky, 30.0)
    z = embedding.forward(x)
    log_field = -0.5 * np.sum(z**2 / z.var(axis=0) + np.log(2 * np.pi * z.var(axis=0)), axis=1)
    return MatchedFilter(embedding, np.arange(440), sky, log_field, 0)


def test_a_match_counts_the_members_and_says_who_they_are(matched):
    match = matched.match(np.append(matched.embedding.forward(np.array([3, -4, 1.2])), [0.3, 0.3]))
    assert match.count == pytest.approx(40, abs=3)
    assert set(match.near[match.share > 0.5]) >= set(range(38))
    assert match.gain > match.concentration > 50


def test_a_trial_beside_the_cluster_leads_to_it(matched):
    trial = np.append(matched.embedding.forward(np.array([3.4, -4.3, 1.3])), [0.4, 0.2])
    (peak,) = matched.peaks(trial[None], 30.0, 4400)
    np.testing.assert_allclose(peak.x, [3, -4, 1.2], atol=0.05)
    np.testing.assert_allclose(peak.xy, [9, 9], atol=1)
    assert peak.count == pytest.approx(400, rel=0.1)  # the sample stands for ten times as many


def test_where_no_star_is_nothing_matches(matched):
    assert matched.match(np.array([9.0, 9.0, 9.0, 0.0, 0.0])) is None
