"""How do jobs reach the child processes of the pool, and results the event loop? With few system calls.

Celery's pool writes a job in two pieces, which wakes the child twice, asks the kernel each time whether the
child's pipe takes anything, and registers anew what is registered. These system calls cost a worker of short
tasks more than all that it does in Python.

A child that starts asks the kernel to end it with the worker. Where cffi is installed, billiard has it parse
a declaration in C for that, which takes longer than all else that a child does before its first task.
"""

import os
import pickle
import select
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from billiard.pool import TERMINATE
from celery import platforms
from celery.concurrency.asynpool import AsynPool, ResultHandler
from celery.concurrency.prefork import TaskPool

from fleet.worker.parent import signal_at_its_end

#: the size of what follows
_HEADER_BYTES = 4
#: what a pipe holds at most
_READ_BYTES = 64 * 1024
#: how long a child is waited for before the next one is asked, while the pool is joined
_JOINING_SECONDS = 0.5


class _SparingHub:
    """An event loop's hub that does not ask the kernel for what it has already."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._writers = hub.writers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hub, name)

    def remove_writer(self, descriptor: int) -> None:
        if descriptor in self._writers:
            self._hub.remove_writer(descriptor)


class Results(ResultHandler):  # type: ignore[misc]  # celery ships no types
    """Celery's reader of results, which takes in at once all that a child has said.

    What has come of a message is kept here. Celery keeps it at the event loop, which forgets it when the
    broker's connection is lost, and takes the rest for the beginning of a message.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: what has come of a message of which the rest has not, by the child that says it
        self._begun: WeakKeyDictionary[Any, bytearray] = WeakKeyDictionary()

    def _make_process_result(self, hub: Any) -> Callable[[int], None]:
        """Return what is called with the descriptor of a child's pipe when there is something to read."""

        def on_result_readable(descriptor: int) -> None:
            if not self.read(descriptor):
                hub.remove_reader(descriptor)

        return on_result_readable

    def read(self, descriptor: int) -> bool:
        """Take in what a child has said, and wait for nothing; return whether it may say more."""
        child = self.fileno_to_outq.get(descriptor)
        if child is None:
            return False
        try:
            piece = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        said = self._begun.pop(child, None) or bytearray()
        said += piece
        whole = split(said)
        if said:
            self._begun[child] = said
        tell_each(self.on_state_change, whole)
        return bool(piece)

    def _flush_outqueue(self, descriptor: int, remove: Callable[[int], None], *_: object) -> None:
        """Take in what a child says while the pool is joined; Celery calls this again and again."""
        is_readable(descriptor, wait_seconds=_JOINING_SECONDS)
        if not self.read(descriptor):
            remove(descriptor)


def is_readable(descriptor: int, *, wait_seconds: float = 0.0) -> bool:
    """Tell whether there is something to read, or soon is; so it is where reading fails."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(wait_seconds * 1000))


def split(said: bytearray) -> list[bytearray]:
    """Take out of ``said`` the whole messages that it begins with, and return them, still packed."""
    whole = []
    while len(said) >= _HEADER_BYTES:
        end = _HEADER_BYTES + int.from_bytes(said[:_HEADER_BYTES])
        if len(said) < end:
            break
        whole.append(said[_HEADER_BYTES:end])
        del said[:end]
    return whole


def tell_each(tell: Callable[[Any], object], packed: Iterable[bytes | bytearray]) -> None:
    """Pass on each message of a child; raise the first error when all have been, for none comes again."""
    failed = None
    for each in packed:
        try:
            if message := pickle.loads(each):  # noqa: S301 - a child's word, as in Celery
                tell(message)
        except Exception as error:  # noqa: BLE001 - raised below
            failed = failed or error
    if failed:
        raise failed


class DirectPool(AsynPool):  # type: ignore[misc]  # celery ships no types
    """Celery's pool of child processes, which writes at once to a child that is free."""

    ResultHandler = Results

    _quick_put: Callable[[Any], None]

    def __init__(self, *args: Any, initializer: Callable[..., object], **options: Any) -> None:
        super().__init__(*args, initializer=partial(_begin, initializer), **options)

    def _create_write_handlers(self, hub: Any, **options: Any) -> None:
        sparing = _SparingHub(hub)
        super()._create_write_handlers(sparing, **options)
        put, outbound = self._quick_put, self.outbound_buffer
        # Celery's own function, called as if the kernel had said that these pipes take something. One that
        # takes nothing now, or not all, is written to when it does.
        write = hub.consolidate_callback = sparing.consolidate_callback

        def on_poll_start() -> None:
            if outbound and (free := self._all_inqueues - self._busy_workers - self._active_writes):
                write(list(free))

        def quick_put(message: Any) -> None:
            put(message)
            join(outbound[-1])
            # Now, not when the loop turns: a free child runs beside what the loop still has to do.
            on_poll_start()

        self._quick_put = quick_put
        self.on_poll_start = on_poll_start

    def process_flush_queues(self, child: Any) -> None:
        """Take in what a child has said that has ended."""
        descriptor = child.outqR_fd
        while self._fileno_to_outq.get(descriptor) is child and self._state != TERMINATE:
            if not (is_readable(descriptor) and self._result_handler.read(descriptor)):
                return

    def destroy_queues(self, queues: Any, child: Any) -> Any:
        """Close the pipes of a child that has ended."""
        # Celery leaves it there, and reads from whatever has that descriptor next.
        if self._fileno_to_outq.get(child.outqR_fd) is child:
            del self._fileno_to_outq[child.outqR_fd]
        return super().destroy_queues(queues, child)


def _begin(initializer: Callable[..., object], *args: Any) -> None:
    """In a child: what Celery does before the first task, with our own call of the kernel's."""
    platforms._set_pdeathsig = signal_at_its_end
    initializer(*args)


def join(job: Any) -> None:
    """Make the payload of ``job`` one piece, where the kernel writes it whole or not at all."""
    header, body, size = job._payload
    if _HEADER_BYTES + size <= select.PIPE_BUF:
        # In the header's place: Celery writes that until at least its four bytes are written.
        job._payload = memoryview(bytes(header) + bytes(body)), memoryview(b""), 0


class FleetPool(TaskPool):  # type: ignore[misc]  # celery ships no types
    """Celery's prefork pool on such a pool of child processes."""

    Pool = DirectPool
