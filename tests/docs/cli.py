"""docs/reference/cli.md, from the command tree itself."""

from collections.abc import Iterator

import click

from fleet.cli.main import COMMANDS, fleet

HEAD = """\
# Command line

Generated from the commands by `make docs`. Data goes to stdout, talk to stderr; every option has the
environment variable that its help names. Exit codes: [exit-codes.md](exit-codes.md).
"""


def cli_page() -> str:
    parts = [HEAD]
    for path, command in commands():
        names = ["-h", "--help"]
        with click.Context(
            command, info_name=path, max_content_width=100, color=False, help_option_names=names
        ) as context:
            context.terminal_width = 100
            parts.append(f"\n## `{path}`\n\n```text\n{command.get_help(context)}\n```\n")
    return "".join(parts)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command of the tree with its path, such as ``fleet config check``."""
    yield "fleet", fleet
    context = click.Context(fleet)
    for name in COMMANDS:
        command = fleet.get_command(context, name)
        assert command is not None
        yield from _walk(f"fleet {name}", command)


def _walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _walk(f"{path} {name}", child)
