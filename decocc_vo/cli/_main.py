"""``main``: parse, run a command, and turn whatever happens into a line and an exit code."""

import argparse
import contextlib
import logging
import os
import re
import sys
import warnings

from .. import __version__
from ..exceptions import DecoccError, ServiceError
from . import _fetch, _live, _run
from ._interrupt import INTERRUPTED, TOLD, terminable, watch

__all__ = ["main", "program"]

_COMMANDS = (_run, _fetch, _live)

BAD_INPUT, FAILED, PIPE_CLOSED = 2, 3, 141

_EXAMPLE = """\
example, without network (the Hyades among the stars of Hipparcos-2):
  decocc-vo run "Melotte 25" --survey hipparcos2 --output hyades.vot

exit codes: 0 done; 1 ran well and found no cluster; 2 wrong use or bad input;
  3 a service, a program or a file failed; 130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def make_parser():
    """The parser of ``decocc-vo`` and all its commands."""
    parser = _Parser(
        prog="decocc-vo",
        description="Find the members of open clusters with deep embedded clustering, inside the Virtual Observatory.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"decocc-vo {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for module in _COMMANDS:
        command = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.add_argument("--quiet", action="store_true", help="no progress and no notes, errors only")
        command.add_argument("--debug", action="store_true", help="log everything, and show tracebacks")
        command.set_defaults(run=module.run, refuse=command.error)
    return parser


def main(args=None):
    """
    Run ``decocc-vo``.

    Parameters
    ----------
    args : list of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    code : int
        0 done, 1 no cluster found, 2 wrong use or bad input, 3 a service, a program or a file failed, 130
        interrupted.
    """
    try:
        options, left = make_parser().parse_known_args(args)
        if left:
            quotes = "" if left[0].startswith("-") else "; put a name of several words into quotes"
            options.refuse(f"unrecognized arguments: {' '.join(left)}{quotes}")
    except SystemExit as stop:  # argparse has printed what there is to say
        return stop.code or 0
    with _talking(options):
        try:
            from ..config import check_settings

            check_settings()
            with terminable():
                code = options.run(options)
            sys.stdout.flush()
            return code
        except DecoccError as error:
            return _failed(options, error, FAILED if isinstance(error, ServiceError) else BAD_INPUT)
        except KeyboardInterrupt:
            return _failed(options, TOLD, INTERRUPTED)
        except BrokenPipeError:  # the reader of our output has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return PIPE_CLOSED
        except MemoryError:
            return _failed(options, "the memory was not enough; take a smaller region or brighter stars", FAILED)
        except OSError as error:
            return _failed(options, error, FAILED)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            hint = "this is a bug in decocc_vo: run again with --debug, and report what it prints with the command"
            if os.environ.get("JAX_PLATFORMS"):  # JAX does not say that there is no such device
                hint = f"JAX_PLATFORMS is {os.environ['JAX_PLATFORMS']!r}: unset it, and try again; else {hint}"
            return _failed(options, f"{reason}\n{hint}", FAILED)


def program():
    """`main` as the program ``decocc-vo``: ends the process with its code."""
    if sys.stdout is None:  # closed by who started it
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    sys.stdout.reconfigure(errors="replace")  # a name that it cannot spell is no reason to fail
    watch()
    sys.exit(main())


def _failed(options, error, code):
    if options.debug:
        logging.getLogger("decocc_vo").debug("", exc_info=True)
    lines = [" ".join(line.split()) for line in str(error).splitlines()] or [type(error).__name__]
    print(f"decocc-vo {options.command}: " + "\n".join(lines[:2]), file=sys.stderr)
    return code


class _Notes(logging.Handler):
    """Keeps the warnings for the result, where they stand also with ``--quiet``."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.notes = []

    def emit(self, record):
        """Keep one warning, as it was shown."""
        self.notes.append(record.getMessage())


@contextlib.contextmanager
def _talking(options):
    """While a command runs, notes and warnings go to stderr, a line each; what is on stdout is the result alone."""
    # Imported before the warnings are ours: astropy takes them over when it is loaded.
    from astropy import log as libraries  # pyvo's, too

    logger = logging.getLogger("decocc_vo")
    level = logging.DEBUG if options.debug else logging.WARNING
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR if options.quiet else logging.NOTSET)
    kept = _Notes()
    options.notes = kept.notes
    handler.setFormatter(logging.Formatter("decocc-vo: %(message)s"))
    notes = logging.getLogger("decocc_vo.cli")  # what the commands tell while they run
    before = logger.level, notes.level, logger.propagate
    theirs = libraries.level, libraries.handlers[:]
    libraries.handlers[:] = [handler]
    libraries.setLevel(logging.INFO if options.debug else logging.WARNING)
    logger.addHandler(handler)
    logger.addHandler(kept)
    logger.setLevel(level)
    logger.propagate = False
    notes.setLevel(min(level, logging.INFO))

    told = set()

    def show(message, category, filename, lineno, file=None, line=None):
        text = " ".join(str(message).split())
        of_cache = re.match("Error (reading|writing) persistent compilation cache", text)
        if of_cache is None:
            logger.warning("%s", text)
        elif of_cache[0] not in told:  # of every function that JAX compiles; the result is the same
            told.add(of_cache[0])
            notes.info("%s; functions are compiled anew each time", text)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        libraries.setLevel(theirs[0])
        libraries.handlers[:] = theirs[1]
        logger.removeHandler(handler)
        logger.removeHandler(kept)
        logger.propagate = before[2]
        logger.setLevel(before[0])
        notes.setLevel(before[1])
