"""
The table of the thesis that DECOCC comes from, for the clusters at hand: what it published, and what is measured here.

    python benchmarks/thesis_table.py FIELDS [--output TABLE.rst] [--seeds N] [--names A,B]

FIELDS is a folder with stars/NAME.fits. Each field is cut to the thesis's cone, 1.5 times OpenClust's radius. The last
table has what the published recipe gives with N seeds (default 10), with K by the silhouette and with the thesis's own
K and width. All is printed, and written to TABLE.rst as list-tables.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from decocc_vo import DECOCC, ClusterRegion, KMeansClassifier, read_stars
from decocc_vo.columns import floats

QUANTITIES = ("pmra", "pmdec", "parallax")
COLUMNS = ("μ\\ :sub:`α*` [mas/yr]", "μ\\ :sub:`δ` [mas/yr]", "ϖ [mas]", "N")
MARK = " †"  # the group with the most evidence does not hold as a cluster; the thesis picked by eye
AWAY = "Off [σ]"  # from Simbad's values, in dispersions of the cluster
WIDTHS = 38, 24, 24, 24, 5, 0  # of the columns in print
FIRST_CHECK = 20  # steps after which the published recipe first looks whether the labels have settled


class Cluster(NamedTuple):
    """A cluster of the thesis: its OpenClust cone, the recipe's settings, and what was published."""

    name: str
    field: str
    ra: float
    dec: float
    radius: float  # arcmin
    settings: dict  # number of groups and width of the network, chosen by hand there
    published: dict


# The thesis's tables, and Hunt & Reffert 2023 (A&A 673, A114) from Gaia DR3; +- is the error of the mean, in brackets
# the dispersion. The rows of Simbad are what the thesis found there in 2021.
CLUSTERS = (
    Cluster(
        "Melotte 22 (Pleiades)",
        "melotte22_wide",
        56.75,
        24.117,
        60,
        {"n_clusters": 5, "width": 200},
        {
            "Simbad": ("20.0 ± 0.1", "-45.6 ± 0.1", "7.36 ± 0.01", "1326"),
            "Hunt & Reffert 2023": ("19.96 ± 0.03 (1.00)", "-45.46 ± 0.04 (1.14)", "7.378 ± 0.005 (0.174)", "1721"),
            "Thesis: Clusterix + TOPCAT": ("20.0 ± 1.3", "-45.8 ± 1.5", "7.33 ± 0.21", "634"),
            "Thesis: K-Means": ("20.3 ± 1.0", "-38.0 ± 1.1", "7.23 ± 0.06", "1378"),
            "Thesis: DECOCC": ("23.7 ± 1.3", "-46.2 ± 1.5", "8.04 ± 0.09", "878"),
            "Thesis: DECOCC, filtered": ("19.5 ± 0.4", "-44.2 ± 0.4", "7.42 ± 0.01", "438"),
        },
    ),
    Cluster(
        "Melotte 25 (Hyades)",
        "melotte25_hipparcos2",
        66.725,
        15.867,
        165,
        {},
        {
            "Simbad": ("104.9 ± 0.1", "-28.00 ± 0.09", "21.05 ± 0.07", ""),
            "Hunt & Reffert 2023": ("104.1 ± 0.8 (14.8)", "-28.7 ± 0.5 (10.8)", "21.23 ± 0.08 (1.55)", "927"),
            "Thesis: Clusterix + TOPCAT": ("106.8 ± 6.2", "-24.9 ± 5.4", "21.2 ± 1.1", "109"),
            "Thesis: K-Means": ("79.9 ± 3.7", "-45.4 ± 3.8", "20.9 ± 0.3", "374"),
            "Thesis: DECOCC": ("104.1 ± 3.2", "-33.4 ± 2.5", "22.1 ± 0.1", "219"),
            "Thesis: DECOCC, filtered": ("106.0 ± 3.5", "-30.0 ± 2.4", "21.74 ± 0.07", "175"),
        },
    ),
    Cluster(
        "NGC 2632 (Praesepe)",
        "ngc2632_2deg",
        130.1,
        19.667,
        35,
        {"n_clusters": 10, "width": 40},
        {
            "Simbad": ("-36.05 ± 0.1", "-12.92 ± 0.07", "5.371 ± 0.003", ""),
            "Hunt & Reffert 2023": ("-35.94 ± 0.04 (1.02)", "-12.90 ± 0.03 (0.87)", "5.404 ± 0.004 (0.112)", "1314"),
            "Thesis: Clusterix + TOPCAT": ("-36.2 ± 1.0", "-12.9 ± 0.8", "5.3 ± 0.2", "371"),
            "Thesis: K-Means": ("-26.4 ± 0.8", "-15.8 ± 0.8", "5.39 ± 0.03", "629"),
            "Thesis: DECOCC": ("-20.0 ± 0.7", "-14.7 ± 0.6", "4.69 ± 0.03", "894"),
            "Thesis: DECOCC, filtered": ("-21.6 ± 0.7", "-14.2 ± 0.6", "4.72 ± 0.03", "714"),
        },
    ),
    Cluster(
        "NGC 2682 (M 67)",
        "ngc2682_wide",
        132.825,
        11.8,
        12.5,
        {"n_clusters": 10, "width": 40},
        {
            "Simbad": ("-10.974 ± 0.006", "-2.940 ± 0.006", "1.133 ± 0.001", "1194"),
            "Hunt & Reffert 2023": ("-10.97 ± 0.01 (0.19)", "-2.91 ± 0.01 (0.19)", "1.150 ± 0.002 (0.046)", "1844"),
            "Thesis: Clusterix + TOPCAT": ("-11.0 ± 0.3", "-3.0 ± 0.3", "1.14 ± 0.08", "649"),
            "Thesis: K-Means": ("-8.6 ± 0.2", "-3.7 ± 0.2", "1.20 ± 0.01", "1374"),
            "Thesis: DECOCC": ("-8.9 ± 0.2", "-3.6 ± 0.2", "1.144 ± 0.005", "1238"),
            "Thesis: DECOCC, filtered": ("-9.6 ± 0.1", "-3.3 ± 0.1", "1.140 ± 0.003", "990"),
        },
    ),
)


def values_of(cells):
    """The numbers at the head of the first three cells."""
    return [float(text.split()[0]) for text in cells[:3]]


def cells_of(result):
    """Mean, its error and the dispersion in brackets of each quantity, and the number of members, of the best group."""
    if len(result.candidates) == 0:
        return None
    row, cells = result.candidates[0], []
    for name in QUANTITIES:
        digits = 3 if name == "parallax" else 2
        mean, error, dispersion = (f"{row[name + part]:.{digits}f}" for part in ("", "_error", "_dispersion"))
        cells.append(f"{mean} ± {error} ({dispersion})")
    return *cells, str(row["n_members"])


def table_of(cluster, stars, inside, region, everything):
    """Rows of a cluster's table: what was published and what is measured, with the distance from Simbad's values."""
    best = DECOCC().fit(inside, region)
    measured = {
        "Here: K-Means": KMeansClassifier().fit(inside, region),
        "Here: DECOCC as published": DECOCC.thesis(quantile=0).fit(inside, region),
        "Here: DECOCC as published, filtered": DECOCC.thesis().fit(inside, region),
        "**Here: DECOCC**": best,
        f"Here: DECOCC, all stars to {everything.radius.to_value('arcmin'):.0f}′": DECOCC().fit(stars, everything),
    }
    dispersion = [float(best.summary[0][f"{name}_dispersion"]) if best.found else np.nan for name in QUANTITIES]
    simbad = values_of(cluster.published["Simbad"])
    rows = []
    here = {f"{label}{'' if result.found else MARK}": cells_of(result) for label, result in measured.items()}
    for label, cells in (cluster.published | here).items():
        if cells is None:
            rows.append((label, "no cluster", "", "", "", ""))
            continue
        away = np.abs(np.subtract(values_of(cells), simbad)) / dispersion
        rows.append((label, *cells, "" if label == "Simbad" else ", ".join(f"{d:.2f}" for d in away)))
    return rows


def seeds_of(cluster, inside, region, seeds):
    """Rows of the published recipe's table: from the least to the largest that it gives with the seeds."""
    rows = []
    for label, settings in {"K by silhouette": {}, "thesis's K and width": cluster.settings}.items():
        if rows and not settings:  # the thesis does not say
            continue
        results = [DECOCC.thesis(seed=seed, **settings).fit(inside, region) for seed in range(seeds)]
        found = [result.summary[0] for result in results if result.found]
        stopped = sum(result.diagnostics["iterations"] == FIRST_CHECK for result in results)
        ranges = []
        for name, digits in (*zip(QUANTITIES, (1, 1, 2), strict=True), ("n_members", 0)):
            values = [float(row[name]) for row in found]
            ranges.append(f"{min(values):.{digits}f} to {max(values):.{digits}f}" if found else "")
        rows.append((f"{cluster.name}, {label}", *ranges, f"{len(found)} of {seeds}", f"{stopped} of {seeds}"))
    return rows


def list_table(header, rows):
    """An rst list-table; values and their errors stay on one line."""
    lines = [".. list-table::", "   :header-rows: 1", "   :class: table-sm", ""]
    for row in [header, *rows]:
        cells = [cell.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}") for cell in row]
        lines += [f"   {'* -' if number == 0 else '  -'} {cell}".rstrip() for number, cell in enumerate(cells)]
    return "\n".join(lines) + "\n"


def main(args=None):
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--names", type=lambda text: text.split(","))
    options = parser.parse_args(args)
    pages, seeds = [], []
    for cluster in CLUSTERS:
        path = options.fields / "stars" / f"{cluster.field}.fits"
        if not path.exists() or (options.names is not None and cluster.field not in options.names):
            continue
        stars = read_stars(path)
        centre = SkyCoord(cluster.ra, cluster.dec, unit="deg")
        separation = centre.separation(SkyCoord(floats(stars["ra"]), floats(stars["dec"]), unit="deg"))
        region = ClusterRegion(centre, 1.5 * cluster.radius * u.arcmin, name=cluster.name)
        everything = ClusterRegion(centre, separation.max(), name=cluster.name)
        inside = stars[separation <= region.radius]
        rows = table_of(cluster, stars, inside, region, everything)
        title = f"{cluster.name}: {len(inside)} stars of {stars.meta['release']}"
        print(title)
        for row in rows:
            print(*(f"{cell:{width}s}" for cell, width in zip(row, WIDTHS, strict=True)), sep="  ", flush=True)
        pages.append(f"{title}\n{'~' * len(title)}\n\n{list_table(('', *COLUMNS, AWAY), rows)}")
        seeds += seeds_of(cluster, inside, region, options.seeds)
    for row in seeds:
        print(*row, sep="  ")
    title = "The published recipe with other seeds"
    header = ("", *COLUMNS, "Found", "Stopped at first check")
    pages.append(f"{title}\n{'~' * len(title)}\n\n{list_table(header, seeds)}")
    if options.output:
        options.output.write_text("\n".join(pages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
