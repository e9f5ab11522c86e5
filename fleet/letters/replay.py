"""May this dead letter be sent again, and what does it look like then?

It goes back to the queue it came from and nowhere else, through the task exchange, so that a worker's gate
judges it as any other message. Pure: a letter in, a verdict or a message out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from fleet.letters.letter import REPLAYED_BY_HEADER, REPLAYED_TIME_HEADER, REPLAYS_HEADER, Letter
from fleet.model import Fleet
from fleet.publish.message import SENT_HEADER, WireMessage
from fleet.routes import TASK_EXCHANGE, BrokerQueue, broker_queues

#: a message that comes back that often has a cause that a replay does not cure
MAX_REPLAYS = 3

_PERSISTENT = 2
#: copied as they are; ``expiration`` would end the copy, ``user_id`` names somebody else
_PROPERTIES = frozenset(
    {"content_type", "content_encoding", "priority", "message_id", "timestamp", "type", "app_id"}
)


class Hindrance(StrEnum):
    """Why a letter is not replayed."""

    NOT_A_TASK = "not_a_task"
    NO_ORIGIN = "no_origin"
    FOREIGN_KEY = "foreign_routing_key"
    EXPIRED = "expired"
    TOO_OFTEN = "replayed_too_often"
    CAME_BACK = "came_back"


#: what each hindrance means, for an operator
MEANINGS: Mapping[Hindrance, str] = {
    Hindrance.NOT_A_TASK: "they name no task or no id, so no worker could run them",
    Hindrance.NO_ORIGIN: "no queue of this fleet is known to be where they came from",
    Hindrance.FOREIGN_KEY: "they came into their queue under the key of another one",
    Hindrance.EXPIRED: "their sender's `expires` has passed",
    Hindrance.TOO_OFTEN: "they have come back too often; see `--max-replays`",
    Hindrance.CAME_BACK: "they were replayed since this command began, and are here again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a replay goes by."""

    #: broker queue name → the queue
    queues: Mapping[str, BrokerQueue]
    max_replays: int = MAX_REPLAYS

    @classmethod
    def of(cls, fleet: Fleet, *, max_replays: int = MAX_REPLAYS) -> "Rules":
        """Return the rules for ``fleet``."""
        return cls(queues={queue.name: queue for queue in broker_queues(fleet)}, max_replays=max_replays)

    def judge(self, letter: Letter, *, now: float) -> BrokerQueue | Hindrance:
        """Return the queue that ``letter`` goes back to, or why it does not."""
        queue = self.queues.get(letter.origin or "")
        if not letter.is_task:
            return Hindrance.NOT_A_TASK
        # A queue of the fleet that dies elsewhere is no origin: headers are anybody's to write.
        if queue is None or queue.dead_letter_queue != letter.dead_letter_queue:
            return Hindrance.NO_ORIGIN
        # Sent under its queue's own key, it would pass the gate that has just refused it.
        if letter.routing_key != queue.name:
            return Hindrance.FOREIGN_KEY
        if letter.replays >= self.max_replays:
            return Hindrance.TOO_OFTEN
        return Hindrance.EXPIRED if _has_expired(letter.expires, now) else queue


def replayed(letter: Letter, queue: BrokerQueue, *, by: str, now: float) -> WireMessage:
    """Return ``letter`` as it goes back to ``queue``: the same task, id and body, with all its attempts."""
    headers = {name: value for name, value in letter.headers.items() if not _is_note(str(name))}
    again: dict[str, object] = {
        "retries": 0,
        REPLAYS_HEADER: letter.replays + 1,
        REPLAYED_BY_HEADER: by,
        REPLAYED_TIME_HEADER: now,
        # Each publish has a stamp of its own, by which a worker tells a redelivery from a new message.
        SENT_HEADER: now,
    }
    properties = {
        name: value for name, value in letter.properties.items() if name in _PROPERTIES and value is not None
    }
    return WireMessage(
        exchange=TASK_EXCHANGE,
        routing_key=queue.name,
        body=letter.body,
        headers=headers | again,
        properties=properties | {"correlation_id": letter.task_id, "delivery_mode": _PERSISTENT},
    )


def in_batches(letters: Sequence[Letter], *, size: int) -> list[list[int]]:
    """Return the indexes of ``letters`` in batches in which no task id stands twice.

    The broker's answers are told apart by it.
    """
    batches: list[list[int]] = []
    ids: set[str | None] = set()
    for index, letter in enumerate(letters):
        if not batches or len(batches[-1]) >= size or letter.task_id in ids:
            batches.append([])
            ids = set()
        batches[-1].append(index)
        ids.add(letter.task_id)
    return batches


def _is_note(header: str) -> bool:
    """Tell whether a header tells of this death, or would send copies elsewhere."""
    return header.lower().startswith("x-") or header.startswith("fleet_refused_") or header in {"CC", "BCC"}


def _has_expired(expires: str | None, now: float) -> bool:
    if expires is None:
        return False
    try:
        moment = datetime.fromisoformat(expires)
    except ValueError:
        return False  # the gate will say what is wrong with it
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() <= now
