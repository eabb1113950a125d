"""Talking to a service over a bad connection: one deadline for all, and a failure that may pass is tried again."""

import email.utils
import html
import itertools
import logging
import os
import random
import re
import time
from urllib.parse import urlparse
from xml.parsers.expat import ExpatError

import requests
import urllib3
from pyvo.dal.exceptions import DALServiceError
from pyvo.utils import http as pyvo_http

from ..exceptions import InputError, ServiceError

log = logging.getLogger(__name__)

_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
# ExpatError and ValueError: a document that was cut short does not parse.
_BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    urllib3.exceptions.HTTPError,
    ExpatError,
    ValueError,
)
# Errors of requests that are ValueErrors, too, and pass with no try.
_NO_URL = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema)
_LONGEST_WAIT = 60.0
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class OutOfTimeError(ServiceError):
    """The deadline is over; what was reached is kept for the next run."""


class Patience:
    """
    How long to wait and how often to try.

    Parameters
    ----------
    deadline : float
        Seconds everything may take together.
    timeout : float
        Seconds a service may stay silent within one request.
    tries : int, optional
        Failures in a row after which to give up; half of it while the service never answered.
    backoff : float, optional
        Seconds before the second try; doubled each time, to a minute at most.
    """

    def __init__(self, deadline, timeout, tries=8, backoff=1.0):
        self.deadline, self.timeout, self.tries, self.backoff = float(deadline), float(timeout), tries, backoff
        self.end = time.monotonic() + self.deadline
        self.answered = False

    @property
    def left(self):
        """Seconds until the deadline."""
        return self.end - time.monotonic()

    def check(self, what):
        """Raise `OutOfTimeError` when the deadline is over; ``what`` says what was waited for."""
        if self.left <= 0:
            msg = (
                f"{what}: not done within 'deadline' = {self.deadline:g} s; run the same again to go on from there, "
                "or give it more time"
            )
            raise OutOfTimeError(msg)

    def sleep(self, seconds, what):
        """Wait, but not past the deadline."""
        time.sleep(max(0.0, min(seconds, self.left)))
        self.check(what)

    def retry(self, action, what):
        """Call ``action`` until it succeeds, fails for good, or has failed too often; ``what`` names it in errors."""
        for attempt in itertools.count(1):
            self.check(what)
            try:
                result = action()
            except (requests.RequestException, DALServiceError, *_BROKEN) as error:
                wait = _wait_asked_for(error)
                if wait is None:
                    msg = f"{what}: {reason(error)}"
                    raise ServiceError(msg) from error
                enough = self.tries if self.answered else (self.tries + 1) // 2
                if attempt >= enough:
                    msg = (
                        f"{what}: {reason(error)} ({attempt} tries); see whether the service and the network are up, "
                        "then run the same again: what came so far is kept"
                    )
                    raise ServiceError(msg) from error
                pause = min(self.backoff * 2 ** (attempt - 1), _LONGEST_WAIT) * random.uniform(0.75, 1.25)
                log.info("%s: %s; try %d of %d follows", what, reason(error), attempt + 1, enough)
                self.sleep(max(wait, pause), what)
            else:
                self.answered = True
                return result


def _response(error):
    for one in (error, getattr(error, "cause", None)):
        if getattr(one, "response", None) is not None:
            return one.response
    return None


def status(error):
    """HTTP status behind an error of requests or pyvo; None where the service did not answer."""
    response = _response(error)
    return None if response is None else response.status_code


def reason(error):
    """What happened, in a few words."""
    response = _response(error)
    if response is not None:
        answer = f"the service answered HTTP {response.status_code} {response.reason or ''}".rstrip()
        return f"{answer}: {words}" if (words := _said(response)) else answer
    error = getattr(error, "cause", None) or error
    words = " ".join(str(error).split()) or type(error).__name__
    for sign, plain in (
        ("refused", "connection refused"),
        ("Connection aborted", "the connection broke"),
        ("Connection broken", "the connection broke"),
        ("timed out", "no answer in time"),
        ("NameResolution", "the service's name does not resolve"),
    ):
        if sign in words:
            return plain
    return words[:200]


def _said(response):
    """What a service says in the error document of DALI that it answers with; a page in HTML is for people."""
    if "xml" not in response.headers.get("Content-Type", ""):
        return ""
    info = re.search(rb"<INFO[^>]*\bQUERY_STATUS\b[^>]*>(.*?)</INFO>", response.content, re.DOTALL)
    return " ".join(html.unescape(info[1].decode(errors="replace")).split())[:500] if info else ""


def _wait_asked_for(error):
    """Seconds to wait before trying again; None when trying again is no use."""
    code = status(error)
    if code is None:
        cause = getattr(error, "cause", None) or error
        return 0.0 if isinstance(cause, _BROKEN) and not isinstance(cause, _NO_URL) else None
    if code not in _MAY_PASS:
        return None
    asked = _response(error).headers.get("Retry-After", "0")
    for seconds in (float, lambda date: email.utils.parsedate_to_datetime(date).timestamp() - time.time()):
        try:
            return max(0.0, seconds(asked))
        except (ValueError, TypeError):
            continue
    return 0.0


class _Adapter(requests.adapters.HTTPAdapter):
    """
    Gives every request a time limit, also those of pyvo that have none.

    The answer before the last is closed: pyvo leaves those open that break while it reads them.
    """

    def __init__(self, patience):
        self.patience, self._answer = patience, None
        super().__init__()

    def send(self, request, **options):
        self._finish()
        options["timeout"] = max(0.1, min(self.patience.timeout, self.patience.left))
        self._answer = super().send(request, **options)
        return self._answer

    def close(self):
        self._finish()
        super().close()

    def _finish(self):
        if self._answer is not None:
            self._answer.close()
            self._answer = None


class _HostAuth(requests.auth.AuthBase):
    """Credentials for one host, over a connection nobody else can read."""

    def __init__(self, host, auth):
        self.host, self.auth = host, auth

    def __call__(self, request):
        where = urlparse(request.url)
        if where.hostname == self.host and (where.scheme == "https" or self.host in _LOCAL):
            self.auth(request)
        return request


def open_session(url, patience, login_url="", login=False):
    """
    A session for the service at ``url``, logged in where the environment or (with ``login``) the keyring says so.

    ``DECOCC_VO_TAP_AUTHORIZATION`` is sent as it is in the Authorization header; ``DECOCC_VO_TAP_USER`` and
    ``DECOCC_VO_TAP_PASSWORD`` go to the service's login page, else as HTTP basic authentication.
    """
    from .. import __version__

    pyvo_http.setup_user_agent(primary_component=f"decocc_vo/{__version__}")
    session = pyvo_http.create_session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(patience))
    host = urlparse(url).hostname
    header = os.environ.get("DECOCC_VO_TAP_AUTHORIZATION")
    if header:
        session.auth = _HostAuth(host, lambda request: request.headers.__setitem__("Authorization", header))
        return session
    user, password = os.environ.get("DECOCC_VO_TAP_USER"), os.environ.get("DECOCC_VO_TAP_PASSWORD")
    if login and not user:
        user, password = _from_keyring(host)
    if not user:
        return session
    if login_url and urlparse(login_url).hostname == host:
        form = {"username": user, "password": password}
        try:
            patience.retry(lambda: _checked(session.post(login_url, form)), f"logging in at {login_url}").close()
        except ServiceError:
            session.close()
            raise
    else:
        session.auth = _HostAuth(host, requests.auth.HTTPBasicAuth(user, password or ""))
    return session


def _from_keyring(host):
    try:
        import keyring
    except ImportError:
        credential = None
    else:
        credential = keyring.get_credential(f"decocc_vo:{host}", None)
    if credential is None:
        msg = (
            f"'login' finds no credentials for {host}: set DECOCC_VO_TAP_USER and DECOCC_VO_TAP_PASSWORD, or store "
            f"them with keyring under 'decocc_vo:{host}'"
        )
        raise InputError(msg)
    return credential.username, credential.password


def _checked(response):
    response.raise_for_status()
    return response
