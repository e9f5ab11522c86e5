"""`fleet provision broker --check --script FILE`: a plan as a shell script, for sites that do it by hand."""

from pathlib import Path
from typing import TYPE_CHECKING

from fleet.cli.context import say
from fleet.daemons.files import write_private
from fleet.errors import UsageError

if TYPE_CHECKING:
    from fleet.ops.provision import BrokerPlan


def write_script(planned: "BrokerPlan", file: Path, *, source: str, allow_destructive: bool) -> None:
    """Write the script that makes the plan's changes, executable by its owner."""
    from provisioning.broker.script import script

    text = script(planned.plan, version=planned.version, source=source, allow_destructive=allow_destructive)
    try:
        write_private(file, text, mode=0o700)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
    say(f"wrote {file}; read it, then run it where rabbitmqctl works")
