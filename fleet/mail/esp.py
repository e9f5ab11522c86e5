"""Did the mail service take the mail? SendGrid's HTTP API, with bounded waits and one try.

The stage matters as with SMTP: once the whole request has left, only an answer can say that nothing was sent.
"""

import io
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from fleet.mail.message import OutgoingMail
from fleet.mail.policy import Kind, Verdict, is_loopback, mail_failure
from fleet.mail.sendgrid import SCOPES_PATH, SEND_PATH, SEND_SCOPE, may_send, payload, words
from fleet.mail.verdicts import Fault, Stage, fault_verdict, http_verdict
from fleet.model import SendGrid
from fleet.secrets import Secret

CONNECT_SECONDS = 5.0
MAX_ANSWER_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer, read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Bearer(AuthBase):
    """Sets the header as late as possible; as ``auth`` it also keeps ``~/.netrc`` from replacing it."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return request


class _Body(io.BytesIO):
    """A request body that knows whether all of it was handed to the connection."""

    stage = Stage.CONNECT

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        # Asked again after the last byte: everything before has been written.
        self.stage = Stage.BODY if chunk else Stage.ANSWER
        return chunk


class _Session(requests.Session):
    """Follows no redirect, and does not read its body either, which requests would do in any case."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find none: a redirected POST would become a GET and take the key elsewhere."""
        del resp


def submit(sendgrid: SendGrid, mail: OutgoingMail, *, api_key: Secret, now: datetime) -> str:
    """Hand the mail to SendGrid and return its id for it (``X-Message-Id``).

    Raises MailFailure with what is known about the mail's fate, Unmailable for an unsafe header.
    """
    body = _Body(payload(mail))
    with _verdicts(sendgrid, lambda: body.stage):
        answer = _ask(sendgrid, "POST", SEND_PATH, api_key, body)
    _expect_success(sendgrid, answer, now)
    return answer.headers.get("X-Message-Id", "")[:100]


def check_key(sendgrid: SendGrid, *, api_key: Secret, now: datetime) -> None:
    """Ask SendGrid what the API key may do, without sending a mail.

    Raises MailFailure when the key is refused or may not send.
    """
    with _verdicts(sendgrid, lambda: Stage.CONNECT):
        answer = _ask(sendgrid, "GET", SCOPES_PATH, api_key, None)
    _expect_success(sendgrid, answer, now)
    if not may_send(answer.body):
        reason = f"{sendgrid.url}: the API key lacks the permission `{SEND_SCOPE}`"
        raise mail_failure(Verdict(kind=Kind.CONFIGURATION, reason=reason))


def _ask(sendgrid: SendGrid, method: str, path: str, api_key: Secret, body: _Body | None) -> Answer:
    _refuse_plaintext(sendgrid.url)
    _refuse_odd_key(sendgrid.url, api_key)
    with (
        _Session() as session,
        session.request(
            method,
            sendgrid.url.rstrip("/") + path,
            data=body,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            auth=_Bearer(api_key),
            timeout=(min(CONNECT_SECONDS, sendgrid.timeout_seconds), sendgrid.timeout_seconds),
            allow_redirects=False,
            stream=True,
        ) as response,
    ):
        return Answer(status=response.status_code, headers=response.headers, body=_read(response))


def _read(response: requests.Response) -> bytes:
    try:
        return response.raw.read(MAX_ANSWER_BYTES, decode_content=True) or b""
    except (HTTPError, OSError):
        # The status has been read: it decides, and its explanation is only lost.
        return b""


def _expect_success(sendgrid: SendGrid, answer: Answer, now: datetime) -> None:
    if not 200 <= answer.status < 300:
        said = words(answer.body)
        raise mail_failure(http_verdict(sendgrid.url, answer.status, said, headers=answer.headers, now=now))


@contextmanager
def _verdicts(sendgrid: SendGrid, stage: Callable[[], Stage]) -> Iterator[None]:
    try:
        yield
    except (requests.RequestException, OSError) as error:
        raise mail_failure(fault_verdict(sendgrid.url, stage(), _fault(error))) from error


def _fault(error: BaseException) -> Fault:
    causes = list(_causes(error))
    # The innermost cause knows best; a certificate counts wherever it stands.
    for kind, fault in (
        (ssl.SSLCertVerificationError, Fault.CERTIFICATE),
        (ssl.SSLError, Fault.TLS),
        (socket.gaierror, Fault.NAME_UNRESOLVED),
        (requests.Timeout, Fault.TIMED_OUT),
        (ConnectionResetError, Fault.DISCONNECTED),
        (BrokenPipeError, Fault.DISCONNECTED),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return fault
    return Fault.UNREACHABLE


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _refuse_plaintext(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        reason = f"`{url}`: an API key goes over https only"
        hint = "see `url` of [mail.sendgrid] in the fleet file"
        raise mail_failure(Verdict(kind=Kind.CONFIGURATION, reason=reason, hint=hint))


def _refuse_odd_key(url: str, api_key: Secret) -> None:
    # http.client would refuse it too, with the key in the error's text.
    key = api_key.reveal()
    if not key.isascii() or not key.isprintable() or " " in key:
        reason = f"{url}: the API key has a line break or another character that no key has"
        hint = "see where `api_key` of [mail.sendgrid] points to"
        raise mail_failure(Verdict(kind=Kind.CONFIGURATION, reason=reason, hint=hint))
