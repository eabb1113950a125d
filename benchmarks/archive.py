"""
How fast the archive takes stars in and gives cones back: DuckDB and PostgreSQL, on made-up stars.

    python benchmarks/archive.py [ROWS] [--postgres URL] [--folder DIR]

ROWS (1e7) stars with all columns of Gaia DR3, evenly over a band of the sky as dense as the Galactic plane's edge, are
put in by regions, as a fetch does. Then cones are asked for, each three times; the best and the worst are printed.
Without --postgres a throwaway cluster is made in DIR where initdb and pg_ctl are on the path.
"""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table

from decocc_vo import ClusterRegion
from decocc_vo.columns import COLUMNS, get_release
from decocc_vo.stars._healpix import pixel_of, separation
from decocc_vo.stars.archive import StarArchive

NAMES = get_release("gaia_dr3").columns
PART = 500_000
DENSITY = 20_000  # stars per square degree: some 60 000 in a 1-degree cone


def tiles(rows):
    """Regions side by side along the equator, each with PART stars; yields (region, table)."""
    rng = np.random.default_rng(1)
    half = np.sqrt(PART / DENSITY) / 2
    for index in range(round(rows / PART)):
        center = (2 * half * index) % 360, (2 * half + 0.1) * (2 * half * index // 360)
        yield cone(*center, half * np.sqrt(2) * 1.001), stars(rng, center, half, index)


def stars(rng, center, half, index):
    ra, dec = (center[0] + rng.uniform(-half, half, PART)) % 360, center[1] + rng.uniform(-half, half, PART)
    # The number in the low bits makes every identifier its own.
    ids = pixel_of(ra, dec) * 2**35 + index * PART + np.arange(PART)
    table = Table(masked=True)
    for name in NAMES:
        dtype = np.dtype(COLUMNS[name].dtype)
        values = {"source_id": ids, "ra": ra, "dec": dec}.get(name)
        if values is None:
            values = rng.normal(10, 3, PART) if dtype.kind == "f" else rng.integers(0, 99, PART)
        missing = rng.random(PART) < 0.9 if name.startswith("radial") else False
        table[name] = MaskedColumn(values.astype(dtype), mask=missing, copy=False)
    return table


def cone(ra, dec, radius):
    return ClusterRegion(SkyCoord(ra % 360 * u.deg, dec * u.deg), radius * u.deg)


def measure(url, rows):
    """Ingest and ask; prints as it goes."""
    archive = StarArchive(url)
    middle, inside, taken, put, radius = None, None, 0.0, 0, 1.0
    for index, (region, table) in enumerate(tiles(rows)):
        start = time.perf_counter()
        parts = [table]
        put += archive.ingest(region, "gaia_dr3", parts, columns=NAMES, service="made up", query="")
        taken += time.perf_counter() - start
        if index == round(rows / PART) // 2:
            middle = region
            away = separation(table["ra"], table["dec"], region.center.ra.deg, region.center.dec.deg)
            inside = np.sort(np.asarray(table["source_id"])[np.asarray(away) <= radius])
        if sys.stderr.isatty():
            print(f"\r{put:.3g} rows", end="", file=sys.stderr)
    print(f"\n{archive.url}\ningest   {put} rows in {taken:.1f} s, {put / taken:.0f} rows/s")
    for degrees in (0.1, 0.5, radius):
        wall, cpu = [], []
        for _ in range(3):
            start, used = time.perf_counter(), time.process_time()
            found = archive.query_region(cone(middle.center.ra.deg, middle.center.dec.deg, degrees), "gaia_dr3")
            wall.append(time.perf_counter() - start)
            cpu.append(time.process_time() - used)
        print(
            f"cone     {degrees:g} deg: {len(found)} rows, {min(wall):.3f} to {max(wall):.3f} s"
            f" ({min(cpu):.3f} s of this process's CPU)"
        )
    same = np.array_equal(found["source_id"], inside)
    print(f"check    the last cone has exactly the stars that were put there: {same}")
    return same


@contextlib.contextmanager
def throwaway_postgres(folder):
    """URL of a PostgreSQL cluster of its own; None where there is no PostgreSQL."""
    if not (shutil.which("initdb") and shutil.which("pg_ctl")):
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = {} if os.getuid() else {"user": "postgres", "group": "postgres", "extra_groups": []}
    home = Path(tempfile.mkdtemp(prefix="postgres_", dir=folder))
    if user:
        shutil.chown(home, "postgres", "postgres")

    def run(*command):
        subprocess.run(command, check=True, cwd=home, stdout=subprocess.DEVNULL, **user)

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c max_wal_size=4GB"
    run("initdb", "-D", f"{home}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8")
    run("pg_ctl", "-D", f"{home}/data", "-w", "-l", f"{home}/log", "-o", options, "start")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", f"{home}/data", "-m", "immediate", "stop")
        shutil.rmtree(home, ignore_errors=True)


def main(args=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=float, default=1e7)
    parser.add_argument("--postgres", metavar="URL", help="an empty database to use instead of a throwaway one")
    parser.add_argument("--folder", help="folder with room for some gigabytes")
    parser.add_argument("--only", choices=["duckdb", "postgres"])
    args = parser.parse_args(args)
    sys.stdout.reconfigure(line_buffering=True)
    good = True
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        os.chmod(folder, 0o755)
        if args.only != "postgres":
            path = Path(folder) / "stars.duckdb"
            good &= measure(path, args.rows)
            print(f"size     {path.stat().st_size / 1e9:.2f} GB")
        if args.only != "duckdb":
            with contextlib.nullcontext(args.postgres) if args.postgres else throwaway_postgres(folder) as url:
                if url is None:
                    print("postgres: initdb and pg_ctl are not on the path, left out")
                else:
                    good &= measure(url, args.rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
