"""How does a plan look to an operator, and to a program? Secrets appear in neither."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from provisioning.apply import Report
from provisioning.plan import Action, Change, Connection, FieldDiff, Identity, Plan

#: clients that are named before the rest is only counted; JSON has them all
CLIENTS = 8
SIGNS: Mapping[Action, str] = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.REPLACE: "!",
    Action.DELETE: "-",
}


def text(
    plan: Plan,
    *,
    refusals: Mapping[Identity, str] | None = None,
    notes: Sequence[str] = (),
    details: Mapping[Identity, Sequence[str]] | None = None,
) -> str:
    """Return the plan as lines with ``+``, ``~``, ``!`` (replace) and ``-``.

    ``refusals`` says what a door cannot do, ``notes`` what an operator should know, ``details`` has further
    lines for a change.
    """
    lines: list[str] = []
    for change in plan.changes:
        lines.extend(_change_lines(change, plan, (refusals or {}).get(change.identity)))
        lines.extend(f"    {printable(line)}" for line in (details or {}).get(change.identity, ()))
    if plan.undeclared:
        lines.append("not declared, left alone (--prune deletes them):")
        lines.extend(f"? {printable(resource.label)}" for resource in plan.undeclared)
    lines.extend(f"note: {printable(note)}" for note in notes)
    if plan.changes:
        lines.append(summary(plan))
    return "\n".join(lines)


def summary(plan: Plan) -> str:
    """Return one line that counts the changes."""
    counts = [(action, len(plan.of(action))) for action in Action]
    told = ", ".join(f"{count} to {action}" for action, count in counts if count)
    lossy = f"; {len(plan.losses)} lose data or access (--allow-destructive)" if plan.losses else ""
    return f"plan: {told}{lossy}" if told else "plan: no changes"


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
    contents, loss = plan.contents.get(change.identity), plan.losses.get(change.identity)
    optional = {
        "fields": [_field_record(field) for field in change.fields],
        "values": dict(change.resource.shown()) if change.action is Action.CREATE else None,
        "loses": str(loss.what) if loss else None,
        "loss": loss.reason if loss else None,
        "connections": [_connection_record(connection) for connection in plan.held_by(change)],
        "implied_by": change.implied_by,
        "besides": plan.besides.get(change.identity),
        "messages": contents.messages if contents else None,
        "consumers": contents.consumers if contents else None,
        "refused": refusal,
    }
    return {
        "action": str(change.action),
        "kind": change.resource.KIND,
        "identity": list(change.identity),
        "object": change.resource.label,
        **{key: value for key, value in optional.items() if value not in (None, [], {})},
    }


def report_text(report: Report, *, subject: str = "the broker") -> str:
    """Return what an apply did not do, and why; empty when there is nothing to tell."""
    lines: list[str] = []
    if report.error is not None:
        lines.extend(printable(line) for line in str(report.error).splitlines())
    lines.extend(f"failed:  {_change_title(change)}" for change in report.failed)
    lines.extend(f"skipped: {_change_title(change)}" for change in report.skipped)
    if report.left is None:
        lines.append(f"{subject} could not be observed afterwards: run again to see where it stands")
    elif report.error is None:
        lines.extend(f"left:    {_change_title(change)}" for change in report.left)
    lines.extend(f"note: {printable(note)}" for note in report.notes)
    if report.closed:
        lines.append(f"ended {_clients(report.closed)}")
    if report.holding:
        lines.append(
            f"{_clients(report.holding)} still may do what was taken away, until they are closed"
            " (`rabbitmqctl close_all_user_connections`)"
        )
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
        "holding": [_connection_record(connection) for connection in report.holding],
        "closed": [_connection_record(connection) for connection in report.closed],
    }


def outcome(report: Report, *, seconds: float, subject: str = "the broker") -> str:
    """Return one line: what was changed, in how long, and whether the state is now the desired one."""
    verbs = {
        Action.CREATE: "created",
        Action.UPDATE: "updated",
        Action.REPLACE: "replaced",
        Action.DELETE: "deleted",
    }
    counts = [(verb, sum(c.action is action for c in report.done)) for action, verb in verbs.items()]
    nothing = "no changes" if report.converged or report.untouched else "nothing for certain"
    told = ", ".join(f"{verb} {count}" for verb, count in counts if count) or nothing
    state = "as desired" if report.converged else "not yet as desired"
    return f"{told} in {seconds:.1f} s: {subject} is {state}"


def printable(text: str) -> str:
    """Return ``text`` with everything escaped that could move a terminal's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _change_lines(change: Change, plan: Plan, refusal: str | None) -> Iterator[str]:
    because = f"  (goes with {printable(change.implied_by)})" if change.implied_by else ""
    yield f"{SIGNS[change.action]} {printable(change.resource.label)}{because}"
    yield from _aligned(_rows(change))
    if besides := plan.besides.get(change.identity):
        yield f"    besides: {printable(besides)}"
    contents, loss = plan.contents.get(change.identity), plan.losses.get(change.identity)
    if contents is not None:
        yield f"    {contents.told}"
    if loss is not None:
        yield f"    loses {loss.what}: {printable(loss.reason)}"
    if held := plan.held_by(change):
        yield f"    {_clients(held)} may keep the old rights until they are closed (--close-connections)"
    if refusal:
        yield f"    cannot be done here: {printable(refusal)}"


def _rows(change: Change) -> Iterator[tuple[str, str]]:
    """Yield what there is to say about each field."""
    if change.action is Action.CREATE:
        for name, value in change.resource.shown().items():
            yield name, _json(value)
        return
    for field in change.fields:
        yield from _field_rows(field)


def _field_rows(field: FieldDiff) -> Iterator[tuple[str, str]]:
    before, after = field.before, field.after
    if field.secret:
        yield field.name, "differs: will be set from the desired state"
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            if key not in before or key not in after or _json(before[key]) != _json(after[key]):
                old, new = (_json(side[key]) if key in side else "(none)" for side in (before, after))
                yield f"{field.name}.{key}", f"{old} → {new}"
    else:
        yield field.name, f"{_json(before)} → {_json(after)}"


def _aligned(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    found = [(printable(name), value) for name, value in rows]
    width = max((len(name) for name, _ in found), default=0)
    yield from (f"    {name:<{width}}  {value}" for name, value in found)


def _clients(connections: Sequence[Connection]) -> str:
    """Return how many connections there are, whose, and from where."""
    counts = sorted(Counter((c.user, c.client) for c in connections).items())
    told = ", ".join(
        f"{printable(f'{user} from {client}')}" + (f" ×{count}" if count > 1 else "")  # noqa: RUF001 - times
        for (user, client), count in counts[:CLIENTS]
    )
    if len(counts) > CLIENTS:
        told += f" and {len(counts) - CLIENTS} more clients"
    return f"{len(connections)} open connection{'s' if len(connections) > 1 else ''} ({told})"


def _connection_record(connection: Connection) -> dict[str, object]:
    return {"user": connection.user, "vhost": connection.vhost, "client": connection.client}


def _field_record(field: FieldDiff) -> dict[str, object]:
    if field.secret:
        return {"name": field.name, "secret": True}
    return {"name": field.name, "before": field.before, "after": field.after}


def _json(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def _change_title(change: Change) -> str:
    return printable(f"{change.action} {change.resource.label}")
