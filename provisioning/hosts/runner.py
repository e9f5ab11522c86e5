"""What must a way to reach a host be able to do?

One thing: run a program there and give it bytes. Files travel as such bytes too, so a host costs one round
trip to look at and one to change, however many files it has.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a program that ran on a host left behind."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Runner(Protocol):
    """A host that can be reached; one runner is used by one thread at a time."""

    #: what the operator calls the host
    name: str

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        """Run ``argv`` there (no shell reads it) with ``stdin`` and return how it ended, well or not.

        What ``stdin`` raises is raised here. The program may see an end of its input then, as it does when
        the connection breaks, so what must be whole says how long it is, as the agent's stream does.

        Raises HostUnreachable when the host cannot be reached, or not any more; HostAccessRefused for an
        unknown host key, a refused login or missing sudo; HostTimeout when it has not ended in
        ``timeout_seconds``, which also ends it over there.
        """

    def close(self) -> None:
        """Hang up; a runner that is used again connects anew."""
