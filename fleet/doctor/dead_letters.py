"""Does what a queue gives up arrive somewhere?

With the strategy ``at-least-once`` a message whose dead-letter route leads nowhere stays in its queue for
ever; with the other one it is lost.
"""

from collections.abc import Iterator

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, unknown, warn
from fleet.doctor.policies import exists, setting
from fleet.routes import broker_queues
from provisioning.broker.objects import Queue
from provisioning.broker.routing import Router
from provisioning.broker.state import State

_PROVISION = "run `fleet provision broker --check` to see what is missing"


def _dead_letters(facts: Facts) -> Iterator[Verdict]:
    state = facts.state or State()
    ours = {queue.name for queue in broker_queues(facts.fleet)}
    here = sorted(
        (queue for queue in state.queues if queue.vhost == facts.vhost), key=lambda queue: queue.name
    )
    router = Router(state, facts.vhost)
    problems = [verdict for queue in here if (verdict := _verdict(queue, state, router, ours))]
    yield from problems
    if not here:
        yield unknown("no queue is there to look at", _PROVISION)
    elif not problems:
        routed = [queue for queue in here if setting(queue, state, "dead-letter-exchange") is not None]
        yield ok(f"{len(routed)} queues give up messages, and all of those arrive in a queue")


def _verdict(queue: Queue, state: State, router: Router, ours: set[str]) -> Verdict | None:
    exchange = setting(queue, state, "dead-letter-exchange")
    if not isinstance(exchange, str):
        if queue.name in ours:
            return fail(
                f"queue {queue.name} has no dead-letter exchange: what it gives up is lost", _PROVISION
            )
        return None
    lost = _what_becomes_lost(queue, state)
    if not exists(state, queue.vhost, exchange):
        return fail(
            f"queue {queue.name}: its dead-letter exchange {exchange} does not exist: {lost}", _PROVISION
        )
    key = setting(queue, state, "dead-letter-routing-key")
    if router.reached(exchange, key if isinstance(key, str) else None):
        return None
    by = f" by key `{key}`" if isinstance(key, str) else ""
    told = f"queue {queue.name}: nothing takes its dead letters from exchange {exchange}{by}: {lost}"
    return fail(told, _PROVISION) if queue.name in ours else warn(told, "bind a queue to that exchange")


def _what_becomes_lost(queue: Queue, state: State) -> str:
    kept = setting(queue, state, "dead-letter-strategy") == "at-least-once"
    return "they stay in the queue for ever" if kept else "they are lost"


DEAD_LETTERS = Check(
    name="dead-letters",
    about="does every dead letter arrive in a queue?",
    needs=("state",),
    run=_dead_letters,
)
