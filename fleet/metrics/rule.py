"""What is a rule, how is it written for Prometheus, and which series does it name?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleet.metrics.yaml import Plain

#: where an alert's runbook is found; ``{alert}`` stands for its name
RUNBOOK_URL = "docs/runbooks/{alert}.md"


class Severity(StrEnum):
    """How loud an alert is: critical wakes somebody, warning is looked at in the morning."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A series that Prometheus computes and stores, named ``level:metric:operation``."""

    record: str
    expr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert; its runbook is the page of the same name."""

    name: str
    expr: str
    severity: Severity
    #: one line, with the object's labels
    summary: str
    #: what it means now, with the value seen
    description: str
    #: how long the expression must hold
    for_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that Prometheus evaluates one after the other."""

    name: str
    rules: tuple[Recording | Alert, ...]


def rule_file(groups: Sequence[Group], *, runbook_url: str = RUNBOOK_URL) -> dict[str, Plain]:
    """Return the content of a Prometheus rule file."""
    return {
        "groups": [
            {"name": group.name, "rules": [_rule(rule, runbook_url) for rule in group.rules]}
            for group in groups
        ]
    }


def _rule(rule: Recording | Alert, runbook_url: str) -> Plain:
    if isinstance(rule, Recording):
        return {"record": rule.record, "expr": rule.expr}
    return {
        "alert": rule.name,
        "expr": rule.expr,
        "for": duration(rule.for_seconds),
        "labels": {"severity": str(rule.severity)},
        "annotations": {
            "summary": rule.summary,
            "description": rule.description,
            "runbook_url": runbook_url.replace("{alert}", rule.name),
        },
    }


def duration(seconds: int) -> str:
    """Return ``seconds`` as Prometheus writes a duration, in the largest unit that fits: ``5m``."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_MATCHERS = re.compile(r"\{[^{}]*\}")
_LABEL_LIST = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_RANGE = re.compile(r"\[[^\[\]]*\]")
_NAME = re.compile(r"(?<![\w:])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan", "by", "without"})


def series_in(expr: str) -> frozenset[str]:
    """Return the names of the series that a PromQL expression selects by name."""
    for clause in (_STRING, _MATCHERS, _LABEL_LIST, _RANGE):
        expr = clause.sub(" ", expr)
    return frozenset(name for name in _NAME.findall(expr) if name.lower() not in _WORDS)
