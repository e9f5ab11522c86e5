"""What are the questions about a user's rights asked about: which queues, mailboxes, names are there?"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fleet.model import SHARED_TRANSIENT_UNTIL, Fleet
from fleet.routes import DELAY_EXCHANGE, DELAY_LEVELS, JOURNAL_STREAM, dead_letter_queue_name
from provisioning.broker.operations import (
    DEFAULT_EXCHANGE,
    BindQueue,
    DeclareExchange,
    Operation,
    Publish,
    Right,
)
from provisioning.broker.routing import Router
from provisioning.broker.simulator import Rights

PIDBOX, REPLIES = "celery.pidbox", "reply.celery.pidbox"
#: names that nobody has: an expression that matches both matches about anything
ANY_NAMES = ("any.name", "another-name")
#: a mailbox of somebody who asks workers
ASKERS_MAILBOX = f"01234567-89ab-cdef-0123-456789abcdef.{REPLIES}"
#: what Celery puts in front of a key for the shortest delay
SHORTEST_DELAY = "0." * (DELAY_LEVELS - 1) + "1."
_CELERYS_OWN = ("celery_delayed_", "celeryev")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A user's rights, and the vhost that they are for."""

    fleet: Fleet
    rights: Rights
    router: Router
    #: of the user
    tags: tuple[str, ...]

    @property
    def queues(self) -> tuple[str, ...]:
        """Return the names of all queues."""
        return tuple(sorted(self.rights.queues))

    @property
    def task_queues(self) -> tuple[str, ...]:
        """Return the queues that are neither dead letters, nor journal, nor Celery's delays and mailboxes."""
        others = {*self.dead_letter_queues, JOURNAL_STREAM}
        return tuple(
            name
            for name in self.queues
            if name not in others and not name.startswith(_CELERYS_OWN) and not name.endswith(PIDBOX)
        )

    @property
    def dead_letter_queues(self) -> tuple[str, ...]:
        """Return the dead-letter queues of the fleet."""
        wanted = {dead_letter_queue_name(queue.name) for queue in self.fleet.queues}
        return tuple(name for name in self.queues if name in wanted)

    @property
    def mailboxes(self) -> dict[str, str]:
        """Return, for each host, the name of a mailbox that a worker there might have."""
        return {host.name: f"any@{host.name}.{PIDBOX}" for host in self.fleet.hosts}

    @property
    def own_names(self) -> tuple[str, ...]:
        """Return names that the user may declare, write and read, as a queue or as an exchange."""
        names = (*ANY_NAMES, ASKERS_MAILBOX, *self.mailboxes.values())
        return tuple(name for name in names if all(self.rights.may(right, name).allowed for right in Right))

    def allowed(self, ask: Callable[[str], Operation], names: Iterable[str]) -> tuple[str, ...]:
        """Return those of ``names`` for which the broker allows what ``ask`` makes of them."""
        return tuple(name for name in names if self.rights.allows(ask(name)))

    def reached(self) -> frozenset[str]:
        """Return the queues into which the user can get a message, by some exchange and some key."""
        found: set[str] = set()
        for written in self.rights.exchanges:
            name = "" if written == DEFAULT_EXCHANGE else written
            if self.rights.may(Right.WRITE, written).allowed:
                for key in self._keys(name):
                    if self.rights.allows(Publish(exchange=name, key=key)):
                        found |= self.router.reached(name, key)
        return frozenset(found)

    def commanded(self) -> tuple[str, ...]:
        """Return the hosts into whose workers' mailboxes the user can write, past ``celery.pidbox``.

        A worker obeys whatever comes into its mailbox, by whichever exchange: the default one, or one that
        the user binds it to, of its own or there already. Where a mailbox belongs to one connection, the
        broker lets nobody else bind it.
        """
        binds = self.rights.version < SHARED_TRANSIENT_UNTIL
        return tuple(
            host
            for host, mailbox in self.mailboxes.items()
            if self.rights.allows(Publish(exchange="", key=mailbox)) or (binds and self._leads_into(mailbox))
        )

    def _leads_into(self, mailbox: str) -> bool:
        own = [name for name in self.own_names if self.rights.allows(DeclareExchange(exchange=name))]
        others = [name for name in self.rights.exchanges if name not in (PIDBOX, DEFAULT_EXCHANGE)]
        return any(
            self.rights.allows(BindQueue(queue=mailbox, exchange=name, key=key))
            and self.rights.allows(Publish(exchange=name, key=key))
            for name in (*own, *others)
            for key in ("", *self.task_queues)
        )

    def _keys(self, exchange: str) -> Iterator[str]:
        """Yield the keys that may lead somewhere: those of queues, of bindings, and delayed ones."""
        yield from self.queues
        yield from sorted(self.router.keys_into(exchange))
        if exchange == DELAY_EXCHANGE:
            yield from (f"{SHORTEST_DELAY}{name}" for name in self.queues)
