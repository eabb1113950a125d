"""What users say of how to ask a service, checked before anybody is asked."""

from urllib.parse import urlparse

from ..config import conf
from ..exceptions import InputError


def limits(deadline=None, timeout=None, tries=8, backoff=1.0):
    """The arguments of a `~decocc_vo.stars._http.Patience`; the site's settings where the user says nothing."""
    return {
        "deadline": _seconds(conf.deadline if deadline is None else deadline, "deadline", float("inf")),
        "timeout": _seconds(conf.timeout if timeout is None else timeout, "timeout"),
        "tries": whole(tries, "tries"),
        "backoff": _seconds(backoff, "backoff"),
    }


def whole(value, argument):
    """``value`` as an int, which must be 1 or more."""
    try:
        number = int(value)
        good = number == value and number >= 1
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        msg = f"'{argument}' must be a whole number, 1 or more, not {value!r}"
        raise InputError(msg)
    return number


def _seconds(value, argument, largest=1e9):
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds <= largest:
        msg = f"'{argument}' must be a number of seconds above 0, not {value!r}"
        raise InputError(msg)
    return seconds


def is_url(text):
    """Whether a text is the URL of a web page."""
    try:
        parts = urlparse(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # of a port that is none
        return False
