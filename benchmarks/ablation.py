"""
Every stage of DECOCC with and without, on published labels and on exact truth.

    python benchmarks/ablation.py FIELDS --examples DIR [--simulations 300] [--folds 4]
        [--variants NAME ...] [--output FILE.rst]

The mixture's stages are taken out one at a time, and the mixture alone answers for every field of FIELDS and for
simulated clusters in fields dealt out anew, which are the same for all. The head's stages are taken out one at a time,
too; every answer comes from a head that saw neither the cluster nor simulations in its field (folds by cluster), on the
examples that ``python -m decocc_vo.pretrain`` keeps in DIR. F1 is at p >= 0.5; differences are paired, with the
standard error of their mean.
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np

from decocc_vo import pretrain
from decocc_vo.columns import parallax_zero_point
from decocc_vo.embedding import (
    candidates,
    context,
    detection,
    embedded,
    features,
    head,
    matched_filter,
    mixture,
    search,
)
from decocc_vo.embedding.context import FEATURES, without_photometry
from decocc_vo.pretrain import _examples

NEIGHBOURS = ("inner_to_outer", "middle_to_outer", "inner_to_model", "outer_to_model", "neighbours")


def problems(fields, examples, simulations, seed=0):
    """Stars, region, truth (-1: not scored) and kind of every field with a cluster, and of simulations."""
    manifest = json.loads((fields / "manifest.json").read_text())
    for entry in manifest:
        stars, region = pretrain.read_field(entry, fields)
        if entry["cluster"]:
            yield entry["name"], stars, region, pretrain.read_truth(entry, fields, stars)[0]
    backgrounds = [entry for entry in manifest if "hipparcos" not in entry["name"]]
    for number in range(simulations):
        rng = np.random.default_rng([seed, 3, number])
        entry = backgrounds[int(rng.integers(len(backgrounds)))]
        stars, region = pretrain.read_field(entry, fields)
        kept = np.load(examples / f"real_{entry['name']}.npz")
        field = pretrain.field_for_simulation(pretrain.without_cluster(stars, kept["lab"], kept["p"]), rng)
        cluster = pretrain.draw_cluster(field, region, rng)
        stars, truth, _ = pretrain.simulated(field, region, cluster, int(rng.integers(2**31)))
        yield f"simulation_{number}", stars, region, truth


def f1(truth, p):
    """F1 at p >= 0.5 over the stars that are scored."""
    scored = truth >= 0
    return pretrain.f1(truth[scored] == 1, p[scored] >= 0.5)


def average_precision(truth, p):
    """Area under precision against recall."""
    scored = truth >= 0
    member = (truth[scored] == 1)[np.argsort(-p[scored], kind="stable")]
    return float(np.sum(np.cumsum(member) / np.arange(1, len(member) + 1) * member) / max(member.sum(), 1))


@contextlib.contextmanager
def applied(patches):
    """Change the method, and nothing compiled before or after."""
    with contextlib.ExitStack() as stack:
        for change in patches:
            stack.enter_context(change)
        jax.clear_caches()
        yield
    jax.clear_caches()


# -- the mixture ------------------------------------------------------------------------------------------------------


def no_errors(x, cov, *_):
    """Observed values taken as the true ones."""
    return features.arcsinh_features(x, 1e-4 * cov)


def linear(x, cov):
    """The same scale, without the arcsinh."""
    centre, low, high = np.median(x, axis=0), *np.quantile(x, [0.25, 0.75], axis=0)
    scale = (high - low) / 1.349
    z = (x - centre) / scale
    return z, cov / (scale[:, None] * scale), z, centre, scale


def as_it_is(z, cov, about, place, xp=np):
    """The embedding taken for linear, which one without arcsinh is."""
    return z, cov, xp.zeros(len(z))


NOT_STRAIGHT = (
    patch.object(mixture, "straightened", as_it_is),
    patch.object(context, "straightened", as_it_is),
    patch.object(mixture, "_bent", lambda mean, scatter, place: (mean, scatter)),
)


def about_measured(unit, variance):
    """The embedding linear about measured values."""
    return np.arcsinh(unit)


class LinearEmbedding(embedded.Embedding):
    """The maps that go with `linear`."""

    def slope(self, place):
        """A constant."""
        return 1 / self.scale

    def forward(self, place):
        """To the scale."""
        return (place - self.centre) / self.scale

    def inverse(self, place):
        """And back."""
        return self.centre + self.scale * place


def flat(xy, centre, radius, _xp):
    """A profile that is the same everywhere."""
    return 0.0 * (xy[..., 0] + centre[0] + radius)


def old_ranking(obs, embedding, seed=0, **_):
    """The medians of K-Means' groups as they are, without the filter that ranks and moves them."""
    labels = candidates._kmeans_of(np.hstack([embedding.z, 1.5 * embedding.sky]), seed)
    return [
        matched_filter.Peak(np.median(obs.x[rows], axis=0), np.median(obs.xy[rows], axis=0), float(len(rows)), 0.0, 0.0)
        for rows in labels
        if len(rows) >= 5
    ]


ONE_GRADE = patch.object(embedded, "_grades", lambda cov: np.zeros(len(cov), np.int32))
MIXTURE = {
    "all stages": [],
    "errors left out": [patch.object(embedded, "arcsinh_features", no_errors), ONE_GRADE],
    "no arcsinh": [
        patch.object(embedded, "arcsinh_features", linear),
        *NOT_STRAIGHT,
        patch.object(_examples, "Embedding", LinearEmbedding),
        patch.object(detection, "Embedding", LinearEmbedding),
    ],
    "errors to first order": [
        patch.object(features, "_likely", about_measured),
        *NOT_STRAIGHT,
    ],
    "no profile on the sky": [
        patch.object(mixture, "log_plummer", flat),
        patch.object(detection, "_START_RADIUS", 1e3),
    ],
    "no floor under the field": [patch.object(detection, "_FLOOR", 0.0)],
    "field started from all stars": [patch.object(embedded, "_AWAY", 0.0)],
    "one grade for all stars": [ONE_GRADE],
    "one field Gaussian": [patch.object(embedded, "_COMPONENTS", 1)],
    "nearby stars not searched apart": [patch.object(candidates, "_NEARBY", np.inf)],
    "no perspective": [patch.object(search, "straighten", lambda fit, *_: fit)],
    "medians of K-Means' groups, no search": [patch.object(_examples, "find_peaks", old_ranking)],
    "first clustering HDBSCAN": [
        patch.object(_examples, "find_peaks", lambda o, e, s=0: candidates.find_peaks(o, e, s, first="hdbscan"))
    ],
    "first clustering K-Means": [
        patch.object(_examples, "find_peaks", lambda o, e, s=0: candidates.find_peaks(o, e, s, first="kmeans"))
    ],
}


def chosen(variants, names):
    """The variants that are asked for, or all, after the one that they are compared with."""
    return {name: what for name, what in variants.items() if not names or name == "all stages" or name in names}


def run_mixture(fields, examples, simulations, variants=()):
    """(F1, AP) of every field and simulation, by variant; a field without an answer has none."""
    results = {}
    for name, patches in chosen(MIXTURE, variants).items():
        with applied(patches):
            answers = {}
            for field, stars, region, truth in problems(fields, examples, simulations):
                fit = pretrain.solve(features.observables(stars, region, parallax_zero_point(stars)))
                p = fit.probability if fit is not None else np.zeros(len(stars))
                answers[field] = f1(truth, p), average_precision(truth, p)
            results[name] = answers
        print(line(name, answers, results["all stages"]), flush=True)
    return results


# -- the head ---------------------------------------------------------------------------------------------------------


def without(*names):
    """Take features out of the examples."""
    columns = [FEATURES.index(name) for name in names]

    def change(x):
        x = x.copy()
        x[:, columns] = 0.0
        return x

    return change


def answered(weights, x):
    """The answer of the networks, as the method gives it."""
    return head.agreed(x[:, 0], head.correct(weights, x))


def sharpened(weights, x, rounds=3, share=0.5):
    """
    Self-training on a field without labels: the target distribution of Deep Embedded Clustering.

    The answers of the field's stars are sharpened, p^2 over the group's sum, and the head's logit is drawn to them.
    """
    logit = answered(weights, x)
    for _ in range(rounds):
        q = 1 / (1 + np.exp(-logit))
        member, field = q**2 / max(q.sum(), 1e-9), (1 - q) ** 2 / max((1 - q).sum(), 1e-9)
        logit = (1 - share) * logit + share * np.log((member + 1e-12) / (field + 1e-12))
    return logit


def students_t(self, x):
    """Log ratio of Student's t kernels of one degree of freedom, those of the published recipe."""
    distance2 = jnp.sum((self.encode(x)[..., None, :] - self.centres[...]) ** 2, axis=-1)
    return jnp.log1p(distance2[..., 0]) - jnp.log1p(distance2[..., 1])


def few_simulations(examples, most=300):
    """Real fields, their copies, and the first simulations."""
    real = [item for item in examples if item["kind"] != "simulation"]
    return real + [item for item in examples if item["kind"] == "simulation"][:most]


def without_copies(examples):
    """Real fields as they are, and simulations."""
    return [item for item in examples if item["kind"] != "copy"]


def without_lists(examples):
    """The labels alone, without the probabilities that single lists give."""
    return [item | {"lists": np.full_like(item["lists"], np.nan)} if "lists" in item else item for item in examples]


HEAD = {
    "all stages": {},
    "no photometry": {"change": without_photometry},
    "no neighbours": {"change": without(*NEIGHBOURS)},
    "no field as a whole": {"change": without(*(name for name in FEATURES if name.startswith("field_")))},
    "no RUWE": {"change": without("log_ruwe")},
    "no published labels": {"train": {"labels": False}},
    "no copies of real fields": {"examples": without_copies},
    "labels alone, without the lists' probabilities": {"examples": without_lists},
    "300 simulations": {"examples": few_simulations},
    "one network": {"train": {"networks": 1}},
    "Student's t kernels": {"patches": (patch.object(head.Head, "__call__", students_t),)},
    "the field's numbers never withheld": {"patches": (patch.object(head, "_WITHHELD", 0.0),)},
    "plain mean of the networks": {"patches": (patch.object(head, "_DOUBT", 0.0),)},
    "self-training on each field": {"tune": sharpened},
}


def run_head(examples, folds, networks, variants=(), seed=0):
    """(F1, AP) of every field and simulation, by variant, from heads that did not see them."""
    fold = pretrain.deal_folds(examples, folds, seed)
    scored = [item for item in without_copies(examples) if str(item["cluster"]) or item["kind"] == "simulation"]
    results = {"the mixture alone": {}}
    for item in scored:
        results["the mixture alone"][item["name"]] = (
            f1(item["lab"], item["p"]),
            average_precision(item["lab"], item["p"]),
        )
    for name, variant in chosen(HEAD, variants).items():
        if networks == 1 and name in ("one network", "plain mean of the networks"):
            continue
        change, tune = variant.get("change", lambda x: x), variant.get("tune", answered)
        taught = variant.get("examples", list)(examples)
        changed, answers = [item | {"X": change(item["X"])} for item in taught], {}
        with applied(variant.get("patches", ())):
            for number in range(folds):
                seen = [item for item in changed if fold[item["name"]] != number]
                weights = pretrain.train(seen, **{"networks": networks, "seed": seed} | variant.get("train", {}))
                for item in scored:
                    if fold[item["name"]] == number:
                        p = item["p"].copy()
                        p[item["near"]] = 1 / (1 + np.exp(-tune(weights, change(item["X"]))))
                        answers[item["name"]] = f1(item["lab"], p), average_precision(item["lab"], p)
        results[name] = answers
        print(line(name, answers, results["all stages"]), flush=True)
    print(line("the mixture alone", results["the mixture alone"], results["all stages"]), flush=True)
    return results


# -- tables -----------------------------------------------------------------------------------------------------------


def summary(answers, base):
    """Per kind: mean F1, its paired difference to the base with standard error, mean AP, and how many are lost."""
    rows = {}
    for kind in ("published", "exact"):
        names = [n for n in answers if n in base and (n.startswith("simulation_") == (kind == "exact"))]
        values, reference = np.array([answers[n] for n in names]), np.array([base[n] for n in names])
        change = values[:, 0] - reference[:, 0]
        rows[kind] = (
            values[:, 0].mean(),
            change.mean(),
            change.std(ddof=1) / np.sqrt(len(change)),
            values[:, 1].mean(),
            int(np.sum(values[:, 0] < 0.3)),
        )
    return rows


def line(name, answers, base):
    """A line to print."""
    told = "; ".join(
        f"{kind}: F1 {f1:.4f} ({d:+.4f} +/- {e:.4f}), AP {ap:.4f}, lost {lost}"
        for kind, (f1, d, e, ap, lost) in summary(answers, base).items()
    )
    return f"{name:36s} {told}"


def as_rst(results, title):
    """A list-table."""
    rows = [
        f".. list-table:: {title}",
        "   :header-rows: 1",
        "   :widths: 34 14 20 8 14 20 8",
        "",
        "   * - Variant",
        "     - F1, published",
        "     - change",
        "     - lost",
        "     - F1, exact truth",
        "     - change",
        "     - lost",
    ]
    for name, answers in results.items():
        rows.append(f"   * - {name}")
        for mean, change, error, _, lost in summary(answers, results["all stages"]).values():
            moved = "" if name == "all stages" else f"{change:+.4f} ± {error:.4f}"
            rows += [f"     - {mean:.4f}", f"     - {moved}".rstrip(), f"     - {lost}"]
    return "\n".join(rows) + "\n"


def asked(kind, rows, options):
    """Whether a table is asked for: all of its rows, or some of them."""
    return options.only in (None, kind) and (not options.variants or any(name in rows for name in options.variants))


def main(args=None):
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", type=Path)
    parser.add_argument("--examples", type=Path, required=True, help="folder of python -m decocc_vo.pretrain")
    parser.add_argument("--simulations", type=int, default=300, help="for the mixture's stages")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--networks", type=int, default=2, help="for the head's stages")
    parser.add_argument("--only", choices=("mixture", "head"))
    parser.add_argument(
        "--variants",
        nargs="+",
        default=(),
        choices=[*MIXTURE, *HEAD],
        metavar="NAME",
        help="these rows of the tables alone",
    )
    parser.add_argument("--output", type=Path, help="tables for the documentation")
    options = parser.parse_args(args)
    made = [kind for kind, rows in (("mixture", MIXTURE), ("head", HEAD)) if asked(kind, rows, options)]
    if not made:
        parser.error(f"--variants: the table of the {options.only} has no such row; leave out --only")
    tables = []
    if "mixture" in made:
        with patch.object(features.log, "disabled", new=True):  # some fields have no errors
            results = run_mixture(options.fields, options.examples, options.simulations, options.variants)
        tables.append(as_rst(results, "The mixture alone, with and without its stages"))
    if "head" in made:
        results = run_head(pretrain.load_examples(options.examples), options.folds, options.networks, options.variants)
        tables.append(as_rst(results, "The head, with and without its stages"))
    if options.output:
        options.output.write_text("\n".join(tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
