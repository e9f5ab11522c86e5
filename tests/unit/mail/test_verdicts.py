from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.mail.policy import Kind
from fleet.mail.verdicts import Fault, Reply, Stage, fault_verdict, http_verdict, retry_after, smtp_verdict
from tests.unit.mail.mails import NOW

T, C, P, U = Kind.TRANSIENT, Kind.CONFIGURATION, Kind.PERMANENT, Kind.UNKNOWN
SERVER = "mail.example.org:587"


@pytest.mark.parametrize(
    ("stage", "code", "text", "kind"),
    [
        (Stage.CONNECT, 421, "4.3.2 too busy", T),
        (Stage.CONNECT, 554, "5.7.1 you are blocked", C),
        (Stage.HELLO, 450, "4.7.1 helo refused for now", T),
        (Stage.HELLO, 550, "5.7.1 bad helo", C),
        (Stage.TLS, 454, "TLS not available", T),
        (Stage.TLS, 501, "no", C),
        (Stage.LOGIN, 535, "5.7.8 bad credentials", C),
        (Stage.LOGIN, 454, "4.7.0 throttled", T),
        (Stage.LOGIN, 534, "5.7.9 too weak", C),
        (Stage.SENDER, 451, "4.3.0 later", T),
        (Stage.SENDER, 530, "5.7.0 log in first", C),
        (Stage.SENDER, 553, "5.1.8 bad sender", P),
        (Stage.SENDER, 552, "5.3.4 too large", P),
        (Stage.RECIPIENT, 450, "4.7.1 greylisted", T),
        (Stage.RECIPIENT, 421, "4.7.0 closing", T),
        (Stage.RECIPIENT, 550, "5.1.1 unknown", P),
        (Stage.RECIPIENT, 554, "5.7.1 relay denied", P),
        (Stage.RECIPIENT, 552, "5.2.2 mailbox full", T),
        (Stage.DATA, 451, "4.3.0 later", T),
        (Stage.DATA, 554, "5.5.1 no valid recipients", P),
        (Stage.ANSWER, 452, "4.3.1 disk full", T),
        (Stage.ANSWER, 421, "4.3.2 shutting down", T),
        (Stage.ANSWER, 554, "5.7.1 spam", P),
        (Stage.ANSWER, 354, "what", U),
        (Stage.ANSWER, -1, "", U),
        (Stage.DATA, 250, "what", T),
        (Stage.SENDER, 999, "what", T),
    ],
)
def test_a_reply_is_classified_by_its_stage_and_code(stage: Stage, code: int, text: str, kind: Kind) -> None:
    verdict = smtp_verdict(SERVER, stage, Reply(code=code, text=text))
    assert (verdict.kind, verdict.code) == (kind, code)


@pytest.mark.parametrize(
    ("text", "enhanced"),
    [
        ("5.1.1 unknown", "5.1.1"),
        ("4.7.10 x", "4.7.10"),
        ("no such user 5.1.1", None),
        ("5.1 x", None),
        ("9.1.1 x", None),
        ("5.1.1", "5.1.1"),
    ],
)
def test_the_enhanced_status_code_is_read_where_it_belongs(text: str, enhanced: str | None) -> None:
    assert smtp_verdict(SERVER, Stage.RECIPIENT, Reply(code=550, text=text)).enhanced == enhanced


@pytest.mark.parametrize(
    ("stage", "fault", "kind"),
    [
        (Stage.CONNECT, Fault.UNREACHABLE, T),
        (Stage.CONNECT, Fault.TIMED_OUT, T),
        (Stage.CONNECT, Fault.NAME_UNRESOLVED, T),
        (Stage.CONNECT, Fault.NO_SUCH_NAME, C),
        (Stage.TLS, Fault.CERTIFICATE, C),
        (Stage.TLS, Fault.TLS, C),
        (Stage.TLS, Fault.DISCONNECTED, T),
        (Stage.TLS, Fault.NO_STARTTLS, C),
        (Stage.LOGIN, Fault.NO_AUTH, C),
        (Stage.SENDER, Fault.NO_SMTPUTF8, P),
        (Stage.RECIPIENT, Fault.DISCONNECTED, T),
        (Stage.BODY, Fault.DISCONNECTED, T),
        (Stage.BODY, Fault.TIMED_OUT, T),
        (Stage.ANSWER, Fault.DISCONNECTED, U),
        (Stage.ANSWER, Fault.TIMED_OUT, U),
    ],
)
def test_a_fault_is_classified_by_its_stage(stage: Stage, fault: Fault, kind: Kind) -> None:
    assert fault_verdict(SERVER, stage, fault).kind is kind


@given(st.sampled_from(Fault))
def test_no_fault_after_the_message_has_left_is_taken_for_a_refusal(fault: Fault) -> None:
    assert fault_verdict(SERVER, Stage.ANSWER, fault).kind is Kind.UNKNOWN


@given(st.sampled_from([stage for stage in Stage if stage is not Stage.ANSWER]), st.sampled_from(Fault))
def test_before_the_message_has_left_nothing_is_unknown(stage: Stage, fault: Fault) -> None:
    assert fault_verdict(SERVER, stage, fault).kind is not Kind.UNKNOWN


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, C),
        (400, P),
        (401, C),
        (403, C),
        (404, C),
        (406, C),
        (408, T),
        (413, P),
        (422, P),
        (425, T),
        (429, T),
        (500, U),
        (502, U),
        (503, T),
        (504, U),
        (599, U),
    ],
)
def test_an_http_status_is_classified(status: int, kind: Kind) -> None:
    assert http_verdict("https://api", status, "", headers={}, now=NOW).kind is kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "Sat, 21 Nov 2026 07:31:30 GMT"}, 90.0),
        ({"Retry-After": "Sat, 21 Nov 2026 07:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"X-RateLimit-Reset": str(int((NOW + timedelta(seconds=45)).timestamp()))}, 45.0),
        ({"X-RateLimit-Reset": "0"}, 0.0),
        ({}, None),
    ],
)
def test_the_wait_that_a_server_asks_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=NOW) == seconds


@given(st.text(max_size=30))
def test_no_text_in_retry_after_breaks_the_reading(text: str) -> None:
    found = retry_after({"Retry-After": text}, now=NOW)
    assert found is None or found >= 0
