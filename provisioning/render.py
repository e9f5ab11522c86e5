"""How does a plan look to an operator, and to a program? Secrets appear in neither."""

import json
from collections.abc import Iterator, Mapping, Sequence

from provisioning.apply import Report
from provisioning.plan import Action, Change, FieldDiff, Identity, Plan, Resource

SIGNS: Mapping[Action, str] = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.REPLACE: "-/+",
    Action.DELETE: "-",
}


def text(plan: Plan, *, refusals: Mapping[Identity, str] | None = None, notes: Sequence[str] = ()) -> str:
    """Return the plan as lines with ``+``, ``~``, ``-/+`` and ``-``.

    ``refusals`` says what a door cannot do, ``notes`` what an operator should know.
    """
    lines: list[str] = []
    for change in plan.changes:
        lines.extend(_change_lines(change, plan, (refusals or {}).get(change.identity)))
    if plan.undeclared:
        lines.append("not declared, left alone (--prune deletes them):")
        lines.extend(f"  ? {printable(resource.label)}" for resource in plan.undeclared)
    lines.extend(f"note: {printable(note)}" for note in notes)
    if plan.changes:
        lines.append(summary(plan))
    return "\n".join(lines)


def summary(plan: Plan) -> str:
    """Return one line that counts the changes."""
    counts = [(action, len(plan.of(action))) for action in Action]
    told = ", ".join(f"{count} to {action}" for action, count in counts if count)
    return f"plan: {told}" if told else "plan: no changes"


def record(
    plan: Plan, *, refusals: Mapping[Identity, str] | None = None, notes: Sequence[str] = ()
) -> dict[str, object]:
    """Return the plan as JSON-like values."""
    return {
        "changed": bool(plan.changes),
        "prune": plan.prune,
        "fingerprint": plan.fingerprint,
        "changes": [
            change_record(change, plan, (refusals or {}).get(change.identity)) for change in plan.changes
        ],
        "undeclared": [resource.label for resource in plan.undeclared],
        "notes": list(notes),
    }


def change_record(change: Change, plan: Plan, refusal: str | None = None) -> dict[str, object]:
    """Return one change as JSON-like values; keys without a value are left out."""
    contents = plan.contents.get(change.identity)
    optional = {
        "fields": [_field_record(field) for field in change.fields],
        "implied_by": change.implied_by,
        "messages": contents.messages if contents else None,
        "consumers": contents.consumers if contents else None,
        "refused": refusal,
    }
    return {
        "action": str(change.action),
        "kind": change.resource.KIND,
        "object": change.resource.label,
        **{key: value for key, value in optional.items() if value not in (None, [])},
    }


def report_text(report: Report) -> str:
    """Return what an apply did not do, and why; empty when it did everything and the state is as desired."""
    lines: list[str] = []
    if report.error is not None:
        lines.append(printable(str(report.error)))
    lines.extend(f"failed:  {_change_title(change)}" for change in report.failed)
    lines.extend(f"skipped: {_change_title(change)}" for change in report.skipped)
    if report.left is None:
        lines.append("the broker could not be observed afterwards: run again to see where it stands")
    elif report.error is None:
        lines.extend(f"left:    {_change_title(change)}" for change in report.left)
    return "\n".join(lines)


def report_record(report: Report) -> dict[str, object]:
    """Return a report as JSON-like values."""
    return {
        "done": [_change_title(change) for change in report.done],
        "failed": [_change_title(change) for change in report.failed],
        "skipped": [_change_title(change) for change in report.skipped],
        "left": None if report.left is None else [_change_title(change) for change in report.left],
        "converged": report.converged,
        "error": None if report.error is None else str(report.error),
    }


def outcome(report: Report, *, seconds: float) -> str:
    """Return one line: what was changed, in how long, and whether the state is now the desired one."""
    verbs = {
        Action.CREATE: "created",
        Action.UPDATE: "updated",
        Action.REPLACE: "replaced",
        Action.DELETE: "deleted",
    }
    counts = [(verb, sum(c.action is action for c in report.done)) for action, verb in verbs.items()]
    told = ", ".join(f"{verb} {count}" for verb, count in counts if count) or "no changes"
    state = "as desired" if report.converged else "not yet as desired"
    return f"{told} in {seconds:.1f} s: the broker is {state}"


def printable(text: str) -> str:
    """Return ``text`` with everything escaped that could move a terminal's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _change_lines(change: Change, plan: Plan, refusal: str | None) -> Iterator[str]:
    because = f"  (goes with {printable(change.implied_by)})" if change.implied_by else ""
    yield f"{SIGNS[change.action]} {printable(change.resource.label)}{because}"
    if change.action is Action.CREATE:
        yield from _shown_lines(change.resource)
    for field in change.fields:
        yield f"    {_field_text(field)}"
    contents = plan.contents.get(change.identity)
    if contents is not None:
        yield f"    holds {contents.messages} messages, has {contents.consumers} consumers"
    if refusal:
        yield f"    ! {refusal}"


def _shown_lines(resource: Resource) -> Iterator[str]:
    for name, value in resource.shown().items():
        yield f"    {name}: {_json(value)}"


def _field_text(field: FieldDiff) -> str:
    if field.secret:
        return f"{field.name} differs"
    return f"{field.name}: {_json(field.before)} → {_json(field.after)}"


def _field_record(field: FieldDiff) -> dict[str, object]:
    if field.secret:
        return {"name": field.name, "secret": True}
    return {"name": field.name, "before": field.before, "after": field.after}


def _json(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def _change_title(change: Change) -> str:
    return printable(f"{change.action} {change.resource.label}")
