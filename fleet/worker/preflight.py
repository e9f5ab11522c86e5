"""Is everything there that a worker needs from its broker? Asked once, before anything is started.

Only existence is asked: whether a queue is of the right kind is for ``fleet provision broker --check``.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from amqp.exceptions import AMQPError, ChannelError, NotFound

from fleet.connection import Target, Timeouts, connect
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError
from fleet.worker.context import WorkerContext

log = logging.getLogger(__name__)

#: how long a worker waits for a broker at its start before it gives up
WAIT_SECONDS = 30.0
RETRY_SECONDS = 2.0
#: for a look that holds up whoever waits for it
BRIEF = Timeouts(connect_seconds=2.0, read_seconds=2.0, write_seconds=2.0)


def await_broker(
    look: Callable[[], None],
    *,
    wait_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Call ``look`` until the broker is reached, for at most ``wait_seconds``.

    Raises BrokerUnreachable when it is not, and whatever else ``look`` raises at once: a broker that answers
    no will not answer yes by being asked again.
    """
    deadline = clock() + wait_seconds
    while True:
        try:
            look()
        except BrokerUnreachable as error:
            if clock() + RETRY_SECONDS > deadline:
                raise
            log.warning("%s", error, extra={"event": "broker_unreachable"})
            sleep(RETRY_SECONDS)
        else:
            return


def look_for_queues(context: WorkerContext) -> None:
    """Make sure that every queue of the worker exists; of Redis, only that it lets the worker in.

    Raises BrokerUnreachable, or BrokerRefused naming the login, vhost or queues that are wrong.
    """
    target = context.target("preflight")
    if context.is_redis:
        _look_at_redis(target)
        return
    connection = connect(target)
    try:
        missing = [queue.name for queue in context.queues if not _exists(connection.channel(), queue.name)]
    except (OSError, AMQPError) as error:
        raise BrokerUnreachable(f"the connection to the broker was lost: {error}") from error
    finally:
        _close(connection)
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise BrokerRefused(
            f"vhost `{context.fleet.broker.vhost}` has no queue {names}", hint="run `fleet provision broker`"
        )


def ready_messages(context: WorkerContext, queues: Iterable[str]) -> int | None:
    """Return how many messages are ready in ``queues`` together, or None where the broker does not say."""
    if context.is_redis:
        return None
    try:
        connection = connect(replace(context.target("watchdog"), timeouts=BRIEF))
    except FleetError:
        return None
    try:
        channel = connection.channel()
        return sum(int(channel.queue_declare(name, passive=True).message_count) for name in queues)
    except (OSError, AMQPError):
        return None
    finally:
        _close(connection)


def _close(connection: Any) -> None:
    """Close in order, so that the broker logs no client that went away; a lost connection is only let go."""
    try:
        connection.close()
    except (OSError, AMQPError):
        connection.collect()


def _look_at_redis(target: Target) -> None:
    from fleet.publish.redis import RedisLists

    redis = RedisLists(target)
    try:
        # Nothing to deliver: it opens the connection, and its errors name what is wrong.
        redis.deliver((), timeout_seconds=target.timeouts.read_seconds)
    finally:
        redis.close()


def _exists(channel: object, queue: str) -> bool:
    try:
        channel.queue_declare(queue, passive=True)  # type: ignore[attr-defined]  # py-amqp has no types
    except NotFound:
        return False
    except ChannelError as error:
        raise BrokerRefused(
            f"queue `{queue}` cannot be looked at: {error.reply_text}",
            hint="run `fleet provision broker --check`",
        ) from error
    return True
