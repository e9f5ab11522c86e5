"""Which machines, queues and workers does the fleet have?"""

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from fleet.model.secret import SecretRef

#: the two instances of a worker, so that an old and a new one can run side by side during a rollout
SLOTS = ("a", "b")
#: slot b serves its metrics this many ports above slot a
SLOT_PORT_STEP = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine that runs workers."""

    name: str
    #: DNS name or IP address; the name itself where the file gives none
    address: str
    labels: tuple[str, ...] = ()
    #: profile ``per-host`` only: the password of this host's own broker users
    password: SecretRef | None = None
    #: its hash as the broker keeps it, for the user who consumes; provisioning then needs no password
    password_hash: SecretRef | None = None
    #: the same for the user who sends; None: ``password_hash``. A broker salts each user's hash on its own
    sender_password_hash: SecretRef | None = None
    #: who logs in over SSH; None: as the fleet's ``Ssh`` says
    ssh_user: str | None = None
    ssh_port: int | None = None
    #: hosts to go through, as for `ssh -J`
    jump: str | None = None

    def matches(self, pattern: str) -> bool:
        """Tell whether ``pattern`` means this host: a glob over names (``web-*``) or a label (``@db``)."""
        if pattern.startswith("@"):
            return pattern[1:] in self.labels
        return fnmatchcase(self.name, pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A routed queue of the fleet; with ``per_host`` it stands for one broker queue per host."""

    name: str
    #: names or globs of the tasks that may run from this queue
    tasks: tuple[str, ...]
    #: long tasks: a worker of its own, prefetch 1, redeliveries adopted, never cancelled on connection loss
    long: bool = False
    #: one broker queue per host, because the work must run on that host
    per_host: bool = False
    #: link, link_error, chains, groups and chords are allowed in messages of this queue
    allow_callbacks: bool = False
    #: longest run that is expected of a task here; hard time limit
    max_runtime_seconds: int = 3600
    #: a task should start within this time; the alert on waiting uses it
    max_wait_seconds: int = 300
    #: deliveries of one message before it is dead-lettered
    delivery_limit: int = 20
    #: longest the queue may grow (messages); publishing is refused beyond it
    max_length: int | None = None
    #: most dead letters (messages); beyond it they stay in the queue that gave them up
    max_dead_letters: int = 100_000


class Pool(StrEnum):
    """Celery's worker pools that fleet supports."""

    PREFORK = "prefork"
    THREADS = "threads"
    SOLO = "solo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker: one Celery process (with its pool) on each of its hosts."""

    name: str
    #: host patterns
    hosts: tuple[str, ...]
    #: names of queues
    queues: tuple[str, ...]
    pool: Pool = Pool.PREFORK
    #: pool size (processes or threads)
    concurrency: int = 2
    #: TCP port of /metrics, /healthz and /readyz on every host of this worker (slot a)
    metrics_port: int = 0
    #: when told to stop, how long running tasks may take to finish before they are stopped
    stop_timeout_seconds: int = 60

    def slot_port(self, slot: str) -> int:
        """Return the metrics port of the instance in ``slot`` (of ``SLOTS``); 0 where none is declared."""
        return self.metrics_port + SLOTS.index(slot) * SLOT_PORT_STEP if self.metrics_port else 0
