"""
The command line: ``decocc-vo``, one module a command.

Exit codes: 0 done, 1 ran well and found no cluster, 2 wrong use or bad input, 3 a service, a program or a file
failed, 130 interrupted.
"""

from ._main import main, program
from ._methods import METHODS, PRESETS, make_method

__all__ = ["METHODS", "PRESETS", "main", "make_method", "program"]
