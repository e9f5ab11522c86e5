"""When was a task sent first? Pure; of the last tasks only, for a program may live long."""

from collections.abc import Iterable

#: tasks that are remembered
MOST = 10_000


class Remembered:
    """When the last tasks were first sent."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        #: task id → epoch seconds
        self._sent: dict[str, float] = {}

    def note(self, task_ids: Iterable[str], *, now: float) -> None:
        """Note that tasks are sent; of one that was sent before, the first time counts."""
        for task_id in task_ids:
            self._sent.setdefault(task_id, now)
        while len(self._sent) > self._most:
            del self._sent[next(iter(self._sent))]

    def since(self, task_ids: Iterable[str]) -> float:
        """Return when the first of ``task_ids`` was sent (epoch seconds); 0 when one of them is not known."""
        return min((self._sent.get(task_id, 0.0) for task_id in task_ids), default=0.0)
