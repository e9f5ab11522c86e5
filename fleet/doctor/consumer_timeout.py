"""May every task run as long as the fleet file allows, before the broker takes its message back?

The broker closes the channel of a consumer that holds a message for too long, and delivers it again:
https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout. Of a queue marked ``long`` the worker adopts
that redelivery, so it costs one delivery and nothing else, as long as the delivery limit lasts; of any other
queue the task is stopped and begins again, if it really runs for so long.
"""

from collections.abc import Iterator
from math import ceil

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, unknown, warn
from fleet.doctor.policies import setting
from fleet.model import CONSUMER_TIMEOUT_SINCE, Queue
from fleet.routes import broker_queues
from provisioning.broker.objects import Queue as BrokerQueue
from provisioning.broker.state import State

#: what a node allows where its configuration does not say
USUAL_SECONDS = 1800.0
#: deliveries that are left for lost connections and restarts
SPARE_DELIVERIES = 5


def _consumer_timeout(facts: Facts) -> Iterator[Verdict]:
    seen = facts.settings
    node_limit = seen.consumer_timeout_seconds if seen else USUAL_SECONDS
    own = {queue.name: _own_limit(queue, facts) for queue in facts.fleet.queues}
    problems = [
        (queue, problem)
        for queue in facts.fleet.queues
        if (problem := _problem(queue, own[queue.name] or node_limit))
    ]
    certain = [problem for queue, problem in problems if seen or own[queue.name]]
    yield from certain
    if seen is None and not all(own.values()):
        guessed = [queue.name for queue, problem in problems if not own[queue.name]]
        what = f"does not fit {', '.join(guessed)}" if guessed else "fits every queue"
        reason = facts.unseen.get("settings", "it was not looked at")
        yield unknown(
            f"the nodes' own limit is not seen ({reason}); the usual 30 min {what}",
            "on a broker host: `rabbitmqctl environment | grep consumer_timeout`",
        )
    elif not certain:
        longest = max((queue.max_runtime_seconds for queue in facts.fleet.queues), default=0)
        yield ok(f"fits every queue; the longest task may run for {_time(longest)}")


def _own_limit(queue: Queue, facts: Facts) -> float | None:
    """Return the limit that the queue's own policy or arguments set, or None."""
    state = facts.state
    if state is None or (facts.version or ()) < CONSUMER_TIMEOUT_SINCE:
        return None
    limits = [_number(carrier, state, "consumer-timeout") for carrier in _carriers(queue, facts, state)]
    known = [limit for limit in limits if limit is not None]
    return min(known) / 1000 if known and len(known) == len(limits) else None


def _carriers(queue: Queue, facts: Facts, state: State) -> list[BrokerQueue]:
    names = {carrier.name for carrier in broker_queues(facts.fleet) if carrier.queue == queue.name}
    return [found for found in state.queues if found.vhost == facts.vhost and found.name in names]


def _number(carrier: BrokerQueue, state: State, name: str) -> int | None:
    found = setting(carrier, state, name)
    return found if isinstance(found, int) else None


def _problem(queue: Queue, limit: float | None) -> Verdict | None:
    if limit is None or queue.max_runtime_seconds <= limit:
        return None
    said = (
        f"queue {queue.name}: a task may run for {_time(queue.max_runtime_seconds)}, but after {_time(limit)}"
    )
    if not queue.long:
        return warn(
            f"{said} the broker takes its message back, and it begins again",
            f"raise `consumer_timeout` of the nodes, or lower `max_runtime` in [queues.{queue.name}]",
        )
    needed = ceil(queue.max_runtime_seconds / limit) + SPARE_DELIVERIES
    if queue.delivery_limit >= needed:
        return None
    return fail(
        f"{said} each time the broker delivers it again, and after {queue.delivery_limit} deliveries it is a"
        " dead letter while it still runs",
        f"raise `consumer_timeout` of the nodes, or set `delivery_limit = {needed}` in [queues.{queue.name}]",
    )


def _time(seconds: float) -> str:
    return next(
        (f"{seconds / size:g} {unit}" for size, unit in ((3600, "h"), (60, "min")) if seconds >= size),
        f"{seconds:g} s",
    )


CONSUMER_TIMEOUT = Check(
    name="consumer-timeout",
    about="may a consumer hold a message as long as the longest task runs?",
    needs=(),
    run=_consumer_timeout,
)
