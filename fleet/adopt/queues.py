"""Which queues of a fleet file does a broker show?

The broker knows names, limits and hosts. It knows neither the tasks nor, before 3.12, which queues are long.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fleet.config.values import NAME_PATTERN
from fleet.model import CONSUMER_TIMEOUT_SINCE
from fleet.routes import TASK_EXCHANGE, dead_letter_queue_name
from fleet.topology import CONSUMER_TIMEOUT_MARGIN_SECONDS
from provisioning.broker.objects import Policy
from provisioning.broker.state import State

_TASK_QUEUE = re.compile(r"fleet\.([^.]+)(?:\.(.+))?", re.DOTALL)
_NO_SETTINGS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundQueue:
    """A queue of the fleet file that is to be."""

    name: str
    #: the hosts that have one each; None where all share one
    hosts: tuple[str, ...] | None
    long: bool
    #: None where the broker does not tell
    max_runtime_seconds: int | None
    delivery_limit: int | None
    max_length: int | None
    max_dead_letters: int | None
    #: the hosts whose workers serve it; None where any may
    served_by: tuple[str, ...] | None = None


def find_queues(state: State, vhost: str, version: tuple[int, ...]) -> tuple[FoundQueue, ...]:
    """Return the queues that the bindings of ``fleet.tasks`` show, by name."""
    carriers: dict[str, list[str | None]] = {}
    for binding in state.bindings:
        if binding.vhost != vhost or binding.source != TASK_EXCHANGE or binding.destination_type != "queue":
            continue
        found = _TASK_QUEUE.fullmatch(binding.destination)
        if (
            found
            and re.fullmatch(NAME_PATTERN, found[1])
            and binding.routing_key == f"#.{binding.destination}"
        ):
            carriers.setdefault(found[1], []).append(found[2])
    policies = {policy.name: policy for policy in state.policies if policy.vhost == vhost}
    return tuple(_queue(name, carriers[name], policies, version) for name in sorted(carriers))


def _queue(
    name: str, hosts: list[str | None], policies: Mapping[str, Policy], version: tuple[int, ...]
) -> FoundQueue:
    own, dead = _definition(policies, f"fleet.{name}"), _definition(policies, dead_letter_queue_name(name))
    timeout = _number(own, "consumer-timeout")
    # A queue that all share and one of a host's own cannot both be meant: the shared one wins.
    alone = None if None in hosts else tuple(sorted(host for host in hosts if host is not None))
    tells = version >= CONSUMER_TIMEOUT_SINCE and bool(own)
    return FoundQueue(
        name=name,
        hosts=alone,
        long=timeout is not None if tells else name == "backup",
        max_runtime_seconds=None if timeout is None else timeout // 1000 - CONSUMER_TIMEOUT_MARGIN_SECONDS,
        delivery_limit=_number(own, "delivery-limit"),
        max_length=_number(own, "max-length"),
        max_dead_letters=_number(dead, "max-length"),
        served_by=alone,
    )


def _definition(policies: Mapping[str, Policy], name: str) -> Mapping[str, object]:
    return policies[name].definition if name in policies else _NO_SETTINGS


def _number(definition: Mapping[str, object], key: str) -> int | None:
    value = definition.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
