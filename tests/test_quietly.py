"""Warnings of libraries: silenced, heard, and the process's filters as they were, whatever the threads."""

import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from decocc_vo._quietly import listening, quietly


def test_only_what_is_named_is_silenced():
    with quietly(UserWarning, DeprecationWarning):
        warnings.warn("one", UserWarning, stacklevel=1)
        warnings.warn("two", DeprecationWarning, stacklevel=1)
    with pytest.raises(RuntimeWarning), quietly(UserWarning):
        warnings.warn("three", RuntimeWarning, stacklevel=1)


def test_threads_hear_their_own_and_leave_the_filters_as_they_were():
    def hear(number):
        with listening() as heard:
            warnings.warn(f"of {number}", UserWarning, stacklevel=1)
            time.sleep(0.002)
            warnings.warn(f"of {number} again", UserWarning, stacklevel=1)
        return [str(warning.message) for warning in heard]

    filters, show = list(warnings.filters), warnings.showwarning
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(hear, range(60))) == [[f"of {n}", f"of {n} again"] for n in range(60)]
    assert (warnings.filters, warnings.showwarning) == (filters, show)
