"""
Training of the head that comes with the package: ``python -m decocc_vo.pretrain``.

`make_examples` puts simulated clusters into real fields without theirs, reads published members, and copies real fields
with less in them; `train` makes the weights, and `cross_validate` tells how a head does on fields it has not seen.
"""

from ._examples import example, f1, real_copy, real_example, solve
from ._fields import LISTS, read_field, read_truth, without_cluster
from ._files import load_examples, make_examples
from ._simulations import draw_cluster, field_for_simulation, simulated
from ._training import cross_validate, deal_folds, reliability, train

__all__ = [
    "LISTS",
    "cross_validate",
    "deal_folds",
    "draw_cluster",
    "example",
    "f1",
    "field_for_simulation",
    "load_examples",
    "make_examples",
    "read_field",
    "read_truth",
    "real_copy",
    "real_example",
    "reliability",
    "simulated",
    "solve",
    "train",
    "without_cluster",
]
