"""``decocc-vo live``: stay in TOPCAT and Aladin, and work on the tables they send."""

import os
import sys
from functools import partial

from ._methods import make_method
from ._sources import keep_compiled, mapping

NAME = "live"
HELP = "stay connected to TOPCAT and Aladin, and find members in the tables they send"
DESCRIPTION = (
    "Join the SAMP hub as DECOCC: a table that is sent is fitted, and its members light up; rows that are selected "
    "start a refit. Ctrl-C leaves the hub."
)
EXAMPLE = """\
example, with TOPCAT open (then use Interop, Send table to, DECOCC):
  decocc-vo live --selection seed

exit codes: 0 left by Ctrl-C or SIGTERM; 2 wrong use; 3 there is no hub (--hub starts one)
"""


def add_arguments(parser):
    """The options of ``decocc-vo live``."""
    parser.add_argument(
        "--selection",
        choices=("region", "field", "seed"),
        default="region",
        help="what selected rows are: the new region, field stars, or members to start from (default: region)",
    )
    parser.add_argument("--hub", action="store_true", help="start a SAMP hub where none runs")
    parser.add_argument("--send", metavar="PROGRAM", default="all", help="who gets the results: topcat, aladin or all")
    parser.add_argument(
        "--columns", type=mapping, metavar="NAME=YOURS,...", help="names of the tables' columns: pmra=pmRA,parallax=plx"
    )
    parser.add_argument("--release", help="release the tables' stars come from, where a table does not say")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all random draws (default: 0)")
    parser.add_argument(
        "--compilation-cache", metavar="DIR", help="folder in which JAX keeps compiled programs for the next run"
    )


def run(options):
    """Run the command; returns the exit code."""
    from ..columns import get_release
    from ..samp import LiveSession

    keep_compiled(options)
    fit = make_method(seed=options.seed).fit
    if options.release is not None:
        fit = partial(_fit_of, get_release(options.release, argument="release"), fit)
    session = LiveSession(
        fit,
        selection=options.selection,
        hub=options.hub,
        client=options.send,
        columns=options.columns,
        on_line=None if options.quiet else _print,
        on_problem=_complain if options.quiet else None,  # a line says it, too
    )
    try:
        session.run_forever(timeout=1.0)
    finally:
        if session.busy:  # nobody waits for this fit, and Python's own end would abort in the middle of JAX
            sys.stdout.flush()
            os._exit(0)
    return 0


def _fit_of(release, fit, table, *args, **kwargs):
    """Fit a table that states its release, or is of this one."""
    from ..columns import designated_release, stated_release

    if stated_release(table) is None and designated_release(table) is None:
        table = table.copy(copy_data=False)
        table.meta |= {"release": release.name, "release_key": release.key}
    return fit(table, *args, **kwargs)


def _print(line):
    # On a terminal the last line is written over the ^C that ended the session.
    _write(f"\r{line}" if sys.stdout.isatty() else line, sys.stdout)


def _complain(problem):
    _write(f"decocc-vo {NAME}: {problem}", sys.stderr)


def _write(line, stream):
    """In one piece: what `print` writes, the end of the line apart, mixes with the lines of other threads."""
    stream.write(f"{line}\n")
    stream.flush()
