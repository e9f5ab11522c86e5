"""Does plain Celery use a vhost, and with which queues?"""

import re

from provisioning.broker.objects import Exchange, Queue
from provisioning.broker.state import BROKERS_OWN_PREFIX, State

#: exchanges that Celery's workers declare, in whatever way they are configured
_OWN_EXCHANGES = re.compile(r"celeryev|celery\.pidbox|reply\.celery\.pidbox")
_OWN_QUEUES = re.compile(r".*celery\.pidbox|celeryev.*|celery_delayed_\d+", re.DOTALL)


def is_empty(state: State, vhost: str) -> bool:
    """Tell whether ``vhost`` holds nothing yet, as when a Celery user was made and nothing ever ran."""
    return not _exchanges(state, vhost) and not _queues(state, vhost)


def plain_queues(state: State, vhost: str) -> tuple[str, ...]:
    """Return the queues of plain Celery's tasks: each is bound to a direct exchange by its own name."""
    names = {queue.name for queue in _queues(state, vhost) if not _OWN_QUEUES.fullmatch(queue.name)}
    direct = {exchange.name for exchange in _exchanges(state, vhost) if exchange.type == "direct"}
    return tuple(
        sorted(
            {
                binding.destination
                for binding in state.bindings
                if binding.vhost == vhost
                and binding.destination in names
                and binding.source in direct
                and binding.routing_key == binding.destination
            }
        )
    )


def is_celerys(state: State, vhost: str) -> bool:
    """Tell whether Celery has left its traces: its own exchanges, or queues as it declares them."""
    own = any(_OWN_EXCHANGES.fullmatch(exchange.name) for exchange in _exchanges(state, vhost))
    return own or bool(plain_queues(state, vhost))


def _exchanges(state: State, vhost: str) -> list[Exchange]:
    return [
        exchange
        for exchange in state.exchanges
        if exchange.vhost == vhost and exchange.name and not exchange.name.startswith(BROKERS_OWN_PREFIX)
    ]


def _queues(state: State, vhost: str) -> list[Queue]:
    return [queue for queue in state.queues if queue.vhost == vhost]
