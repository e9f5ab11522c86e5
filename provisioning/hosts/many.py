"""How is something done on many hosts at once, so that none delays the others or the operator?"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from provisioning.errors import HostTimeout, ProvisioningError
from provisioning.hosts.rota import Rota

T = TypeVar("T")

#: after Ctrl-C, how long threads may take to notice that their connections are gone (s, all together)
_FAREWELL_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Generic[T]):
    """How it went on one host: ``value``, or the ``error`` why there is none."""

    name: str
    value: T | None
    error: ProvisioningError | None
    seconds: float


@dataclass(frozen=True, slots=True)
class _Ended(Generic[T]):
    number: int
    value: T | None
    error: BaseException | None


def on_each(
    names: Sequence[str],
    work: Callable[[str], T],
    *,
    parallel: int,
    deadline_seconds: float,
    give_up: Callable[[str], None] = lambda _: None,
    on_done: Callable[[Done[T]], None] = lambda _: None,
) -> tuple[Done[T], ...]:
    """Do ``work`` for each of ``names``, at most ``parallel`` at once; return how it went, in their order.

    ``work`` runs in a thread of its own per host. A host that takes longer than ``deadline_seconds`` ends as
    HostTimeout; ``give_up`` is then called with its name, to end what its thread waits for (hang up), as it
    is for all that run when the operator presses Ctrl-C. ``on_done`` is called in the calling thread, as soon
    as a host has ended. An error that is no ProvisioningError is a fault, and raised.
    """
    crew = _Crew(names, work, give_up)
    rota = Rota(len(names), parallel=parallel, deadline_seconds=deadline_seconds)
    results: dict[int, Done[T]] = {}

    def note(number: int, value: T | None, error: ProvisioningError | None) -> None:
        seconds = time.monotonic() - crew.begun[number]
        results[number] = Done(name=names[number], value=value, error=error, seconds=seconds)
        on_done(results[number])

    try:
        while not rota.is_done:
            for number in rota.begin(time.monotonic()):
                crew.start(number)
            ended = crew.next(rota.wait_seconds(time.monotonic()))
            if ended is not None and rota.end(ended.number):
                note(ended.number, ended.value, _known(ended.error))
            for number in rota.give_up(time.monotonic()):
                crew.give_up(number)
                note(number, None, _late(names[number], deadline_seconds))
    finally:
        # What was given up may still be on its way; what runs now runs because of an interrupt or a fault.
        crew.leave(rota.running)
    return tuple(results[number] for number in range(len(names)))


class _Crew(Generic[T]):
    """The threads. They are daemons: the program ends even where the system holds one of them."""

    def __init__(
        self, names: Sequence[str], work: Callable[[str], T], give_up: Callable[[str], None]
    ) -> None:
        self._names = names
        self._work = work
        self._give_up = give_up
        self._ended: SimpleQueue[_Ended[T]] = SimpleQueue()
        self._threads: dict[int, threading.Thread] = {}
        #: number → when it began, by the monotonic clock
        self.begun: dict[int, float] = {}

    def start(self, number: int) -> None:
        self.begun[number] = time.monotonic()
        thread = threading.Thread(
            target=self._run, args=(number,), name=f"host-{self._names[number]}", daemon=True
        )
        self._threads[number] = thread
        thread.start()

    def next(self, wait_seconds: float) -> _Ended[T] | None:
        try:
            return self._ended.get(timeout=wait_seconds)
        except Empty:
            return None

    def give_up(self, number: int) -> None:
        self._give_up(self._names[number])

    def leave(self, running: Sequence[int]) -> None:
        for number in running:
            self.give_up(number)
        until = time.monotonic() + _FAREWELL_SECONDS
        for thread in self._threads.values():
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self, number: int) -> None:
        value: T | None = None
        error: BaseException | None = None
        try:
            value = self._work(self._names[number])
        except BaseException as raised:  # noqa: BLE001 - carried to the calling thread, which raises what is a fault
            error = raised
        self._ended.put(_Ended(number, value, error))


def _known(error: BaseException | None) -> ProvisioningError | None:
    if error is None or isinstance(error, ProvisioningError):
        return error
    raise error


def _late(name: str, seconds: float) -> HostTimeout:
    return HostTimeout(
        f"host `{name}` was given up after {seconds:g} s", hint="raise `deadline` in [ssh] of the fleet file"
    )
