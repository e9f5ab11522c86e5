"""How does a task get to its queue for certain?"""

from fleet.publish.fate import Fate, FateKind
from fleet.publish.message import (
    FIRST_HEADER,
    KEY_HEADER,
    SENT_HEADER,
    TaskMessage,
    new_task_id,
    task_id_for_key,
)
from fleet.publish.publisher import Publisher

__all__ = [
    "FIRST_HEADER",
    "KEY_HEADER",
    "SENT_HEADER",
    "Fate",
    "FateKind",
    "Publisher",
    "TaskMessage",
    "new_task_id",
    "task_id_for_key",
]
