"""SendGrid's v3 API as its public documentation describes it; the real service was never asked.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send (202, ``X-Message-Id``, ``errors``),
…/how-to-use-the-sendgrid-v3-api/rate-limits (429, ``X-RateLimit-Reset``), …/api-key-permissions (scopes).
"""

import json
import logging
import socket
import traceback
from pathlib import Path

import pytest

from fleet.mail.esp import check_key, submit
from fleet.mail.policy import Kind, MailFailure, Verdict
from fleet.model import SecretRef, SendGrid
from fleet.secrets import Secret
from tests.integration.mail.web import Asked, Say, serving
from tests.unit.mail.mails import NOW, outgoing

KEY = "SG.s3cret"
ACCEPTED = Say(status=202, headers={"X-Message-Id": "14c5d75ce93"})


def sendgrid(url: str, *, timeout_seconds: float = 10.0) -> SendGrid:
    return SendGrid(api_key=SecretRef(scheme="env", name="KEY"), url=url, timeout_seconds=timeout_seconds)


def verdict_of(service: SendGrid, *, text: str = "Hello") -> Verdict:
    try:
        submit(service, outgoing(text=text), api_key=Secret(KEY), now=NOW)
    except MailFailure as failure:
        shown = "".join(traceback.format_exception(failure))
        assert KEY not in shown
        assert "ann@example.org" not in shown
        return failure.verdict
    raise AssertionError("the mail was accepted")


def test_an_accepted_mail_returns_the_service_s_id() -> None:
    mail = outgoing(html="<p>Hello</p>")
    with serving(lambda _: ACCEPTED) as web:
        assert submit(sendgrid(web.url), mail, api_key=Secret(KEY), now=NOW) == "14c5d75ce93"
    (asked,) = web.asked
    assert (asked.method, asked.path) == ("POST", "/v3/mail/send")
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["Content-Type"] == "application/json"
    assert json.loads(asked.body)["headers"]["Message-ID"] == mail.message_id


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (307, Kind.CONFIGURATION),
        (400, Kind.PERMANENT),
        (401, Kind.CONFIGURATION),
        (403, Kind.CONFIGURATION),
        (413, Kind.PERMANENT),
        (500, Kind.UNKNOWN),
        (503, Kind.TRANSIENT),
    ],
)
def test_a_status_is_classified_and_its_explanation_kept(status: int, kind: Kind) -> None:
    explained = b'{"errors": [{"message": "not for ann@example.org", "field": null, "help": null}]}'
    headers = {"Location": "http://192.0.2.1/"} if status == 307 else {}
    with serving(lambda _: Say(status=status, headers=headers, body=explained)) as web:
        verdict = verdict_of(sendgrid(web.url))
    assert (verdict.kind, verdict.code) == (kind, status)
    assert verdict.reason.endswith(f"answered {status} `not for <address>`")


def test_a_rate_limit_says_when_to_come_back() -> None:
    reset = str(int(NOW.timestamp()) + 90)
    for headers, seconds in (({"Retry-After": "120"}, 120.0), ({"X-RateLimit-Reset": reset}, 90.0)):
        with serving(lambda _, found=headers: Say(status=429, headers=found)) as web:  # type: ignore[misc]
            verdict = verdict_of(sendgrid(web.url))
        assert (verdict.kind, verdict.retry_after_seconds) == (Kind.TRANSIENT, seconds)


@pytest.mark.parametrize("lost", [Say(hang_up=True), Say(silent=True)])
def test_an_answer_that_never_comes_leaves_the_mail_unknown(lost: Say) -> None:
    with serving(lambda _: lost) as web:
        assert verdict_of(sendgrid(web.url, timeout_seconds=0.3)).kind is Kind.UNKNOWN


def test_a_connection_cut_within_the_request_is_transient() -> None:
    with serving(lambda _: Say(unread=True)) as web:
        verdict = verdict_of(sendgrid(web.url), text="x" * 8_000_000)
    assert verdict.kind is Kind.TRANSIENT


def test_a_service_that_is_not_there_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert verdict_of(sendgrid(url)).kind is Kind.TRANSIENT


def test_a_service_that_speaks_no_tls_is_our_own_fault_and_learns_no_key() -> None:
    with serving(lambda _: ACCEPTED) as web:
        verdict = verdict_of(sendgrid(web.url.replace("http:", "https:")))
    assert verdict.kind is Kind.CONFIGURATION
    assert web.asked == []


def test_a_key_never_goes_over_plain_http_to_another_machine() -> None:
    verdict = verdict_of(sendgrid("http://192.0.2.1"))
    assert verdict.kind is Kind.CONFIGURATION
    assert "https only" in verdict.reason


@pytest.mark.parametrize("key", ["SG.s3cret\r", "SG.s3cret\n", "SG.s3crét", "SG. s3cret"])
def test_a_key_that_cannot_be_one_is_our_own_fault_and_is_not_shown(key: str) -> None:
    with serving(lambda _: ACCEPTED) as web, pytest.raises(MailFailure) as caught:
        submit(sendgrid(web.url), outgoing(), api_key=Secret(key), now=NOW)
    assert caught.value.kind is Kind.CONFIGURATION
    assert "s3cr" not in "".join(traceback.format_exception(caught.value))


def test_a_key_is_not_replaced_by_a_netrc_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password wrong\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(lambda _: ACCEPTED) as web:
        submit(sendgrid(web.url), outgoing(), api_key=Secret(KEY), now=NOW)
    assert web.asked[0].headers["Authorization"] == f"Bearer {KEY}"


def test_neither_key_nor_address_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), serving(lambda _: ACCEPTED) as web:
        submit(sendgrid(web.url), outgoing(), api_key=Secret(KEY), now=NOW)
    assert caplog.text
    assert KEY not in caplog.text
    assert "ann@" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Say(body=b'{"scopes": ["mail.send"]}'), None),
        (Say(body=b'{"scopes": ["alerts.read"]}'), "lacks the permission `mail.send`"),
        (Say(status=401, body=b'{"errors": [{"message": "authorization required"}]}'), "answered 401"),
    ],
)
def test_the_key_can_be_checked_without_sending(answer: Say, problem: str | None) -> None:
    def reply(asked: Asked) -> Say:
        return answer if (asked.method, asked.path) == ("GET", "/v3/scopes") else Say(status=404)

    with serving(reply) as web:
        if problem is None:
            check_key(sendgrid(web.url), api_key=Secret(KEY), now=NOW)
            return
        with pytest.raises(MailFailure, match=problem):
            check_key(sendgrid(web.url), api_key=Secret(KEY), now=NOW)
