"""`fleet provision apply`: carry out a plan that was saved, or refuse; and how a plan is saved."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, json_option, pass_invocation, say
from fleet.cli.provision_apply import carry_out, close_option, destructive_option, show, yes_option
from fleet.daemons.files import write_private
from fleet.errors import UsageError

if TYPE_CHECKING:
    from fleet.ops.provision import BrokerPlan

EXAMPLES = """\b
examples:
  fleet provision broker --check --out plan.json
  fleet provision apply plan.json
"""


@click.command(epilog=EXAMPLES)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@yes_option
@destructive_option
@close_option
@json_option
@pass_invocation
def apply(
    inv: Invocation,
    *,
    file: Path,
    yes: bool,
    allow_destructive: bool,
    close_connections: bool,
    as_json: bool,
) -> None:
    """Carry out exactly the plan in FILE, written by `provision broker --check --out FILE`.

    Refused, with what moved, when the broker or the fleet file is not as it was when the plan was made.
    Passwords are not in the plan: they come from where the fleet file says.
    """
    from fleet.ops.provision import plan_again
    from provisioning import planfile

    started = time.monotonic()
    saved = planfile.load(_read(file))
    planned = plan_again(saved, inv.load(), inv.environ())
    show(planned, to_stderr=as_json)
    carry_out(
        planned,
        started=started,
        yes=yes,
        as_json=as_json,
        allow_destructive=allow_destructive,
        close_connections=close_connections,
    )


def write_plan(planned: "BrokerPlan", file: Path, *, source: str) -> None:
    """Write a plan to a file that only its owner may read: it tells how a broker is built."""
    from fleet.ops.provision import version_text
    from provisioning import planfile

    content = planfile.save(
        planned.plan,
        door=str(planned.door_name),
        broker_version=version_text(planned),
        source=source,
        created_at=datetime.now(UTC),
        refusals=planned.refusals,
    )
    try:
        write_private(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
    say(f"wrote {file}; carry it out with `fleet provision apply {file}`")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {file}: it is not UTF-8") from error
