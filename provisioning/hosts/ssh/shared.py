"""How do many hosts go through one jump host without as many connections to it?

Each would cost it a process, and its sshd drops connections when too many log in at once (`MaxStartups`).
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from provisioning.errors import ProvisioningError


class Connected(Protocol):
    """What can be opened, used and closed."""

    @property
    def is_open(self) -> bool:
        """Tell whether it can be used."""

    def open(self) -> None:
        """Open it. Raises ProvisioningError."""

    def close(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Connected)


@dataclass(slots=True)
class _Entry(Generic[C]):
    connection: C
    users: int = 0
    opening: threading.Lock = field(default_factory=threading.Lock)
    failed_at: float = 0.0
    error: ProvisioningError | None = None


class Shared(Generic[C]):
    """Connections by name; each is open as long as somebody uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[object, _Entry[C]] = {}

    def take(self, name: object, make: Callable[[], C]) -> C:
        """Return the open connection ``name``, made by ``make`` if there is none; give it back when done.

        Raises what opening it raises; who waited for an attempt that failed does not try again.
        """
        arrived = time.monotonic()
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                entry = self._entries[name] = _Entry(make())
            entry.users += 1
        try:
            with entry.opening:
                self._open(entry, arrived)
        except BaseException:
            self.give_back(name)
            raise
        return entry.connection

    def give_back(self, name: object) -> None:
        """Stop using the connection ``name``; the last one closes it."""
        with self._lock:
            entry = self._entries[name]
            entry.users -= 1
            if entry.users:
                return
            del self._entries[name]
        entry.connection.close()

    def _open(self, entry: _Entry[C], arrived: float) -> None:
        if entry.connection.is_open:
            return
        if entry.error is not None and entry.failed_at > arrived:
            raise entry.error
        try:
            entry.connection.open()
        except ProvisioningError as error:
            entry.error, entry.failed_at = error, time.monotonic()
            raise
