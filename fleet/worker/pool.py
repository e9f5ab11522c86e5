"""How do jobs reach the child processes of the pool, and results the event loop? With few system calls.

Celery's pool writes a job in two pieces, which wakes the child twice, asks the kernel each time whether the
child's pipe takes anything, and registers anew what is registered. These system calls cost a worker of short
tasks more than all that it does in Python.

A child that starts asks the kernel to end it with the worker. Where cffi is installed, billiard has it parse
a declaration in C for that, which takes longer than all else that a child does before its first task.
"""

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from select import PIPE_BUF
from typing import Any

from celery import platforms
from celery.concurrency.asynpool import AsynPool, ResultHandler
from celery.concurrency.prefork import TaskPool

from fleet.worker.parent import signal_at_its_end

#: the size of what follows
_HEADER_BYTES = 4
#: what a pipe holds at most
_READ_BYTES = 64 * 1024


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
    """Celery's reader of results, which takes in at once all that a child has said."""

    def _make_process_result(self, hub: Any) -> Callable[[int], None]:
        """Return what is called with the descriptor of a child's pipe when there is something to read."""
        known, tell = self.fileno_to_outq, self.on_state_change

        def on_result_readable(descriptor: int) -> None:
            if descriptor not in known:
                hub.remove_reader(descriptor)
                return
            try:
                said = os.read(descriptor, _READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                said = b""
            if not said:
                hub.remove_reader(descriptor)
                return
            whole, cut = split(said)
            if cut:
                hub.add_reader(descriptor, self._read_on(hub, descriptor, cut))
            tell_each(tell, whole)

        return on_result_readable

    def _read_on(self, hub: Any, descriptor: int, begun: bytes) -> Iterator[None]:
        """Read the rest of a message; a generator, as Celery's own, which goes on with it to shut down."""
        said = bytearray(begun)
        while missing := _missing(said):
            try:
                piece = os.read(descriptor, missing)
            except BlockingIOError:
                yield
                continue
            if not piece:
                raise OSError("a child ended in the middle of a message")
            said += piece
        hub.add_reader(descriptor, self.handle_event, descriptor)
        whole, _ = split(bytes(said))
        tell_each(self.on_state_change, whole)


def split(said: bytes) -> tuple[list[bytes], bytes]:
    """Return the messages that ``said`` begins with, still packed, and the beginning of one cut off."""
    whole = []
    while len(said) > _HEADER_BYTES and not _missing(said):
        end = _HEADER_BYTES + _size(said)
        whole.append(said[_HEADER_BYTES:end])
        said = said[end:]
    return whole, said


def _missing(said: bytes | bytearray) -> int:
    """Return how much is missing at least of the message that ``said`` begins with."""
    if len(said) < _HEADER_BYTES:
        return _HEADER_BYTES - len(said)
    return max(0, _HEADER_BYTES + _size(said) - len(said))


def _size(said: bytes | bytearray) -> int:
    return int.from_bytes(said[:_HEADER_BYTES])


def tell_each(tell: Callable[[Any], object], packed: Iterable[bytes]) -> None:
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
