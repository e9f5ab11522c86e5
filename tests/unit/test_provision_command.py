"""`fleet provision` without a command changes everything, so what stands in front of one is not lost."""

import pytest
from click.testing import CliRunner

from fleet.cli.main import fleet
from fleet.errors import UsageError


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
