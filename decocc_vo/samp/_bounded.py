"""Calls that may hang, with an end: a hub that is stopped or swapped out must not stop us."""

import threading

__all__ = ["bounded"]


def bounded(function, *args, timeout, **kwargs):
    """
    Call ``function`` in a thread of its own and wait at most ``timeout`` seconds for it.

    pyvo's proxies have no time limit of their own. A call that overruns is left behind in its daemon thread.

    Raises
    ------
    TimeoutError
        If it did not return in time. What ``function`` raises is raised here.
    """
    outcome = {}

    def run():
        try:
            outcome["value"] = function(*args, **kwargs)
        except BaseException as exc:
            outcome["error"] = exc

    thread = threading.Thread(target=run, name=f"bounded {getattr(function, '__name__', '')}", daemon=True)
    thread.start()
    thread.join(timeout)
    if "error" in outcome:
        raise outcome["error"]
    if "value" not in outcome:
        msg = f"no answer within {timeout:g} s"
        raise TimeoutError(msg)
    return outcome["value"]
