"""
Run a method on every field of a folder, for ``score_membership.py``.

    python benchmarks/run_fields.py FIELDS OUT [--method decocc] [--preset default] [--seed N] [--shuffle N]
        [--names A,B] [--time]

FIELDS has a ``manifest.json`` and the stars in ``stars/NAME.fits``; only those are read. OUT gets NAME.fits with
source_id and membership_prob, and times.json with rows, seconds and peak_mb (of the process so far) for each field;
with ``--time`` each is run twice, and compile_seconds is the first run less the second.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from decocc_vo import ClusterRegion, InputError, read_stars
from decocc_vo.cli import make_method


def run_field(entry, fields, out, method, shuffle=None, time_twice=False):
    """Run one field; returns its entry of times.json and a line to print."""
    stars = read_stars(fields / "stars" / f"{entry['name']}.fits")
    if shuffle is not None:
        stars = stars[np.random.default_rng(shuffle).permutation(len(stars))]
    region = ClusterRegion(
        SkyCoord(entry["ra"], entry["dec"], unit="deg"), entry["radius_arcmin"] * u.arcmin, name=entry["name"]
    )
    seconds = []
    for _ in range(2 if time_twice else 1):
        began = time.perf_counter()
        try:
            result = method.fit(stars, region)
            probability, note = result.table["membership_prob"], result.stop_reason
        except InputError as error:
            probability, note = np.ma.masked_all(len(stars), np.float32), str(error)
        seconds.append(time.perf_counter() - began)
    table = Table({"source_id": stars["source_id"], "membership_prob": np.ma.filled(probability, np.nan)})
    table.write(out / f"{entry['name']}.fits", overwrite=True)
    times = {
        "rows": len(stars),
        "seconds": seconds[-1],
        "compile_seconds": seconds[0] - seconds[-1],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    chosen = int(np.sum(np.ma.filled(probability, 0) >= 0.5))
    return times, f"{entry['name']:24s} {len(stars):6d} {times['seconds']:7.2f} s  {chosen:5d} members  {note}"


def main(args=None):
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--method", default="decocc")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shuffle", type=int)
    parser.add_argument("--names", type=lambda text: text.split(","))
    parser.add_argument("--time", action="store_true", help="run each field twice, to tell compilation from the fit")
    options = parser.parse_args(args)
    options.out.mkdir(parents=True, exist_ok=True)
    method = make_method(options.method, options.preset, options.seed)
    times = {}
    for entry in json.loads((options.fields / "manifest.json").read_text()):
        if options.names is None or entry["name"] in options.names:
            times[entry["name"]], line = run_field(
                entry, options.fields, options.out, method, options.shuffle, options.time
            )
            print(line, flush=True)
            (options.out / "times.json").write_text(json.dumps(times, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
