"""What is told to a real datagram socket, as systemd would hear it."""

import logging
import os
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from fleet.worker.notify import EXTEND_EVERY_SECONDS, STATUS_SECONDS, Notifier, sender, take_notifier


class Listener:
    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0)

    def heard(self) -> list[list[str]]:
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    path = str(tmp_path / "notify")
    made = Listener(path if request.param == "path" else f"@fleet-{os.getpid()}-{tmp_path.name}")
    yield made
    made.close()


def notifier(listener: Listener, *, watchdog_seconds: float = 0.0) -> Notifier:
    return Notifier(sender(listener.address), watchdog_seconds=watchdog_seconds)


def test_it_is_ready_once(listener: Listener) -> None:
    one = notifier(listener)
    one.ready("2 running", now=0)
    one.ready("3 running", now=10)
    assert listener.heard() == [["READY=1", "STATUS=2 running"]]
    assert one.is_ready


def test_a_status_is_told_when_it_changes_and_not_at_every_moment(listener: Listener) -> None:
    one = notifier(listener)
    for now, text in ((0.0, "a"), (0.1, "b"), (STATUS_SECONDS, "b"), (9.0, "b")):
        one.status(text, now=now)
    assert listener.heard() == [["STATUS=a"], ["STATUS=b"]]


def test_a_sign_of_life_is_given_before_half_of_the_time_is_over(listener: Listener) -> None:
    one = notifier(listener, watchdog_seconds=30.0)
    assert one.pause_seconds == 15.0
    told = []
    for now in range(60):
        one.alive(now=now)
        told += [now] * len(listener.heard())
    assert told[0] == 0
    assert max(b - a for a, b in pairwise(told)) <= 15.0
    assert len(told) <= 7


def test_nobody_who_asks_for_no_sign_of_life_gets_one(listener: Listener) -> None:
    one = notifier(listener)
    one.alive(now=0)
    assert listener.heard() == []
    assert one.pause_seconds is None


def test_an_end_is_told_with_time_for_it_and_more_time_is_asked_for_now_and_then(listener: Listener) -> None:
    one = notifier(listener)
    one.status("1 running", now=0)
    one.stopping("draining, 1 task left", now=0)
    one.stopping("draining, 1 task left", now=1)
    one.extend(now=1)
    one.extend(now=EXTEND_EVERY_SECONDS)
    assert listener.heard() == [
        ["STATUS=1 running"],
        ["STOPPING=1", "STATUS=draining, 1 task left", "EXTEND_TIMEOUT_USEC=30000000"],
        ["EXTEND_TIMEOUT_USEC=30000000"],
    ]


def test_children_do_not_see_that_anybody_listens(listener: Listener) -> None:
    environ = {
        "NOTIFY_SOCKET": listener.address,
        "WATCHDOG_USEC": "4000000",
        "WATCHDOG_PID": "7",
        "PATH": "/bin",
    }
    one = take_notifier(environ, pid=7)
    assert environ == {"PATH": "/bin"}
    assert one.watchdog_seconds == 4.0
    one.ready("x", now=0)
    assert listener.heard() == [["READY=1", "STATUS=x"]]


def test_a_watchdog_of_another_process_is_none_of_this_one(listener: Listener) -> None:
    environ = {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "8"}
    assert take_notifier(environ, pid=7).watchdog_seconds == 0.0


@pytest.mark.parametrize("address", ["", "relative", "@", "vsock:2:1234"])
def test_without_a_socket_nothing_is_told(address: str) -> None:
    one = take_notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4000000"}, pid=7)
    assert not one.is_heard
    assert one.pause_seconds is None
    one.ready("x", now=0)
    one.stopping("stops", now=0)
    one.alive(now=0)


def test_a_socket_that_is_gone_is_said_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Notifier(sender(str(tmp_path / "gone")))
    with caplog.at_level(logging.WARNING):
        one.ready("x", now=0)
    assert "was not told `READY=1`: No such file or directory" in caplog.text
