"""How is a delay spelled in a routing key, so that the broker waits instead of a worker?

Celery's native delayed delivery: 28 bits of whole seconds, most significant first, then the queue's own key.
"""

import math
import re

_BITS = re.compile(r"\A(?:[01]\.){28}")


def whole_seconds(seconds: float) -> int:
    """Return ``seconds`` as a delay that the broker can keep: rounded up, at least one.

    A delay travels as whole seconds; Celery rounds down, and refuses what becomes zero.
    """
    return max(1, math.ceil(seconds))


def undelayed_key(routing_key: str) -> str:
    """Return the key of the queue that a message was meant for, with or without a delay."""
    return _BITS.sub("", routing_key, count=1)


def delay_of(routing_key: str) -> int:
    """Return the seconds that the broker has kept a message for, according to its routing key."""
    bits = _BITS.match(routing_key)
    return int(bits.group().replace(".", ""), 2) if bits else 0
