"""Which mail arrived? An SMTP listener on loopback that keeps every message and misbehaves on request.

``python -m fleet.daemons.smtp_sink DIRECTORY`` reads ``rules.json`` there, writes ``port`` when it listens,
and appends one JSON record per accepted message to ``messages.jsonl``
and one per scripted answer to ``answers.jsonl``.
"""

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from fleet.daemons.files import write_private
from fleet.daemons.process import LOOPBACK
from fleet.daemons.smtp_rules import Stage, choose, load


class Sink:
    """aiosmtpd's handler: its method names and signatures are aiosmtpd's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spoken: Counter[tuple[int, str]] = Counter()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd looks for this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer one recipient."""
        del session, options
        scripted = await self._scripted(server, Stage.RCPT, address)
        if scripted is None or scripted.startswith("2"):
            envelope.rcpt_tos.append(address)
        return scripted or "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd looks for this name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Answer one message, and keep it unless the answer refuses it."""
        del session
        recipient = envelope.rcpt_tos[0]
        scripted = await self._scripted(server, Stage.DATA, recipient, envelope)
        if scripted is not None:
            return scripted
        self._keep(envelope)
        return "250 2.0.0 accepted"

    async def _scripted(
        self, server: SMTP, stage: Stage, recipient: str, envelope: Envelope | None = None
    ) -> str | None:
        # Read each time, so that a test may change the rules while the sink runs.
        rules = load((self._directory / "rules.json").read_text(encoding="utf-8"))
        index = choose(rules, stage, recipient, self._spoken)
        if index is None:
            return None
        rule = rules[index]
        self._spoken[index, recipient] += 1
        answer = {"recipient": recipient, "reply": "closed" if rule.disconnect else rule.reply}
        self._append("answers.jsonl", answer)
        await asyncio.sleep(rule.delay_seconds)
        if rule.disconnect:
            if envelope is not None:
                self._keep(envelope)
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
            return "421 4.3.2 closing"
        return rule.reply

    def _keep(self, envelope: Envelope) -> None:
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        parsed = message_from_bytes(content, policy=policy.default)
        record: dict[str, Any] = {
            "received": time.time(),
            "sender": envelope.mail_from,
            "recipients": envelope.rcpt_tos,
            "headers": [[name, str(value)] for name, value in parsed.items()],
            "content": content.decode("utf-8", errors="surrogateescape"),
        }
        self._append("messages.jsonl", record)

    def _append(self, name: str, record: dict[str, Any]) -> None:
        with (self._directory / name).open("a", encoding="ascii") as handle:
            handle.write(json.dumps(record) + "\n")


async def serve(directory: Path, port: int) -> None:
    """Listen until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    sink = Sink(directory)
    listener = await loop.create_server(
        lambda: SMTP(sink, enable_SMTPUTF8=True, hostname="sink.invalid", loop=loop), LOOPBACK, port
    )
    write_private(directory / "port", str(listener.sockets[0].getsockname()[1]))
    async with listener:
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
