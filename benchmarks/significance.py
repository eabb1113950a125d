"""
What a significance is worth: how many fields without a cluster reach it, and how many clusters are found from it on.

    python benchmarks/significance.py FIELDS [--clusters 4000] [--nulls 6000] [--sizes 9,60] [--jobs N] [--seed N]
        [--without FILE.json]

Clusters are injected into real fields without theirs, and fields without one are those fields with their positions
dealt out anew, as in ``injections.py``; here it is the candidates themselves that are looked at. Printed are the part
of the empty fields that hold a candidate of each significance, without and with the fields in which another listed
cluster moves together wherever its stars are put, and the part of the clusters that are found at equal rates of false
alarms by the log evidence alone and by the significance.
"""

import itertools
import sys
from functools import partial

import injections
import numpy as np

from decocc_vo import DECOCC, InputError
from decocc_vo.columns import canonical_order, parallax_zero_point
from decocc_vo.embedding.candidates import find_peaks
from decocc_vo.embedding.embedded import Embedding
from decocc_vo.embedding.evidence import evidence, significance
from decocc_vo.embedding.features import observables
from decocc_vo.embedding.search import fit_candidates
from decocc_vo.embedding.verdict import enough_members
from decocc_vo.pretrain import f1

SIZES = 10, 12, 18, 30, 61
OTHERS = "edr3_pismis2", "edr3_ngc225", "edr3_berkeley30", "edr3_ngc3293"
"""Fields with another cluster that Hunt & Reffert 2023 list."""


def candidates(stars, region, truth):
    """Evidence, significance and F1 of each candidate that has enough stars."""
    obs = observables(stars, region, parallax_zero_point(stars))
    embedding = Embedding.of(obs.x, obs.cov, obs.xy / obs.footprint, obs.footprint)
    fits = fit_candidates(obs, embedding, find_peaks(obs, embedding), 0, DECOCC.threshold)
    return [
        (evidence(fit), significance(fit), f1(fit.probability >= 0.5, truth)) for fit in fits if enough_members(fit)
    ]


def run(seed, sizes, index):
    """Candidates of one field, with a cluster if there are sizes: (field, members, candidates)."""
    rng = np.random.default_rng([seed, 5 if sizes else 6, index])
    name, (field, region) = injections.background(rng)
    if sizes:
        try:
            stars, truth, _ = injections.injected(field, region, rng, sizes)
        except InputError:  # a draw that fell outside the footprint
            return None
    else:
        stars = injections.shuffled(field, rng)
        stars, truth = stars[canonical_order(stars)], np.zeros(len(stars), bool)
    return name, int(truth.sum()), candidates(stars, region, truth)


def report(clusters, nulls):
    """Print what each significance is worth."""
    alone = np.array([field not in OTHERS for field, _, _ in nulls])
    best = np.array([[max((c[i] for c in found), default=-100.0) for i in (0, 1)] for _, _, found in nulls])
    print(f"{len(nulls)} fields without a cluster, {alone.sum()} of them without another one, reach")
    for value in range(3, 11):
        reached = best[:, 1] >= value
        print(f"  significance {value}: {reached.mean():.2%}, {reached[alone].mean():.2%}")
    clusters = [row for row in clusters if row[0] not in OTHERS]
    print(f"{len(clusters)} injected clusters, of these are found, by evidence and by significance")
    for rate in (0.0025, 0.005, 0.01):
        thresholds = np.quantile(best[alone], 1 - rate, axis=0)
        print(f"  false alarms in {rate:.2%} of the fields, thresholds {thresholds.round(1)}")
        for low, high in itertools.pairwise(SIZES):
            part = [found for _, members, found in clusters if low <= members < high]
            if part:
                told = [
                    np.mean([any(c[2] >= 0.3 and c[i] >= thresholds[i] for c in found) for found in part])
                    for i in (0, 1)
                ]
                print(f"    {low} to {high - 1} stars ({len(part)}): {told[0]:.1%}, {told[1]:.1%}")


def main(args=None):
    """Parse the command line and run."""
    options = injections.parser(__doc__, clusters=4000, nulls=6000, sizes=[9, 60]).parse_args(args)
    backgrounds = injections.empty_fields(options.fields, options.jobs, options.without)
    with injections.pool(options.jobs, backgrounds) as jobs:
        clusters = injections.answers(jobs, partial(run, options.seed, options.sizes), options.clusters)
        nulls = injections.answers(jobs, partial(run, options.seed, None), options.nulls)
    report(clusters, nulls)
    return 0


if __name__ == "__main__":
    sys.exit(main())
