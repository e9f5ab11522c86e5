"""The case files, which real brokers of each release are put through by both doors, hold in memory too."""

from pathlib import Path

import pytest

from provisioning.apply import plan_against
from provisioning.broker.objects import User
from tests.broker_model import ModelDoor
from tests.plan_cases import CASES, play


@pytest.mark.parametrize("version", [(3, 10, 8), (4, 0, 5)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_each_case_is_planned_made_and_then_as_desired_in_memory(
    case: Path, version: tuple[int, ...]
) -> None:
    door = ModelDoor([User(name="admin")], version=version)
    steps = 0
    for desired in play(case, door, vhost="cases", admin="admin"):
        assert plan_against(desired, door.observe(), door, prune=True).changes == ()
        steps += 1
    assert steps > 1
