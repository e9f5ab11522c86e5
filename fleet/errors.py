"""Which errors can reach an operator, and with which exit code does each one end?

::

    FleetError                     1  something failed
    ├── ConfigError                2  the fleet file is wrong (carries every Problem at once)
    ├── UsageError                 2  the command does not fit this fleet
    ├── PartlyDone                 3  some of it was done, some of it failed
    ├── ProblemsFound              4  changes pending, or a check found problems
    ├── BrokerUnreachable          5  no broker answered
    │   └── PublishUncertain       5  the connection went before the broker's answer came
    ├── HostsUnreachable           5  no host answered
    ├── BrokerRefused              1  the broker answered, and the answer was no
    ├── SecretMissing              2  a secret's reference leads nowhere
    ├── LedgerUnreadable           1  the host's record of finished work cannot be opened, read or written
    ├── OutboxUnusable             1  the outbox cannot be opened, read or written; nothing was kept in it
    ├── OutboxFull                 1  the outbox is at its limit; nothing was kept in it
    ├── OutboxBusy                 1  another process forwards the outbox at this moment
    └── OutcomeUnknown             1  the task was accepted, but its outcome did not arrive in time
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class FleetError(Exception):
    """What failed, on which object, with the value or reason seen; ``hint`` is the next command to try."""

    exit_code: ClassVar[int] = 1
    #: the message names no address, argument or secret, so the journal may keep it
    is_journaled: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a fleet file."""

    #: path of the file as the operator gave it
    file: str
    #: dotted key path, such as ``queues.email.tasks[0]``; empty when the whole file is meant
    key: str
    #: what is wrong, with the value seen
    message: str
    #: 1-based line, or None where the file has none to show (a missing file)
    line: int | None = None
    #: what to write instead
    hint: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        subject = f"{self.key}: " if self.key else ""
        return f"{place}: {subject}{self.message}"


class ConfigError(FleetError):
    """The fleet file is wrong; ``problems`` lists everything that is, in the order of the file."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        lines: list[str] = []
        for problem in self.problems:
            lines.append(str(problem))
            if problem.hint:
                lines.append(f"    {problem.hint}")
        super().__init__("\n".join(lines), hint=hint)


class UsageError(FleetError):
    """The command names something this fleet does not have, or lacks something it needs."""

    exit_code = 2


class SecretMissing(FleetError):
    """A secret is referenced, but the environment variable, file or credential is not there."""

    exit_code = 2


class LedgerUnreadable(FleetError):
    """The host's ledger is there, but it cannot be opened, read or written."""


class OutboxUnusable(FleetError):
    """The outbox cannot be opened, read or written: rights, a full disk, damage, or another fleet's file."""


class OutboxFull(FleetError):
    """The outbox is at its limit: the task was neither published nor kept."""


class OutboxBusy(FleetError):
    """Another process forwards the outbox: two at once could change the order of its tasks."""


class PartlyDone(FleetError):
    """Some of the work was done and some of it failed; the message says which."""

    exit_code = 3


class ProblemsFound(FleetError):
    """A check ran to its end and found something to change or repair."""

    exit_code = 4


class BrokerUnreachable(FleetError):
    """No broker of the fleet answered."""

    exit_code = 5


class PublishUncertain(BrokerUnreachable):
    """The connection went between the publish and its confirm: the message may or may not be there."""


class HostsUnreachable(FleetError):
    """None of the hosts that were asked could be reached."""

    exit_code = 5


class BrokerRefused(FleetError):
    """The broker refused: wrong password, missing vhost or queue, no permission, unroutable."""


class OutcomeUnknown(FleetError):
    """The task was accepted by the broker, but nothing is known about its outcome yet."""
