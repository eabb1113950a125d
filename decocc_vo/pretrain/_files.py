"""The examples on disk, one file each, so that a training that was broken off goes on."""

import json
import os
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np
from tqdm import tqdm

from ..exceptions import InputError
from ._examples import example, real_copy, real_example
from ._fields import read_field, read_truth, without_cluster
from ._simulations import draw_cluster, field_for_simulation


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
    cluster = draw_cluster(field, region, rng, of_disc=number % 2 == 1)
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
