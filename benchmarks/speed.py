"""
Time DECOCC on simulated fields, beside HDBSCAN and a mixture of two Gaussians on the same table in the same run.

    python benchmarks/speed.py [--rows 1000,10000,100000] [--hdbscan-limit 100000]

Prints for each number of rows, in a process of its own: seconds of the first fit (JAX compiles) and of the second,
peak memory up to there, the seconds of the others, and the ratios. HDBSCAN is left out above the limit: its time grows
faster than linearly.
"""

import argparse
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from sklearn.cluster import HDBSCAN
from sklearn.mixture import GaussianMixture

from decocc_vo import DECOCC, ClusterRegion
from decocc_vo.simulate import SimulatedCluster, inject_cluster, simulate_field


def clock(function):
    """Seconds a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def run(rows, hdbscan_limit):
    """Time one number of rows; returns a line to print."""
    region = ClusterRegion(SkyCoord(120, -30, unit="deg"), min(0.2 * np.sqrt(rows / 1000), 10) * u.deg)
    members = max(rows // 50, 60)
    cluster = SimulatedCluster(members, -4.0, 3.0, 1.2, radius=float(region.radius.to_value("arcmin")) / 6)
    stars = inject_cluster(simulate_field(region, rows - members, seed=1), region, cluster, seed=1)
    method = DECOCC()
    first, second = (clock(lambda: method.fit(stars, region)) for _ in range(2))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    x = np.stack([np.asarray(stars[name], float) for name in ("pmra", "pmdec", "parallax")], axis=1)
    x = (x - np.median(x, axis=0)) / np.std(x, axis=0)
    mixture = clock(lambda: GaussianMixture(2, random_state=0).fit(x))
    density = clock(lambda: HDBSCAN(min_cluster_size=20, copy=True).fit(x)) if rows <= hdbscan_limit else np.nan
    return (
        f"{rows:9d} {first:10.2f} {second:10.2f} {peak:9.0f} {density:10.2f} {mixture:9.2f} "
        f"{second / density:10.2f} {second / mixture:9.1f}"
    )


def main(args=None):
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rows = [1_000, 10_000, 100_000, 1_000_000]
    parser.add_argument("--rows", type=lambda text: [int(float(n)) for n in text.split(",")], default=rows)
    parser.add_argument("--hdbscan-limit", type=int, default=100_000)
    options = parser.parse_args(args)
    print("     rows    first s   second s   peak MB  HDBSCAN s  2 Gauss s  /HDBSCAN  /2 Gauss")
    for rows in options.rows:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            print(process.submit(run, rows, options.hdbscan_limit).result(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
