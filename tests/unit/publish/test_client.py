import subprocess
import sys
import time
from collections.abc import Sequence
from typing import ClassVar, Self

import pytest

import fleet
from fleet.client import Client
from fleet.errors import UsageError
from fleet.model import Broker, Fleet, Node, Queue, Worker
from fleet.publish import TaskMessage

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


class Taking:
    """Stands for a publisher whose broker takes everything."""

    def __init__(self, *args: object, **options: object) -> None:
        del args, options

    def deliver(self, messages: Sequence[TaskMessage]) -> tuple[None, ...]:
        return (None,) * len(messages)

    def close(self) -> None:
        pass


class Looking:
    """Stands for the journal: notes from when on it is read, and knows every outcome."""

    since: ClassVar[list[float | None]] = []

    def __init__(self, *args: object, since: float | None) -> None:
        del args
        self.since.append(since)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def wait_for(self, task_ids: frozenset[str], *, timeout_seconds: float) -> dict[str, None]:
        del timeout_seconds
        return dict.fromkeys(task_ids)


def test_a_client_that_lives_long_remembers_its_last_tasks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet.client.Publisher", Taking)
    monkeypatch.setattr("fleet.client.JournalReader", Looking)
    monkeypatch.setattr("fleet.client.REMEMBERED_TASKS", 3)
    monkeypatch.setattr(Looking, "since", [])
    began = time.time()
    with Client(FLEET, {}) as client:
        first, *_, last = [client.send("fleet.send_mail", key=str(number)) for number in range(4)]
        client.wait([first.id], timeout_seconds=1)
        client.wait([last.id], timeout_seconds=1)
    forgotten, remembered = Looking.since
    assert forgotten == 0.0
    assert remembered is not None
    assert remembered >= began


def test_one_key_is_for_one_mail() -> None:
    with Client(FLEET, {}) as client, pytest.raises(UsageError, match="one key means one mail"):
        client.mails(["a@example.org", "b@example.org"], "welcome", key="k")
