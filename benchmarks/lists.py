"""
How well the published lists of members agree: with each other, and with the labels made from them.

    python benchmarks/lists.py FIELDS

A list has the stars of p >= 0.5 in it. F1 of each pair of lists over all stars of a field, and of each list against
the labels (a member is in two lists, or in the only one there is) over the stars that are scored: means over the fields
that have both. A list takes part in the labels, so that the latter is an upper limit on its quality.

Then, of each field, how many listed members are nowhere near their cluster: more than 5 sigma from the median motion
and parallax of all listed ones, by the star's own covariance and the dispersion that clusters have. Perspective is not
taken out, so that the Hyades and the Pleiades seem to have many.
"""

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path

import numpy as np

from decocc_vo import read_stars
from decocc_vo.columns import parallax_zero_point
from decocc_vo.embedding.embedded import intrinsic_dispersion
from decocc_vo.embedding.features import observables
from decocc_vo.pretrain import f1, read_field, read_truth

_FAR = 5.0  # sigma


def agreement(fields):
    """F1 by pair of lists, or list and "labels", and by kind of field."""
    found = {}
    for entry in json.loads((fields / "manifest.json").read_text()):
        if entry["cluster"] is None:
            continue
        truth = read_stars(fields / "truth" / f"{entry['name']}.fits")
        names = [name for name in truth.colnames if name.startswith("p_")]
        lists = {name[2:]: np.nan_to_num(np.ma.filled(np.ma.asarray(truth[name], float), 0.0)) >= 0.5 for name in names}
        lists = {name: chosen for name, chosen in lists.items() if chosen.any()}
        kind = entry["name"].split("_")[0] if entry["name"].startswith(("edr3_", "faint_")) else "other"
        label = np.asarray(truth["label"])
        for one, other in combinations(sorted(lists), 2):
            found.setdefault((kind, one, other), []).append(f1(lists[one], lists[other]))
        if len(lists) > 1:
            for name, chosen in lists.items():
                found.setdefault((kind, name, "labels"), []).append(f1(chosen[label >= 0], label[label >= 0] == 1))
    return found


def strays(entry, fields):
    """Distances of the listed members from their cluster in motions and parallax [sigma]."""
    stars, region = read_field(entry, fields)
    obs = observables(stars, region, parallax_zero_point(stars))
    members = obs.take(np.flatnonzero(read_truth(entry, fields, stars)[0] == 1))
    middle = np.median(members.x, axis=0)
    cov = members.cov + np.diag(intrinsic_dispersion(middle[2]) ** 2)
    offset = members.x - middle
    return np.sqrt(np.einsum("ni,ni->n", offset, np.linalg.solve(cov, offset[..., None])[..., 0]))


def main(args=None):
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", type=Path)
    options = parser.parse_args(args)
    for (kind, one, other), values in sorted(agreement(options.fields).items()):
        told = f"F1 {np.mean(values):.3f} (lowest {min(values):.3f}), {len(values)} fields"
        print(f"{kind:6s} {one:5s} and {other:6s}: {told}")
    for entry in json.loads((options.fields / "manifest.json").read_text()):
        if entry["cluster"] is not None:
            far = strays(entry, options.fields)
            count = np.sum(far > _FAR)
            # With every other star right, no method can do better than this.
            print(
                f"{entry['name']}: {count} of {len(far)} listed more than {_FAR:g} sigma away, F1 at best "
                f"{2 * (len(far) - count) / (2 * len(far) - count):.3f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
