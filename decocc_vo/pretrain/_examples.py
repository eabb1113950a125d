"""What the head learns from: simulated clusters in real fields without theirs, and published members."""

import json
import os
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from tqdm import tqdm

from ..columns import canonical_order, conform, floats, parallax_zero_point, usable_rows
from ..decocc import DECOCC
from ..embedding.candidates import find_peaks
from ..embedding.context import context_features
from ..embedding.detection import Embedding, significance
from ..embedding.features import observables
from ..embedding.search import fit_candidates
from ..exceptions import InputError
from ..region import ClusterRegion
from ..simulate import SimulatedCluster, inject_cluster, shuffle_positions
from ..stars.files import read_stars

_FIELD_STARS = 80, 4_000  # a field is thinned to: small ones teach as much and cost less
_LOST = 0.3  # an example of which the mixture finds less (F1) teaches nothing
_COPY_STARS, _COPY_MEMBERS = 6_000, 12  # a copy of a real field has at most, and of these listed ones at least
_RADIAL_VELOCITY = 30.0  # km/s, standard deviation over clusters
LISTS = ("p_cg20", "p_t22", "p_d21", "p_b18")
"""Columns of the published lists' own probabilities."""


def field_for_simulation(stars, rng):
    """
    Thin a field, by little or much, and deal out its positions anew, so that nothing in it clusters on the sky.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Of a field without its cluster.
    rng : `~numpy.random.Generator`
        For the draws.

    Returns
    -------
    field : `~astropy.table.Table`
        80 to 4000 of them, or all where there are fewer.
    """
    most = min(len(stars), _FIELD_STARS[1])
    kept = int(most * max(rng.uniform(0, 1), min(_FIELD_STARS[0] / most, 1)))
    stars = stars[np.sort(rng.permutation(len(stars))[:kept])]
    return shuffle_positions(stars, int(rng.integers(2**31)))


def draw_cluster(field, region, rng, *, members=None, distances=(50.0, 10_000.0)):
    """
    Draw a cluster that could be in a field.

    Sizes, distances (log-uniform), concentrations, ages and reddenings are log-uniform or uniform over what open
    clusters have; its mean motion is that of a field star, or now and then far from all.

    Parameters
    ----------
    field : `~astropy.table.Table`
        Its stars.
    region : `~decocc_vo.region.ClusterRegion`
        Its region.
    rng : `~numpy.random.Generator`
        For the draws.
    members : int, optional
        Stars of the cluster; default is log-uniform, from 8.
    distances : tuple of float
        Nearest and farthest [pc].

    Returns
    -------
    cluster : `~decocc_vo.simulate.SimulatedCluster`
    """
    n = len(field)
    xi, eta = region.offsets(floats(field["ra"]), floats(field["dec"]))
    footprint = float(np.quantile(np.hypot(xi, eta), 0.999))
    nearest, farthest = (np.log(1000 / distance) for distance in distances)
    parallax = float(np.exp(rng.uniform(farthest, nearest)))
    star = field[int(rng.integers(n))]
    motion = np.array([float(star["pmra"]), float(star["pmdec"])])
    if rng.uniform() < 0.25:
        centre = np.array([np.median(floats(field["pmra"])), np.median(floats(field["pmdec"]))])
        motion = centre + (motion - centre) * 2
    motion = motion + rng.normal(0, 0.2, 2)
    # No cluster's scale radius is much above 10 pc.
    largest = np.degrees(10 * parallax / 1000) * 60
    return SimulatedCluster(
        n_members=members or int(np.exp(rng.uniform(np.log(8), np.log(min(3000, n))))),
        pmra=float(motion[0]),
        pmdec=float(motion[1]),
        parallax=parallax,
        radius=float(min(np.exp(rng.uniform(np.log(0.04), np.log(0.7))) * footprint, largest)),
        xi=float(rng.uniform(-0.25, 0.25) * footprint),
        eta=float(rng.uniform(-0.25, 0.25) * footprint),
        dispersion=float(rng.uniform(0.2, 1.2)),
        profile=("plummer", "king", "powerlaw")[int(rng.integers(3))],
        axis_ratio=float(rng.uniform(0.65, 1)),
        position_angle=float(rng.uniform(0, np.pi)),
        binaries=0.12,
        turnoff=float(rng.uniform(-2, 4)),
        giants=float(rng.uniform(0, 0.12)),
        extinction=float(np.exp(rng.uniform(np.log(0.05), np.log(2.5)))),
        error_scale=float(rng.uniform(1.0, 1.15)),
        # Of a stream of its own, so that what is drawn next does not depend on it.
        radial_velocity=float(rng.spawn(1)[0].normal(0, _RADIAL_VELOCITY)),
    )


def solve(obs, seed=0):
    """
    Fit the mixture to the best candidate, as `~decocc_vo.DECOCC` does.

    Parameters
    ----------
    obs : `~decocc_vo.embedding.features.Observables`
        The stars.
    seed : int
        Of all random choices.

    Returns
    -------
    fit : `~decocc_vo.embedding.detection.Fit` or None
        None if there is no candidate.
    """
    embedding = Embedding.of(obs.x, obs.cov, obs.xy / obs.footprint, obs.footprint, seed)
    fits = fit_candidates(obs, embedding, find_peaks(obs, embedding, seed), seed, DECOCC.threshold)
    return fits[0] if fits else None


def simulated(field, region, cluster, seed):
    """
    Inject a cluster.

    Parameters
    ----------
    field, region, cluster, seed
        See `~decocc_vo.simulate.inject_cluster`.

    Returns
    -------
    stars : `~astropy.table.Table`
        In canonical order.
    truth : `~numpy.ndarray`, shape (n,)
        1 member, 0 field.
    zero_point : `~numpy.ndarray`, shape (n,)
        Of the parallaxes [mas].
    """
    stars = inject_cluster(field, region, cluster, seed)
    stars = stars[canonical_order(stars)]
    return stars, np.asarray(stars["is_member"], int), parallax_zero_point(stars)


def without_cluster(stars, label, probability):
    """
    Leave out the listed and the probable members of a real field.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Of the field, shape (n,).
    label : `~numpy.ndarray`, shape (n,)
        Published labels; 1 member.
    probability : `~numpy.ndarray`, shape (n,)
        Membership probability; stars of 0.05 and more are left out.

    Returns
    -------
    field : `~astropy.table.Table`
        The others.
    """
    return stars[(label != 1) & (probability < 0.05)]


def f1(one, other):
    """
    F1 of two selections of the same stars, which is symmetric.

    Parameters
    ----------
    one, other : `~numpy.ndarray` of bool, shape (n,)
        Who is selected.

    Returns
    -------
    f1 : float
        0 where both are empty.
    """
    return 2 * np.sum(one & other) / max(one.sum() + other.sum(), 1)


def example(field, region, cluster, seed):
    """
    Simulate a field with a cluster, and return what the head would see of it.

    Parameters
    ----------
    field, region, cluster, seed
        See `~decocc_vo.simulate.inject_cluster`.

    Returns
    -------
    example : dict or None
        ``X`` features and ``y`` truth of the stars near the cluster, ``near`` their rows, ``lab`` the truth and ``p``
        the mixture's probability of all; None if the mixture does not find the cluster.
    """
    stars, truth, zero_point = simulated(field, region, cluster, seed)
    return _found(observables(stars, region, zero_point), truth)


def _found(obs, label):
    """
    What the head would see of a cluster; None if the mixture does not find it.

    A star that is not scored counts as wrong, so that there are no copies of fields whose lists end long before the
    cluster does. With them heads were no better, for these fields or others.
    """
    fit = solve(obs)
    if fit is None or f1(fit.probability >= 0.5, label == 1) < _LOST:
        return None
    return _seen(fit, obs, label)


def _seen(fit, obs, label):
    near, features = context_features(fit, obs)
    return {"X": features, "y": label[near], "near": near, "lab": label, "p": fit.probability, "E": significance(fit)}


def real_example(entry, fields, seed=0):
    """
    What the head would see of a real field.

    Parameters
    ----------
    entry : dict
        Of the manifest.
    fields : `~pathlib.Path`
        Folder with ``stars`` and ``truth``.
    seed : int
        Of the mixture's fit.

    Returns
    -------
    example : dict
        As of `example`; ``lab`` and ``y`` are the published labels, 1 member, 0 field, -1 not scored, ``lists`` is what
        `read_truth` says of the stars near the cluster, and ``source_id`` are all stars'.
    """
    stars, region = read_field(entry, fields)
    obs = observables(stars, region, parallax_zero_point(stars))
    label, lists = read_truth(entry, fields, stars)
    made = _seen(solve(obs, seed), obs, label)
    return made | {"lists": lists[made["near"]], "source_id": np.asarray(stars["source_id"])}


def real_copy(stars, region, label, lists, probability, rng):
    """
    What the head would see of a real field if it had been observed otherwise, with the same labels.

    There are few real fields, and the mixture errs in each in one way. A copy is cropped, thinned, has fewer members or
    larger errors, so that the mixture is another one.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        Of the real field, shape (n,).
    region : `~decocc_vo.region.ClusterRegion`
        The field's.
    label : `~numpy.ndarray`, shape (n,)
        Published labels.
    lists : `~numpy.ndarray`, shape (n, number of `LISTS`)
        From `read_truth`.
    probability : `~numpy.ndarray`, shape (n,)
        The mixture's.
    rng : `~numpy.random.Generator`
        For the choices.

    Returns
    -------
    example : dict or None
        As of `real_example`; None if less than 12 listed members are left, or the mixture does not find them.
    """
    rows = _copied(*region.offsets(floats(stars["ra"]), floats(stars["dec"])), label, probability, rng)
    stars, label = stars[rows], label[rows]
    if np.sum(label == 1) < _COPY_MEMBERS:
        return None
    obs = observables(stars, region, parallax_zero_point(stars))
    if rng.uniform() < 0.5:
        obs = noisier(obs, rng.uniform(1, 1.6), rng)
    made = _found(obs, label)
    return None if made is None else made | {"lists": lists[rows][made["near"]]}


def _copied(xi, eta, label, probability, rng):
    """Rows of a copy: of a smaller circle, every other time, and with members and field thinned apart."""
    kept, footprint = np.ones(len(xi), bool), np.quantile(np.hypot(xi, eta), 0.999)
    if rng.uniform() < 0.5:
        size = rng.uniform(0.5, 0.95)
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.3) * (1 - size) * footprint
        kept = np.hypot(xi - offset * np.cos(angle), eta - offset * np.sin(angle)) < size * footprint
    field = min(rng.uniform(0.4, 1), _COPY_STARS / max(kept.sum(), 1))
    fewest = np.clip(20 / max(np.sum(kept & (label == 1)), 1), 0.25, 1)
    members = np.exp(rng.uniform(np.log(fewest), 0))
    # Members that no list has are thinned as listed ones are.
    share = np.where((label != 0) | (probability > 0.05), members, field)
    return np.flatnonzero(kept & (rng.uniform(size=len(xi)) < share))


def noisier(obs, factor, rng):
    """Add noise to motions and parallaxes, so that their errors are larger by a factor."""
    noise = np.einsum("nij,nj->ni", np.linalg.cholesky(obs.cov), rng.normal(size=obs.x.shape))
    return replace(obs, x=obs.x + np.sqrt(factor**2 - 1) * noise, cov=obs.cov * factor**2)


def read_field(entry, fields):
    """
    Read a field of the manifest.

    Parameters
    ----------
    entry : dict
        Of the manifest.
    fields : `~pathlib.Path`
        Folder with ``stars``.

    Returns
    -------
    stars : `~astropy.table.Table`
        Its usable stars in canonical order.
    region : `~decocc_vo.region.ClusterRegion`
        The circle around the cluster.
    """
    stars = conform(read_stars(fields / "stars" / f"{entry['name']}.fits"))
    order = canonical_order(stars)
    stars = stars[order[usable_rows(stars)[order]]]
    centre = SkyCoord(entry["ra"], entry["dec"], unit="deg")
    return stars, ClusterRegion(centre, entry["radius_arcmin"] * u.arcmin, entry["name"])


def read_truth(entry, fields, stars):
    """
    Read what is published of a field's stars.

    Parameters
    ----------
    entry : dict
        Of the manifest.
    fields : `~pathlib.Path`
        Folder with ``truth``.
    stars : `~astropy.table.Table`
        The field's, with ``source_id``.

    Returns
    -------
    label : `~numpy.ndarray`, shape (n,)
        1 member, 0 field, -1 not scored.
    lists : `~numpy.ndarray`, shape (n, number of `LISTS`)
        Probability that each list gives a star: 0 for one that the list leaves out; NaN where there is no such list of
        the cluster, and for stars that no list has and that are not scored, since lists end at some magnitude.
    """
    truth = read_stars(fields / "truth" / f"{entry['name']}.fits")
    row = {number: n for n, number in enumerate(truth["source_id"].tolist())}
    rows = np.array([row.get(number, len(row)) for number in stars["source_id"].tolist()])
    label = np.append(np.asarray(truth["label"], int), -1)[rows]
    given = [floats(truth[name]) if name in truth.colnames else np.full(len(row), np.nan) for name in LISTS]
    given = np.append(np.stack(given, axis=1), np.full((1, len(LISTS)), np.nan), axis=0)
    exists = np.isfinite(given).any(axis=0)
    given = given[rows]
    known = np.isfinite(given).any(axis=1) | (label >= 0)
    return label, np.where(known[:, None] & exists, np.nan_to_num(given), np.nan)


def make_examples(fields, folder, simulations, seed=0, jobs=1, copies=16):
    """
    Make the examples the head learns from, one file each; those that are there already are not made again.

    Every real field gives one, and those with a cluster give copies (`real_copy`). A field's stars without listed and
    probable members, dealt out anew over the sky, are the background of simulations. Fields whose stars have no errors
    of their own take part like the others.

    Parameters
    ----------
    fields : `~pathlib.Path`
        Folder with ``manifest.json``, ``stars`` and ``truth``.
    folder : `~pathlib.Path`
        Where the examples go.
    simulations : int
        How many simulated clusters.
    seed : int
        Of all draws.
    jobs : int
        Processes that work at once.
    copies : int
        Of each real field with a cluster.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((fields / "manifest.json").read_text())
    with _one_thread_each(), ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        real = [pool.submit(_write_real, entry, fields, folder) for entry in manifest]
        for job in tqdm(as_completed(real), total=len(real), desc="real fields", disable=None):
            job.result()
        drawn = {
            "copies": [
                pool.submit(_write_copies, copies, seed, entry, fields, folder)
                for entry in manifest
                if entry["cluster"]
            ],
            "simulations": [
                pool.submit(_write_simulation, n, seed, manifest, fields, folder) for n in range(simulations)
            ],
        }
        for name, made in drawn.items():
            for job in tqdm(as_completed(made), total=len(made), desc=name, disable=None):
                job.result()


@contextmanager
def _one_thread_each():
    """Processes started here keep to one thread each: those of several would be in each other's way."""
    before = dict(os.environ)
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ["XLA_FLAGS"] = f"{before.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    try:
        yield
    finally:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "XLA_FLAGS"):
            os.environ.pop(name)
        os.environ.update(before)


def _write_real(entry, fields, folder):
    path = folder / f"real_{entry['name']}.npz"
    if not path.exists():
        np.savez(path, **real_example(entry, fields), cluster=entry["cluster"] or "")


def _write_copies(copies, seed, entry, fields, folder):
    paths = [folder / f"copy_{entry['name']}_{number:02d}.npz" for number in range(copies)]
    if all(path.exists() for path in paths):
        return
    stars, region = read_field(entry, fields)
    real = np.load(folder / f"real_{entry['name']}.npz")
    label, lists = read_truth(entry, fields, stars)
    name = zlib.crc32(entry["name"].encode())
    for number, path in enumerate(paths):
        if path.exists():
            continue
        rng = np.random.default_rng([seed, number, name])
        made = real_copy(stars, region, label, lists, real["p"], rng)
        if made is not None:
            np.savez(path, **made, cluster=entry["cluster"])


def _write_simulation(number, seed, manifest, fields, folder):
    path = folder / f"simulation_{number:05d}.npz"
    if path.exists():
        return
    rng = np.random.default_rng([seed, number])
    entry = manifest[int(rng.integers(len(manifest)))]
    stars, region = read_field(entry, fields)
    if "phot_g_mean_mag" not in stars.colnames:  # Hipparcos: its errors do not follow from G
        return
    real = np.load(folder / f"real_{entry['name']}.npz")
    field = field_for_simulation(without_cluster(stars, real["lab"], real["p"]), rng)
    cluster = draw_cluster(field, region, rng)
    try:
        made = example(field, region, cluster, int(rng.integers(2**31)))
    except InputError:  # a draw that fell outside the footprint
        return
    if made is not None:
        np.savez(path, **made, cluster=entry["cluster"] or "")


def load_examples(folder):
    """
    Read the examples of `make_examples`.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where they are.

    Returns
    -------
    examples : list of dict
        As of `example`, `real_example` and `real_copy`, with the file's ``name``, and ``kind``: copy, real or
        simulation.
    """
    return [
        {key: data[key] for key in data.files} | {"name": path.stem, "kind": path.stem.partition("_")[0]}
        for path in sorted(folder.glob("*.npz"))
        for data in [np.load(path)]
    ]
