"""In which order do many hosts change, and how many at once? Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSize:
    """How many hosts change at once: a number, or a share of them all."""

    count: int | None = None
    #: 0 to 100
    percent: int | None = None

    @classmethod
    def parse(cls, text: str) -> "BatchSize":
        """Return the size that ``3`` or ``25%`` means. Raises ValueError for anything else."""
        number = text.removesuffix("%")
        if not (number.isascii() and number.isdigit()) or int(number) < 1:
            raise ValueError(f"must be a number of hosts such as `3`, or a share such as `25%`, not `{text}`")
        if not text.endswith("%"):
            return cls(count=int(number))
        if int(number) > 100:
            raise ValueError(f"`{text}` is more than all hosts")
        return cls(percent=int(number))

    def of(self, hosts: int) -> int:
        """Return how many of ``hosts`` that is, at least one."""
        if self.count is not None:
            return self.count
        return max(1, math.floor(hosts * (self.percent or 0) / 100))


def batches(hosts: Sequence[str], *, canary: int, size: BatchSize) -> tuple[tuple[str, ...], ...]:
    """Return ``hosts`` in their order, the first ``canary`` one after the other, the rest by ``size``."""
    first = tuple((host,) for host in hosts[:canary])
    rest, step = hosts[canary:], size.of(len(hosts))
    return first + tuple(tuple(rest[at : at + step]) for at in range(0, len(rest), step))
