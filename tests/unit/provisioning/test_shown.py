"""What `fleet provision` shows of a plan."""

import pytest

from fleet.cli.provision_apply import record, show
from fleet.ops.provision import BrokerPlan, DoorName
from provisioning.apply import plan_against
from provisioning.broker.notes import notes
from provisioning.broker.objects import Policy, Vhost
from provisioning.plan import Action, Change
from tests.broker_model import ModelDoor, state

POLICY = Policy(vhost="v", name="p", pattern="^nobody$")
NOTE = "policy p in vhost v matches nothing that lasts: no queue matches `^nobody$`"


class Generous(ModelDoor):
    def besides(self, change: Change) -> str | None:
        return "somebody gets more" if change.action is Action.CREATE else None


@pytest.fixture
def planned() -> BrokerPlan:
    door, desired = Generous(), state([Vhost(name="v"), POLICY])
    return BrokerPlan(
        plan=plan_against(desired, door.observe(), door),
        door=door,
        door_name=DoorName.HTTP,
        version=(3, 10, 8),
        refusals={},
        notes=notes(desired, door.observe().resources),
    )


def test_a_plan_is_shown_with_its_notes_and_what_the_broker_does_besides(
    planned: BrokerPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    show(planned, to_stderr=False)
    shown = capsys.readouterr().out
    assert f"note: {NOTE}\n" in shown
    assert "+ vhost v\n    besides: somebody gets more\n" in shown


def test_a_program_is_told_the_same(planned: BrokerPlan) -> None:
    told = record(planned)
    assert told["notes"] == [NOTE]
    assert isinstance(changes := told["changes"], list)
    assert [change["besides"] for change in changes] == ["somebody gets more"] * 2
