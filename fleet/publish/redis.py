"""How does a message reach a Redis list in Celery's way?

Redis confirms that it has the message, and nothing more: it knows no bindings, so a queue that nobody serves
takes messages as well as any other, and it has one copy.
"""

import ssl
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kombu.connection import Connection
from kombu.exceptions import OperationalError
from redis.exceptions import AuthenticationError, ResponseError

from fleet.connection import Target, address, require_tls_files, unreachable
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError, PublishUncertain
from fleet.model import Node, Tls
from fleet.publish.channel import Refusal
from fleet.publish.fate import Fate, FateKind
from fleet.publish.message import WireMessage


class RedisLists:
    """The lists of one Redis database, each a queue."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection: Any = None

    def deliver(
        self, messages: Sequence[WireMessage], *, timeout_seconds: float
    ) -> tuple[Refusal | None, ...]:
        """Append ``messages`` to their lists; Redis refuses none by itself.

        Raises BrokerUnreachable, BrokerRefused (login), PublishUncertain (no answer came).
        """
        del timeout_seconds  # each step is bounded by the socket's own timeouts
        connection = self._open()
        producer = connection.Producer()
        try:
            for message in messages:
                producer.publish(
                    message.body.decode(),
                    exchange=message.exchange,
                    routing_key=message.routing_key,
                    headers={**message.common, **message.headers},
                    **dict(message.properties),
                )
        except (OperationalError, *connection.connection_errors, *connection.channel_errors) as error:
            self.close()
            raise PublishUncertain(
                f"Redis did not answer: {type(error).__name__}", hint="send again with the same key or id"
            ) from error
        return (None,) * len(messages)

    def fates(self, messages: Iterable[WireMessage], *, timeout_seconds: float) -> Iterator[Fate]:
        """Append ``messages`` one by one and yield the fate of each.

        Raises as ``deliver``, after the fate of the message that it was about.
        """
        for message in messages:
            try:
                self.deliver((message,), timeout_seconds=timeout_seconds)
            except PublishUncertain as error:
                yield Fate(kind=FateKind.UNKNOWN, reason=error.message)
                raise
            except FleetError as error:
                yield Fate(kind=FateKind.UNSENT, reason=error.message, writes=0)
                raise
            yield Fate(kind=FateKind.ACCEPTED)

    def open(self) -> None:
        """Connect, unless connected; raises BrokerUnreachable or BrokerRefused."""
        self._open()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    def _open(self) -> Any:
        if self._connection is not None:
            return self._connection
        require_tls_files(self._target.broker.tls)
        reasons: list[str] = []
        for node in self._target.broker.nodes:
            try:
                self._connection = self._connect(node)
            except BrokerUnreachable as error:
                reasons.append(error.message)
            else:
                return self._connection
        raise unreachable(reasons)

    def _connect(self, node: Node) -> Any:
        connection = _connection(self._target, node)
        try:
            # The transport connects late; this asks for an answer now.
            connection.channel().client.ping()
        except (*connection.connection_errors, *connection.channel_errors) as error:
            connection.release()
            if isinstance(error, AuthenticationError | ResponseError):
                raise BrokerRefused(
                    f"{address(node)} refused database {self._target.broker.vhost}: {error}",
                    hint="check `user`, `password` and `vhost` in `[broker]` of the fleet file",
                ) from error
            raise BrokerUnreachable(f"{address(node)}: {error}") from error
        return connection


def _connection(target: Target, node: Node) -> Any:
    password, seconds = target.login.password, target.timeouts
    return Connection(
        transport="rediss" if node.tls else "redis",
        hostname=node.host,
        port=node.port,
        # Without a password there is no user either: Redis would be asked to check an empty one.
        userid=(target.login.user or None) if password else None,
        password=password.reveal() if password else None,
        virtual_host=target.broker.vhost,
        ssl=_tls(target.broker.tls) if node.tls else None,
        transport_options={
            "socket_connect_timeout": seconds.connect_seconds,
            "socket_timeout": seconds.read_seconds,
            "client_name": target.name.replace(" ", "-"),
        },
    )


def _tls(tls: Tls | None) -> dict[str, object]:
    return {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
        "ssl_ca_certs": tls.ca if tls else None,
        "ssl_certfile": tls.cert if tls else None,
        "ssl_keyfile": tls.key if tls else None,
    }
