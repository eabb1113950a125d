"""
Exact truth: clusters injected into real fields without theirs, and fields in which there is none.

    python benchmarks/injections.py FIELDS [--clusters 500] [--sizes 10,3000] [--nulls 300] [--pairs 60] [--jobs N]
        [--pair-motion KM_S] [--wide N] [--of-disc] [--cut MAS_YR] [--snr SNR] [--stars 300,20000] [--seed N]
        [--without FILE.json] [--output FILE.json]

Each field of FIELDS loses its listed and probable members, and its positions are dealt out anew. Who is probable is for
this version to say, so that another draws other clusters, unless the file of ``--without`` says it: where there is none
yet, it is made. A cluster of 10 to 3000 stars, or as ``--sizes`` says, at 50 pc to 10 kpc, half to 0.3 % of all stars,
is put into it, and `decocc_vo.DECOCC` is asked for the cluster, as a user would: nothing is left out. Its motion is any
field star's, or with ``--of-disc`` that of field stars at its distance, among which it is harder to find. Printed are
completeness of the detection, F1, the reliability of the probabilities, and the sum of p, by size. Nulls are the same
fields without a cluster, simulated fields, and the real fields with their members removed but all positions as they
were: the largest significance each reaches, and how many hold a candidate at the default threshold. Pairs are two
clusters of one distance and motion, within 0.1 mas/yr, in such a field: how many come back as two; with
``--pair-motion`` their motions differ by so much, and they overlap on the sky. With ``--cut`` tables are cut to so many
mas/yr on either side of the cluster's motion in both axes, and where there is none of a star's, or half to twice that;
with ``--snr`` only stars whose parallax is so many times its error are left. ``--stars`` is how many a null has. Wide
are clusters of 15 to 300 stars at 50 to 400 pc in simulated fields of 2 to 10 degrees and 10 000 to 50 000 stars, found
with their perspective and, beside, with that left out.
"""

import argparse
import json
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from decocc_vo import DECOCC, ClusterRegion, InputError
from decocc_vo.columns import AU_YR, floats, standard_errors
from decocc_vo.embedding import features, search
from decocc_vo.pretrain import draw_cluster, f1, read_field, read_truth, reliability, simulated, without_cluster
from decocc_vo.simulate import inject_cluster, shuffle_positions, simulate_field

_LEFT = 40  # stars that a cut has to leave
_STARS = (300, 20_000)  # of a field without a cluster
SIZES = ((10, 18), (18, 30), (30, 100), (100, 300), (300, 3001))


class Tables(NamedTuple):
    """What of a field is in the table that is searched."""

    cut: float | None = None  # mas/yr on either side of a motion
    snr: float | None = None  # least parallax over its error
    stars: tuple[float, float] = _STARS  # of a field without a cluster


_BACKGROUNDS = {}
"""Stars and region of each field without its cluster, in every process."""


def pool(jobs, backgrounds=None):
    """Processes that know the fields."""
    return ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (backgrounds or {},))


def _begin(backgrounds):
    features.log.disabled = True  # simulations in fields without errors have none
    _BACKGROUNDS.update(backgrounds)


def answers(jobs, function, number):
    """What a function gives for each number, where it gives anything."""
    return [row for row in jobs.map(function, range(number)) if row is not None]


def background(rng):
    """One of the fields: its name, and its stars and region."""
    return list(_BACKGROUNDS.items())[int(rng.integers(len(_BACKGROUNDS)))]


def empty_field(entry, fields, left_out=None):
    """
    Stars of a real field without listed and probable members, its region, and the ``source_id`` of those it lost.

    Where it is known who is left out, nothing is asked.
    """
    whole, region = read_field(entry, fields)
    if left_out is None:
        probability = np.ma.filled(DECOCC().fit(whole, region).table["membership_prob"], 0.0)
        stars = without_cluster(whole, read_truth(entry, fields, whole)[0], probability)
    else:
        stars = whole[~np.isin(whole["source_id"], left_out[entry["name"]])]
    return stars, region, np.setdiff1d(whole["source_id"], stars["source_id"]).tolist()


def empty_fields(fields, jobs, without=None):
    """
    All of them, by name: stars and region. Hipparcos has no G, from which the errors of simulated stars follow.

    The ``source_id`` of the stars they lose are read from a file, or kept in it if there is none.
    """
    manifest = json.loads((fields / "manifest.json").read_text())
    manifest = [entry for entry in manifest if "hipparcos" not in entry["name"]]
    left_out = json.loads(without.read_text()) if without and without.exists() else None
    with pool(jobs) as processes:
        empty = list(processes.map(partial(empty_field, fields=fields, left_out=left_out), manifest))
    names = [entry["name"] for entry in manifest]
    if without and left_out is None:
        without.write_text(json.dumps({name: lost for name, (*_, lost) in zip(names, empty, strict=True)}))
    return {name: (stars, region) for name, (stars, region, _) in zip(names, empty, strict=True)}


def injected(field, region, rng, sizes, of_disc=False):
    """A thinned field with a cluster, and the cluster."""
    wanted = int(np.exp(rng.uniform(*np.log(sizes))))
    share = np.exp(rng.uniform(np.log(0.003), np.log(0.5)))
    rest = min(len(field), max(int(wanted / share * (1 - share)), 50))
    field = shuffle_positions(field[np.sort(rng.permutation(len(field))[:rest])], int(rng.integers(2**31)))
    members = int(np.clip(wanted, 10, max(rest, 10)))
    cluster = draw_cluster(field, region, rng, members=members, of_disc=of_disc)
    stars, truth, _ = simulated(field, region, cluster, int(rng.integers(2**31)))
    return stars, truth == 1, cluster


def shuffled(stars, rng, number=_STARS):
    """Some of a field's stars, 300 to 20 000 or other numbers, with their positions dealt out anew."""
    fewest, most = (min(len(stars), n) for n in number)
    most = int(np.exp(rng.uniform(np.log(fewest), np.log(most + 1))))
    return shuffle_positions(stars[np.sort(rng.permutation(len(stars))[:most])], int(rng.integers(2**31)))


def significance(result):
    """Of the best candidate, whether it holds or not."""
    return max((float(value) for value in result.candidates["significance"]), default=0.0)


def groups(result):
    """Stars of each candidate, the first first."""
    group = np.ma.filled(result.table["group"], -1)
    return [group == number for number in range(group.max(initial=-1) + 1)]


def best_f1(result, truth):
    """F1 of the candidate that is most like the cluster, the first or another."""
    return max((f1(chosen, truth) for chosen in groups(result)), default=0.0)


def pieces(result, truth):
    """Candidates most of whose members are the cluster's."""
    return sum(int(2 * truth[chosen].sum() > chosen.sum()) for chosen in groups(result))


def near_motion(stars, pmra, pmdec, cut):
    """Whether stars are so near to a motion in both axes."""
    return np.maximum(np.abs(floats(stars["pmra"]) - pmra), np.abs(floats(stars["pmdec"]) - pmdec)) < cut


def measured(stars, snr):
    """Whether the parallax of stars is so many times its error."""
    return floats(stars["parallax"]) > snr * standard_errors(stars)[:, 2]


def run_cluster(seed, sizes, of_disc, tables, index):
    """Answer for an injected cluster: dict with truth, p and what was injected, or None if it cannot be."""
    rng = np.random.default_rng([seed, 1, index])
    name, (field, region) = background(rng)
    try:
        stars, truth, cluster = injected(field, region, rng, sizes, of_disc)
    except InputError:  # a draw that fell outside the footprint
        return None
    left = np.ones(len(stars), bool)
    if tables.cut:
        left &= near_motion(stars, cluster.pmra, cluster.pmdec, tables.cut)
    if tables.snr:
        left &= measured(stars, tables.snr)
    stars, truth = stars[left], truth[left]
    if len(stars) < _LEFT or not truth.any():
        return None
    result = DECOCC().fit(stars, region)
    p = np.ma.filled(result.table["membership_prob"], 0.0)
    chosen = p >= 0.5
    return {
        "draw": index,
        "field": name,
        "stars": len(stars),
        "members": int(truth.sum()),
        "parallax": cluster.parallax,
        "radius": cluster.radius,
        "dispersion": cluster.dispersion,
        "significance": significance(result),
        "f1": float(f1(chosen, truth)),
        "best_f1": float(best_f1(result, truth)),
        "pieces": pieces(result, truth),
        "sum_p": float(p.sum()),
        "truth": truth,
        "p": p,
    }


def two_clusters(field, region, rng, motion=0.0):
    """
    A field with two clusters, the number of each star's cluster (0: field), and what they are.

    They have one motion, or motions that differ by some km/s; then they are nearer to each other on the sky.
    """
    field = shuffle_positions(field, int(rng.integers(2**31)))
    xi, eta = region.offsets(np.asarray(field["ra"], float), np.asarray(field["dec"], float))
    footprint = float(np.quantile(np.hypot(xi, eta), 0.999))
    first = draw_cluster(field, region, rng, members=int(np.exp(rng.uniform(np.log(30), np.log(500)))))
    radius = footprint * np.exp(rng.uniform(np.log(0.03), np.log(0.12), 2))
    apart, angle = footprint * rng.uniform(0.3, 0.8), rng.uniform(0, 2 * np.pi)
    if motion:
        apart = apart / 3
    turned = rng.spawn(1)[0].uniform(0, 2 * np.pi)
    change = motion * first.parallax / AU_YR * np.array([np.cos(turned), np.sin(turned)])
    place = apart / 2 * np.array([np.cos(angle), np.sin(angle)])
    one = replace(first, radius=radius[0], xi=place[0], eta=place[1])
    other = replace(
        first,
        n_members=int(np.exp(rng.uniform(np.log(30), np.log(500)))),
        pmra=first.pmra + change[0] + rng.normal(0, 0.05),
        pmdec=first.pmdec + change[1] + rng.normal(0, 0.05),
        radius=radius[1],
        xi=-place[0],
        eta=-place[1],
    )
    stars, label = field, np.zeros(len(field), int)
    for number, cluster in enumerate((one, other), start=1):
        stars = inject_cluster(stars, region, cluster, int(rng.integers(2**31)))
        label = np.append(label, np.full(len(stars) - len(label), number))
    return stars, label, one, other


def run_pair(seed, motion, index):
    """F1 of each of two clusters, and how they were: dict, or None if they cannot be."""
    rng = np.random.default_rng([seed, 4, index])
    name, (field, region) = background(rng)
    try:
        stars, label, one, other = two_clusters(field, region, rng, motion)
    except InputError:  # a draw that fell outside the footprint
        return None
    group = np.ma.filled(DECOCC().fit(stars, region).table["group"], -1)
    # Each cluster's own candidate is the one that has most of its members.
    best = [max(range(group.max(initial=0) + 1), key=lambda g: np.sum((group == g) & (label == k))) for k in (1, 2)]
    return {
        "field": name,
        "stars": len(stars),
        "members": [one.n_members, other.n_members],
        "apart": float(np.hypot(one.xi - other.xi, one.eta - other.eta)),
        "radii": [one.radius, other.radius],
        "f1": [float(f1(group == g, label == k)) for k, g in enumerate(best, start=1)],
        "told_apart": best[0] != best[1],
    }


def wide_cluster(rng):
    """A cluster near by in a simulated field of some degrees: stars, region, who is a member, and the cluster."""
    place = SkyCoord(rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1))), unit="deg")
    region = ClusterRegion(place, float(np.exp(rng.uniform(*np.log([120, 600])))) * u.arcmin)
    field = simulate_field(region, int(np.exp(rng.uniform(*np.log([10_000, 50_000])))), int(rng.integers(2**31)))
    members = int(np.exp(rng.uniform(*np.log([15, 300]))))
    cluster = draw_cluster(field, region, rng, members=members, distances=(50.0, 400.0))
    # It fills a good part of the field, if it can: no cluster's scale radius is much above 10 pc.
    largest = np.degrees(10 * cluster.parallax / 1000) * 60
    share = rng.uniform(0.15, 0.5)
    cluster = replace(cluster, radius=max(cluster.radius, share * min(region.radius.to_value("arcmin"), largest)))
    stars, truth, _ = simulated(field, region, cluster, int(rng.integers(2**31)))
    return stars, region, truth == 1, cluster


def run_wide(seed, index):
    """F1 of a cluster near by in a wide field, with its perspective and without: dict, or None if it cannot be."""
    rng = np.random.default_rng([seed, 5, index])
    try:
        stars, region, truth, cluster = wide_cluster(rng)
    except InputError:  # a draw that fell outside the footprint
        return None
    p = np.ma.filled(DECOCC().fit(stars, region).table["membership_prob"], 0.0)
    with patch.object(search, "straighten", lambda fit, *_: fit):
        flat = np.ma.filled(DECOCC().fit(stars, region).table["membership_prob"], 0.0)
    return {
        "stars": len(stars),
        "members": int(truth.sum()),
        "parallax": cluster.parallax,
        "radius": cluster.radius,
        "footprint": region.radius.to_value("arcmin"),
        "radial_velocity": cluster.radial_velocity,
        "f1": float(f1(p >= 0.5, truth)),
        "f1_without": float(f1(flat >= 0.5, truth)),
        "sum_p": float(p.sum()),
    }


def report_wide(rows):
    """Print how clusters near by do in wide fields, with their perspective and without."""
    scores, without = (np.array([row[key] for row in rows]) for key in ("f1", "f1_without"))
    total = np.array([row["sum_p"] / row["members"] for row in rows])
    for name, values in (("with", scores), ("without", without)):
        print(
            f"{len(rows)} clusters near by in wide fields, {name} perspective: mean F1 {values.mean():.4f}, worst "
            f"{values.min():.3f}, {np.sum(values < 0.3)} lost"
        )
    gain = scores - without
    print(f"  difference {gain.mean():+.4f} +/- {gain.std(ddof=1) / np.sqrt(len(gain)):.4f}")
    print(f"  sum of p within 10 % in {np.mean(np.abs(total - 1) < 0.1):.1%}")


def report_pairs(rows):
    """Print how many pairs come back as two, by their distance in the sum of their radii."""
    apart = np.array([row["apart"] / sum(row["radii"]) for row in rows])
    told, scores = np.array([row["told_apart"] for row in rows]), np.array([row["f1"] for row in rows])
    print(f"{len(rows)} pairs, {told.sum()} told apart, with a mean F1 of {scores[told].mean():.3f}")
    for low, high in ((0, 2), (2, 3), (3, 5), (5, np.inf)):
        part = (apart >= low) & (apart < high)
        print(f"  {low} to {high} times the sum of their radii apart: {told[part].sum()} of {part.sum()}")


def run_null(seed, kind, tables, index):
    """Largest significance and false members in a field without a cluster: dict."""
    rng = np.random.default_rng([seed, 2, index])
    name = list(_BACKGROUNDS)[index % len(_BACKGROUNDS)]
    stars, region = _BACKGROUNDS[name]
    if kind == "shuffled":
        stars = shuffled(stars, rng, tables.stars)
    elif kind == "simulated":
        place = SkyCoord(rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1))), unit="deg")
        name, region = f"simulated {index}", ClusterRegion(place, float(rng.uniform(10, 120)) * u.arcmin)
        stars = simulate_field(region, int(np.exp(rng.uniform(*np.log(tables.stars)))), int(rng.integers(2**31)))
    if tables.snr:
        stars = stars[measured(stars, tables.snr)]
    if tables.cut and len(stars):
        draw = np.random.default_rng([seed, 6, index])
        star, cut = stars[int(draw.integers(len(stars)))], tables.cut * 2 ** draw.uniform(-1, 1)
        stars = stars[near_motion(stars, star["pmra"], star["pmdec"], cut)]
    if len(stars) < _LEFT:
        return None
    result = DECOCC().fit(stars, region)
    return {
        "field": name,
        "significance": significance(result),
        "false": int(np.sum(np.ma.filled(result.table["membership_prob"], 0) >= 0.5)),
    }


def report_clusters(rows):
    """Print what was found, and how reliable the probabilities are."""
    print(f"{len(rows)} injected clusters: mean F1 {np.mean([row['f1'] for row in rows]):.4f}")
    for low, high in SIZES:
        part = [row for row in rows if low <= row["members"] < high]
        if part:
            scores, best = (np.array([row[key] for row in part]) for key in ("f1", "best_f1"))
            total = np.array([row["sum_p"] / row["members"] for row in part])
            print(
                f"  {low:4d} to {high - 1:4d} members: {len(part):4d} clusters, {np.sum(best < 0.3):3d} lost, "
                f"{np.sum((best >= 0.3) & (scores < 0.3)):3d} not the first candidate, "
                f"mean F1 {scores.mean():.4f}, of those found {scores[scores >= 0.3].mean():.4f}, "
                f"sum of p within 10 % in {np.mean(np.abs(total - 1) < 0.1):.1%}"
            )
    print(f"  in pieces: {sum(row['pieces'] > 1 for row in rows)}")
    report_reliability(rows)
    # One rich cluster of the field's own motion can have more stars between field and members than all others.
    furthest = max(rows, key=lambda row: abs(row["sum_p"] - row["members"]))
    if len(rows) > 1:
        print(
            f"  furthest off: {furthest['members']} members in {furthest['field']}, sum of p {furthest['sum_p']:.0f}, "
            f"parallax {furthest['parallax']:.2f} mas; without it"
        )
        report_reliability([row for row in rows if row is not furthest])
    for row in rows:
        if row["f1"] < 0.3 and row["members"] > 18:
            print(
                f"  lost: {row['members']} members among {row['stars']} stars of {row['field']}, parallax "
                f"{row['parallax']:.2f} mas, radius {row['radius']:.1f} arcmin, significance {row['significance']:.1f}"
                + f"; a further candidate has F1 {row['best_f1']:.2f}"
                * (row["best_f1"] >= 0.3)
            )


def report_reliability(rows):
    """Print the true fraction of members beside the mean probability, in bins of it."""
    truth = np.concatenate([row["truth"] for row in rows])
    p = np.concatenate([row["p"] for row in rows])
    print("  reliability, mean p : true fraction (stars)")
    for mean, share, stars in reliability(truth, p):
        print(f"    {mean:.3f} : {share:.3f} ({stars})")
    print(f"  all together: sum of p {p.sum():.0f}, members {truth.sum()}")


def report_nulls(found, threshold):
    """Print the significance that fields without a cluster reach."""
    for kind, rows in found.items():
        best, alarms = np.array([row["significance"] for row in rows]), defaultdict(list)
        for row in rows:
            if row["false"]:
                alarms[row["field"]].append(row["significance"])
        print(
            f"{len(rows)} fields without a cluster, {kind}: significance median {np.median(best):.1f}, 99 % "
            f"{np.quantile(best, 0.99):.1f}, largest {best.max():.1f}; over {threshold:g} in "
            f"{sum(map(len, alarms.values()))}"
        )
        for field, values in sorted(alarms.items(), key=lambda item: -len(item[1])):
            print(f"  {field}: {len(values)}, significance {min(values):.1f} to {max(values):.1f}")


def numbers(text):
    """Two numbers with a comma between them."""
    low, high = (float(number) for number in text.split(","))
    return low, high


def parser(doc, *, clusters, nulls, sizes):
    """What the commands that inject clusters have in common, with its defaults."""
    common = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_argument("fields", type=Path)
    common.add_argument("--clusters", type=int, default=clusters)
    common.add_argument("--nulls", type=int, default=nulls)
    common.add_argument("--sizes", type=numbers, default=sizes)
    common.add_argument("--jobs", type=int, default=1, help="processes")
    common.add_argument("--seed", type=int, default=0)
    common.add_argument("--without", type=Path, help="JSON of the stars that each field loses")
    return common


def main(args=None):
    """Parse the command line and run."""
    arguments = parser(__doc__, clusters=500, nulls=300, sizes=[10, 3000])
    arguments.add_argument("--pairs", type=int, default=60)
    arguments.add_argument("--pair-motion", type=float, default=0.0, help="km/s that motions of a pair differ by")
    arguments.add_argument("--wide", type=int, default=60)
    arguments.add_argument("--of-disc", action="store_true", help="clusters move as field stars at their distance do")
    arguments.add_argument("--cut", type=float, help="mas/yr about the cluster's motion that tables are cut to")
    arguments.add_argument("--snr", type=float, help="least parallax over its error that tables are cut to")
    arguments.add_argument("--stars", type=numbers, default=_STARS, help="of a field without a cluster")
    arguments.add_argument("--output", type=Path)
    options = arguments.parse_args(args)
    backgrounds = empty_fields(options.fields, options.jobs, options.without)
    with pool(options.jobs, backgrounds) as jobs:
        tables = Tables(options.cut, options.snr, options.stars)
        settings = options.seed, options.sizes, options.of_disc, tables
        rows = answers(jobs, partial(run_cluster, *settings), options.clusters)
        if rows:
            report_clusters(rows)
        nulls = {
            kind: answers(jobs, partial(run_null, options.seed, kind, tables), number)
            for kind, number in (
                ("shuffled", options.nulls),
                ("simulated", options.nulls),
                ("members removed", len(backgrounds)),
            )
            if options.nulls
        }
        report_nulls(nulls, DECOCC().threshold)
        pairs = answers(jobs, partial(run_pair, options.seed, options.pair_motion), options.pairs)
        if pairs:
            report_pairs(pairs)
        wide = answers(jobs, partial(run_wide, options.seed), options.wide)
        if wide:
            report_wide(wide)
    if options.output:
        rows = [{key: value for key, value in row.items() if key not in ("truth", "p")} for row in rows]
        options.output.write_text(
            json.dumps({"clusters": rows, "nulls": nulls, "pairs": pairs, "wide": wide}, indent=1)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
