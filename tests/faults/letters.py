"""What do the broker's queues hold? Looked at by the administrator, without the software under test."""

import json
from collections.abc import Collection, Iterable
from contextlib import suppress

import amqp
import requests
from amqp.exceptions import NotFound

from fleet.errors import FleetError
from tests.broker import BrokerVhost


def depth(vhost: BrokerVhost, queues: Collection[str]) -> int | None:
    """Return how many messages ``queues`` hold, unacknowledged ones included; None when that is not known."""
    try:
        rows = vhost.api("GET", f"queues/{vhost.name}")
    except requests.RequestException:
        return None
    held = [row.get("messages") for row in rows if row["name"] in queues]
    # The leader of a quorum queue counts every 5 s. The HTTP API has no number of a new one until then.
    return _listed(vhost, queues) if None in held else sum(held)


def _listed(vhost: BrokerVhost, queues: Collection[str]) -> int | None:
    columns = ("--formatter", "json", "name", "messages")
    try:
        listed = vhost.node.ctl("--quiet", "list_queues", "--vhost", vhost.name, *columns)
    except FleetError:
        return None
    held = [row["messages"] for row in json.loads(listed) if row["name"] in queues]
    # Of a queue whose leader is away it has no number either.
    return sum(held) if all(isinstance(number, int) for number in held) else None


def ids_in(vhost: BrokerVhost, queues: Iterable[str]) -> frozenset[str]:
    """Return the task ids of the messages that are ready in ``queues``; they stay there."""
    found: set[str] = set()
    for queue in queues:
        with suppress(NotFound):
            found |= _ids(vhost, queue)
    return frozenset(found)


def _ids(vhost: BrokerVhost, queue: str) -> set[str]:
    node = vhost.node
    connection = amqp.Connection(
        host=node.url.removeprefix("amqp://"),
        userid=node.admin_user,
        password=node.admin_password.reveal(),
        virtual_host=vhost.name,
    )
    connection.connect()
    try:
        channel = connection.channel()
        found = set()
        # Unacknowledged, so that each is seen once; closing the connection gives them all back.
        while (message := channel.basic_get(queue)) is not None:
            found.add(str(message.headers["id"]))
        return found
    finally:
        with suppress(amqp.exceptions.AMQPError, OSError):
            connection.close()
