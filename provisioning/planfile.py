"""How does a plan become a file, and is what would be done now still what the file says?

The file holds no secret: a password that will change is a field marked ``secret``, and its value comes from
the desired state when the plan is carried out. The format is a contract: docs/reference/plan-json.md.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from provisioning import render
from provisioning.errors import DesiredMoved, MalformedPlan, WorldMoved
from provisioning.moved import Seen, moved, named, remember
from provisioning.plan import Identity, Plan

FORMAT = "fleet-plan"
FORMAT_VERSION = 1
#: what makes two records of a change the same change
_TELLING = ("action", "fields", "values", "implied_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """A plan as its file remembers it."""

    #: ``http`` or ``rabbitmqctl``
    door: str
    #: such as ``3.10.8``
    broker_version: str
    prune: bool
    fingerprint: str
    #: records of the changes, by identity, in order
    changes: Mapping[Identity, Mapping[str, Any]]
    #: what was there
    seen: Mapping[Identity, Seen]
    #: what was desired
    wanted: Mapping[Identity, Seen]


def save(
    plan: Plan,
    *,
    door: str,
    broker_version: str,
    source: str,
    created_at: datetime,
    refusals: Mapping[Identity, str],
) -> dict[str, object]:
    """Return the content of a plan's file as JSON-like values."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "created_at": created_at.isoformat(timespec="seconds"),
        "source": source,
        "door": door,
        "broker_version": broker_version,
        **render.record(plan, refusals=refusals),
        "seen": _rows(remember(plan.seen)),
        "wanted": _rows(remember({resource.identity: resource for resource in plan.desired})),
    }


def load(text: str) -> SavedPlan:
    """Return the plan that ``text`` holds; raises MalformedPlan. Unknown keys are passed over."""
    try:
        found = json.loads(text)
        if found["format"] != FORMAT or found["format_version"] != FORMAT_VERSION:
            raise MalformedPlan(
                f"a plan of format {found['format']} {found['format_version']},"
                f" not of {FORMAT} {FORMAT_VERSION}",
                hint="make a new one with this version, with `--out FILE`",
            )
        return SavedPlan(
            door=str(found["door"]),
            broker_version=str(found["broker_version"]),
            prune=bool(found["prune"]),
            fingerprint=str(found["fingerprint"]),
            changes={tuple(change["identity"]): change for change in found["changes"]},
            seen=_seen(found["seen"]),
            wanted=_seen(found["wanted"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedPlan(
            f"not a plan: {type(error).__name__} {error}",
            hint="make one with `--out FILE` where plans are shown",
        ) from error


def refuse_another(saved: SavedPlan, plan: Plan, *, broker_version: str) -> None:
    """Raise WorldMoved or DesiredMoved unless ``plan``, made now, is the one that was saved."""
    if broker_version != saved.broker_version:
        raise WorldMoved(
            f"the broker is RabbitMQ {broker_version} now, and was {saved.broker_version};"
            " nothing was changed",
            hint="make a new plan",
        )
    wanted = remember({resource.identity: resource for resource in plan.desired})
    if other := moved(saved.wanted, wanted):
        raise DesiredMoved(
            f"the desired state changed after the plan was made ({named(other)}); nothing was changed",
            hint="make a new plan",
        )
    if plan.fingerprint != saved.fingerprint:
        what = named(moved(saved.seen, remember(plan.seen)))
        raise WorldMoved(
            f"the broker changed after the plan was made ({what}); nothing was changed",
            hint="make a new plan",
        )
    _refuse_other_changes(saved, plan)


def _refuse_other_changes(saved: SavedPlan, plan: Plan) -> None:
    """Find what neither digest shows: a password that has become right or wrong, or a file edited by hand."""
    now = {change.identity: render.change_record(change, plan) for change in plan.changes}
    other = [
        (now.get(identity) or saved.changes[identity])["object"]
        for identity in {**saved.changes, **now}
        if _essence(saved.changes.get(identity)) != _essence(now.get(identity))
    ]
    if other:
        phrases = tuple(f"another change of {label}" for label in sorted(map(str, other)))
        raise DesiredMoved(
            f"the plan would be another one now ({named(phrases)}); nothing was changed",
            hint="make a new plan",
        )


def _essence(change: Mapping[str, Any] | None) -> str | None:
    return json.dumps([change.get(key) for key in _TELLING], sort_keys=True) if change else None


def _rows(found: Mapping[Identity, Seen]) -> list[dict[str, object]]:
    return [
        {"identity": list(identity), "object": seen.label, "digest": seen.digest}
        for identity, seen in sorted(found.items())
    ]


def _seen(rows: Iterable[Mapping[str, Any]]) -> dict[Identity, Seen]:
    return {tuple(row["identity"]): Seen(label=str(row["object"]), digest=str(row["digest"])) for row in rows}
