"""Letters as the broker and a worker leave them."""

from datetime import datetime
from typing import Any

from fleet.letters.letter import Letter, read_letter
from fleet.letters.replay import Rules
from fleet.routes import BrokerQueue

DEAD = "fleet.email.dlq"
EMAIL = BrokerQueue(name="fleet.email", queue="email", host=None, dead_letter_queue=DEAD)
BACKUP = BrokerQueue(
    name="fleet.backup.alpha", queue="backup", host="alpha", dead_letter_queue="fleet.backup.dlq"
)
RULES = Rules(queues={queue.name: queue for queue in (EMAIL, BACKUP)})
TASK: dict[str, object] = {"id": "t1", "task": "fleet.send_mail", "retries": 4, "fleet_first": 5.0}


def death(
    queue: str = "fleet.email", reason: str = "rejected", *, keys: list[str] | None = None
) -> dict[str, object]:
    noted = datetime(2026, 1, 1)  # noqa: DTZ001 - py-amqp reads times as naive ones
    found = [queue] if keys is None else keys
    return {"queue": queue, "reason": reason, "count": 1, "time": noted, "routing-keys": found}


def rejected(*deaths: dict[str, object], **headers: object) -> Letter:
    """Return a letter that the broker moved."""
    return letter({"x-death": list(deaths or (death(),)), "x-first-death-queue": "fleet.email", **headers})


def refused(queue: str = "fleet.email", **headers: object) -> Letter:
    """Return a letter that a worker's gate refused."""
    notes = {
        "fleet_refused_reason": "not_allowed",
        "fleet_refused_detail": "no",
        "fleet_refused_host": "alpha",
        "fleet_refused_queue": queue,
        "fleet_refused_routing_key": queue,
        "fleet_refused_time": 100.0,
    }
    return letter(notes | headers)


def letter(headers: dict[str, Any], *, body: bytes = b"[[], {}, {}]", **properties: object) -> Letter:
    return read_letter(
        dead_letter_queue=DEAD, headers=TASK | headers, properties={"priority": 0, **properties}, body=body
    )
