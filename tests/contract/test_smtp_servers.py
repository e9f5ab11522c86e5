"""What our scripted SMTP server says is what a real one says: Postfix's own test server is asked the same.

``smtp-sink`` of Debian's package postfix (unpacked, never installed) refuses or hangs up where it is told to.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.daemons.packages import Programs, provide
from fleet.daemons.process import Child, Command, accepts, free_ports
from fleet.mail.policy import Kind
from fleet.mail.smtp import submit
from tests.integration.mail.letters import envelope, plain, verdict_of
from tests.integration.mail.talk import BANNER, HANG_UP, MESSAGE, talking
from tests.servers import skipped_without_packages

SMTP_SINK = "usr/sbin/smtp-sink"


@pytest.fixture(scope="session")
def postfix() -> Programs:
    """Postfix's programs."""
    with skipped_without_packages():
        return provide("postfix", marker=SMTP_SINK, environ=os.environ, report=print)


@contextmanager
def sinking(postfix: Programs, directory: Path, *options: str) -> Iterator[int]:
    """Run smtp-sink with ``options`` and yield its port."""
    (port,) = free_ports(1)
    # It asks root whom to become; it may stay what it is, on loopback and for a moment.
    become = ("-u", "root") if os.geteuid() == 0 else ()
    argv = (str(postfix.path(SMTP_SINK)), *become, *options, f"127.0.0.1:{port}", "10")
    command = Command(
        name="smtp-sink",
        argv=argv,
        environ={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(postfix.path("usr/lib/postfix"))},
        log=directory / "smtp-sink.log",
        cwd=directory,
    )
    child = Child.start(command)
    try:
        child.await_ready(lambda: accepts(port), timeout_seconds=10)
        yield port
    finally:
        child.kill()


@pytest.mark.parametrize(
    ("options", "replies", "kind"),
    [
        (("-f", "CONNECT"), {BANNER: "521 5.3.0 no"}, Kind.CONFIGURATION),
        (("-Q", "CONNECT"), {BANNER: "421 4.0.0 closing"}, Kind.TRANSIENT),
        (("-q", "EHLO"), {"EHLO": HANG_UP}, Kind.TRANSIENT),
        (("-r", "MAIL"), {"MAIL": "450 4.3.0 later"}, Kind.TRANSIENT),
        (("-f", "MAIL"), {"MAIL": "500 5.3.0 no"}, Kind.PERMANENT),
        (("-r", "RCPT"), {"RCPT": "450 4.3.0 later"}, Kind.TRANSIENT),
        (("-f", "RCPT"), {"RCPT": "500 5.3.0 no"}, Kind.PERMANENT),
        (("-q", "RCPT"), {"RCPT": HANG_UP}, Kind.TRANSIENT),
        (("-r", "DATA"), {"DATA": "450 4.3.0 later"}, Kind.TRANSIENT),
        (("-f", "DATA"), {"DATA": "500 5.3.0 no"}, Kind.PERMANENT),
        (("-q", "DATA"), {"DATA": HANG_UP}, Kind.TRANSIENT),
        (("-r", "."), {MESSAGE: "450 4.3.0 later"}, Kind.TRANSIENT),
        (("-f", "."), {MESSAGE: "500 5.3.0 no"}, Kind.PERMANENT),
        (("-Q", "."), {MESSAGE: "421 4.0.0 closing"}, Kind.TRANSIENT),
        (("-q", "."), {MESSAGE: HANG_UP}, Kind.UNKNOWN),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_real_server_and_the_scripted_one_end_a_mail_alike(
    postfix: Programs, tmp_path: Path, options: tuple[str, ...], replies: dict[str, str], kind: Kind
) -> None:
    with sinking(postfix, tmp_path, *options) as port:
        real = verdict_of(plain(port))
    with talking(replies) as server:
        scripted = verdict_of(plain(server.port))
    assert (real.kind, real.enhanced) == (scripted.kind, scripted.enhanced)
    assert real.kind is kind


def test_a_real_server_gets_every_line_of_a_message_as_it_was_written(
    postfix: Programs, tmp_path: Path
) -> None:
    mail = envelope(text=".\n..\nfrom a dot to\n.the last\n\n")
    with sinking(postfix, tmp_path, "-d", "mail.") as port:
        assert submit(plain(port), mail, password=None).startswith("2.0.0")
        (dump,) = tmp_path.glob("mail.*")
        kept = dump.read_bytes()
    assert mail.content.replace(b"\r\n", b"\n") in kept + b"\n"
    assert b"X-Mail-Args: <fleet@example.com>" in kept
    assert b"X-Rcpt-Args: <ann@example.org>" in kept
