"""What can a client ask of a vhost, in terms of AMQP 0-9-1, and which rights does each request need?

``configure`` to declare and delete, ``write`` to publish and to be bound, ``read`` to consume, purge and bind
from: https://www.rabbitmq.com/docs/access-control#authorisation. What that page leaves out was measured on
3.10.8 and 4.0.5 (``tests/contract/test_rights_simulator.py``).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

#: what permissions call the exchange whose name is empty
DEFAULT_EXCHANGE = "amq.default"
#: a name of the kind that the broker gives to a queue declared without one
GENERATED_QUEUE = "amq.gen-" + "x" * 22
#: replies straight to a channel; it is no queue, and needs no right
DIRECT_REPLY = "amq.rabbitmq.reply-to"
#: names that nobody may declare or delete
RESERVED_PREFIX = "amq."
#: only the broker itself publishes to these
INTERNAL_EXCHANGES = frozenset({"amq.rabbitmq.trace"})


class Right(StrEnum):
    """The three rights of a permission."""

    CONFIGURE = "configure"
    WRITE = "write"
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One right on one name; with ``key`` also the topic permission for it, where the exchange is a topic."""

    right: Right
    name: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The broker refuses this to everybody."""

    reason: str


Step = Need | Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What decides, beside rights, which of them the broker asks for."""

    #: names of the queues and exchanges that exist
    queues: Collection[str] = ()
    exchanges: Collection[str] = ()
    #: the keys of the headers CC and BCC are compared with topic permissions
    checks_copies: bool = True


class Operation(Protocol):
    """A request to the broker."""

    def steps(self, facts: Facts) -> Iterator[Step]:
        """Yield what the broker asks for, in its order; the first that is missing refuses the request."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Send a message to an exchange (``""`` is the default exchange)."""

    exchange: str
    key: str = ""
    #: further keys, of the headers CC and BCC
    copies: tuple[str, ...] = ()

    def steps(self, facts: Facts) -> Iterator[Step]:
        """To write to the exchange, and by each of the keys."""
        for key in (self.key, *(self.copies if facts.checks_copies else ())):
            yield Need(right=Right.WRITE, name=self.exchange or DEFAULT_EXCHANGE, key=key)
        if self.exchange in INTERNAL_EXCHANGES:
            yield Refusal(reason=f"exchange `{self.exchange}` is internal: only the broker publishes to it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Consume:
    """Take messages from a queue, pushed or one by one."""

    queue: str

    def steps(self, facts: Facts) -> Iterator[Step]:
        """To read the queue; replies that come straight to the channel need nothing."""
        del facts
        if self.queue != DIRECT_REPLY:
            yield Need(right=Right.READ, name=self.queue)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """Drop all ready messages of a queue."""

    queue: str

    def steps(self, facts: Facts) -> Iterator[Step]:
        """To read the queue."""
        del facts
        yield Need(right=Right.READ, name=_cleaned(self.queue))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareQueue:
    """Create a queue or make sure that it is as wanted; passive: only ask whether it is there."""

    queue: str
    passive: bool = False
    #: argument ``x-dead-letter-exchange``
    dead_letter_exchange: str | None = None

    def steps(self, facts: Facts) -> Iterator[Step]:
        """To configure it; a new one that dead-letters also to read it and to write to that exchange."""
        if self.passive:
            return
        name = _cleaned(self.queue) or GENERATED_QUEUE
        if self.queue:
            yield from _refuse_reserved(name)
        yield Need(right=Right.CONFIGURE, name=name)
        if self.dead_letter_exchange is not None and name not in facts.queues:
            yield Need(right=Right.READ, name=name)
            yield Need(right=Right.WRITE, name=self.dead_letter_exchange or DEFAULT_EXCHANGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareExchange:
    """Create an exchange or make sure that it is as wanted; passive: only ask whether it is there."""

    exchange: str
    passive: bool = False
    #: argument ``alternate-exchange``
    alternate_exchange: str | None = None

    def steps(self, facts: Facts) -> Iterator[Step]:
        """To configure it; a new one with an alternate also to read it and to write to the alternate."""
        name = _cleaned(self.exchange)
        yield from _refuse_default(name)
        if self.passive:
            return
        yield Need(right=Right.CONFIGURE, name=name)
        if name in facts.exchanges:
            return
        yield from _refuse_reserved(name)
        if self.alternate_exchange is not None:
            yield Need(right=Right.READ, name=name)
            yield Need(right=Right.WRITE, name=self.alternate_exchange or DEFAULT_EXCHANGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteQueue:
    """Delete a queue."""

    queue: str

    def steps(self, facts: Facts) -> Iterator[Step]:
        """To configure it."""
        del facts
        yield Need(right=Right.CONFIGURE, name=_cleaned(self.queue))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteExchange:
    """Delete an exchange."""

    exchange: str

    def steps(self, facts: Facts) -> Iterator[Step]:
        """To configure it; nobody deletes the broker's own."""
        del facts
        name = _cleaned(self.exchange)
        yield from _refuse_default(name)
        yield from _refuse_reserved(name)
        yield Need(right=Right.CONFIGURE, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindQueue:
    """Bind a queue to an exchange, or unbind it."""

    queue: str
    exchange: str
    key: str = ""

    def steps(self, facts: Facts) -> Iterator[Step]:
        """To write to the queue and to read from the exchange, by that key."""
        del facts
        yield from _bind(self.queue, self.exchange, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindExchange:
    """Bind an exchange to another one, or unbind it."""

    destination: str
    source: str
    key: str = ""

    def steps(self, facts: Facts) -> Iterator[Step]:
        """To write to the destination and to read from the source, by that key."""
        del facts
        yield from _refuse_default(self.destination)
        yield from _bind(self.destination, self.source, self.key)


def _bind(destination: str, source: str, key: str) -> Iterator[Step]:
    yield Need(right=Right.WRITE, name=_cleaned(destination))
    yield from _refuse_default(source)
    yield Need(right=Right.READ, name=_cleaned(source), key=key)


def _refuse_default(exchange: str) -> Iterator[Step]:
    if not exchange:
        yield Refusal(reason="nobody may declare, delete or bind the default exchange")


def _refuse_reserved(name: str) -> Iterator[Step]:
    if name.startswith(RESERVED_PREFIX):
        yield Refusal(reason=f"names that begin with `{RESERVED_PREFIX}` are the broker's own")


def _cleaned(name: str) -> str:
    """Return the name as the broker takes it: without line ends."""
    return name.replace("\r", "").replace("\n", "")
