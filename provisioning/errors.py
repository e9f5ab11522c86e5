"""Which errors can provisioning end in, and with which exit code does each one end?

::

    ProvisioningError              1  something failed
    ├── MalformedDefinitions       2  a definitions document is not one
    ├── ProtectedObject            2  the desired state names something that is never ours
    ├── UnreadableExpression       1  what a regular expression matches is not known here
    ├── Unsupported                1  this door cannot make the change; nothing was changed
    ├── ReplaceRefused             1  a change would destroy and recreate an object
    ├── QueueInUse                 1  a queue to be deleted holds messages or has consumers
    ├── WorldMoved                 1  the broker is not as the plan saw it
    ├── AccessRefused              1  the broker refused the provisioner's login or rights
    ├── ChangeRefused              1  the broker refused a change
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


class ReplaceRefused(ProvisioningError):
    """An immutable field differs, so the object would have to be deleted and created again."""


class QueueInUse(ProvisioningError):
    """A queue that is to be deleted holds messages or has consumers; nothing was changed."""


class WorldMoved(ProvisioningError):
    """The broker changed after the plan was made; nothing was changed."""


class AccessRefused(ProvisioningError):
    """The broker refused the provisioner: wrong password, no administrator, no permission."""


class ChangeRefused(ProvisioningError):
    """The broker refused a change and said why."""


class Unreachable(ProvisioningError):
    """No broker answered at this door."""

    exit_code = 5
