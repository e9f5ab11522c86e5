import click
import pytest
from click.testing import CliRunner

from fleet.cli.main import fleet


@pytest.mark.parametrize(("typed", "meant"), [("bakup", "backup"), ("wroker", "worker"), ("confg", "config")])
def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(typed: str, meant: str) -> None:
    with pytest.raises(click.UsageError, match=f"Did you mean '{meant}'"):
        CliRunner().invoke(fleet, [typed], standalone_mode=False, catch_exceptions=False)
