from collections.abc import Iterable, Iterator

import pytest

from fleet.errors import BrokerRefused, PartlyDone, PublishUncertain, UsageError
from fleet.model import Broker, Fleet, Node, Queue
from fleet.publish import Publisher
from fleet.publish.compose import Destinations
from fleet.publish.fate import Fate, FateKind
from fleet.publish.many import Delivery, TaskCall, send_many
from fleet.publish.message import WireMessage

FLEET = Fleet(
    name="test",
    timezone="UTC",
    state_dir="/var/lib/fleet",
    broker=Broker(nodes=(Node(host="127.0.0.1", port=1),)),
    hosts=(),
    queues=(Queue(name="email", tasks=("shop.*",)),),
    workers=(),
)
TAKEN = Fate(kind=FateKind.ACCEPTED)
FULL = Fate(kind=FateKind.REFUSED, reason="negative confirm")
DOUBT = Fate(kind=FateKind.UNKNOWN, reason="refused when it was written again: negative confirm", writes=2)


class Door:
    """Takes every message, but the second of each pair when it is told to refuse."""

    def __init__(self, *, fates: tuple[Fate, Fate]) -> None:
        self._fates = fates

    def fates(self, messages: Iterable[WireMessage], *, timeout_seconds: float) -> Iterator[Fate]:
        del timeout_seconds
        for index, _ in enumerate(messages):
            yield self._fates[index % 2]

    def close(self) -> None:
        pass


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Publisher:
    fates = getattr(request, "param", (TAKEN, TAKEN))
    monkeypatch.setattr("fleet.publish.publisher.ConfirmedChannel", lambda target: Door(fates=fates))
    return Publisher(FLEET, None)


def calls(count: int) -> Iterator[TaskCall]:
    return (TaskCall("shop.charge", {"order": n}, key=f"order-{n}") for n in range(count))


def test_each_delivery_says_which_task_it_was(publisher: Publisher) -> None:
    first, second = send_many(publisher, FLEET, calls(2))
    assert isinstance(first, Delivery)
    assert (first.task, first.queue, first.host, first.key) == ("shop.charge", "fleet.email", None, "order-0")
    assert first.accepted
    assert first.id != second.id


def test_who_wants_no_fates_gets_a_count(publisher: Publisher) -> None:
    assert send_many(publisher, FLEET, calls(5)).require_accepted() == 5


@pytest.mark.parametrize("publisher", [(TAKEN, FULL)], indirect=True)
def test_who_wants_no_fates_gets_an_error_when_some_were_refused(publisher: Publisher) -> None:
    with pytest.raises(PartlyDone, match=r"2 of 5 tasks were not queued: queue `fleet\.email` did not take"):
        send_many(publisher, FLEET, calls(5)).require_accepted()


@pytest.mark.parametrize("publisher", [(FULL, DOUBT), (DOUBT, FULL)], indirect=True)
def test_who_wants_no_fates_is_never_told_as_refused_what_may_be_queued(publisher: Publisher) -> None:
    with pytest.raises(PublishUncertain, match=r"no confirm came for task `shop\.charge`"):
        send_many(publisher, FLEET, calls(5)).require_accepted()


@pytest.mark.parametrize("publisher", [(TAKEN, DOUBT)], indirect=True)
def test_who_wants_no_fates_is_told_of_some_that_may_be_queued(publisher: Publisher) -> None:
    with pytest.raises(PartlyDone, match=r"2 of 5 tasks may not be queued: no confirm came"):
        send_many(publisher, FLEET, calls(5)).require_accepted()


@pytest.mark.parametrize("publisher", [(FULL, FULL)], indirect=True)
def test_who_wants_no_fates_gets_the_brokers_refusal_when_all_were_refused(publisher: Publisher) -> None:
    with pytest.raises(BrokerRefused):
        send_many(publisher, FLEET, calls(5)).require_accepted()


def test_a_task_that_no_queue_takes_is_a_usage_error(publisher: Publisher) -> None:
    with pytest.raises(UsageError, match=r"no queue for task `other\.task`"):
        list(send_many(publisher, FLEET, [TaskCall("other.task")]))


def test_what_is_never_iterated_says_that_it_sent_nothing(publisher: Publisher) -> None:
    with pytest.warns(RuntimeWarning, match="nothing was sent"):
        send_many(publisher, FLEET, calls(1))


def test_a_trace_context_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no W3C trace context"):
        TaskCall("shop.charge", traceparent="00-1").message(Destinations(FLEET))
