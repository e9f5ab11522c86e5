"""How is a plan carried out, and what became of each change?

What the plan says and nothing else: refuse if the world moved, stop at the first failure, look again.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

from provisioning import errors
from provisioning.moved import moved, named, remember
from provisioning.plan import (
    Action,
    Change,
    Connection,
    Contents,
    Desired,
    Identity,
    Plan,
    Resource,
    plan,
)


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

    def besides(self, change: Change, /) -> str | None:
        """Return what the broker does of itself along with ``change`` made through this door, or None."""

    def perform(self, batch: Sequence[Change]) -> None:
        """Make changes of one kind, in order; raises ProvisioningError at the first that fails."""

    def connections(self, holders: Collection[tuple[str, str]]) -> Sequence[Connection]:
        """Return the open connections of these pairs of user and vhost."""

    def disconnect(self, connection: Connection) -> None:
        """End a connection; one that has ended meanwhile is fine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an apply did, and what the world looked like afterwards."""

    done: tuple[Change, ...]
    failed: tuple[Change, ...]
    #: never tried, because something before them failed
    skipped: tuple[Change, ...]
    #: what a new plan would still change; None when it could not be observed any more
    left: tuple[Change, ...] | None
    error: errors.ProvisioningError | None = None
    #: what could not be cleared away afterwards; the state is as desired all the same
    uncleared: errors.ProvisioningError | None = None
    #: what an operator should know of what was done
    notes: tuple[str, ...] = ()
    #: open connections that keep rights which were taken away
    holding: tuple[Connection, ...] = ()
    #: such connections that were ended
    closed: tuple[Connection, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether the actual state is the desired one, and all that was asked for is done."""
        return self.left == () and self.error is None

    @property
    def untouched(self) -> bool:
        """Whether nothing was changed for certain: all that was planned is left to do, just as it was.

        What failed may have been done half, such as a queue that was deleted and not created again.
        """
        return not self.done and self.left == (*self.failed, *self.skipped)


def plan_against(desired: Desired, seen: Observation, door: Door, *, prune: bool = False) -> Plan:
    """Plan on what ``door`` has seen.

    Looks up what the queues hold that would be deleted, and who is connected with rights that would shrink.
    """
    drafted = plan(desired, seen.resources, prune=prune)
    destroyed, holders = _destroyed(drafted), _holders(drafted, drafted.changes)
    return replace(
        drafted,
        contents=door.contents(destroyed) if destroyed else {},
        besides={c.identity: told for c in drafted.changes if (told := door.besides(c))},
        connections=tuple(door.connections(holders)) if holders else (),
    )


def refusals(planned: Plan, door: Door) -> dict[Identity, str]:
    """Return why ``door`` cannot make a change, for each one that it cannot."""
    found = ((change.identity, door.refusal(change)) for change in planned.changes if is_work(change))
    return {identity: reason for identity, reason in found if reason}


def apply(
    planned: Plan,
    door: Door,
    *,
    allow_destructive: bool = False,
    close_connections: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> Report:
    """Make the changes of ``planned`` through ``door`` and tell what became of each.

    Raises Unsupported, DestructionRefused, WorldMoved or QueueInUse before anything is changed. A change that
    fails is not raised: it stands in the report, with everything after it skipped.
    """
    refuse_unsupported(planned, door)
    if not allow_destructive:
        refuse_destructive(planned)
    _refuse_moved(planned, door)
    _refuse_used_queues(planned, door, pause)
    report = _perform_all(planned, door)
    return _part_with(report, planned, door, close=close_connections)


def _perform_all(planned: Plan, door: Door) -> Report:
    done: list[Change] = []
    for batch in batches(planned.changes):
        try:
            door.perform([change for change in batch if is_work(change)])
        except errors.ProvisioningError as error:
            return _report_failure(planned, door, done=done, batch=batch, error=error)
        done.extend(batch)
    return Report(done=tuple(done), failed=(), skipped=(), left=_left(planned, door) if done else ())


def _part_with(report: Report, planned: Plan, door: Door, *, close: bool) -> Report:
    """Find the connections that keep rights which are gone now, and end them if that was asked for.

    The broker remembers per channel what was allowed, so a client goes on with its old rights. They are
    looked up only now: one that connected while the plan was carried out may have the old rights, too.
    """
    holders = _holders(planned, report.done)
    if not holders:
        return report
    closed: list[Connection] = []
    holding: list[Connection] = []
    try:
        holding.extend(door.connections(holders))
        while close and holding:
            door.disconnect(holding[0])
            closed.append(holding.pop(0))
    except errors.ProvisioningError as error:
        report = replace(report, error=report.error or error)
    return replace(report, holding=tuple(holding), closed=tuple(closed))


def is_work(change: Change) -> bool:
    """Tell whether the change must be made; what disappears with another object needs no hand."""
    return not (change.action is Action.DELETE and change.implied_by)


def batches(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Yield runs of changes of one kind: the doors write a whole kind in one request."""
    for _, batch in groupby(changes, key=lambda c: (c.action is Action.DELETE, c.resource.RANK)):
        yield list(batch)


def refuse_destructive(planned: Plan, *, advice: str = "; a queue must be drained first") -> None:
    """Raise DestructionRefused, with every loss, if the plan takes away data or access."""
    told = [
        f"{change.action} {change.resource.label}: {planned.losses[change.identity].reason}"
        for change in planned.changes
        if change.identity in planned.losses
    ]
    if told:
        raise errors.DestructionRefused(
            f"{len(told)} of the changes lose data or access; nothing was changed: {named(tuple(told))}",
            hint=f"run with `--allow-destructive` if that is meant{advice}",
        )


def refuse_unsupported(planned: Plan, door: Door) -> None:
    """Raise Unsupported if there is a change that ``door`` cannot make."""
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
        what = named(moved(remember(planned.seen), remember(now.seen)))
        raise errors.WorldMoved(
            f"the broker changed after the plan was made ({what}); nothing was changed", hint="plan again"
        )


def _refuse_used_queues(planned: Plan, door: Door, pause: Callable[[float], None]) -> None:
    """Refuse to delete a queue that holds or may hold something.

    The broker's counts lag behind and quorum queues have no delete-if-empty, hence two readings with the
    longest lag in between. What the first does not know, as of a new queue, the second one may.
    """
    destroyed = _destroyed(planned)
    found = door.contents(destroyed) if destroyed else {}
    _refuse_used({identity: seen for identity, seen in found.items() if seen.known}, destroyed)
    if not found:
        return
    pause(door.staleness_seconds)
    found = door.contents(destroyed)
    if not all(seen.known for seen in found.values()):
        # It may be gone meanwhile, which is another error.
        _refuse_moved(planned, door)
    _refuse_used(found, destroyed)


def _refuse_used(found: Mapping[Identity, Contents], destroyed: Sequence[Resource]) -> None:
    used = [(r.label, seen) for r in destroyed if (seen := found.get(r.identity)) and seen.in_use]
    if not used:
        return
    raise errors.QueueInUse(
        f"{named(tuple(f'{label}: {seen.told}' for label, seen in used))}; nothing was changed",
        hint="stop its workers and drain or purge it first"
        if all(seen.known for _, seen in used)
        else "see whether its node runs and the broker's statistics are on, or use the other door (`--door`)",
    )


def _holders(planned: Plan, changes: Iterable[Change]) -> tuple[tuple[str, str], ...]:
    """Return the users and vhosts from which ``changes`` take rights away."""
    losses = (planned.losses.get(change.identity) for change in changes)
    return tuple(sorted({loss.holder for loss in losses if loss and loss.holder}))


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
