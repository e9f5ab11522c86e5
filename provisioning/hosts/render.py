"""How does the plan of a host look to an operator, and to a program?"""

from collections.abc import Sequence
from dataclasses import replace

from provisioning import render
from provisioning.apply import Report
from provisioning.hosts.planning import HostPlan, diff

INDENT = "  "


def text(planned: HostPlan, *, with_diff: bool = False) -> str:
    """Return the plan below the name of its host; one line when there is nothing to do."""
    diffs = {change.identity: _told(diff(change)) for change in planned.changes} if with_diff else {}
    lines = render.text(planned.plan, refusals=planned.refusals, notes=planned.notes, details=diffs)
    name = render.printable(planned.host)
    if not planned.changes and not planned.plan.undeclared:
        return f"{name}: as desired"
    return "\n".join([name, *(f"{INDENT}{line}" for line in lines.splitlines())])


def record(planned: HostPlan, *, with_diff: bool = False) -> dict[str, object]:
    """Return the plan as JSON-like values; the contract is docs/reference/host-plan-json.md."""
    found = render.record(planned.plan, refusals=planned.refusals, notes=planned.notes)
    if with_diff:
        found["changes"] = [
            {
                **render.change_record(change, planned.plan, planned.refusals.get(change.identity)),
                **_lines(lines),
            }
            for change in planned.changes
            for lines in (diff(change),)
        ]
    return {"host": planned.host, **found, "free_bytes": dict(planned.seen.free_bytes)}


def report_text(host: str, report: Report) -> str:
    """Return what an apply did not do on a host, and why; empty when that is nothing. Notes are not told."""
    return render.report_text(replace(report, notes=()), subject=f"host `{render.printable(host)}`")


def report_record(host: str, report: Report) -> dict[str, object]:
    """Return a report as JSON-like values."""
    found = render.report_record(report)
    told = {key: found[key] for key in ("done", "failed", "skipped", "left", "converged", "error")}
    uncleared = None if report.uncleared is None else str(report.uncleared)
    return {"host": host, **told, "uncleared": uncleared, "notes": list(report.notes)}


def outcome(host: str, report: Report, *, seconds: float) -> str:
    """Return one line: what was changed on a host, in how long, and whether it is as desired."""
    return render.outcome(report, seconds=seconds, subject=f"host `{render.printable(host)}`")


def _told(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line.expandtabs() for line in lines)


def _lines(lines: Sequence[str]) -> dict[str, object]:
    return {"diff": list(lines)} if lines else {}
