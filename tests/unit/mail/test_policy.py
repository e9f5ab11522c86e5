import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.mail.address import parse_address
from fleet.mail.policy import (
    MAX_RETRY_AFTER_SECONDS,
    Action,
    Kind,
    MailDeferred,
    Verdict,
    decide,
    is_loopback,
    mail_failure,
    without_addresses,
)
from tests.unit.mail.mails import settings


def verdict(kind: Kind, *, retry_after_seconds: float | None = None) -> Verdict:
    return Verdict(
        kind=kind, reason="mail.example.org:587 answered `…`", retry_after_seconds=retry_after_seconds
    )


@pytest.mark.parametrize(
    ("kind", "on_unknown", "action"),
    [
        (Kind.TRANSIENT, "hold", Action.RETRY),
        (Kind.CONFIGURATION, "hold", Action.RETRY),
        (Kind.PERMANENT, "retry", Action.DEAD_LETTER),
        (Kind.UNKNOWN, "hold", Action.DEAD_LETTER),
        (Kind.UNKNOWN, "retry", Action.RETRY),
    ],
)
def test_each_kind_of_failure_has_its_consequence(kind: Kind, on_unknown: str, action: Action) -> None:
    decision = decide(verdict(kind), mail=settings(on_unknown=on_unknown), attempt=1, chance=0.5)
    assert decision.action is action


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 15.0), (2, 30.0), (3, 60.0), (9, 3840.0), (10, 7200.0), (500, 7200.0)]
)
def test_the_delay_doubles_up_to_its_maximum(attempt: int, seconds: float) -> None:
    decision = decide(verdict(Kind.TRANSIENT), mail=settings(), attempt=attempt, chance=0.5)
    assert decision.delay_seconds == seconds


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_jitter_covers_everything_below_the_ceiling(attempt: int, chance: float) -> None:
    delay = decide(verdict(Kind.TRANSIENT), mail=settings(), attempt=attempt, chance=chance).delay_seconds
    assert 0 <= delay <= 14_400


@given(st.floats(allow_nan=True), st.floats(0, 1, exclude_max=True))
def test_a_server_is_never_asked_again_before_the_time_it_named(asked: float, chance: float) -> None:
    refused = verdict(Kind.TRANSIENT, retry_after_seconds=asked)
    delay = decide(refused, mail=settings(), attempt=1, chance=chance).delay_seconds
    assert delay <= MAX_RETRY_AFTER_SECONDS + 30
    if 0 < asked < float("inf"):
        assert delay >= min(asked, MAX_RETRY_AFTER_SECONDS)


def test_a_failure_survives_the_way_from_a_child_to_the_main_process() -> None:
    failure = mail_failure(verdict(Kind.TRANSIENT, retry_after_seconds=7.0))
    again = pickle.loads(pickle.dumps(failure))
    assert (type(again), again.retry_after, str(again)) == (MailDeferred, 7.0, str(failure))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.TRANSIENT, "MailDeferred"),
        (Kind.CONFIGURATION, "MailMisconfigured"),
        (Kind.PERMANENT, "MailRefused"),
        (Kind.UNKNOWN, "MailUnknown"),
    ],
)
def test_the_class_of_a_failure_tells_its_kind_where_only_the_class_is_shown(kind: Kind, name: str) -> None:
    assert type(mail_failure(verdict(kind))).__name__ == name


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("5.1.1 <Ann.Smith@example.org>: no such user", "5.1.1 <address>: no such user"),
        ("no user ann.smith here", "no user <recipient> here"),
        ("queued\r\nas 4F1A\x1b[31m", "queued as 4F1A [31m"),
        ("bounce+x@list.example.org blocked", "<address> blocked"),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_server_s_words_lose_addresses_and_control_characters(said: str, shown: str) -> None:
    assert without_addresses(said, parse_address("ann.smith@example.org")) == shown


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.5", True),
        ("::1", True),
        ("[::1]", True),
        ("127.0.0.1.example.org", False),
        ("10.0.0.1", False),
        ("mail.example.org", False),
        ("", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected
