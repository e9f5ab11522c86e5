"""Which tables and keys may a fleet file hold?

The one source of the parser, of the JSON Schema for editors and of the reference page.
"""

from typing import Annotated

from pydantic import Field

from fleet.config.schema.broker import BrokerTable
from fleet.config.schema.ssh import SshTable
from fleet.config.schema.table import Table
from fleet.config.schema.work import BackupTable, MailTable, ScheduleTable, TasksTable, UrlTable
from fleet.config.schema.workers import HostTable, QueueTable, WorkerTable
from fleet.config.values import AbsolutePath, HostName, Name, Word
from fleet.config.version import VERSION

__all__ = [
    "BackupTable",
    "BrokerTable",
    "FleetFile",
    "HostTable",
    "QueueTable",
    "ScheduleTable",
    "SshTable",
    "WorkerTable",
]


class FleetTable(Table):
    """The fleet as a whole."""

    version: Annotated[int, Field(ge=1)] = VERSION
    """Version of this file's form. A release of fleet reads its own and the one before, and no newer one."""
    name: Name = "fleet"
    """Name of the fleet; a label on its metrics."""
    timezone: Word = "UTC"
    """IANA time zone of the schedule, such as `Europe/Berlin`."""
    state_dir: AbsolutePath = "/var/lib/fleet"
    """Directory on each host for the ledger, the outbox and beat's memory."""


class FleetFile(Table):
    """A fleet file."""

    fleet: FleetTable = FleetTable()
    broker: BrokerTable
    ssh: SshTable = SshTable()
    hosts: Annotated[dict[HostName, HostTable], Field(min_length=1)]
    queues: dict[Name, QueueTable] = Field(default={})
    workers: dict[Name, WorkerTable] = Field(default={})
    backups: dict[Name, BackupTable] = Field(default={})
    mail: MailTable | None = None
    urls: dict[Name, UrlTable] = Field(default={})
    schedule: dict[Name, ScheduleTable] = Field(default={})
    tasks: TasksTable = TasksTable()
