"""What does a worker write about itself? ``key=value`` lines, with no argument and no secret in them."""

import logging
import os
import re
import time
import warnings
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import billiard
from celery import signals
from celery.app import trace
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

#: Celery's own lines about tasks → event; what they would show of arguments and results is left out
TASK_EVENTS: Mapping[str, str] = MappingProxyType(
    {
        trace.LOG_RECEIVED: "task_received",
        trace.LOG_SUCCESS: "task_succeeded",
        trace.LOG_FAILURE: "task_failed",
        trace.LOG_INTERNAL_ERROR: "task_failed",
        trace.LOG_IGNORED: "task_ignored",
        trace.LOG_REJECTED: "task_rejected",
        trace.LOG_RETRY: "task_retry",
    }
)
_STDERR = 2
#: what stands in a line as it is
_PLAIN = re.compile(r"[\w.:/@+\[\]{}<>(),*#-]+").fullmatch
#: what may be shown of a task; ``exc`` is the error's own text
_TASK_FIELDS = ("name", "id", "runtime", "exc")
#: a child that was lost or killed for its time limit; the traceback shows nothing of the task
_CHILD_GONE = "Task handler raised error: %r"
#: logging's levels → syslog's, which journald takes from the head of a line
_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
#: loggers whose INFO is chatter to an operator
#: a task has one line, at its end
_QUIETER = ("kombu", "amqp", "celery.worker.consumer.tasks", "celery.worker.strategy")
#: loggers that show messages with their arguments at DEBUG
_NEVER_DEBUG = ("celery.pool", "celery.utils.functional", "kombu", "amqp")


class KeyValueFormatter(logging.Formatter):
    """Writes a record as ``key=value`` fields on one line; a traceback follows indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for ``record``."""
        fields = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            **self._told(record),
        }
        line = " ".join(f"{name}={quoted(value)}" for name, value in fields.items() if value is not None)
        if record.exc_info and record.exc_info[0] and record.msg != _CHILD_GONE:
            line += "\n" + "\n".join(
                f"  {each}" for each in self.formatException(record.exc_info).splitlines()
            )
        return line

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Return the record's time in UTC, to the millisecond."""
        del datefmt
        return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"

    def _told(self, record: logging.LogRecord) -> dict[str, Any]:
        data = getattr(record, "data", None)
        event = TASK_EVENTS.get(record.msg) or TASK_EVENTS.get(record.msg.rstrip("\n"))
        if isinstance(data, dict) and event:
            told = {name: data[name] for name in _TASK_FIELDS if name in data}
            return {"event": event, "task": told.pop("name", None), **told}
        fields: dict[str, Any] = getattr(record, "fields", {})
        return {**fields, "logger": record.name, "message": record.getMessage()}


class JournalFormatter(KeyValueFormatter):
    """Puts the priority in front of each line, so that ``journalctl -p warning`` shows what it should."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines for ``record``; a traceback has several, and journald takes each by itself."""
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def formatter(environ: Mapping[str, str], descriptor: int) -> KeyValueFormatter:
    """Return what writes lines for ``descriptor``: journald's form where its other end is journald."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return KeyValueFormatter()
    # Only then: a shell that a unit starts passes the variable on, with another stderr.
    is_journal = environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return JournalFormatter() if is_journal else KeyValueFormatter()


class Stderr:
    """The standard error, each line in one piece and without a buffer.

    Python's own has a lock, which a child inherits held for ever when it is forked while another thread
    writes; the child then hangs at its first line. Logging frees its own lock in a child, and this has none.
    """

    def write(self, text: str) -> int:
        """Write all of ``text``."""
        left = memoryview(text.encode("utf-8", "backslashreplace"))
        while left:
            left = left[os.write(_STDERR, left) :]
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


def stderr_handler(environ: Mapping[str, str] = os.environ) -> logging.Handler:
    """Return a handler that writes this process's lines to stderr."""
    handler = logging.StreamHandler(Stderr())
    handler.setFormatter(formatter(environ, _STDERR))
    return handler


@lru_cache(maxsize=1)
def _second(since_epoch: int) -> str:
    # A busy worker writes hundreds of lines within one.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_epoch))


def quoted(value: object) -> str:
    """Return ``value`` as one word: as it is where it is a plain one, else quoted with its escapes."""
    if isinstance(value, float):
        value = f"{value:.3f}"
    text = str(value)
    if _PLAIN(text):
        return text
    escaped = "".join(_escape(c) for c in text)
    return f'"{escaped}"'


def log_to_stderr(level: str) -> None:
    """Send this process's log lines to stderr, and keep Celery from setting up its own."""
    handler = stderr_handler()
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NEVER_DEBUG:
        logging.getLogger(name).setLevel(logging.INFO)
    if level.upper() != "DEBUG":
        for name in _QUIETER:
            logging.getLogger(name).setLevel(logging.WARNING)
    # The pool's own logger does not pass on what it has to say.
    billiard.get_logger().handlers[:] = [handler]
    billiard.get_logger().setLevel(logging.WARNING)
    ignore_advice()
    logging.captureWarnings(True)  # noqa: FBT003 - the standard library's signature
    # Its mere presence tells Celery that logging is somebody else's.
    signals.setup_logging.connect(_keep, weak=False)


def ignore_advice() -> None:
    """Leave out Celery's advice on what the settings have decided, and on options that fleet has not.

    To be called again when the worker is up: Celery turns some of it on while it starts.
    """
    for advice in (SecurityWarning, CPendingDeprecationWarning):
        warnings.simplefilter("ignore", advice)


def _keep(**options: Any) -> None:
    del options


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
