"""
How well the published lists of members agree: with each other, and with the labels made from them.

    python benchmarks/lists.py FIELDS

A list has the stars of p >= 0.5 in it. F1 of each pair of lists over all stars of a field, and of each list against
the labels (a member is in two lists, or in the only one there is) over the stars that are scored: means over the fields
that have both. A list takes part in the labels, so that the latter is an upper limit on its quality.
"""

import argparse
import json
import sys
from itertools import combinations
from pathlib import Path

import numpy as np

from decocc_vo import read_stars
from decocc_vo.pretrain import f1


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


def main(args=None):
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", type=Path)
    options = parser.parse_args(args)
    for (kind, one, other), values in sorted(agreement(options.fields).items()):
        told = f"F1 {np.mean(values):.3f} (lowest {min(values):.3f}), {len(values)} fields"
        print(f"{kind:6s} {one:5s} and {other:6s}: {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
