"""Do delayed tasks come back, each to its own queue only?

Celery's native delay puts bits in front of the routing key, and binds ``#.KEY`` behind it. So it needs topic
exchanges, and a key that is the end of another key (``email`` and ``fleet.email``) gets its messages, too:
https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/rabbitmq.html#native-delayed-delivery
"""

from collections.abc import Iterator

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, warn
from fleet.routes import DEAD_LETTER_EXCHANGE, DELAY_DELIVERY_EXCHANGE, DELAY_EXCHANGE, TASK_EXCHANGE
from provisioning.broker.objects import Exchange
from provisioning.broker.state import BROKERS_OWN_PREFIX, State

_ANY = "#."


def _delays(facts: Facts) -> Iterator[Verdict]:
    state = facts.state or State()
    here = {e.name: e for e in state.exchanges if e.vhost == facts.vhost}
    sound = True
    for name in (DELAY_EXCHANGE, DELAY_DELIVERY_EXCHANGE, TASK_EXCHANGE):
        if name not in here or here[name].type != "topic":
            sound = False
            what = f"is a {here[name].type} exchange" if name in here else "is missing"
            yield fail(
                f"exchange {name} {what}, so no delayed task and no retry comes back",
                "run `fleet provision broker --check`",
            )
    for exchange in here.values():
        if _is_direct_with_quorum_queues(exchange, state):
            sound = False
            yield warn(
                f"exchange {exchange.name} is a direct one: Celery cannot delay tasks for its quorum queues",
                "a worker keeps such a task in memory, unacknowledged, until it is due: use a topic exchange",
            )
    if sound:
        yield ok("through topic exchanges only")


def _is_direct_with_quorum_queues(exchange: Exchange, state: State) -> bool:
    if exchange.type != "direct" or exchange.name == DEAD_LETTER_EXCHANGE or exchange.auto_delete:
        return False
    quorum = {q.name for q in state.queues if q.vhost == exchange.vhost and q.type == "quorum"}
    return not exchange.name.startswith(BROKERS_OWN_PREFIX) and any(
        binding.vhost == exchange.vhost and binding.source == exchange.name and binding.destination in quorum
        for binding in state.bindings
    )


def _suffixes(facts: Facts) -> Iterator[Verdict]:
    state = facts.state or State()
    topics = {e.name for e in state.exchanges if e.vhost == facts.vhost and e.type == "topic"}
    bound = [
        (binding.routing_key.removeprefix(_ANY), binding.destination)
        for binding in state.bindings
        if binding.vhost == facts.vhost
        and binding.source in topics
        and binding.destination_type == "queue"
        and binding.routing_key.startswith(_ANY)
        and binding.routing_key != _ANY
    ]
    pairs = [(long, short) for short in bound for long in bound if long[0].endswith(f".{short[0]}")]
    for (key, queue), (short, other) in pairs:
        if queue != other:
            yield fail(
                f"messages for queue {queue} (key `{key}`) reach queue {other} (key `{short}`), too",
                "rename one of them: a task would run twice",
            )
    if not [pair for pair in pairs if pair[0][1] != pair[1][1]]:
        yield ok(f"no key of {len(bound)} is the end of another")


DELAYS = Check(name="delays", about="can every exchange carry delayed tasks?", needs=("state",), run=_delays)
SUFFIXES = Check(
    name="suffixes", about="does a queue get what is meant for another?", needs=("state",), run=_suffixes
)
