"""Does this URL answer as expected, and how fast?

Reading is bounded in every direction: time per URL, redirects, and nothing of a page's content. A redirect is
followed only where the expected status did not come at once, and never from https to anything else.
"""

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import requests

from fleet.model import UrlCheck

CONNECT_SECONDS = 5.0
MAX_REDIRECTS = 5
PARALLEL_CHECKS = 8
#: what a check may take beyond its own limit before it counts as hanging
_SLACK_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlResult:
    """What one URL answered."""

    #: name in the fleet file
    name: str
    ok: bool
    #: seconds since the epoch
    started: float
    #: until the headers of the last answer, or until the check gave up
    seconds: float
    #: HTTP status of the last answer; None without one
    status: int | None
    #: one line for an operator, without the URL, which may hold a token
    detail: str


class _Session(requests.Session):
    """Leaves redirects to us: requests would read the whole body of each one, however long."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find none."""
        del resp


class _Stopped(Exception):
    """The check ended without the expected answer; the message says why."""


def check_all(checks: Sequence[UrlCheck]) -> tuple[UrlResult, ...]:
    """Return the result of every check, in their order; a URL that hangs delays nobody for long."""
    results: queue.SimpleQueue[UrlResult] = queue.SimpleQueue()
    waiting: queue.SimpleQueue[UrlCheck] = queue.SimpleQueue()
    for check in checks:
        waiting.put(check)
    started = time.time()
    count = min(PARALLEL_CHECKS, len(checks))
    for _ in range(count):
        # Daemons: a server that sends one byte at a time must not keep the process from ending.
        threading.Thread(target=_work, args=(waiting, results), daemon=True).start()
    found = _collect(results, len(checks), limit=time.monotonic() + _limit_seconds(checks, count))
    return tuple(found.get(check.name) or _hanging(check, started) for check in checks)


def check_url(check: UrlCheck) -> UrlResult:
    """Ask for one URL and return what it answered; never raises for what a server does."""
    started, clock = time.time(), time.monotonic()
    status: int | None = None
    try:
        status = _status(check, deadline=clock + check.timeout_seconds)
        ok, detail = status == check.expect_status, f"answered {status}"
        detail = detail if ok else f"{detail} instead of {check.expect_status}"
    except _Stopped as stopped:
        ok, detail = False, str(stopped)
    except (requests.RequestException, OSError, ValueError) as error:
        ok, detail = False, _words(error)
    seconds = time.monotonic() - clock
    return UrlResult(name=check.name, ok=ok, started=started, seconds=seconds, status=status, detail=detail)


def _status(check: UrlCheck, *, deadline: float) -> int:
    url = check.url
    with _Session() as session:
        # A connection that is kept may be closed by the server just when the next redirect needs it.
        session.headers.update({"User-Agent": "fleet-check-urls", "Connection": "close"})
        for _ in range(MAX_REDIRECTS + 1):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise _Stopped(f"no answer within {check.timeout_seconds:g} s")
            waits = (min(CONNECT_SECONDS, remaining), remaining)
            with session.get(url, timeout=waits, allow_redirects=False, stream=True) as response:
                target = response.headers.get("Location")
                if response.status_code == check.expect_status or not response.is_redirect or not target:
                    return response.status_code
            url = _next_url(url, target)
    raise _Stopped(f"more than {MAX_REDIRECTS} redirects")


def _next_url(url: str, target: str) -> str:
    following = urljoin(url, target)
    scheme, before = urlsplit(following).scheme, urlsplit(url).scheme
    if scheme not in ("http", "https") or (before == "https" and scheme != "https"):
        raise _Stopped(f"redirects from {before} to {scheme or 'nowhere'}")
    return following


def _words(error: Exception) -> str:
    # Not the error's own text: it quotes the URL.
    if isinstance(error, requests.exceptions.SSLError):
        return "no valid certificate"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return f"no answer ({type(error).__name__})"


def _work(waiting: "queue.SimpleQueue[UrlCheck]", results: "queue.SimpleQueue[UrlResult]") -> None:
    while True:
        try:
            check = waiting.get_nowait()
        except queue.Empty:
            return
        results.put(check_url(check))


def _limit_seconds(checks: Sequence[UrlCheck], threads: int) -> float:
    longest = max((check.timeout_seconds for check in checks), default=0.0)
    rounds = -(-len(checks) // max(1, threads))
    return rounds * (longest + _SLACK_SECONDS)


def _collect(results: "queue.SimpleQueue[UrlResult]", expected: int, *, limit: float) -> dict[str, UrlResult]:
    found: dict[str, UrlResult] = {}
    while len(found) < expected:
        try:
            result = results.get(timeout=max(0.0, limit - time.monotonic()))
        except queue.Empty:
            break
        found[result.name] = result
    return found


def _hanging(check: UrlCheck, started: float) -> UrlResult:
    seconds = time.time() - started
    detail = f"no whole answer within {check.timeout_seconds:g} s"
    return UrlResult(name=check.name, ok=False, started=started, seconds=seconds, status=None, detail=detail)
