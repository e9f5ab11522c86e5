import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fleet.cli.main import fleet

ROOT = Path(__file__).parents[2]
#: stands for what a message puts in when it is written
PLACEHOLDER = "PLACEHOLDER"
COMMAND = re.compile(r"`fleet ((?:[^`\s]+ ?)+)`")


@pytest.mark.parametrize(("typed", "meant"), [("bakup", "backup"), ("wroker", "worker"), ("confg", "config")])
def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(typed: str, meant: str) -> None:
    with pytest.raises(click.UsageError, match=f"Did you mean '{meant}'"):
        CliRunner().invoke(fleet, [typed], standalone_mode=False, catch_exceptions=False)


def texts() -> Iterator[tuple[str, str]]:
    """Yield every text of the programs, with the module that it is in."""
    for package in ("fleet", "provisioning"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (p.value if isinstance(p, ast.Constant) else PLACEHOLDER for p in node.values)
                    yield str(path.relative_to(ROOT)), "".join(map(str, parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    # Some texts are filled in elsewhere.
                    yield str(path.relative_to(ROOT)), re.sub(r"\{\w+\}", PLACEHOLDER, node.value)


def named_commands() -> set[tuple[str, str]]:
    """Return the commands that the programs name, each with a module that names it."""
    whole = " ".join
    return {
        (module, whole(found.split()))
        for module, text in texts()
        for found in COMMAND.findall(whole(text.split()))
    }


def parse(words: list[str]) -> None:
    """Read a command line as far as click does before it runs something."""
    command: click.Command = fleet
    context = None
    name = "fleet"
    while True:
        if not words and isinstance(command, click.Group):
            return
        context = command.make_context(name, words, parent=context)
        if not isinstance(command, click.Group):
            return
        words = [*context._protected_args, *context.args]
        if words and words[0] == PLACEHOLDER:
            return
        found, chosen, words = command.resolve_command(context, words)
        assert chosen is not None
        name, command = found or "", chosen


def test_every_command_that_a_message_or_a_hint_names_is_there_with_its_options() -> None:
    commands = named_commands()
    assert len(commands) > 40
    wrong = []
    for module, line in sorted(commands):
        try:
            parse(shlex.split(line))
        except click.exceptions.Exit:
            pass
        except click.BadParameter:
            # Such as an argument that is left out, or a word in place of a number.
            pass
        except click.UsageError as error:
            if isinstance(error, click.BadOptionUsage) and not isinstance(error, click.NoSuchOption):
                # An option is named without its value.
                continue
            wrong.append(f"{module}: `fleet {line}`: {error.message}")
    assert wrong == []
