"""Is everything as the fleet file declares it: types, arguments, policies, rights?

A worker sees only that a queue exists, not of which type it is and with which arguments.
"""

from collections.abc import Iterator, Sequence

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, warn
from fleet.doctor.wanted import wanted
from provisioning.broker.objects import Binding, Exchange, Queue, Vhost
from provisioning.broker.state import State
from provisioning.plan import Action, Change, plan

#: what no task can do without
_VITAL = (Vhost.KIND, Exchange.KIND, Queue.KIND, Binding.KIND)
_HINT = "`fleet provision broker --check` shows every difference, `fleet provision broker` mends them"
_REPLACE = "it must be replaced: drain it, then `fleet provision broker --allow-destructive`"
_SHOWN = 3


def _declared(facts: Facts) -> Iterator[Verdict]:
    # Passwords are not asked for here, so they do not count as differences.
    desired = wanted(facts)
    changes = [change for change in plan(desired, facts.state or State()).changes if not change.implied_by]
    replaced = [change for change in changes if change.action is Action.REPLACE]
    for change in replaced[:_SHOWN]:
        yield fail(f"{change.resource.label} is not as declared: {_fields(change)}", _REPLACE)
    missing = [c for c in changes if c.action is Action.CREATE and c.resource.KIND in _VITAL]
    if missing:
        yield fail(f"{_count(missing)} missing: {_named(missing)}", _HINT)
    rest = [change for change in changes if change not in replaced and change not in missing]
    if rest:
        yield warn(f"{_count(rest)} not as declared: {_named(rest)}", _HINT)
    if not changes:
        yield ok(f"all {sum(1 for _ in desired)} objects are as the fleet file declares them")


def _fields(change: Change) -> str:
    return ", ".join(f"{field.name} is {field.before}, not {field.after}" for field in change.fields)


def _count(changes: Sequence[Change]) -> str:
    return "one object is" if len(changes) == 1 else f"{len(changes)} objects are"


def _named(changes: Sequence[Change]) -> str:
    shown = ", ".join(change.resource.label for change in changes[:_SHOWN])
    return shown + (f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else "")


DECLARED = Check(
    name="declared",
    about="are queues, exchanges, bindings, policies and rights as declared?",
    needs=("state", "version"),
    run=_declared,
)
