"""Which errors can provisioning end in, and with which exit code does each one end?

::

    ProvisioningError              1  something failed
    ├── MalformedDefinitions       2  a definitions document is not one
    ├── ProtectedObject            2  the desired state names something that is never ours
    ├── UnreadableExpression       1  what a regular expression matches is not known here
    ├── Unsupported                1  this door cannot make the change; nothing was changed
    ├── DestructionRefused         1  a change would lose data or access
    ├── QueueInUse                 1  a queue to be deleted holds messages or has consumers
    ├── WorldMoved                 1  the broker or host is not as the plan saw it
    ├── DesiredMoved               1  the desired state is not the one that was planned
    ├── MalformedPlan              2  a file is no plan, or one of another version
    ├── AccessRefused              1  the broker refused the provisioner's login or rights
    ├── ChangeRefused              1  the broker refused a change
    ├── MalformedState             2  a desired state of a host cannot be meant
    ├── HostBusy                   1  somebody else is changing the host
    ├── HostChangeFailed           1  a change on a host failed
    ├── HostUnusable               1  a host lacks what provisioning needs, or its records are damaged
    ├── HostAccessRefused          1  a host's key, login or sudo is not as it must be
    ├── HostOutputTooLong          1  a program on a host printed more than anybody reads
    ├── HostTimeout                1  a program on a host took too long
    ├── HostUnfit                  1  a host lacks what is needed to ask or change it
    ├── HostUnreachable            1  a host could not be reached, or not any more
    └── Unreachable                5  no broker answered at this door
"""

from typing import ClassVar


class ProvisioningError(Exception):
    """What failed, on which object, with the reason seen; ``hint`` is the next command to try."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class MalformedDefinitions(ProvisioningError):
    """A definitions document lacks a key, or a key has the wrong type."""

    exit_code = 2


class ProtectedObject(ProvisioningError):
    """The desired state names an object that provisioning never touches."""

    exit_code = 2


class UnreadableExpression(ProvisioningError):
    """RabbitMQ would refuse a regular expression, or read it in a way that is not simulated."""


class Unsupported(ProvisioningError):
    """This door has no way to make the change; nothing was changed."""


class DestructionRefused(ProvisioningError):
    """A change would lose data or somebody's access, and that was not allowed; nothing was changed."""


class QueueInUse(ProvisioningError):
    """A queue that is to be deleted holds messages or has consumers; nothing was changed."""


class WorldMoved(ProvisioningError):
    """The broker or host changed after the plan was made; nothing was changed."""


class DesiredMoved(ProvisioningError):
    """The desired state changed after the plan was made; nothing was changed."""


class MalformedPlan(ProvisioningError):
    """A file is no plan that was written by this program."""

    exit_code = 2


class AccessRefused(ProvisioningError):
    """The broker refused the provisioner: wrong password, no administrator, no permission."""


class ChangeRefused(ProvisioningError):
    """The broker refused a change and said why."""


class MalformedState(ProvisioningError):
    """A desired state of a host names something twice, or something that cannot be."""

    exit_code = 2


class HostBusy(ProvisioningError):
    """Somebody else is changing the host; nothing was changed."""


class HostChangeFailed(ProvisioningError):
    """A change on a host failed, and the host said why."""


class HostUnusable(ProvisioningError):
    """A host lacks Python or systemd, or what it remembers of its provisioning is damaged."""


class HostAccessRefused(ProvisioningError):
    """A host's key is unknown or has changed, or the host refused the login or root's rights."""


class HostOutputTooLong(ProvisioningError):
    """A program on a host printed more than is kept; it was ended."""


class HostTimeout(ProvisioningError):
    """A program on a host did not end in time; it was ended."""


class HostUnfit(ProvisioningError):
    """A host was reached, but lacks what is needed to ask or to change it."""


class HostUnreachable(ProvisioningError):
    """A host did not answer, or the connection to it was lost."""


class Unreachable(ProvisioningError):
    """No broker answered at this door."""

    exit_code = 5
