"""Run a RabbitMQ-backed fleet of Celery workers on several hosts from one file."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet.client import Client, SentTask

__version__ = "0.1.0"

__all__ = ["Client", "SentTask", "__version__"]


def __getattr__(name: str) -> object:
    # Imported on first use: the command line's help needs no broker client.
    if name in ("Client", "SentTask"):
        from fleet import client

        return getattr(client, name)
    raise AttributeError(f"module `fleet` has no attribute `{name}`")
