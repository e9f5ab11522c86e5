"""Does the broker itself see that a new instance consumes its queues?

A worker says when it is ready. Where this machine reaches the management API, that is not taken on trust.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from fleet.doctor.management import ManagementView
from fleet.doctor.unseen import Unseen
from fleet.model import Fleet
from fleet.ops.provision import client_certificate
from fleet.secrets import resolve
from provisioning.errors import HostChangeFailed

#: from READY until the API shows the consumers; its statistics are some seconds late
LIMIT_SECONDS = 30.0
PAUSE_SECONDS = 0.25

#: pairs of a connection's name and a queue that is consumed on it
Consumers = frozenset[tuple[str, str]]


@dataclass(slots=True, kw_only=True)
class Witness:
    """Asks the broker who consumes what, for many hosts at once."""

    #: raises Unseen
    look: Callable[[], Consumers]
    #: whether the broker has the mailbox of a node; raises Unseen
    has_mailbox: Callable[[str], bool] = lambda _: False
    limit_seconds: float = LIMIT_SECONDS
    #: when the last look began, by the monotonic clock
    _began: float = field(default=-math.inf, init=False)
    _seen: Consumers = field(default=frozenset(), init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def await_first(self, host: str, consumes: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
        """Return when the nodes of ``consumes`` are seen on a host on which nothing ends.

        That each is on this broker is told by its mailbox, which is seen at once: a worker declares it before
        it takes tasks, and says that it is ready when it takes them. Where one has none yet, its consumers
        are waited for. Returns and raises what ``await_consumers`` does.
        """
        with suppress(Unseen):
            if all(map(self.has_mailbox, consumes)):
                return ()
        return self.await_consumers(host, consumes)

    def await_consumers(self, host: str, consumes: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
        """Return when each node of ``consumes`` has a consumer on each of its queues.

        What is returned is for the operator: why it was not checked. Raises HostChangeFailed when one has not
        after some time.
        """
        until = time.monotonic() + self.limit_seconds
        while True:
            try:
                lacking = missing(consumes, self._look_once())
            except Unseen as error:
                return (f"whether the broker sees its consumers was not checked: {error}",)
            if not lacking:
                return ()
            if time.monotonic() >= until:
                raise HostChangeFailed(
                    f"host `{host}`: the broker shows no consumer of {', '.join(lacking)},"
                    f" {self.limit_seconds:g} s after it said that it was ready",
                    hint="see `fleet doctor`; is `[broker.management]` the broker that the hosts use?",
                )
            time.sleep(PAUSE_SECONDS)

    def _look_once(self) -> Consumers:
        """Return what a look shows that begins from now on: one for all who come while another is under way.

        Raises Unseen.
        """
        arrived = time.monotonic()
        with self._lock:
            if self._began < arrived:
                began = time.monotonic()
                self._seen, self._began = self.look(), began
            return self._seen


def witness(fleet: Fleet, environ: Mapping[str, str]) -> Witness | None:
    """Return who is asked; None where the fleet file names no management API. Raises SecretMissing."""
    management = fleet.broker.management
    if management is None:
        return None
    password = resolve(management.password, environ=environ).reveal()

    def view() -> ManagementView:
        # One for each look: hosts are changed in threads, and a session is for one.
        return ManagementView(
            management.urls,
            user=management.user,
            password=password,
            ca=management.ca,
            certificate=client_certificate(management),
        )

    vhost = fleet.broker.vhost
    return Witness(
        look=lambda: view().consumers(vhost),
        has_mailbox=lambda node: view().has_queue(vhost, f"{node}.celery.pidbox"),
    )


def missing(consumes: Mapping[str, frozenset[str]], seen: Consumers) -> tuple[str, ...]:
    """Return, in words, which nodes lack a consumer on which queues."""
    return tuple(
        f"`{node}` on `{queue}`"
        for node, queues in sorted(consumes.items())
        for queue in sorted(queues)
        if (node, queue) not in seen
    )
