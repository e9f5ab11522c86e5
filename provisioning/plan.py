"""What must change so that the actual state becomes the desired one, in which order?

Pure, total and deterministic: two states in, a ``Plan`` out. Knows nothing of brokers; it works on any
objects that have an identity, a rank and differences.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Protocol, Self

from provisioning.collection import collector_resting

_ENCODE = json.JSONEncoder(sort_keys=True).encode
#: kind and key; equal identities mean the same object
Identity = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDiff:
    """One field of an object that is not as desired."""

    name: str
    before: object
    after: object
    #: the values are secrets: they are neither kept here nor shown
    secret: bool = False


class Resource(Protocol):
    """An object that can be planned."""

    KIND: ClassVar[str]
    #: objects of a lower rank are made first and deleted last
    RANK: ClassVar[int]
    #: False where a difference can only be made good by deleting and creating again
    UPDATABLE: ClassVar[bool]

    @property
    def identity(self) -> Identity:
        """Kind and key."""

    @property
    def requires(self) -> tuple[Identity, ...]:
        """Objects with which this one disappears."""

    @property
    def label(self) -> str:
        """What an operator calls it."""

    def differences(self, actual: Self) -> tuple[FieldDiff, ...]:
        """Return the fields of ``actual`` that are not as this object wants them."""

    def facts(self) -> Mapping[str, object]:
        """Return every field as JSON-like values, secrets included: for fingerprints, not for eyes."""

    def shown(self) -> Mapping[str, object]:
        """Return the telling fields as JSON-like values, without secrets: for eyes."""


class Desired(Protocol):
    """A desired state: its objects, and which other objects it may delete."""

    def __iter__(self) -> Iterator[Resource]:
        """Yield the objects that must exist."""

    def owns(self, resource: Resource, /) -> bool:
        """Tell whether an object that is not declared may be pruned."""

    def losses(
        self, changes: "Sequence[Change]", actual: Mapping[Identity, Resource], /
    ) -> "Mapping[Identity, Loss]":
        """Return what each of ``changes``, made in this order, takes away, given what is there."""


class Action(StrEnum):
    """What happens to an object."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a queue holds, as far as the broker's statistics know; None is a number that they do not know.

    They know nothing of a queue whose node is down, of a new one for some seconds, and of none where they
    are off.
    """

    messages: int | None
    consumers: int | None

    @classmethod
    def of(cls, row: Mapping[str, object]) -> Self:
        """Return what a broker's row of a queue tells: a missing or an empty number is not zero."""
        return cls(messages=_count(row.get("messages")), consumers=_count(row.get("consumers")))

    @property
    def known(self) -> bool:
        """Whether the broker has told both numbers."""
        return self.messages is not None and self.consumers is not None

    @property
    def in_use(self) -> bool:
        """Whether deleting the queue would, or might, lose something or disturb somebody."""
        return self.messages != 0 or self.consumers != 0

    @property
    def told(self) -> str:
        """The numbers in words."""
        if not self.known:
            return "how much it holds is not known"
        return f"holds {self.messages} messages and has {self.consumers} consumers"


class Lost(StrEnum):
    """What a destructive change takes away."""

    DATA = "data"
    ACCESS = "access"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a change takes away for good, or from somebody."""

    what: Lost
    #: in words
    reason: str
    #: user and vhost whose open connections keep the old rights until they are closed
    holder: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A client's open connection."""

    user: str
    vhost: str
    #: by what the door closes it
    handle: str
    #: the name that the client gave, or its host
    client: str
    #: the client's host
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that must happen to one object."""

    action: Action
    #: the object as it is; None when it does not exist
    before: Resource | None = None
    #: the object as it shall be; None when it shall not exist
    after: Resource | None = None
    fields: tuple[FieldDiff, ...] = ()
    #: label of the object with which this one disappears (so a delete needs no work, a create does)
    implied_by: str | None = None

    @property
    def resource(self) -> Resource:
        """The object, as it shall be where it shall be."""
        resource = self.after or self.before
        assert resource is not None
        return resource

    @property
    def identity(self) -> Identity:
        """Kind and key of the object."""
        return self.resource.identity

    @property
    def destroys(self) -> bool:
        """Whether the object is deleted, if only to be created again."""
        return self.action in (Action.REPLACE, Action.DELETE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that must change, and what was seen when that was decided."""

    desired: Desired = field(repr=False)
    #: in the order in which they are made
    changes: tuple[Change, ...]
    #: objects that are ours to delete and not declared; only a plan with ``prune`` deletes them
    undeclared: tuple[Resource, ...]
    prune: bool
    #: digest of all that was seen and matters here
    fingerprint: str
    #: what was seen and matters here, by identity
    seen: Mapping[Identity, Resource] = field(repr=False)
    #: what the destructive changes take away, by identity
    losses: Mapping[Identity, Loss] = field(default_factory=dict)
    #: what the queues hold that the plan would delete, by identity
    contents: Mapping[Identity, Contents] = field(default_factory=dict)
    #: what the broker does of itself along with a change, in words, by identity
    besides: Mapping[Identity, str] = field(default_factory=dict)
    #: open connections whose rights the plan tightens
    connections: tuple[Connection, ...] = ()

    def of(self, action: Action) -> tuple[Change, ...]:
        """Return the changes of one action."""
        return tuple(change for change in self.changes if change.action is action)

    def held_by(self, change: Change) -> tuple[Connection, ...]:
        """Return the open connections that keep the rights which ``change`` takes away."""
        loss = self.losses.get(change.identity)
        if loss is None or loss.holder is None:
            return ()
        return tuple(c for c in self.connections if (c.user, c.vhost) == loss.holder)


@collector_resting()
def plan(desired: Desired, actual: Iterable[Resource], *, prune: bool = False) -> Plan:
    """Return what must change; objects that are not declared are deleted only with ``prune``."""
    wanted = {resource.identity: resource for resource in desired}
    seen = {resource.identity: resource for resource in actual}
    relevant = {i: r for i, r in seen.items() if i in wanted or desired.owns(r)}
    # What a declared object stands on is not pruned, declared or not.
    needed = {need for resource in wanted.values() for need in resource.requires}
    undeclared = _ordered({i: r for i, r in relevant.items() if i not in wanted and i not in needed})
    made = [change for i, r in wanted.items() if (change := _change(r, seen.get(i)))]
    deleted = [Change(action=Action.DELETE, before=r) for r in undeclared] if prune else []
    changes = _in_order(_with_implied(made + deleted, wanted=wanted, seen=seen))
    return Plan(
        desired=desired,
        changes=changes,
        undeclared=() if prune else undeclared,
        prune=prune,
        fingerprint=_fingerprint(relevant),
        seen=relevant,
        losses=desired.losses(changes, seen),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _change(wanted: Resource, seen: Resource | None) -> Change | None:
    if seen is None:
        return Change(action=Action.CREATE, after=wanted)
    fields = wanted.differences(seen)
    if not fields:
        return None
    action = Action.UPDATE if wanted.UPDATABLE else Action.REPLACE
    return Change(action=action, before=seen, after=wanted, fields=fields)


def _with_implied(
    changes: list[Change], *, wanted: Mapping[Identity, Resource], seen: Mapping[Identity, Resource]
) -> list[Change]:
    """Add what goes with a deleted object: the broker takes its bindings or permissions along.

    Without this, a replaced queue would stand there without its bindings until the next run.
    """
    gone = {change.identity: change.resource.label for change in changes if change.destroys}
    if not gone:
        return changes
    planned = {change.identity: change for change in changes}
    for identity, resource in seen.items():
        cause = next((gone[need] for need in resource.requires if need in gone), None)
        if cause is None:
            continue
        if identity in wanted:
            planned[identity] = Change(action=Action.CREATE, after=wanted[identity], implied_by=cause)
        else:
            planned[identity] = Change(action=Action.DELETE, before=resource, implied_by=cause)
    return list(planned.values())


def _in_order(changes: Iterable[Change]) -> tuple[Change, ...]:
    ordered = sorted(changes, key=lambda change: (change.resource.RANK, change.identity))
    made = [change for change in ordered if change.action is not Action.DELETE]
    deleted = [change for change in ordered if change.action is Action.DELETE]
    return (*made, *reversed(deleted))


def _ordered(resources: Mapping[Identity, Resource]) -> tuple[Resource, ...]:
    found = sorted(resources.items(), key=lambda item: (item[1].RANK, item[0]))
    return tuple(resource for _, resource in found)


def _fingerprint(resources: Mapping[Identity, Resource]) -> str:
    # All at once, for an encoder is made anew at each call.
    facts = [(identity, resources[identity].facts()) for identity in sorted(resources)]
    return hashlib.sha256(_ENCODE(facts).encode()).hexdigest()
