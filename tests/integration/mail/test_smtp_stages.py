"""Every way in which an SMTP conversation can go wrong, at every stage, on real sockets."""

import socket
import traceback
from dataclasses import replace

import pytest

from fleet.mail.policy import Kind, MailFailure
from fleet.mail.smtp import check_login, submit
from fleet.secrets import Secret
from tests.integration.mail.letters import PASSWORD, envelope, plain, verdict_of
from tests.integration.mail.talk import BANNER, HANG_UP, MESSAGE, SILENCE, talking

T, C, P, U = Kind.TRANSIENT, Kind.CONFIGURATION, Kind.PERMANENT, Kind.UNKNOWN


def test_an_accepted_mail_returns_the_server_s_words_and_arrives_as_it_was() -> None:
    with talking() as server:
        answer = submit(plain(server.port), envelope(text="Hello\n.\n..dots\n"), password=None)
    assert answer == "2.0.0 queued as 4F1A2B"
    assert server.heard.messages[0].endswith(b"\r\n\r\nHello\r\n..\r\n...dots\r\n")
    assert server.heard.verbs() == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    assert server.heard.commands[2] == "RCPT TO:<ann@example.org>"


@pytest.mark.parametrize(
    ("moment", "reply", "kind", "enhanced"),
    [
        (BANNER, "421 4.3.2 busy", T, "4.3.2"),
        (BANNER, "554 5.7.1 blocked", C, "5.7.1"),
        ("EHLO", "421 4.3.2 busy", T, "4.3.2"),
        ("MAIL", "451 4.3.0 later", T, "4.3.0"),
        ("MAIL", "553 5.1.8 bad sender", P, "5.1.8"),
        ("MAIL", "530 5.7.0 log in", C, "5.7.0"),
        ("RCPT", "450 4.7.1 greylisted", T, "4.7.1"),
        ("RCPT", "550 5.1.1 unknown", P, "5.1.1"),
        ("RCPT", "421 closing", T, None),
        ("DATA", "451 later", T, None),
        ("DATA", "554 5.5.1 no", P, "5.5.1"),
        (MESSAGE, "452 4.3.1 disk full", T, "4.3.1"),
        (MESSAGE, "554 5.7.1 spam", P, "5.7.1"),
        (MESSAGE, "250-5 many\r\n554 5.7.1 spam", P, None),
        (MESSAGE, "hello", U, None),
        (MESSAGE, "354 go on", U, None),
        (MESSAGE, "2" * 20_000, U, None),
        (MESSAGE, HANG_UP, U, None),
        (BANNER, HANG_UP, T, None),
        ("EHLO", HANG_UP, T, None),
        ("MAIL", HANG_UP, T, None),
        ("RCPT", HANG_UP, T, None),
        ("DATA", HANG_UP, T, None),
    ],
)
def test_each_failure_is_classified_by_what_the_server_can_have_accepted(
    moment: str, reply: str, kind: Kind, enhanced: str | None
) -> None:
    with talking({moment: reply}) as server:
        verdict = verdict_of(plain(server.port))
    assert (verdict.kind, verdict.enhanced) == (kind, enhanced)


@pytest.mark.parametrize(("moment", "kind"), [(BANNER, T), ("RCPT", T), ("DATA", T), (MESSAGE, U)])
def test_a_server_that_falls_silent_is_not_waited_for_beyond_the_timeout(moment: str, kind: Kind) -> None:
    with talking({moment: SILENCE}) as server:
        verdict = verdict_of(plain(server.port, timeout_seconds=0.3))
    assert verdict.kind is kind
    assert "did not answer in time" in verdict.reason


def test_a_connection_cut_within_the_message_is_transient_because_the_end_never_left() -> None:
    large = replace(envelope(), content=b"Subject: large\r\n\r\n" + b"x" * 70 * 200_000)
    with talking(read_only_bytes=1000) as server:
        verdict = verdict_of(plain(server.port), large)
    assert verdict.kind is T
    assert verdict.reason.endswith("while sending the message")


def test_a_server_that_is_not_there_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert verdict_of(plain(port)).kind is T


def test_a_goodbye_that_goes_wrong_does_not_change_an_accepted_mail() -> None:
    with talking({"QUIT": HANG_UP}) as server:
        assert submit(plain(server.port), envelope(), password=None).startswith("2.0.0")


def test_a_server_of_before_extensions_is_greeted_in_its_own_way() -> None:
    with talking({"EHLO": "502 5.5.1 what"}) as server:
        submit(plain(server.port), envelope(), password=None)
    assert server.heard.verbs() == ["EHLO", "HELO", "MAIL", "RCPT", "DATA", "QUIT"]
    assert "SIZE" not in server.heard.commands[2]


def test_a_failure_shows_no_address_that_the_server_repeats() -> None:
    with talking({"RCPT": "550 5.1.1 <ann@example.org>: ann does not live here"}) as server:
        verdict = verdict_of(plain(server.port))
    assert "5.1.1 <address>: <recipient> does not live here" in verdict.reason


def test_a_refused_login_is_tried_once_and_is_our_own_fault() -> None:
    with talking({"AUTH": "535 5.7.8 bad credentials"}) as server:
        verdict = verdict_of(plain(server.port, user="fleet"), password=PASSWORD)
    assert verdict.kind is C
    assert server.heard.verbs() == ["EHLO", "AUTH", "QUIT"]


def test_a_throttled_login_is_transient() -> None:
    with talking({"AUTH": "454 4.7.0 throttled"}) as server:
        assert verdict_of(plain(server.port, user="fleet"), password=PASSWORD).kind is T


def test_a_failed_login_shows_the_password_nowhere() -> None:
    with talking({"AUTH": HANG_UP}) as server, pytest.raises(MailFailure) as caught:
        submit(plain(server.port, user="fleet"), envelope(), password=Secret(PASSWORD))
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    assert "s3cret" not in shown
    assert server.heard.commands[1].split()[2] not in shown


@pytest.mark.parametrize("offer", ["250 talk.invalid", "250-talk.invalid\r\n250 AUTH CRAM-MD5 NTLM"])
def test_a_server_without_a_login_that_we_know_is_our_own_fault(offer: str) -> None:
    with talking({"EHLO": offer}) as server:
        assert verdict_of(plain(server.port, user="fleet"), password=PASSWORD).kind is C


def test_checking_the_login_sends_no_mail() -> None:
    with talking() as server:
        check_login(plain(server.port, user="fleet"), password=Secret(PASSWORD))
    assert server.heard.verbs() == ["EHLO", "AUTH", "QUIT"]


def test_an_address_that_is_not_ascii_needs_a_server_that_takes_it() -> None:
    with talking() as server:
        verdict = verdict_of(plain(server.port), envelope(to="jörg@example.org"))
    assert verdict.kind is P
    assert "MAIL" not in server.heard.verbs()


def test_an_address_that_is_not_ascii_goes_to_a_server_that_takes_it() -> None:
    with talking({"EHLO": "250-talk.invalid\r\n250 SMTPUTF8"}) as server:
        submit(plain(server.port), envelope(to="jörg@example.org"), password=None)
    assert server.heard.commands[1] == "MAIL FROM:<fleet@example.com> SMTPUTF8 BODY=8BITMIME"
    assert server.heard.commands[2] == "RCPT TO:<jörg@example.org>"
