"""How are findings shown to an operator? Each on one line that can be understood without colour."""

from collections.abc import Iterable

from fleet.doctor.finding import Finding, Level
from provisioning.render import printable


def text(findings: Iterable[Finding]) -> str:
    """Return the findings as aligned lines, each hint on a line of its own."""
    shown = list(findings)
    levels = max((len(finding.level) for finding in shown), default=0)
    checks = max((len(finding.check) for finding in shown), default=0)
    lines = []
    for finding in shown:
        lines.append(f"{finding.level:<{levels}}  {finding.check:<{checks}}  {printable(finding.message)}")
        if finding.hint:
            lines.append(f"{'':<{levels}}  {'':<{checks}}  → {printable(finding.hint)}")
    return "\n".join(lines)


def summary(findings: Iterable[Finding]) -> str:
    """Return how many findings there are of each level, the worst first."""
    levels = [finding.level for finding in findings]
    counted = [(level, levels.count(level)) for level in (Level.FAIL, Level.WARN, Level.UNKNOWN, Level.OK)]
    return ", ".join(f"{number} {level}" for level, number in counted if number) or "nothing was checked"
