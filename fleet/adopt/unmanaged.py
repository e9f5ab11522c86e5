"""What does a fleet file leave alone, and why?"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from provisioning.broker.objects import (
    Binding,
    Exchange,
    OperatorPolicy,
    Permission,
    Policy,
    Queue,
    TopicPermission,
)
from provisioning.broker.parameters import Parameter
from provisioning.broker.state import State, is_protected
from provisioning.plan import Resource

_NO_ROLE = (
    "these rights are those of no role (or of a `scheduler`, for the broker does not know the schedule),"
    " or its name cannot stand in a fleet file"
)
_REASONS: dict[type, str] = {
    Queue: "no queue of a fleet file stands for it",
    Exchange: "a fleet has exchanges of its own, and no others",
    Binding: "a fleet binds its own queues and exchanges, and no others",
    Policy: "a fleet file has a policy for each of its queues, and no others",
    OperatorPolicy: "an operator's policies stay the operator's",
    Parameter: "a fleet has no shovels, federations or other parameters",
    Permission: _NO_ROLE,
    TopicPermission: _NO_ROLE,
}
_LASTS_ONLY_WHILE_USED = "it goes when nobody uses it any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmanaged:
    """An object of the vhost that the fleet file says nothing about."""

    label: str
    #: why not
    reason: str
    #: `fleet provision broker --prune` would delete it
    is_prunable: bool

    def __str__(self) -> str:
        warning = "; `--prune` would delete it" if self.is_prunable else ""
        return f"{self.label}: {self.reason}{warning}"


def unmanaged(desired: State, actual: State, vhost: str) -> tuple[Unmanaged, ...]:
    """Return what is in ``vhost`` besides ``desired``, in the order of the kinds."""
    declared = {resource.identity for resource in desired}
    return tuple(
        Unmanaged(label=r.label, reason=_reason(r), is_prunable=desired.owns(r))
        for r in _in(actual, vhost)
        if r.identity not in declared and not is_protected(r) and not _is_celerys_own(r, desired)
    )


def _in(state: State, vhost: str) -> Iterator[Resource]:
    return (resource for resource in state if getattr(resource, "vhost", None) == vhost)


def _is_celerys_own(resource: Resource, desired: State) -> bool:
    """Tell whether workers or their questioners declare it, or what is bound to it."""
    names = (
        (resource.source, resource.destination)
        if isinstance(resource, Binding)
        else (getattr(resource, "name", ""),)
    )
    return any(re.search(pattern, name) for pattern in desired.keep for name in names)


def _reason(resource: Resource) -> str:
    if getattr(resource, "auto_delete", False):
        return _LASTS_ONLY_WHILE_USED
    return _REASONS.get(type(resource), "a fleet file does not name such objects")
