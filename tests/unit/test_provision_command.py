"""`fleet provision` without a command changes everything, so what stands in front of one is not lost."""

from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from fleet.cli import provision_all
from fleet.cli.main import fleet
from fleet.errors import PartlyDone, UsageError
from provisioning.errors import QueueInUse


@pytest.mark.parametrize("command", ["broker", "hosts", "adopt"])
@pytest.mark.parametrize("option", ["--check", "--prune", "--json"])
def test_an_option_in_front_of_a_command_is_refused_before_anything_is_changed(
    command: str, option: str
) -> None:
    with pytest.raises(UsageError, match=f"`{option}` stands before `{command}`"):
        CliRunner().invoke(
            fleet, ["provision", option, command], standalone_mode=False, catch_exceptions=False
        )


def test_an_environment_for_both_does_not_stand_in_the_way_of_one() -> None:
    done = CliRunner().invoke(fleet, ["provision", "hosts", "--help"], env={"FLEET_PROVISION_CHECK": "1"})
    assert done.exit_code == 0


def test_a_queue_that_a_worker_which_leaves_still_uses_is_to_be_deleted_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise QueueInUse("queue fleet.slow: holds 1 messages and has 0 consumers")

    planned: Any = SimpleNamespace(plan=SimpleNamespace(changes=("delete",)))
    monkeypatch.setattr(provision_all, "_plan", lambda *_, **__: planned)
    monkeypatch.setattr("fleet.ops.provision.apply_plan", refuse)
    with pytest.raises(PartlyDone, match="not deleted from the broker: queue fleet") as caught:
        provision_all._prune(planned, started=0.0, yes=True, as_json=False, allow_destructive=True)
    assert "run it again when the workers that leave have ended" in str(caught.value.hint)
