"""What the head would see of a field: a simulation, a real one, or a copy of a real one."""

from dataclasses import replace

import numpy as np

from ..columns import floats, parallax_zero_point
from ..decocc import DECOCC
from ..embedding.candidates import find_peaks
from ..embedding.context import context_features
from ..embedding.embedded import Embedding
from ..embedding.evidence import significance
from ..embedding.features import observables
from ..embedding.search import fit_candidates
from ..exceptions import InputError
from ._fields import read_field, read_truth
from ._simulations import simulated

_LOST = 0.3  # an example of which the mixture finds less (F1) teaches nothing
_COPY_STARS, _COPY_MEMBERS = 6_000, 12  # a copy of a real field has at most, and of these listed ones at least


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

    Raises
    ------
    InputError
        If there is no candidate in the field.
    """
    stars, region = read_field(entry, fields)
    obs = observables(stars, region, parallax_zero_point(stars))
    label, lists = read_truth(entry, fields, stars)
    fit = solve(obs, seed)
    if fit is None:
        msg = f"'fields' has {entry['name']}, in which no stars move together; leave it out of the manifest"
        raise InputError(msg)
    made = _seen(fit, obs, label)
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
