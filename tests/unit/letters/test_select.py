import pytest

from fleet.journal.record import Outcome
from fleet.letters.select import Selection
from tests.unit.letters.samples import letter, refused, rejected

NOW = 1_000.0


def outcome(error: str | None) -> Outcome:
    return Outcome(
        task_id="t1",
        task="t",
        queue="q",
        host="alpha",
        worker="w",
        outcome="failed",
        started=1.0,
        finished=2.0,
        runtime_seconds=1.0,
        wait_seconds=None,
        error=error,
    )


@pytest.mark.parametrize(
    ("selection", "is_meant"),
    [
        (Selection(), True),
        (Selection(ids=frozenset({"t1", "t2"})), True),
        (Selection(ids=frozenset({"t2"})), False),
        (Selection(task="fleet.*"), True),
        (Selection(task="FLEET.*"), False),
        (Selection(reason="not_*"), True),
        (Selection(reason="rejected"), False),
        (Selection(older_than_seconds=900), True),
        (Selection(older_than_seconds=901), False),
        (Selection(newer_than_seconds=900), True),
        (Selection(newer_than_seconds=899), False),
        (Selection(task="fleet.*", reason="rejected"), False),
    ],
)
def test_every_condition_must_hold(selection: Selection, is_meant: bool) -> None:  # noqa: FBT001
    assert selection.fits(refused(), now=NOW) is is_meant


def test_a_letter_of_unknown_age_is_neither_old_nor_new() -> None:
    nameless = letter({})
    assert not Selection(older_than_seconds=0).fits(nameless, now=NOW)
    assert not Selection(newer_than_seconds=10**9).fits(nameless, now=NOW)


def test_an_error_that_is_not_known_is_not_the_one_that_is_meant() -> None:
    assert Selection(exception="SMTP*").fits_outcome(outcome("SMTPServerDisconnected"))
    assert not Selection(exception="SMTP*").fits_outcome(outcome("OSError"))
    assert not Selection(exception="*").fits_outcome(outcome(None))
    assert not Selection(exception="*").fits_outcome(None)
    assert Selection(task="x").fits_outcome(None)


def test_nothing_asked_is_everything_and_anything_asked_is_not() -> None:
    assert Selection().is_everything
    assert not Selection(older_than_seconds=0).is_everything
    assert Selection().fits(rejected(), now=0.0)
