"""Which checks are there, and what do they say about these facts?"""

from collections.abc import Iterable, Iterator

from fleet.doctor import (
    beat,
    certificates,
    clock,
    consumer_timeout,
    dead_letters,
    declared,
    delays,
    deprecated,
    guest,
    journal,
    limits,
    nodes,
    operator_policies,
    quorum,
    rights,
    versions,
)
from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Finding, Level

#: in the order in which they are shown
CHECKS: tuple[Check, ...] = (
    nodes.ADDRESSES,
    nodes.DOORS,
    versions.VERSION,
    nodes.NODES,
    nodes.ALARMS,
    quorum.QUORUM,
    clock.CLOCK,
    certificates.CERTIFICATES,
    declared.DECLARED,
    limits.LIMITS,
    operator_policies.OPERATOR_POLICIES,
    dead_letters.DEAD_LETTERS,
    delays.DELAYS,
    delays.SUFFIXES,
    journal.JOURNAL,
    consumer_timeout.CONSUMER_TIMEOUT,
    deprecated.DEPRECATED,
    rights.RIGHTS,
    beat.BEAT,
    guest.GUEST,
    guest.PASSWORDS,
)

#: the worst comes last
_ORDER = (Level.OK, Level.UNKNOWN, Level.WARN, Level.FAIL)


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Return what every check says; a check whose facts are missing says ``unknown`` and why."""
    return tuple(finding for check in CHECKS for finding in _findings(check, facts))


def worst(findings: Iterable[Finding]) -> Level:
    """Return the level of the worst finding; ``ok`` without any."""
    return max((finding.level for finding in findings), key=_ORDER.index, default=Level.OK)


def _findings(check: Check, facts: Facts) -> Iterator[Finding]:
    missing = [name for name in check.needs if getattr(facts, name) is None]
    if missing:
        reason = facts.unseen.get(missing[0], "it was not looked at")
        yield Finding(check=check.name, level=Level.UNKNOWN, message=f"not seen: {reason}")
        return
    for verdict in check.run(facts):
        yield Finding(check=check.name, level=verdict.level, message=verdict.message, hint=verdict.hint)
