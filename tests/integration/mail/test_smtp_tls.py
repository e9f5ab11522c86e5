"""TLS towards a mail server is verified or there is no mail; logging in happens inside it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from fleet.mail.policy import Kind
from fleet.mail.smtp import submit
from fleet.model import Smtp
from fleet.secrets import Secret
from tests.certificates import Authority, Issued
from tests.integration.mail.letters import PASSWORD, envelope, verdict_of
from tests.integration.mail.talk import talking

LOOPBACK = "127.0.0.1"


# Without slots: Python 3.11.2 cannot list the members of a slotted dataclass, which aiosmtpd does.
@dataclass
class Inbox:
    """aiosmtpd's handler and authenticator: keeps what came, and who logged in."""

    received: list[bytes] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(envelope.content, bytes)
        self.received.append(envelope.content)
        return "250 2.0.0 kept"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        good = isinstance(data, LoginPassword) and data.password.decode() == PASSWORD
        if good and isinstance(data, LoginPassword):
            self.users.append(data.login.decode())
        return AuthResult(success=good, handled=False)


Listen = Callable[[asyncio.AbstractEventLoop], Awaitable[asyncio.Server]]


@contextmanager
def running_loop() -> Iterator[Callable[[Listen], asyncio.Server]]:
    """Run an event loop in a thread; what is yielded runs a coroutine there and returns its result."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        def run(listen: Listen) -> asyncio.Server:
            async def call() -> asyncio.Server:
                return await listen(loop)

            return asyncio.run_coroutine_threadsafe(call(), loop).result(timeout=10)

        try:
            yield run
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=10)


@contextmanager
def receiving(issued: Issued, *, implicit: bool = False) -> Iterator[tuple[int, Inbox]]:
    """Run a mail server that wants TLS and a login."""
    inbox, context = Inbox(), issued.server_context()
    starttls = None if implicit else context

    async def listen(loop: asyncio.AbstractEventLoop) -> asyncio.Server:
        return await loop.create_server(
            lambda: SMTP(
                inbox,
                loop=loop,
                hostname=LOOPBACK,
                tls_context=starttls,
                require_starttls=not implicit,
                # aiosmtpd takes TLS from the first byte for no TLS at all.
                auth_required=not implicit,
                auth_require_tls=not implicit,
                authenticator=inbox.authenticate,
            ),
            LOOPBACK,
            0,
            ssl=context if implicit else None,
        )

    with running_loop() as run:
        server = run(listen)
        yield server.sockets[0].getsockname()[1], inbox
        server.get_loop().call_soon_threadsafe(server.close)


def settings(port: int, authority: Authority, *, security: str = "starttls", host: str = LOOPBACK) -> Smtp:
    return Smtp(
        host=host, port=port, security=security, user="fleet", ca=str(authority.cert), timeout_seconds=10.0
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_through_verified_tls_and_a_login(authority: Authority, security: str) -> None:
    with receiving(authority.issue(LOOPBACK), implicit=security == "tls") as (port, inbox):
        submit(settings(port, authority, security=security), envelope(), password=Secret(PASSWORD))
    assert inbox.users == ["fleet"]
    assert b"Hello" in inbox.received[0]


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("names", "days", "said"),
    [(("mail.example.org",), 30, "IP address mismatch"), ((LOOPBACK,), -1, "certificate has expired")],
)
def test_a_certificate_that_is_not_valid_here_gets_no_mail_and_no_password(
    authority: Authority, security: str, names: tuple[str, ...], days: int, said: str
) -> None:
    issued = authority.issue(*names, days=days)
    with receiving(issued, implicit=security == "tls") as (port, inbox):
        verdict = verdict_of(settings(port, authority, security=security), password=PASSWORD)
    assert verdict.kind is Kind.CONFIGURATION
    assert said in verdict.reason
    assert (inbox.received, inbox.users) == ([], [])


def test_a_certificate_of_another_authority_gets_no_mail(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority.create(tmp_path, "stranger")
    with receiving(stranger.issue(LOOPBACK)) as (port, inbox):
        verdict = verdict_of(settings(port, authority), password=PASSWORD)
    assert verdict.kind is Kind.CONFIGURATION
    assert inbox.received == []


def test_without_a_ca_of_our_own_the_system_s_authorities_count(authority: Authority) -> None:
    with receiving(authority.issue(LOOPBACK)) as (port, _):
        smtp = Smtp(host=LOOPBACK, port=port, user="fleet", timeout_seconds=10.0)
        assert verdict_of(smtp, password=PASSWORD).kind is Kind.CONFIGURATION


def test_a_wrong_password_is_our_own_fault(authority: Authority) -> None:
    with receiving(authority.issue(LOOPBACK)) as (port, inbox):
        verdict = verdict_of(settings(port, authority), password="wrong")
    assert (verdict.kind, verdict.code) == (Kind.CONFIGURATION, 535)
    assert inbox.received == []


def test_a_server_without_starttls_gets_no_mail_and_no_password(authority: Authority) -> None:
    with talking() as server:
        verdict = verdict_of(settings(server.port, authority), password=PASSWORD)
    assert verdict.kind is Kind.CONFIGURATION
    assert server.heard.verbs() == ["EHLO"]


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [("454 4.7.0 not now", Kind.TRANSIENT, 454), ("554 5.7.3 never", Kind.CONFIGURATION, 554)],
)
def test_a_server_that_refuses_starttls_gets_no_mail(
    authority: Authority, reply: str, kind: Kind, code: int
) -> None:
    offer = "250-talk.invalid\r\n250 STARTTLS"
    with talking({"EHLO": offer, "STARTTLS": reply}) as server:
        verdict = verdict_of(settings(server.port, authority), password=PASSWORD)
    assert (verdict.kind, verdict.code) == (kind, code)
    assert server.heard.verbs() == ["EHLO", "STARTTLS", "QUIT"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_that_speaks_no_tls_after_all_is_our_own_fault(authority: Authority, security: str) -> None:
    offer = {"EHLO": "250-talk.invalid\r\n250 STARTTLS", "STARTTLS": "220 go\r\n250 and some more"}
    with talking(offer) as server:
        verdict = verdict_of(settings(server.port, authority, security=security), password=PASSWORD)
    assert verdict.kind is Kind.CONFIGURATION
    assert "MAIL" not in server.heard.verbs()


def test_without_tls_a_mail_goes_over_loopback_only(authority: Authority) -> None:
    verdict = verdict_of(settings(25, authority, security="none", host="192.0.2.1"), password=PASSWORD)
    assert verdict.kind is Kind.CONFIGURATION
    assert "without TLS" in verdict.reason


def test_a_ca_file_that_is_not_there_is_our_own_fault_and_not_an_unreachable_server(tmp_path: Path) -> None:
    smtp = Smtp(host=LOOPBACK, port=25, ca=str(tmp_path / "no.pem"))
    verdict = verdict_of(smtp)
    assert verdict.kind is Kind.CONFIGURATION
    assert "no.pem` cannot be used: No such file" in verdict.reason
