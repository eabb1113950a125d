"""
Members against the counts of all stars on the sky, by magnitude.

    python benchmarks/counts.py FIELDS [--names A,B]

Of each faint field of FIELDS, or of those named: how many more stars there are within two Plummer radii of the cluster
than at the same area of the outskirts, whatever their motions, and how many more members, as the sum of their
probabilities. The field is not even, so that the two differ; but a cluster's stars of all magnitudes are in one place,
and a method that loses faint ones has a smaller part of them than of the brighter.
"""

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from decocc_vo import DECOCC
from decocc_vo.columns import floats
from decocc_vo.pretrain import read_field

EDGES = (0, 17, 18, 19, 20, 22)
WIDEST, OUTSKIRTS = 0.45, 0.6  # of the radius of the field: how wide a cluster may be, and where the outskirts begin


def excess(distance, footprint, radius, weight):
    """Sum of weights within a radius over that of the same area of the outskirts, and its Poisson error."""
    inner, outer = distance < radius, (distance > OUTSKIRTS * footprint) & (distance < footprint)
    area = radius**2 / ((1 - OUTSKIRTS**2) * footprint**2)
    return weight[inner].sum() - area * weight[outer].sum(), np.sqrt(inner.sum() + area**2 * outer.sum())


def main(args=None):
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", type=Path)
    parser.add_argument("--names", type=lambda text: text.split(","))
    options = parser.parse_args(args)
    for entry in json.loads((options.fields / "manifest.json").read_text()):
        name = entry["name"]
        if not (name in options.names if options.names else name.startswith("faint")):
            continue
        stars, region = read_field(entry, options.fields)
        result = DECOCC().fit(stars, region)
        member = np.ma.filled(result.table["membership_prob"], 0.0)
        centre = [float(result.summary[axis][0]) for axis in ("ra", "dec")]
        x, y = region.offsets(floats(stars["ra"]), floats(stars["dec"]))
        x0, y0 = region.offsets(*(np.array([value]) for value in centre))
        distance, footprint = np.hypot(x - x0, y - y0), np.quantile(np.hypot(x, y), 0.999) - np.hypot(x0, y0)[0]
        # Half of a Plummer profile's stars are within 1.3 of its radii.
        radius = min(1.5 * float(result.summary["r50"].quantity[0].to_value("arcmin")), WIDEST * footprint)
        print(f"{name}: {np.sum(member >= 0.5)} members, {radius:.1f} arcmin")
        magnitude = np.ma.filled(stars["phot_g_mean_mag"], np.nan)
        for low, high in pairwise(EDGES):
            part = (magnitude >= low) & (magnitude < high)
            of_stars, error = excess(distance[part], footprint, radius, np.ones(part.sum()))
            of_members, _ = excess(distance[part], footprint, radius, member[part])
            print(
                f"  G {low:2d} to {high:2d}: stars {of_stars:6.0f} +/- {error:3.0f}, members {of_members:6.0f}, "
                f"{of_members / of_stars:4.0%} +/- {error * of_members / of_stars**2:3.0%}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
