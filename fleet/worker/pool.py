"""How do jobs reach the child processes of the pool, and results the event loop? With few system calls.

Celery's pool writes a job in two pieces, which wakes the child twice, asks the kernel each time whether the
child's pipe takes anything, and registers anew what is registered. These system calls cost a worker of short
tasks more than all that it does in Python.

A child that starts asks the kernel to end it with the worker. Where cffi is installed, billiard has it parse
a declaration in C for that, which takes longer than all else that a child does before its first task.
"""

from collections.abc import Callable
from functools import partial
from select import PIPE_BUF
from typing import Any

from celery import platforms
from celery.concurrency.asynpool import AsynPool, ResultHandler
from celery.concurrency.prefork import TaskPool

from fleet.worker.parent import signal_at_its_end

#: the size of what follows
_HEADER_BYTES = 4


class _SparingHub:
    """An event loop's hub that does not ask the kernel for what it has already."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._readers, self._writers = hub.readers, hub.writers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hub, name)

    def add_reader(self, descriptor: int, callback: Any, *args: Any) -> None:
        if self._readers.get(descriptor) != (callback, args):
            self._hub.add_reader(descriptor, callback, *args)

    def remove_writer(self, descriptor: int) -> None:
        if descriptor in self._writers:
            self._hub.remove_writer(descriptor)


class Results(ResultHandler):  # type: ignore[misc]  # celery ships no types
    """Celery's reader of results; a pipe that has just been readable needs no new registration."""

    def _make_process_result(self, hub: Any) -> Any:
        return super()._make_process_result(_SparingHub(hub))


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

        def quick_put(message: Any) -> None:
            put(message)
            join(outbound[-1])

        def on_poll_start() -> None:
            if outbound and (free := self._all_inqueues - self._busy_workers - self._active_writes):
                write(list(free))

        self._quick_put = quick_put
        self.on_poll_start = on_poll_start


def _begin(initializer: Callable[..., object], *args: Any) -> None:
    """In a child: what Celery does before the first task, with our own call of the kernel's."""
    platforms._set_pdeathsig = signal_at_its_end
    initializer(*args)


def join(job: Any) -> None:
    """Make the payload of ``job`` one piece, where the kernel writes it whole or not at all."""
    header, body, size = job._payload
    if _HEADER_BYTES + size <= PIPE_BUF:
        # In the header's place: Celery writes that until at least its four bytes are written.
        job._payload = memoryview(bytes(header) + bytes(body)), memoryview(b""), 0


class FleetPool(TaskPool):  # type: ignore[misc]  # celery ships no types
    """Celery's prefork pool on such a pool of child processes."""

    Pool = DirectPool
