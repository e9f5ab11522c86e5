"""How do bytes flow to and from a program on a host, both ways at once and never without end?"""

import select
import threading
import time
from collections.abc import Callable, Iterable

import paramiko

from provisioning.hosts.command import AfterMark

_READ = 256 * 1024
#: after so many reads it is looked at limits and deadlines again, however fast more comes
_READS = 16
#: how often it is looked whether the connection still lives (s)
_LOOK_SECONDS = 0.5
#: the program has ended, but something of its holds its output open: how long it may say nothing more (s)
_LINGER_SECONDS = 2.0
#: sshd gives no exit code for a program that a signal ended
NO_EXIT_CODE = -1


class Lost(Exception):
    """The connection ended before the program did."""


class TooLate(Exception):
    """The program did not end, or not begin, in time."""


class Talk:
    """A program on a host: what it is given, what it says, how it ends."""

    def __init__(
        self, channel: paramiko.Channel, *, mark: str, most: int, is_dead: Callable[[], bool]
    ) -> None:
        self._channel = channel
        self._is_dead = is_dead
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._writer: threading.Thread | None = None
        self._source_error: Exception | None = None
        self.stdout = AfterMark(mark.encode(), most=most)
        self.stderr = AfterMark(mark.encode(), most=most)

    @property
    def has_begun(self) -> bool:
        """Tell whether the program itself runs, or ran."""
        return self.stdout.has_begun and self.stderr.has_begun

    @property
    def has_ended(self) -> bool:
        """Tell whether the host says that it ended."""
        return bool(self._channel.exit_status_ready())

    @property
    def has_exit_code(self) -> bool:
        """Tell whether the host said with which exit code it ended."""
        return bool(self._channel.exit_status != NO_EXIT_CODE)

    def until(self, arrived: Callable[[], bool], *, deadline: float) -> None:
        """Take what comes until ``arrived`` or the program's end. Raises Lost, TooLate."""
        while not arrived() and not self.has_ended:
            self._take()
            if not arrived() and time.monotonic() > deadline:
                raise TooLate
        self._drain()

    def say(self, line: bytes) -> None:
        """Give the program ``line``, now."""
        try:
            self._channel.sendall(line)
        except (OSError, EOFError) as error:
            raise Lost from error

    def feed(self, stdin: Iterable[bytes]) -> None:
        """Give the program ``stdin`` from now on, as fast as it takes it, in a thread of its own."""
        self._writer = threading.Thread(target=self._write, args=(stdin,), name="ssh-stdin", daemon=True)
        self._writer.start()

    def finish(self, *, deadline: float) -> int:
        """Take all that the program says and return its exit code. Raises Lost, TooLate."""
        heard = time.monotonic()
        while not self._is_over(since=heard):
            if self._take():
                heard = time.monotonic()
            if self._source_error is not None:
                raise self._source_error
            if time.monotonic() > deadline:
                raise TooLate
            if self.stdout.is_too_long or self.stderr.is_too_long:
                return NO_EXIT_CODE
        while self._drain():
            pass
        if self._source_error is not None:
            raise self._source_error
        return int(self._channel.recv_exit_status()) if self.has_ended else NO_EXIT_CODE

    def close(self) -> None:
        """End it: the host closes the program's input and output."""
        self._channel.close()
        if self._writer is not None:
            self._writer.join(_LINGER_SECONDS)

    def _is_over(self, *, since: float) -> bool:
        if not self.has_ended:
            return False
        return bool(self._channel.eof_received or self._channel.closed) or (
            time.monotonic() - since > _LINGER_SECONDS
        )

    def _take(self) -> bool:
        """Wait a little for something to come, and take it. Raises Lost."""
        if self._channel.eof_received:
            # Its output is closed, so there is only its end to wait for.
            self._channel.status_event.wait(_LOOK_SECONDS)
        else:
            self._poll.poll(_LOOK_SECONDS * 1000)
        took = self._drain()
        if not took and not self.has_ended and self._is_dead():
            raise Lost
        return took

    def _drain(self) -> bool:
        channel, took = self._channel, False
        for _ in range(_READS):
            out, err = channel.recv_ready(), channel.recv_stderr_ready()
            if out:
                self.stdout.take(channel.recv(_READ))
            if err:
                self.stderr.take(channel.recv_stderr(_READ))
            if not out and not err:
                break
            took = True
        return took

    def _write(self, stdin: Iterable[bytes]) -> None:
        try:
            for chunk in stdin:
                self._channel.sendall(chunk)
            self._channel.shutdown_write()
        except (OSError, EOFError) as error:
            # A program need not read to its end; but what cannot be read here is the caller's to know.
            if not self._channel.closed and not self._is_dead():
                self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever the caller's iterable raises is raised to the caller
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        # Over there the half may still look like the whole: sshd knows no other way to end an input.
        self._source_error = error
        self._channel.close()
