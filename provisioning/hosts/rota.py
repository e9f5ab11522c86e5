"""Which of many hosts begin now, and which are given up? Pure: the time comes in."""

from collections import deque


class Rota:
    """Hosts by their number: at most ``parallel`` at once, each for at most ``deadline_seconds``.

    A host that is given up no longer counts, whatever still goes on there, so it delays nobody.
    """

    def __init__(self, count: int, *, parallel: int, deadline_seconds: float) -> None:
        self._waiting = deque(range(count))
        self._parallel = max(1, parallel)
        self._deadline_seconds = deadline_seconds
        #: number → when it is given up; in the order in which they began, so the first is due first
        self._running: dict[int, float] = {}

    @property
    def is_done(self) -> bool:
        """Tell whether every host has ended or was given up."""
        return not self._waiting and not self._running

    @property
    def running(self) -> tuple[int, ...]:
        """The hosts that have begun and not ended."""
        return tuple(self._running)

    def begin(self, now: float) -> tuple[int, ...]:
        """Return the hosts that begin now."""
        begun = []
        while self._waiting and len(self._running) < self._parallel:
            number = self._waiting.popleft()
            self._running[number] = now + self._deadline_seconds
            begun.append(number)
        return tuple(begun)

    def end(self, number: int) -> bool:
        """Note that a host has ended; False where it was given up before, so that nobody counts it twice."""
        return self._running.pop(number, None) is not None

    def give_up(self, now: float) -> tuple[int, ...]:
        """Return the hosts whose time is up; they no longer count."""
        late = tuple(number for number, until in self._running.items() if until <= now)
        for number in late:
            del self._running[number]
        return late

    def wait_seconds(self, now: float) -> float:
        """Return how long nothing will happen unless a host ends."""
        first = next(iter(self._running.values()), now)
        return max(0.0, first - now)
