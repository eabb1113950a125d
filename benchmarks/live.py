"""
How long TOPCAT's user waits: from a table broadcast in TOPCAT to its members back in TOPCAT, and for a refit.

Starts an X server, a SAMP hub, TOPCAT and a `LiveSession` with DECOCC, broadcasts simulated fields of several sizes
from TOPCAT itself, and takes the time until TOPCAT shows the row subset of the members. Then a selection of rows, made
in TOPCAT, too, is the seed of a refit.

    python benchmarks/live.py [--rows 2000,15000,50000] [--output live.json]

The first fit of a size compiles; it is broadcast twice, and both times are given. Needs what .ci/desktop.sh installs.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from desktop.fakes import a_hub, until
from desktop.programs import screen, topcat

from decocc_vo import DECOCC
from decocc_vo.samp import LiveSession
from decocc_vo.samp import client as samp_client
from decocc_vo.votable import write_votable


def field(rows, seed=0):
    """A field with a cluster of a twentieth of its stars, with errors that grow with the magnitude."""
    from astropy.table import Table

    rng = np.random.default_rng(seed)
    members = max(rows // 20, 60)
    member = np.arange(rows) < members
    g = np.where(member, rng.triangular(9, 17, 18, rows), rng.triangular(9, 18, 18, rows))
    error = 0.02 * 10 ** (0.2 * np.clip(g - 13, 0, None))
    radius, angle = (
        np.where(member, rng.rayleigh(0.12, rows), np.sqrt(rng.uniform(0, 1, rows))),
        rng.uniform(0, 6.2832, rows),
    )

    def observe(cluster, spread, background):
        return np.where(member, rng.normal(cluster, spread, rows), background) + error * rng.normal(size=rows)

    table = Table(
        {
            "source_id": rng.permutation(np.arange(rows)) + 2**60,
            "ra": 130.1 + radius * np.cos(angle) / np.cos(np.radians(19.7)),
            "dec": 19.7 + radius * np.sin(angle),
            "pmra": observe(-5.0, 0.15, rng.normal(-1, 4, rows)),
            "pmdec": observe(-6.0, 0.15, rng.normal(-3, 4, rows)),
            "parallax": observe(1.5, 0.01, rng.gamma(2, 0.4, rows)),
            **{f"{name}_error": error for name in ("pmra", "pmdec", "parallax")},
            "phot_g_mean_mag": g,
            "bp_rp": np.where(member, 0.2 + (g - 9) / 5, rng.normal(1.2, 0.4, rows)),
        }
    )
    return table[rng.permutation(rows)]


class Stopwatch:
    """TOPCAT's windows, and the time until they show what they should."""

    def __init__(self, window, session):
        self.window, self.session, self.number = window, session, 0

    def choose(self, label):
        line = until(
            lambda: [x for x in self.window("cells", "TOPCAT").splitlines() if x.split(": ", 1)[-1] == label], 60
        )[0]
        self.window("choose", "TOPCAT", line)
        self.number = line.split(":")[0]
        self.window("press", "TOPCAT", "Row Subsets")
        until(lambda: self.subset_window in self.window("windows"))

    @property
    def subset_window(self):
        return f"TOPCAT({self.number}): Row Subsets"

    def shown(self):
        """Rows of the members' subset in the window, or None."""
        for line in self.window("cells", self.subset_window).splitlines():
            cells = line.split("\t")
            if cells[1:2] == ["DECOCC"]:
                return cells[2]
        return None

    def seconds(self, act, fits, find):
        """From pressing a button to the members' number in the window."""
        began = time.perf_counter()
        act()
        entry = until(lambda: (e := find()) is not None and e.fits >= fits and e, 900)
        # TOPCAT has answered all; a result that came later would become its current table, and be broadcast next.
        assert self.session.wait(120), "TOPCAT did not take the result"
        until(lambda: self.shown() == str(len(entry.rows)), 120)
        return time.perf_counter() - began, entry


def measure(watch, path, rows):
    """Times for one table that TOPCAT has loaded."""
    label = path.name
    watch.choose(label)

    def entry():
        found = [e for e in watch.session.tables if e.name == label]
        return found[-1] if found else None

    def press():  # the button is there once TOPCAT has noticed the table and the session
        watch.window("choose", "TOPCAT", f"{watch.number}: {label}")
        return watch.window.ask("press", "TOPCAT", "Broadcast table")[0]

    def broadcast():
        until(press, 60)

    first, known = watch.seconds(broadcast, 1, entry)

    def select():
        watch.window("choose", watch.subset_window, "DECOCC")
        return watch.window.ask("press", watch.subset_window, "Broadcast Row Subset")[0]

    refit, _ = watch.seconds(lambda: until(select), known.fits + 1, lambda: known)
    watch.choose(label)  # the result, which came last, is TOPCAT's current table now
    again, last = watch.seconds(broadcast, 1, lambda: ((e := entry()) is not known and e) or None)
    truth = max(rows // 20, 60)
    return {
        "rows": rows,
        "first_s": round(first, 2),
        "again_s": round(again, 2),
        "refit_s": round(refit, 2),
        "members": len(last.rows),
        "true_members": truth,
    }


def main(args=None):
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="2000,15000,50000")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(args)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        os.environ["SAMP_HUB"] = f"std-lockurl:file://{folder}/.samp"
        sizes = [int(size) for size in options.rows.split(",")]
        paths = [folder / f"field{size}.vot" for size in sizes]
        for size, path in zip(sizes, paths, strict=True):
            write_votable(field(size), path)
        with screen(folder) as environment, a_hub(), topcat(folder, environment, *paths) as window:
            with samp_client.connect("watcher") as watcher:
                until(lambda: any(p.takes("table.load.votable") for p in watcher.programs()), 90)
            # The table that comes last becomes the current one: wait for all before one is chosen.
            until(lambda: all(path.name in window("cells", "TOPCAT") for path in paths), 120)
            with LiveSession(DECOCC(seed=0).fit, selection="seed", timeout=120, on_problem=print) as session:
                print(f"{'rows':>7} {'first':>8} {'again':>8} {'refit':>8}  members (true)", flush=True)
                for size, path in zip(sizes, paths, strict=True):
                    r = measure(Stopwatch(window, session), path, size)
                    results.append(r)
                    print(
                        f"{r['rows']:>7} {r['first_s']:>6.1f} s {r['again_s']:>6.1f} s {r['refit_s']:>6.1f} s"
                        f"  {r['members']} ({r['true_members']})",
                        flush=True,
                    )
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
