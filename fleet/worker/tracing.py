"""What did a task get, how long did it take, and with which values did it fail? For an operator who asked.

Only with ``--trace-tasks``. What looks like a secret by its name, or is one by its type, is masked; addresses
and the like are not, so this is for a bad hour and not for every day.
"""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from celery import signals

from fleet.secrets import Secret

log = logging.getLogger(__name__)

MASK = "***"
#: characters shown of one value, and entries of one collection
LONGEST = 200
MOST = 20
DEEPEST = 4
_SECRET_NAME = re.compile(r"pass(word|wd|phrase)?|token|secret|key|credential|auth", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^/@\s:]*:)[^/@\s]+(@)")


def masked(value: object, *, name: str = "", depth: int = 0) -> str:
    """Return ``value`` as text that is fit for a log: short, and without what is secret."""
    if isinstance(value, Secret) or _SECRET_NAME.search(name):
        return MASK
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        inner = [
            f"{_short(str(key))}: {masked(each, name=str(key), depth=depth + 1)}"
            for key, each in list(value.items())[:MOST]
        ]
        return "{" + ", ".join(inner) + _more(value) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        inner = [masked(each, depth=depth + 1) for each in list(value)[:MOST]]
        return "[" + ", ".join(inner) + _more(value) + "]"
    return _URL_PASSWORD.sub(rf"\1{MASK}\2", _short(_safe_repr(value)))


def failing_locals(trace: TracebackType | None) -> tuple[str, dict[str, str]]:
    """Return where the innermost frame of ``trace`` stands, and its variables, masked."""
    if trace is None:
        return "", {}
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    place = f"{frame.f_code.co_filename}:{trace.tb_lineno} in {frame.f_code.co_name}"
    return place, {name: masked(value, name=name) for name, value in frame.f_locals.items()}


class TaskTracer:
    """Logs the beginning, the end and the failure of every task in this process and its children."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}

    def install(self) -> None:
        """Begin to trace; to be called before children are forked."""
        signals.task_prerun.connect(self._before, weak=False)
        signals.task_failure.connect(self._failed, weak=False)
        signals.task_postrun.connect(self._after, weak=False)

    def _before(
        self, task_id: str, task: Any, args: Sequence[object], kwargs: Mapping[str, object], **extra: Any
    ) -> None:
        del extra
        self._began[task_id] = time.monotonic()
        _tell("task_trace_begin", task=task.name, id=task_id, args=masked(args), kwargs=masked(kwargs))

    def _failed(self, sender: Any, task_id: str, exception: BaseException, **extra: Any) -> None:
        del extra
        place, variables = failing_locals(exception.__traceback__)
        _tell("task_trace_failure", task=sender.name, id=task_id, at=place, locals=masked(variables))

    def _after(self, task_id: str, task: Any, state: str | None, **extra: Any) -> None:
        del extra
        began = self._began.pop(task_id, None)
        seconds = None if began is None else time.monotonic() - began
        _tell("task_trace_end", task=task.name, id=task_id, state=state, seconds=seconds)


def _tell(event: str, **fields: object) -> None:
    log.debug("task trace", extra={"event": event, "fields": fields})


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - somebody else's __repr__ must not fail the task
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _more(values: Any) -> str:
    return ", …" if len(values) > MOST else ""
