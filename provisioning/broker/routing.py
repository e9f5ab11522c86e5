"""Where can a message go that is published to this exchange by this key?

As the broker routes it: bindings of queues and of exchanges, alternate exchanges, and on through queues whose
arguments send what expires to another exchange. Policies are not followed: what they dead-letter, somebody
has taken first.
"""

from collections.abc import Iterator

from provisioning.broker.objects import Binding, Queue
from provisioning.broker.operations import DEFAULT_EXCHANGE
from provisioning.broker.simulator import BROKERS_EXCHANGES, TOPIC
from provisioning.broker.state import State

DIRECT = "direct"


class Router:
    """The exchanges, bindings and queues of one vhost."""

    def __init__(self, state: State, vhost: str) -> None:
        self._exchanges = {each.name: each for each in state.exchanges if each.vhost == vhost}
        self._queues = {each.name: each for each in state.queues if each.vhost == vhost}
        self._bindings: dict[str, list[Binding]] = {}
        for each in state.bindings:
            if each.vhost == vhost:
                self._bindings.setdefault(each.source, []).append(each)

    def reached(self, exchange: str, key: str | None) -> set[str]:
        """Return the names of the queues in which a message may come to wait, now or when it expires.

        Without a key: those in which a message may that has any key.
        """
        pending, seen, queues = [(exchange, key)], set(), set()
        while pending:
            step = pending.pop()
            if step in seen:
                continue
            seen.add(step)
            for name, is_queue in self._next(*step):
                if not is_queue:
                    pending.append((name, step[1]))
                elif name not in queues and name in self._queues:
                    queues.add(name)
                    pending.extend(_expired(self._queues[name], step[1]))
        return queues

    def keys_into(self, exchange: str) -> set[str]:
        """Return one key for each binding of an exchange, with something in place of its wildcards."""
        return {_sample(each.routing_key) for each in self._bindings.get(exchange, ())}

    def _next(self, exchange: str, key: str | None) -> Iterator[tuple[str, bool]]:
        """Yield what a message goes to from an exchange, and whether that is a queue."""
        if exchange in ("", DEFAULT_EXCHANGE):
            yield from ((name, True) for name in (self._queues if key is None else (key,)))
            return
        declared = self._exchanges.get(exchange)
        kind = declared.type if declared else BROKERS_EXCHANGES.get(exchange, DIRECT)
        bound = self._bindings.get(exchange, ())
        matched = [each for each in bound if key is None or _matches(kind, each.routing_key, key)]
        yield from ((each.destination, each.destination_type == Queue.KIND) for each in matched)
        alternate = declared.arguments.get("alternate-exchange") if declared else None
        if (key is None or not matched) and isinstance(alternate, str):
            yield alternate, False


def _expired(queue: Queue, key: str | None) -> Iterator[tuple[str, str | None]]:
    dead = queue.arguments.get("x-dead-letter-exchange")
    if "x-message-ttl" in queue.arguments and isinstance(dead, str):
        own = queue.arguments.get("x-dead-letter-routing-key")
        yield dead, own if isinstance(own, str) else key


def topic_matches(pattern: str, key: str) -> bool:
    """Tell whether a topic binding ``pattern`` matches ``key``: ``*`` is one word, ``#`` any number."""
    words = key.split(".") if key else []
    # The numbers of words that the pattern so far can have matched.
    ends = {0}
    for part in pattern.split(".") if pattern else ():
        if part == "#":
            ends = set(range(min(ends), len(words) + 1)) if ends else set()
        else:
            ends = {at + 1 for at in ends if at < len(words) and part in ("*", words[at])}
    return len(words) in ends


def _matches(kind: str, bound: str, key: str) -> bool:
    if kind == TOPIC:
        return topic_matches(bound, key)
    # What other types match hangs on more than the key, so it is taken as matched.
    return bound == key if kind == DIRECT else True


def _sample(pattern: str) -> str:
    words = pattern.split(".") if pattern else []
    return ".".join("x" if word == "*" else word for word in words if word != "#")
