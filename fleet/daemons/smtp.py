"""How does a test or the demo see mail arrive, and make its delivery fail on purpose?"""

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fleet.daemons.files import write_private
from fleet.daemons.process import LOOPBACK, Child, Command, accepts
from fleet.daemons.smtp_rules import Rule, dump
from fleet.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message that the sink accepted."""

    #: epoch seconds
    received: float
    sender: str
    recipients: tuple[str, ...]
    content: bytes

    def message(self) -> EmailMessage:
        """Return the parsed message."""
        return message_from_bytes(self.content, policy=policy.default)


class SmtpSink:
    """An SMTP listener in a process of its own, on loopback, with scripted answers."""

    def __init__(self, directory: Path, port: int, child: Child) -> None:
        self.directory = directory
        self.host = LOOPBACK
        self.port = port
        self._child = child

    @classmethod
    def start(cls, directory: Path, *, rules: Sequence[Rule] = (), port: int = 0) -> Self:
        """Start a sink that keeps its messages in ``directory``; return once it listens.

        Raises UsageError when the extra ``demo`` (aiosmtpd) is not installed, DaemonFailed.
        """
        if importlib.util.find_spec("aiosmtpd") is None:
            raise UsageError("the SMTP sink needs aiosmtpd", hint="pip install 'fleet[demo]'")
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(directory / "rules.json", dump(rules))
        listening = directory / "port"
        listening.unlink(missing_ok=True)
        command = Command(
            name="SMTP sink",
            argv=(sys.executable, "-m", "fleet.daemons.smtp_sink", str(directory), str(port)),
            environ=dict(os.environ),
            log=directory / "sink.log",
        )
        child = Child.start(command)
        try:
            child.await_ready(listening.exists, timeout_seconds=20)
            bound = int(listening.read_text(encoding="ascii"))
            child.await_ready(lambda: accepts(bound), timeout_seconds=5)
        except BaseException:
            child.kill()
            raise
        return cls(directory, bound, child)

    def script(self, rules: Sequence[Rule]) -> None:
        """Replace the rules while the sink runs; how often each rule spoke is kept by its position."""
        write_private(self.directory / "rules.json", dump(rules))

    def messages(self) -> tuple[Received, ...]:
        """Return what was accepted so far, in order."""
        return tuple(_received(record) for record in self._records("messages.jsonl"))

    def answers(self) -> tuple[tuple[str, str | None], ...]:
        """Return (recipient, reply) of each answer that a rule gave so far, in order."""
        return tuple((record["recipient"], record["reply"]) for record in self._records("answers.jsonl"))

    def _records(self, name: str) -> list[dict[str, Any]]:
        kept = self.directory / name
        text = kept.read_text(encoding="ascii") if kept.exists() else ""
        # A line without its end is still being written.
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def kill(self) -> None:
        """Kill the sink at once."""
        self._child.kill()

    def stop(self) -> None:
        """End the sink; what it received stays in its directory."""
        self._child.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _received(record: dict[str, Any]) -> Received:
    return Received(
        received=record["received"],
        sender=record["sender"],
        recipients=tuple(record["recipients"]),
        content=record["content"].encode("utf-8", errors="surrogateescape"),
    )
