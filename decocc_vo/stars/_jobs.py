"""One query as an asynchronous job of a TAP service: submitted, followed, fetched and deleted, whatever happens."""

import contextlib
import logging
import time
from urllib.parse import urljoin, urlparse

import requests
from astropy.io import votable
from pyvo.dal import AsyncTAPJob

from .._quietly import quietly
from ..exceptions import ServiceError
from ._folder import disk
from ._http import OutOfTimeError, reason, status

log = logging.getLogger(__name__)

_WAITING = frozenset({"PENDING", "HELD"})
_FAILED = frozenset({"ERROR", "ABORTED"})
_CHUNK = 2**16
_CRAWL = 1024  # bytes that must come within one time limit, else the connection is given up and taken anew
_LONGEST_POLL = 30.0


class JobGoneError(ServiceError):
    """The service does not know the job any more, or has thrown its result away."""


class JobFailedError(ServiceError):
    """The service ended the job with an error; ``passing`` where it says that this may pass."""

    passing = False


class DamagedError(ServiceError):
    """The result is no complete VOTable."""


class Jobs:
    """
    Runs queries at one service.

    Parameters
    ----------
    url : str
        TAP service.
    session : `requests.Session`
    patience : `~decocc_vo.stars._http.Patience`
    save : callable
        Called when what is known of a job changed, so that it is kept.
    """

    def __init__(self, url, session, patience, save):
        self.url, self.session, self.patience, self.save = url.rstrip("/"), session, patience, save

    def run(self, entry, query, maxrec, path, stubborn=True, progress=None):
        """
        Run one query to its end.

        Parameters
        ----------
        entry : dict
            What is known of the job: its ``url`` and ``phase``; resumed when there, changed in place.
        query : str
        maxrec : int
            Row limit sent to the service.
        path : `~pathlib.Path`
            File the VOTable is streamed to.
        stubborn : bool, optional
            Submit a job anew that ended in an error; without it only when the service says the error may pass.
        progress : callable, optional
            Called with the fraction of the result that has come.

        Returns
        -------
        table : `~astropy.table.Table`
        overflow : bool
            Whether the service cut the result at the row limit.
        """
        for attempt in range(1, self.patience.tries + 1):
            try:
                if "url" not in entry:
                    self._submit(entry, query, maxrec)
                self._follow(entry)
                return self._fetch(entry, path, progress)
            except JobGoneError as error:
                failure = error
            except (JobFailedError, DamagedError) as error:
                self.delete(entry)
                if isinstance(error, JobFailedError) and not (stubborn or error.passing):
                    self.save()
                    raise
                failure = error
            entry.clear()
            self.save()
            log.info("%s; submitting the query again", failure)
            if attempt < self.patience.tries:
                self.patience.sleep(min(self.patience.backoff * 2 ** (attempt - 1), 60.0), str(failure))
        msg = f"{failure} ({self.patience.tries} jobs); run the same again later: what came so far is kept"
        raise ServiceError(msg) from failure

    def _submit(self, entry, query, maxrec):
        # Not by pyvo: it follows the redirect to the job at once, and a break there would lose the job's URL.
        data = {"REQUEST": "doQuery", "LANG": "ADQL", "QUERY": query, "MAXREC": str(maxrec)}

        def submit():
            where = f"{self.url}/async"
            for _ in range(3):
                response = self.session.post(where, data=data, allow_redirects=False)
                response.raise_for_status()
                where = urljoin(where, response.headers.get("Location", where))
                path = urlparse(where).path.rstrip("/")
                if "/async/" in path:
                    return where
                if not path.endswith("/async"):  # as a page to log in to, which stands between
                    break
            msg = f"{self.url} took the query but named no job: it leads to {where}"
            raise ServiceError(msg)

        entry.update(url=self.patience.retry(submit, f"submitting a query to {self.url}"), phase="PENDING")
        self.save()
        log.info("job %s", entry["url"])

    def _ask(self, entry, action, what):
        """``action`` on the job, tried again where it may pass; a job that is not there is said to be gone."""
        try:
            return self.patience.retry(action, f"{what} job {entry['url']}")
        except ServiceError as error:
            if status(error.__cause__) in {404, 410}:
                msg = f"the service does not know job {entry['url']} any more"
                raise JobGoneError(msg) from error
            raise

    def _attach(self, entry):
        return self._ask(entry, lambda: AsyncTAPJob(entry["url"], session=self.session, delete=False), "asking for")

    def _follow(self, entry):
        job, pause, started = self._attach(entry), min(0.2, self.patience.backoff), False
        while True:
            phase = self._ask(entry, lambda: job.phase, "asking for") or "UNKNOWN"
            if phase != entry.get("phase"):
                entry["phase"] = phase
                self.save()
            if phase == "COMPLETED":
                return
            if phase == "ARCHIVED":
                msg = f"the service has thrown away the result of job {entry['url']}"
                raise JobGoneError(msg)
            if phase in _FAILED:
                raise self._failure(phase, self._ask(entry, lambda: job.job, "asking for").errorsummary)
            if phase in _WAITING and not started:
                self._start(entry, job)
                started = True
                continue
            # A start that got lost is repeated, now and then.
            started = started and not (phase in _WAITING and pause > 2)
            self.patience.sleep(pause, f"job {entry['url']} is {phase} at the service")
            pause = min(pause * 1.3, _LONGEST_POLL)

    def _start(self, entry, job):
        tried = False

        def start():
            # The answer to a start may be lost, and to start a job that runs makes DaCHS end it with an error.
            nonlocal tried
            if not tried or job.phase in _WAITING:
                tried = True
                job.run()

        self._ask(entry, start, "starting")

    @staticmethod
    def _failure(phase, summary):
        words = " ".join(str(getattr(getattr(summary, "message", None), "content", None) or "").split())
        words = words or ("it was aborted" if phase == "ABORTED" else "no reason given")
        error = JobFailedError(f"the service ended the job with an error: {words[:500]}")
        error.passing = phase == "ABORTED" or getattr(summary, "type_", None) == "transient"
        return error

    def _fetch(self, entry, path, progress):
        for again in (True, True, False):
            where = self._attach(entry).result_uri or f"{entry['url']}/results/result"
            with disk(path.parent):
                path.unlink(missing_ok=True)
            self._ask(entry, lambda where=where: self._download(where, path, progress), "fetching the result of")
            try:
                return read_result(path)
            except DamagedError as error:
                log.info("%s; fetching it again", error)
                if not again:
                    raise
                self.patience.sleep(self.patience.backoff, str(error))

    def _download(self, where, path, progress):
        """Stream the result to ``path``, going on behind what an earlier try brought where the service can."""
        have = path.stat().st_size if path.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with self.session.get(where, stream=True, headers=headers) as response:
            if response.status_code == 416:
                path.unlink(missing_ok=True)
                msg = "the result changed in size"
                raise requests.ConnectionError(msg)
            response.raise_for_status()
            begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            resumed = response.status_code == 206 and begins
            done = have if resumed else 0
            total = done + int(response.headers.get("Content-Length") or 0)
            with contextlib.ExitStack() as stack:
                with disk(path.parent):
                    file = stack.enter_context(open(path, "ab" if resumed else "wb"))
                for chunk in self._chunks(response, where):
                    with disk(path.parent):  # around the writing only: errors of requests are OSErrors, too
                        file.write(chunk)
                        file.flush()
                    done += len(chunk)
                    if progress is not None and total:
                        progress(done / total)
            if total and done < total:
                msg = f"{done} of {total} bytes came"
                raise requests.ConnectionError(msg)

    def _chunks(self, response, where):
        """What comes, as it comes; a connection that crawls is given up."""
        came, since = 0, time.monotonic()
        # read1 does not wait for a full chunk.
        while chunk := response.raw.read1(_CHUNK):
            yield chunk
            came += len(chunk)
            self.patience.check(f"fetching {where}")
            if time.monotonic() - since > self.patience.timeout:
                if came < _CRAWL:
                    msg = f"only {came} bytes came in {self.patience.timeout:g} s"
                    raise requests.Timeout(msg)
                came, since = 0, time.monotonic()

    def delete(self, entry):
        """Delete the job at the service; a failure is of no consequence: the service forgets it some day."""
        if "url" not in entry:
            return
        try:
            self.session.delete(entry["url"], allow_redirects=False).close()
        except (requests.RequestException, OutOfTimeError) as error:
            log.info("job %s could not be deleted: %s", entry["url"], reason(error))


def read_result(path):
    """
    Read the VOTable a TAP service sent.

    Returns
    -------
    table : `~astropy.table.Table`
    overflow : bool
        Whether the service says that it left rows out.

    Raises
    ------
    DamagedError
        If it is cut short or is no VOTable.
    JobFailedError
        If it is an error document.
    """
    try:
        with quietly(votable.exceptions.VOWarning):
            document = votable.parse(path, verify="ignore")
    except Exception as error:  # the parser raises whatever the damage leads to
        msg = f"the result is no complete VOTable ({' '.join(str(error).split())[:200] or type(error).__name__})"
        raise DamagedError(msg) from error
    resource = next((r for r in document.resources if r.type == "results"), None)
    said = [] if resource is None else [(i.value, i.content) for i in resource.infos if i.name == "QUERY_STATUS"]
    values = [str(value).upper() for value, _ in said]
    if "ERROR" in values:
        words = " ".join(str(said[values.index("ERROR")][1] or "no reason given").split())
        msg = f"the service sent an error instead of stars: {words[:500]}"
        raise JobFailedError(msg)
    if resource is None or not resource.tables or not {"OK", "OVERFLOW"} & set(values):
        msg = "the result is no complete VOTable (it has no QUERY_STATUS or no table)"
        raise DamagedError(msg)
    return resource.tables[0].to_table(use_names_over_ids=True), "OVERFLOW" in values
