"""Run a RabbitMQ-backed fleet of Celery workers on several hosts from one file."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet.client import Client, SentTask
    from fleet.publish.many import Delivery, TaskCall

__version__ = "0.1.0"

__all__ = ["Client", "Delivery", "SentTask", "TaskCall", "__version__"]

#: public name → the module that has it; imported on first use: the command line's help needs no broker client
_PLACES = {
    "Client": "fleet.client",
    "Delivery": "fleet.publish.many",
    "SentTask": "fleet.client",
    "TaskCall": "fleet.publish.many",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module `fleet` has no attribute `{name}`")
    return getattr(import_module(_PLACES[name]), name)
