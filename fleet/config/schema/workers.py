"""What may stand in the tables of hosts, queues and workers?"""

from typing import Annotated

from pydantic import Field

from fleet.config.schema.table import Table
from fleet.config.values import (
    Address,
    Duration,
    HostPattern,
    JumpHosts,
    LoginName,
    Name,
    Port,
    Reference,
    Window,
    Word,
)
from fleet.model import SLOT_PORT_STEP, Pool

#: leaves room for the port of the worker's second instance
_MetricsPort = Annotated[int, Field(ge=1, le=65535 - SLOT_PORT_STEP)]


class HostTable(Table):
    """A machine that runs workers."""

    address: Address | None = None
    """Where it is reached, and where its workers serve metrics; its name when left out."""
    labels: list[Name] = Field(default=[])
    """Labels, used as `@label` wherever hosts are named."""
    password: Reference | None = None
    """With `per-host`: the password of this host's broker users; `host_password` when left out."""
    password_hash: Reference | None = None
    """Its hash, as RabbitMQ keeps it; provisioning then sets the hash, and needs no password."""
    sender_password_hash: Reference | None = None
    """The hash that the user has whom its workers send as; `password_hash` when left out."""
    ssh_user: LoginName | None = None
    """Who logs in over SSH; `user` of `[ssh]` when left out."""
    ssh_port: Port | None = None
    """TCP port of its sshd; `port` of `[ssh]` when left out."""
    jump: JumpHosts | None = None
    """Hosts to go through; `jump` of `[ssh]` when left out, and `none` for no host."""


class QueueTable(Table):
    """A routed queue, with its dead-letter queue."""

    tasks: list[Word] | None = None
    """Names or globs of the tasks that may run from this queue; by default what is routed to it."""
    long: bool | None = None
    """Long tasks: they have workers of their own, and adopt their redelivery; so it is for `backup`."""
    per_host: bool | None = None
    """One broker queue per host, because the work must run on that host; so it is for `backup`."""
    allow_callbacks: bool = False
    """Accept links, chains, groups and chords; whoever may send here then reaches all of the fleet."""
    max_runtime: Duration | None = None
    """Longest run of a task (hard limit); 1h, or 24h for a long queue."""
    max_wait: Duration | None = None
    """A task should start within this time, else an alert fires; 5m, or 6h for a long queue."""
    delivery_limit: Annotated[int, Field(ge=1)] | None = None
    """Deliveries of one message before it is dead-lettered; 20, or 200 for a long queue."""
    max_length: Annotated[int, Field(ge=1)] | None = None
    """Most messages the queue may hold; publishing beyond is refused."""
    max_dead_letters: Annotated[int, Field(ge=1)] = 100_000
    """Most dead letters; an alert fires at 80 %, and beyond it they stay in the queue that gave them up."""


class WorkerTable(Table):
    """A worker: one Celery process with its pool on each of its hosts."""

    hosts: Annotated[list[HostPattern], Field(min_length=1)] = Field(default=["*"])
    """Host patterns: names, globs (`web-*`) or labels (`@db`)."""
    queues: Annotated[list[Word], Field(min_length=1)]
    """Queues it consumes."""
    pool: Pool = Field(default=Pool.PREFORK, strict=False)
    """How tasks run: in child processes, which can be ended at `max_runtime`, in threads, or one by one."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Pool size; 2, or 1 for a long queue and for the pool `solo`."""
    metrics_port: _MetricsPort | None = None
    """TCP port of `/metrics`, and 100 above it for a second instance; counted up from 9540 when left out."""
    stop_timeout: Window = 60
    """When told to stop, how long running tasks may take to finish before they are stopped to run again."""
