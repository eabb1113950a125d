"""Settings that several rooms share, checked by the same rule."""

import numpy as np

from .exceptions import InputError


def check_seed(seed):
    """Refuse a seed that is no integer of 32 bits, which is what the random generators take."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        msg = f"'seed' must be an integer from 0 to 4294967295, not {seed!r}"
        raise InputError(msg)


def check_integer(name, value, fewest):
    """Refuse a setting that is no integer of ``fewest`` or more."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < fewest:
        msg = f"'{name}' must be an integer of {fewest} or more, not {value!r}"
        raise InputError(msg)
