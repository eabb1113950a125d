"""Training the head on examples, and answers of heads that have not seen a field."""

import numpy as np
from astropy.table import Table

from ..decocc import DECOCC
from ..embedding.context import without_photometry
from ..embedding.head import agreed, correct, train_heads
from ._examples import f1
from ._fields import LISTS

_REAL_SHARE = 0.4  # of the stars drawn in training, from real fields and their copies
_HIDDEN = 0.1  # of the stars of which magnitude and colour are hidden, so that the head can do without


def train(examples, *, networks=16, steps=4000, seed=0, labels=True):
    """
    Train the head on examples.

    Parameters
    ----------
    examples : list of dict
        From `load_examples`.
    networks, steps, seed : int
        See `~decocc_vo.embedding.head.train_heads`.
    labels : bool
        Whether real fields with their published labels take part, beside the simulations.

    Returns
    -------
    weights : `~decocc_vo.embedding.head.HeadWeights`
    """
    features, truth, lists, weight, real = [], [], [], [], []
    for item in examples:
        listed = item["kind"] != "simulation"
        if listed and (not labels or not str(item["cluster"])):
            continue
        given = item["lists"] if listed else np.full((len(item["y"]), len(LISTS)), np.nan)
        known = (item["y"] >= 0) | np.isfinite(given).any(axis=1)
        features.append(item["X"][known])
        truth.append(item["y"][known])
        lists.append(given[known])
        # Small clusters count about as much as large ones.
        weight.append(np.full(int(known.sum()), max(int(np.sum(item["y"] == 1)), 8) ** -0.7))
        real.append(np.full(int(known.sum()), listed))
    features, truth, lists, weight, real = map(np.concatenate, (features, truth, lists, weight, real))
    if real.any() and not real.all():
        weight[real] *= _REAL_SHARE / (1 - _REAL_SHARE) * weight[~real].sum() / weight[real].sum()
    hidden = np.random.default_rng(seed).uniform(size=len(features)) < _HIDDEN
    features[hidden] = without_photometry(features[hidden])
    return train_heads(features, truth, weight, lists, networks=networks, steps=steps, seed=seed)[0]


def deal_folds(examples, folds, seed=0):
    """
    Deal the clusters into folds, so that all examples of a cluster are in one.

    Parameters
    ----------
    examples : list of dict
        From `load_examples`.
    folds : int
        How many.
    seed : int
        Of the dealing.

    Returns
    -------
    fold : dict
        The fold of each example, by its name.
    """
    clusters = sorted({str(item["cluster"]) for item in examples})
    fold = dict(zip(clusters, np.random.default_rng(seed).permutation(len(clusters)) % folds, strict=True))
    return {item["name"]: int(fold[str(item["cluster"])]) for item in examples}


def cross_validate(examples, out, folds=4, seed=0, **options):
    """
    Answer for every real field with a head that saw neither its cluster nor simulations in its field.

    Writes OUT/NAME.fits with source_id and membership_prob, for ``score_membership.py``, and returns for each
    simulation the truth and the probabilities of the head that did not see its field.

    Parameters
    ----------
    examples : list of dict
        From `load_examples`.
    out : `~pathlib.Path`
        Folder for the tables.
    folds : int
        How many folds the clusters are dealt into.
    seed : int
        Of the dealing.
    **options
        Of `train`.

    Returns
    -------
    simulated : list of tuple
        Truth, mixture's probability, corrected probability of each simulation.
    """
    out.mkdir(parents=True, exist_ok=True)
    fold, simulated = deal_folds(examples, folds, seed), []
    for number in range(folds):
        seen = [item for item in examples if fold[item["name"]] != number]
        weights = train(seen, seed=seed, **options)
        for item in examples:
            if fold[item["name"]] != number or item["kind"] == "copy":
                continue
            probability = item["p"].copy()
            logit = agreed(item["X"][:, 0], correct(weights, item["X"]))
            probability[item["near"]] = 1 / (1 + np.exp(-logit))
            if item["kind"] == "real":
                found = float(item["E"]) >= DECOCC.threshold
                table = Table({"source_id": item["source_id"], "membership_prob": probability * found})
                table.write(out / f"{item['name'].removeprefix('real_')}.fits", overwrite=True)
            else:
                simulated.append((item["lab"], item["p"], probability))
    return simulated


def reliability(truth, probability):
    """
    Compare probabilities with what came true, in ten bins of equal width.

    Stars of p < 0.001, field stars nearly all, are left out: they would be all there is in the first bin.

    Parameters
    ----------
    truth : `~numpy.ndarray` of bool, shape (n,)
        Whether a star is a member.
    probability : `~numpy.ndarray`, shape (n,)
        Membership probability.

    Returns
    -------
    bins : list of tuple
        Mean probability, fraction of members and number of stars of each bin that has any.

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.pretrain import reliability
    >>> [tuple(map(float, row)) for row in reliability(np.array([True, False, True]), np.array([0.0, 0.5, 1.0]))]
    [(0.5, 0.0, 1.0), (1.0, 1.0, 1.0)]
    """
    bins = np.where(probability < 1e-3, -1, np.clip((probability * 10).astype(int), 0, 9))
    parts = [bins == number for number in range(10)]
    return [(probability[part].mean(), truth[part].mean(), int(part.sum())) for part in parts if part.any()]


def report(simulated):
    """Print how the head does on exact truth, beside the mixture alone."""
    if not simulated:
        print("no simulation was kept from the training, so there is nothing to say of exact truth")
        return
    for name, column in (("mixture", 1), ("with the head", 2)):
        scores, totals = [], []
        for item in simulated:
            truth, chosen = item[0] == 1, item[column] >= 0.5
            scores.append(f1(truth, chosen))
            totals.append(item[column].sum() / truth.sum())
        truth = np.concatenate([item[0] for item in simulated])
        probability = np.concatenate([item[column] for item in simulated])
        print(
            f"{name}: {len(scores)} simulations, mean F1 {np.mean(scores):.4f}, "
            f"10th percentile {np.quantile(scores, 0.1):.3f}, "
            f"sum of p within 10 % of the truth in {np.mean(np.abs(np.array(totals) - 1) < 0.1):.1%}"
        )
        bins = ", ".join(f"{p:.2f}:{share:.2f} ({stars})" for p, share, stars in reliability(truth, probability))
        print(f"  reliability, mean p : true fraction (stars): {bins}")
