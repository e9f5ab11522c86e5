import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import ClassVar

import pytest

import fleet
from fleet.client import Client
from fleet.errors import UsageError
from fleet.model import Broker, Fleet, Node, Queue, Worker
from fleet.publish import TaskMessage
from fleet.publish.remembered import Remembered
from fleet.publish.turn import Turn

FLEET = Fleet(
    name="test",
    timezone="UTC",
    state_dir="/var/lib/fleet",
    broker=Broker(nodes=(Node(host="127.0.0.1", port=1),)),
    hosts=(),
    queues=(Queue(name="email", tasks=("fleet.send_mail",)),),
    workers=(Worker(name="shared", hosts=("*",), queues=("email",)),),
)


def test_the_client_is_offered_by_the_package() -> None:
    assert fleet.Client.__module__ == "fleet.client"
    assert fleet.SentTask.__module__ == "fleet.client"


def test_importing_the_package_loads_no_broker_client() -> None:
    done = subprocess.run(
        (sys.executable, "-c", "import fleet, sys; print('amqp' in sys.modules)"),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "False\n"


class Meeting:
    """Stands for a publisher whose broker takes everything; notes when two threads are in it at once."""

    met: ClassVar[bool] = False

    def __init__(self, *args: object, **options: object) -> None:
        del args, options
        self._two = threading.Barrier(2)

    def deliver(self, messages: Sequence[TaskMessage]) -> tuple[None, ...]:
        try:
            self._two.wait(0.05)
            Meeting.met = True
        except threading.BrokenBarrierError:
            self._two.reset()
        return (None,) * len(messages)

    def close(self) -> None:
        pass


def test_threads_that_share_a_client_send_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet.client.Publisher", Meeting)
    monkeypatch.setattr(Meeting, "met", False)
    with Client(FLEET, {}) as client, ThreadPoolExecutor(4) as threads:
        sent = list(threads.map(lambda _: client.send("fleet.send_mail").id, range(4)))
    assert len(set(sent)) == 4
    assert not Meeting.met


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_was_forked_during_a_turn_does_not_wait_for_its_end() -> None:
    turn = Turn()
    with turn:
        child = os.fork()
        if child == 0:
            signal.alarm(5)
            with turn:
                os._exit(0)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


class Interrupted(Meeting):
    """Stands for a publisher that is in the middle of its first message when a signal comes."""

    def __init__(self, *args: object, **options: object) -> None:
        del args, options
        self._sent = 0

    def deliver(self, messages: Sequence[TaskMessage]) -> tuple[None, ...]:
        self._sent += 1
        if self._sent == 1:
            signal.raise_signal(signal.SIGUSR1)
        return (None,) * len(messages)


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, list[UsageError]]]:
    """A client that a handler of SIGUSR1 sends through, and what the handler was told."""
    monkeypatch.setattr("fleet.client.Publisher", Interrupted)
    told: list[UsageError] = []
    with Client(FLEET, {}) as client:

        def send_again(number: int, frame: FrameType | None) -> None:
            del number, frame
            try:
                client.send("fleet.send_mail")
            except UsageError as error:
                told.append(error)

        before = signal.signal(signal.SIGUSR1, send_again)
        yield client, told
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.timeout(10)
def test_a_signal_handler_that_sends_during_a_send_of_its_thread_is_told_so_at_once(
    refusals: tuple[Client, list[UsageError]],
) -> None:
    client, told = refusals
    interrupted = client.send("fleet.send_mail")
    (error,) = told
    assert "in the middle of sending in the same thread" in error.message
    assert "signal handler" in str(error.hint)
    # Neither the send that was interrupted nor the next one suffers for it.
    assert interrupted.queue == "fleet.email"
    assert client.send("fleet.send_mail").queue == "fleet.email"
    assert len(told) == 1


def test_a_client_remembers_since_when_its_last_tasks_are_under_way() -> None:
    remembered = Remembered(most=2)
    for now, task_id in enumerate(["a", "b", "b", "c"], start=1):
        remembered.note([task_id], now=now)
    assert remembered.since(["b", "c"]) == 2
    # Forgotten, or sent by somebody else.
    assert remembered.since(["a", "c"]) == 0
    assert remembered.since([]) == 0


def test_one_key_is_for_one_mail() -> None:
    with Client(FLEET, {}) as client, pytest.raises(UsageError, match="one key means one mail"):
        client.mails(["a@example.org", "b@example.org"], "welcome", key="k")
