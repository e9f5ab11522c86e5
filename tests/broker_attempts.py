"""Every kind of request, made to a real broker as some user: does it refuse it?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import amqp
from amqp.exceptions import AccessRefused, AMQPNotImplementedError, ChannelError

from provisioning.broker import operations as ask
from tests.broker import BrokerNode

Attempt = Callable[[amqp.Channel], object]
#: types of the exchanges that are declared here; any other is a topic
TYPES = {
    "tasks.direct": "direct",
    "celery.pidbox": "fanout",
    "reply.celery.pidbox": "direct",
    "amq.direct": "direct",
}


@dataclass(frozen=True, kw_only=True)
class Client:
    """One user in one vhost of a broker."""

    node: BrokerNode
    vhost: str
    user: str
    password: str

    @contextmanager
    def channel(self) -> Iterator[amqp.Channel]:
        """Log in and open a channel that confirms publishes."""
        connection = amqp.Connection(
            host=self.node.url.removeprefix("amqp://"),
            userid=self.user,
            password=self.password,
            virtual_host=self.vhost,
            confirm_publish=True,
            read_timeout=20,
        )
        connection.connect()
        try:
            yield connection.channel()
        finally:
            with suppress(ChannelError, OSError):
                connection.close()

    def may(self, operation: ask.Operation) -> bool:
        """Tell whether the broker lets the user do it; whatever else it complains of is no refusal."""
        answers = {self._lets(attempt) for attempt in attempts(operation)}
        assert len(answers) == 1, operation
        (answer,) = answers
        return answer

    def _lets(self, attempt: Attempt) -> bool:
        with self.channel() as channel:
            try:
                attempt(channel)
            except AccessRefused:
                return False
            except (ChannelError, AMQPNotImplementedError):
                pass
        return True


def attempts(operation: ask.Operation) -> Iterator[Attempt]:
    """Yield each way of asking the broker for it."""
    if isinstance(operation, ask.Publish | ask.Consume | ask.Purge):
        return _of_messages(operation)
    if isinstance(operation, ask.BindQueue | ask.BindExchange):
        return _of_bindings(operation)
    assert isinstance(
        operation,
        ask.DeclareQueue | ask.DeclareExchange | ask.DeleteQueue | ask.DeleteExchange,
    )
    return _of_objects(operation)


def _of_messages(operation: ask.Publish | ask.Consume | ask.Purge) -> Iterator[Attempt]:
    match operation:
        case ask.Publish(exchange=exchange, key=key, copies=copies):
            headers = {"application_headers": {"CC": list(copies)}} if copies else {}
            yield lambda c: c.basic_publish(amqp.Message("x", **headers), exchange=exchange, routing_key=key)
        case ask.Consume(queue=queue):
            if queue != ask.DIRECT_REPLY:
                yield partial(amqp.Channel.basic_get, queue=queue, no_ack=True)
            yield partial(amqp.Channel.basic_consume, queue=queue, no_ack=True, callback=lambda _: None)
        case ask.Purge(queue=queue):
            yield partial(amqp.Channel.queue_purge, queue=queue)


def _of_bindings(operation: ask.BindQueue | ask.BindExchange) -> Iterator[Attempt]:
    if isinstance(operation, ask.BindQueue):
        bound = {"queue": operation.queue, "exchange": operation.exchange, "routing_key": operation.key}
        yield partial(amqp.Channel.queue_bind, **bound)
        yield partial(amqp.Channel.queue_unbind, **bound)
    else:
        bound = {"destination": operation.destination, "source": operation.source}
        yield partial(amqp.Channel.exchange_bind, routing_key=operation.key, **bound)
        yield partial(amqp.Channel.exchange_unbind, routing_key=operation.key, **bound)


def _of_objects(
    operation: ask.DeclareQueue | ask.DeclareExchange | ask.DeleteQueue | ask.DeleteExchange,
) -> Iterator[Attempt]:
    match operation:
        case ask.DeclareQueue(queue=queue, passive=passive, dead_letter_exchange=dead):
            arguments = {} if dead is None else {"x-dead-letter-exchange": dead}
            options = {"durable": not passive and bool(queue), "exclusive": not queue, "arguments": arguments}
            yield lambda c: c.queue_declare(queue, passive=passive, auto_delete=False, **options)
        case ask.DeclareExchange(exchange=exchange, passive=passive, alternate_exchange=alternate):
            arguments = {} if alternate is None else {"alternate-exchange": alternate}
            kind = TYPES.get(exchange, "topic")
            yield lambda c: c.exchange_declare(
                exchange, kind, passive=passive, durable=True, auto_delete=False, arguments=arguments
            )
        case ask.DeleteQueue(queue=queue):
            yield partial(amqp.Channel.queue_delete, queue=queue)
        case ask.DeleteExchange(exchange=exchange):
            yield partial(amqp.Channel.exchange_delete, exchange=exchange)
