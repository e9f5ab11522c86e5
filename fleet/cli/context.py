"""What every command needs: the fleet file it was pointed at, and one way to answer."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fleet.model import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """The options that stand before the command's name."""

    #: the fleet file as given
    path: str
    debug: bool = False
    #: secrets in the clear are accepted
    plaintext_secrets: bool = False

    def load(self) -> "Fleet":
        """Read and check the fleet file.

        Raises ConfigError with every problem.
        """
        from fleet.fleetfile import read

        return read(self.path, plaintext_secrets=self.plaintext_secrets)

    def load_meanwhile(self) -> Callable[[], "Fleet"]:
        """Begin to read the fleet file beside what is imported next; return what gives it like ``load``."""
        from fleet.fleetfile import read_meanwhile

        return read_meanwhile(self.path, plaintext_secrets=self.plaintext_secrets)

    def environ(self) -> Mapping[str, str]:
        """Return the environment in which secrets are looked up."""
        return os.environ


pass_invocation = click.make_pass_decorator(Invocation)

json_option = click.option(
    "--json", "as_json", is_flag=True, show_envvar=True, help="Answer as JSON on stdout."
)


def emit_json(record: object) -> None:
    """Print ``record`` (dataclass, mapping or sequence) as JSON on stdout."""
    click.echo(to_json(_plain(record), indent=2))


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return ``value`` as JSON for any stream: half a character, which a sender may have sent, is escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode()


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns on stdout; colour and width only where stdout is a terminal.

    Cells may hold a stranger's text: brackets and colons in it mean nothing, and no cursor is moved.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(shown, row))
    if sys.stdout.isatty():
        Console(highlight=False, markup=False, emoji=False).print(table)
        return
    console = Console(width=10_000, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def say(message: str) -> None:
    """Tell the operator something on stderr."""
    click.echo(shown(message), err=True)


def shown(message: str) -> str:
    """Return ``message`` with everything but its line ends escaped that could move a terminal's cursor.

    Names of queues and users come from the broker, where somebody else may have chosen them.
    """
    from provisioning.render import printable

    return "\n".join(map(printable, message.split("\n")))


def _plain(record: object) -> Any:
    if is_dataclass(record) and not isinstance(record, type):
        return asdict(record)
    return record
