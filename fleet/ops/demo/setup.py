"""What must stand before anything can be shown: servers, a directory tree, templates, a fleet file."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from fleet.daemons import prometheus, rabbitmq
from fleet.daemons.packages import provide
from fleet.daemons.process import free_ports
from fleet.daemons.rabbitmq import RabbitNode
from fleet.daemons.smtp import SmtpSink
from fleet.daemons.smtp_rules import Rule
from fleet.errors import UsageError
from fleet.ops.demo.fleetfile import HOSTS, MAIL_TEMPLATES, DemoPlan, fleet_file, task_module
from fleet.ops.demo.sandbox import Sandbox, closing
from fleet.ops.demo.tree import plant
from fleet.ops.private_broker import describe, fleet_lines

BUSY = "busy@example.org"
GONE = "gone@example.org"
RULES = (
    Rule(recipient=BUSY, reply="451 4.3.0 mailbox busy, try again later", times=1),
    Rule(recipient=GONE, reply="550 5.1.1 no such user"),
)


def set_up(
    directory: Path, *, stack: ExitStack, environ: Mapping[str, str], report: Callable[[str], None]
) -> Sandbox:
    """Start RabbitMQ and the SMTP sink, and write everything that the fleet needs into ``directory``.

    Raises UsageError (no rsync, no aiosmtpd), PackagesMissing, DaemonFailed.
    """
    _require_programs(environ, report)
    for name in ("home", "tmp", "log", "data", "state", "restored", "backups", "templates"):
        (directory / name).mkdir()
    sink = stack.enter_context(SmtpSink.start(directory / "mail", rules=RULES))
    report("starting a private RabbitMQ node")
    node = stack.enter_context(RabbitNode.start(directory / "broker", environ=environ, report=report))
    first, second = free_ports(2)
    sandbox = Sandbox(directory=directory, node=node, sink=sink, report=report, metrics_ports=(first, second))
    closing(sandbox, stack)
    _write_files(sandbox)
    return sandbox


def diary_path(sandbox: Sandbox) -> Path:
    """Return where the user's task writes down its starts and ends."""
    return sandbox.directory / "diary.jsonl"


def _require_programs(environ: Mapping[str, str], report: Callable[[str], None]) -> None:
    """Look for everything first, so that nothing is missing half-way through."""
    if shutil.which("rsync") is None:
        raise UsageError("the demo makes backups with rsync, which is not here", hint="apt-get install rsync")
    for daemon in (rabbitmq, prometheus):
        provide(daemon.PACKAGE, marker=daemon.MARKER, environ=environ, report=report)


def _write_files(sandbox: Sandbox) -> None:
    directory = sandbox.directory
    plan = DemoPlan(
        directory=directory,
        broker_lines=fleet_lines(describe(sandbox.node)),
        hosts=HOSTS,
        smtp_port=sandbox.sink.port,
        backup_metrics_port=sandbox.metrics_ports[0],
        shared_metrics_port=sandbox.metrics_ports[1],
    )
    sandbox.fleet_file.write_text(fleet_file(plan), encoding="utf-8")
    (directory / "shop_tasks.py").write_text(task_module(diary_path(sandbox)), encoding="utf-8")
    for name, text in MAIL_TEMPLATES.items():
        (directory / "templates" / name).write_text(text, encoding="utf-8")
    plant(directory / "data" / "docs")
