"""How is a plan carried out, and what became of each change?

What the plan says and nothing else: refuse if the world moved, stop at the first failure, look again.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

from provisioning import errors
from provisioning.plan import Action, Change, Contents, Desired, Identity, Plan, Resource, plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a door saw at one moment."""

    resources: Iterable[Resource]
    #: the broker's version, such as ``(3, 10, 8)``
    version: tuple[int, ...]


class Door(Protocol):
    """A way to see and change the actual state."""

    #: how old ``contents`` may be, in seconds
    staleness_seconds: float

    def observe(self) -> Observation:
        """Return the actual state."""

    def contents(self, resources: Sequence[Resource]) -> Mapping[Identity, Contents]:
        """Return what those of ``resources`` hold that can hold something."""

    def refusal(self, change: Change) -> str | None:
        """Return why this door cannot make ``change``, or None."""

    def perform(self, batch: Sequence[Change]) -> None:
        """Make changes of one kind, in order; raises ProvisioningError at the first that fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an apply did, and what the world looked like afterwards."""

    done: tuple[Change, ...]
    failed: tuple[Change, ...]
    #: never tried, because something before them failed
    skipped: tuple[Change, ...]
    #: what a new plan would still change; None when the broker could not be observed any more
    left: tuple[Change, ...] | None
    error: errors.ProvisioningError | None = None

    @property
    def converged(self) -> bool:
        """Whether the actual state is the desired one."""
        return self.left == ()


def plan_against(desired: Desired, seen: Observation, door: Door, *, prune: bool = False) -> Plan:
    """Plan on what ``door`` has seen, and look up what the queues hold that would be deleted."""
    drafted = plan(desired, seen.resources, prune=prune)
    destroyed = _destroyed(drafted)
    return replace(drafted, contents=door.contents(destroyed)) if destroyed else drafted


def refusals(planned: Plan, door: Door) -> dict[Identity, str]:
    """Return why ``door`` cannot make a change, for each one that it cannot."""
    found = ((change.identity, door.refusal(change)) for change in planned.changes if _is_work(change))
    return {identity: reason for identity, reason in found if reason}


def apply(
    planned: Plan,
    door: Door,
    *,
    allow_replace: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> Report:
    """Make the changes of ``planned`` through ``door`` and tell what became of each.

    Raises ReplaceRefused, Unsupported, WorldMoved or QueueInUse before anything is changed. A change that
    fails is not raised: it stands in the report, with everything after it skipped.
    """
    if not allow_replace:
        _refuse_replaces(planned)
    _refuse_unsupported(planned, door)
    _refuse_moved(planned, door)
    _refuse_used_queues(planned, door, pause)
    done: list[Change] = []
    for batch in _batches(planned.changes):
        try:
            door.perform([change for change in batch if _is_work(change)])
        except errors.ProvisioningError as error:
            return _report_failure(planned, door, done=done, batch=batch, error=error)
        done.extend(batch)
    return Report(done=tuple(done), failed=(), skipped=(), left=_left(planned, door) if done else ())


def _is_work(change: Change) -> bool:
    """Tell whether the change must be made; what disappears with another object needs no hand."""
    return not (change.action is Action.DELETE and change.implied_by)


def _batches(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Yield runs of changes of one kind: the doors write a whole kind in one request."""
    for _, batch in groupby(changes, key=lambda c: (c.action is Action.DELETE, c.resource.RANK)):
        yield list(batch)


def _refuse_replaces(planned: Plan) -> None:
    for change in planned.of(Action.REPLACE):
        names = ", ".join(field.name for field in change.fields)
        raise errors.ReplaceRefused(
            f"{change.resource.label} differs in {names}, which cannot be changed in place;"
            " nothing was changed",
            hint="stop its workers, drain it and run with `--replace`: it is deleted and created again",
        )


def _refuse_unsupported(planned: Plan, door: Door) -> None:
    reasons = refusals(planned, door)
    for change in planned.changes:
        if change.identity not in reasons:
            continue
        reason = reasons[change.identity]
        raise errors.Unsupported(
            f"cannot {change.action} {change.resource.label}: {reason}; nothing was changed",
            hint="use the other door (`--door`)",
        )


def _refuse_moved(planned: Plan, door: Door) -> None:
    now = plan(planned.desired, door.observe().resources, prune=planned.prune)
    if now.fingerprint != planned.fingerprint:
        raise errors.WorldMoved(
            "the broker changed after the plan was made; nothing was changed", hint="plan again"
        )


def _refuse_used_queues(planned: Plan, door: Door, pause: Callable[[float], None]) -> None:
    """Refuse to delete a queue that holds or may hold something.

    The broker's counts lag behind and quorum queues have no delete-if-empty, hence two readings with the
    longest lag in between.
    """
    destroyed = _destroyed(planned)
    for reading in range(2):
        found = door.contents(destroyed) if destroyed else {}
        for resource in destroyed:
            seen = found.get(resource.identity)
            if seen and (seen.messages or seen.consumers):
                raise errors.QueueInUse(
                    f"{resource.label} holds {seen.messages} messages and has {seen.consumers} consumers;"
                    " nothing was changed",
                    hint="stop its workers and drain or purge it first",
                )
        if found and reading == 0:
            pause(door.staleness_seconds)


def _destroyed(planned: Plan) -> list[Resource]:
    return [change.before for change in planned.changes if change.destroys and change.before is not None]


def _left(planned: Plan, door: Door) -> tuple[Change, ...] | None:
    try:
        return plan(planned.desired, door.observe().resources, prune=planned.prune).changes
    except errors.ProvisioningError:
        return None


def _report_failure(
    planned: Plan, door: Door, *, done: list[Change], batch: list[Change], error: errors.ProvisioningError
) -> Report:
    """Tell the done from the failed in a batch that stopped half-way, by looking."""
    left = _left(planned, door)
    open_still = {change.identity for change in left} if left is not None else None
    reached = [c for c in batch if open_still is not None and c.identity not in open_still]
    failed = tuple(change for change in batch if change not in reached)
    tried = len(done) + len(batch)
    return Report(
        done=(*done, *reached),
        failed=failed,
        skipped=planned.changes[tried:],
        left=left,
        error=error,
    )
