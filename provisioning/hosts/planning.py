"""What must change on a host?"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from provisioning.hosts.objects import File
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.state import HostState
from provisioning.hosts.steps import contents
from provisioning.plan import Action, Change, Identity, Plan
from provisioning.plan import plan as plan_changes


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """Everything that must change on one host."""

    host: str
    desired: HostState = field(repr=False)
    plan: Plan
    seen: HostObservation = field(repr=False)
    #: why a change cannot be made, by identity
    refusals: Mapping[Identity, str]
    #: what an operator should know
    notes: tuple[str, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes in their order."""
        return self.plan.changes


def plan(desired: HostState, seen: HostObservation, *, prune: bool = True) -> HostPlan:
    """Return what must change; what we put there and is declared no more is deleted, unless not ``prune``."""
    planned = plan_changes(desired, seen.objects, prune=prune)
    return HostPlan(
        host=seen.host,
        desired=desired,
        plan=planned,
        seen=seen,
        refusals=dict(_refusals(planned.changes, seen.blocked)),
        notes=tuple(_room(planned, seen.free_bytes)),
    )


def diff(change: Change) -> tuple[str, ...]:
    """Return how a file's text changes, as a unified diff; nothing for a secret or where there is no text."""
    after, before = change.after, change.before
    if not isinstance(after, File) or change.action is Action.DELETE:
        return ()
    known = before if isinstance(before, File) else None
    if after.secret or (known is not None and (known.secret or known.digest == after.digest)):
        return ()
    if known is not None and known.content is None:
        return ("(the text that stands there was not fetched)",)
    try:
        old, new = ((f.content or b"").decode().splitlines() if f else [] for f in (known, after))
    except UnicodeDecodeError:
        return ("(not text)",)
    name = "/dev/null" if known is None else after.path
    return tuple(difflib.unified_diff(old, new, name, after.path, lineterm="", n=3))


def _refusals(changes: Iterable[Change], blocked: Mapping[Identity, str]) -> Iterator[tuple[Identity, str]]:
    for change in changes:
        if change.identity in blocked:
            yield change.identity, blocked[change.identity]
        elif _is_unknown(change):
            yield change.identity, "it changed after it was looked at, and what stood there is not known here"


def _is_unknown(change: Change) -> bool:
    after, before = change.after, change.before
    if not isinstance(after, File) or after.content is not None:
        return False
    return not isinstance(before, File) or before.digest != after.digest


def _room(planned: Plan, free: Mapping[str, int]) -> Iterator[str]:
    """Yield where the contents alone need more room than there is."""
    needed: dict[str, int] = {}
    for index, content in contents(planned.changes):
        path = planned.changes[index].identity[1]
        below = [space for space in free if path.startswith(f"{space.rstrip('/')}/")]
        if below:
            size = content.stat().st_size if isinstance(content, Path) else len(content)
            space = max(below, key=len)
            needed[space] = needed.get(space, 0) + size
    for space, size in sorted(needed.items()):
        if size > free[space]:
            yield f"{size} bytes are to be written below `{space}`, where {free[space]} are free"
