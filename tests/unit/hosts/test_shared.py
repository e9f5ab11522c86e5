"""Connections that many share: opened once, closed after the last, and failing for all who waited."""

import threading

import pytest

from provisioning.errors import HostUnreachable
from provisioning.hosts.ssh.shared import Shared


class Connection:
    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.opened = self.closed = 0
        self.is_open = False
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def open(self) -> None:
        self.opened += 1
        self.begun.set()
        assert self.may_end.wait(5)
        if self.fails:
            raise HostUnreachable("gone")
        self.is_open = True

    def close(self) -> None:
        self.closed += 1
        self.is_open = False


def test_the_first_opens_and_the_last_closes_and_a_lost_one_is_opened_anew() -> None:
    shared, one = Shared[Connection](), Connection()
    assert shared.take("a", lambda: one) is shared.take("a", Connection) is one
    shared.give_back("a")
    assert (one.opened, one.closed) == (1, 0)
    one.is_open = False
    shared.take("a", Connection)
    assert one.opened == 2
    shared.give_back("a")
    shared.give_back("a")
    assert one.closed == 1
    other = Connection()
    assert shared.take("a", lambda: other) is other


def test_who_waited_for_an_attempt_that_failed_does_not_wait_for_another() -> None:
    shared, dead = Shared[Connection](), Connection(fails=True)
    dead.may_end.clear()
    errors: list[BaseException] = []

    def take() -> None:
        try:
            shared.take("a", lambda: dead)
        except HostUnreachable as error:
            errors.append(error)

    threads = [threading.Thread(target=take) for _ in range(8)]
    threads[0].start()
    assert dead.begun.wait(5)
    for thread in threads[1:]:
        thread.start()
    while shared._entries["a"].users < 8:
        threading.Event().wait(0.01)
    dead.may_end.set()
    for thread in threads:
        thread.join(5)
    assert (len(errors), dead.opened, dead.closed) == (8, 1, 1)
    # Who comes later tries again.
    with pytest.raises(HostUnreachable):
        shared.take("a", lambda: dead)
    assert dead.opened == 2
