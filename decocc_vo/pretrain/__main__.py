"""
Training the head: simulated clusters in real fields without theirs, and published members where they are at hand.

    python -m decocc_vo.pretrain FIELDS WEIGHTS.safetensors --examples DIR [--simulations N] [--seed N] [--folds DIR]
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from .. import __version__
from ..embedding.head import save_head
from ._files import load_examples, make_examples
from ._training import cross_validate, report, train


def main(args=None):
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m decocc_vo.pretrain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path, help="folder with manifest.json, stars/ and truth/")
    parser.add_argument("weights", type=Path, help="safetensors file to write")
    parser.add_argument("--examples", type=Path, required=True, help="folder that keeps the examples between runs")
    parser.add_argument("--simulations", type=int, default=3400)
    parser.add_argument("--copies", type=int, default=16, help="of each real field with a cluster")
    parser.add_argument("--jobs", type=int, default=1, help="processes that make examples at once")
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--simulations-only", action="store_true", help="leave the published labels out of the training"
    )
    parser.add_argument("--folds", type=Path, help="cross-validate by cluster too, and write the tables there")
    options = parser.parse_args(args)
    copies = 0 if options.simulations_only else options.copies
    make_examples(options.fields, options.examples, options.simulations, options.seed, options.jobs, copies)
    examples = load_examples(options.examples)
    settings = {"networks": options.networks, "steps": options.steps, "labels": not options.simulations_only}
    if options.folds:
        report(cross_validate(examples, options.folds, seed=options.seed, **settings))
    counts = Counter(item["kind"] for item in examples if item["kind"] != "real" or str(item["cluster"]))
    if options.simulations_only:
        counts["real"] = counts["copy"] = 0
    save_head(
        train(examples, seed=options.seed, **settings),
        options.weights,
        version=__version__,
        simulations=counts["simulation"],
        real_fields=counts["real"],
        copies=counts["copy"],
        seed=options.seed,
        **settings,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
