from fleet.errors import (
    BrokerRefused,
    BrokerUnreachable,
    FleetError,
    OutboxFull,
    PartlyDone,
    PublishUncertain,
)
from fleet.publish.shortfall import shortfall

REFUSED = BrokerRefused("queue is full", hint="see max_length")
LOST = PublishUncertain("the connection went", hint="send again")


def told(*errors: FleetError | None) -> FleetError:
    found = shortfall("abcde"[: len(errors)], errors)
    assert found is not None
    return found


def test_tasks_that_were_all_taken_are_no_error() -> None:
    assert shortfall("ab", [None, None]) is None


def test_where_none_was_taken_the_first_reason_is_told() -> None:
    away = BrokerUnreachable("away")
    assert told(away, BrokerUnreachable("later")) is away
    assert told(REFUSED) is REFUSED


def test_a_task_that_may_be_queued_is_named() -> None:
    error = told(LOST)
    assert isinstance(error, PublishUncertain)
    assert error.message == "the connection went; it is not known whether these tasks are queued: a"
    assert (error.hint, error.__cause__) == ("send again", LOST)


def test_where_some_were_taken_those_and_the_doubtful_ones_are_named() -> None:
    error = told(None, REFUSED, LOST, None, REFUSED)
    assert isinstance(error, PartlyDone)
    assert error.message == (
        "2 of 5 tasks were not queued: queue is full; queued: a, d; "
        "it is not known whether these tasks are queued: c"
    )
    assert error.hint == "see max_length"


def test_where_some_were_taken_and_the_others_may_be_so_it_is_said() -> None:
    error = told(None, LOST)
    assert isinstance(error, PartlyDone)
    assert error.message == (
        "1 of 2 tasks may not be queued: the connection went; queued: a; "
        "it is not known whether these tasks are queued: b"
    )


def test_a_refusal_beside_doubt_says_both() -> None:
    error = told(REFUSED, LOST, LOST)
    assert isinstance(error, PublishUncertain)
    assert (error.hint, error.__cause__) == ("see max_length", REFUSED)
    assert error.message == "queue is full; it is not known whether these tasks are queued: b, c"


def test_doubt_is_never_told_as_if_nothing_was_there() -> None:
    assert isinstance(told(LOST, BrokerUnreachable("away")), PublishUncertain)
    assert isinstance(told(OutboxFull("full"), LOST), PublishUncertain)
