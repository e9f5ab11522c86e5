"""The case files of plans: desired states one after the other, with what must change for each.

``tests/cases/plans/NAME.json`` is played through a door; ``VHOST`` and ``ADMIN`` stand for a vhost of the
test's own and the provisioner's user.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provisioning import errors, render
from provisioning.apply import Door, apply, plan_against
from provisioning.broker.desired import read
from provisioning.broker.releases import refuse_unfit, settled
from provisioning.broker.state import State
from provisioning.plan import Plan

CASES = sorted((Path(__file__).parent / "cases" / "plans").glob("*.json"))


def play(case: Path, door: Door, *, vhost: str, admin: str) -> Iterator[State]:
    """Yield each desired state of ``case`` once the broker behind ``door`` is as it says."""
    text = case.read_text().replace("VHOST", vhost).replace("ADMIN", admin)
    for number, step in enumerate(json.loads(text)["steps"]):
        seen = door.observe()
        desired = replace(settled(read(json.dumps(step["desired"]), source=case.name), seen), mark=vhost)
        wanted = step.get("refused_below")
        if wanted and seen.version < tuple(wanted["version"]):
            with pytest.raises(errors.Unsupported, match=wanted["because"]):
                refuse_unfit(desired, seen)
            continue
        refuse_unfit(desired, seen)
        planned = plan_against(desired, seen, door, prune=True)
        # The provisioner's name, which differs from node to node, decides where its permission stands.
        assert sorted(titles(planned)) == sorted(step["changes"]), number
        assert {f.name for c in planned.changes for f in c.fields} == set(step.get("fields", ())), number
        report = apply(planned, door, allow_destructive=True, pause=lambda _: None)
        assert report.converged, render.report_text(report)
        yield desired


def titles(planned: Plan) -> list[str]:
    """Return what a plan does to what."""
    return [f"{change.action} {change.resource.label}" for change in planned.changes]
