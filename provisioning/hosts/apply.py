"""How is a plan carried out on a host, and what became of each change?"""

from dataclasses import replace

from provisioning import errors
from provisioning.apply import Report, refuse_destructive
from provisioning.hosts.door import HostDoor, Operator, Outcome
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.planning import HostPlan, plan
from provisioning.moved import named
from provisioning.plan import Change


def apply(planned: HostPlan, door: HostDoor, *, by: Operator, allow_destructive: bool = False) -> Report:
    """Make the changes of ``planned`` and tell what became of each, after a second look.

    Raises Unsupported, DestructionRefused, HostBusy, WorldMoved or HostAccessRefused before anything is
    changed. A change that fails is not raised, and neither is a host that is lost on the way: both stand in
    the report.
    """
    _refuse_blocked(planned)
    if not allow_destructive:
        refuse_destructive(planned.plan, advice="")
    if not planned.changes:
        return Report(done=(), failed=(), skipped=(), left=())
    try:
        outcome = door.apply(planned.desired, planned.changes, planned.seen, by=by)
    except (errors.HostUnreachable, errors.HostTimeout, errors.HostUnusable) as error:
        return _by_looking(planned, door, error)
    return _report(planned, door, outcome)


def _refuse_blocked(planned: HostPlan) -> None:
    reasons = tuple(f"{'/'.join(identity[1:])}: {why}" for identity, why in planned.refusals.items())
    if reasons:
        is_blocked = any(identity in planned.seen.blocked for identity in planned.refusals)
        raise errors.Unsupported(
            f"host `{planned.host}`: {named(reasons)}; nothing was changed",
            hint="declare the path that the link leads to, or remove the link"
            if is_blocked
            else "plan again",
        )


def _report(planned: HostPlan, door: HostDoor, outcome: Outcome) -> Report:
    changes, count = planned.changes, outcome.done
    report = Report(
        done=changes[:count],
        failed=(),
        skipped=(),
        left=_lacking(planned, outcome.seen) if outcome.seen else _left(planned, door),
        notes=tuple(f"{changes[i].resource.label} is kept: {why}" for i, why in outcome.kept.items()),
    )
    if outcome.failure is None:
        return report
    failed = changes[count : count + 1]
    what = f"cannot {failed[0].action} {failed[0].resource.label}" if failed else "not all was finished"
    error = errors.HostChangeFailed(f"host `{planned.host}`: {what}: {outcome.failure}", hint="run it again")
    return replace(report, failed=failed, skipped=changes[count + 1 :], error=error)


def _by_looking(planned: HostPlan, door: HostDoor, error: errors.ProvisioningError) -> Report:
    """Tell the done from the rest on a host to which the connection was lost."""
    left = _left(planned, door)
    if left is None:
        return Report(done=(), failed=planned.changes, skipped=(), left=None, error=error)
    still = {change.identity for change in left}
    done = tuple(change for change in planned.changes if change.identity not in still)
    rest = tuple(change for change in planned.changes if change.identity in still)
    return Report(done=done, failed=rest[:1], skipped=rest[1:], left=left, error=error)


def _left(planned: HostPlan, door: HostDoor) -> tuple[Change, ...] | None:
    try:
        seen = door.observe(planned.desired)
    except errors.ProvisioningError:
        return None
    return _lacking(planned, seen)


def _lacking(planned: HostPlan, seen: HostObservation) -> tuple[Change, ...]:
    return plan(planned.desired, seen, prune=planned.plan.prune).changes
