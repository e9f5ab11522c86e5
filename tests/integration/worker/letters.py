"""A shop whose dead letters an operator deals with, by the real command line."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amqp

from fleet.fleetfile import read
from fleet.letters.look import Look
from fleet.ops.letters.access import Access, access
from tests.integration.worker.conftest import ENVIRON, Shop, eventually
from tests.servers import RunFleet, clean_environ

DEAD_SHOP = "fleet.shop.dlq"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where the operator sits."""

    shop: Shop
    run_fleet: RunFleet

    def run(
        self, *arguments: str, code: int = 0, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        done = self.run_fleet(
            "dead-letters", *arguments, file=self.shop.file, env=ENVIRON | dict(env or {}), timeout=120
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    def answer(self, text: str, *arguments: str, code: int) -> str:
        """Run a command on a terminal, answer its question with ``text``, and return what it told."""
        ours, theirs = os.openpty()
        try:
            os.write(ours, text.encode())
            done = subprocess.run(
                (sys.executable, "-m", "fleet.cli.main", "dead-letters", *arguments),
                env=clean_environ() | ENVIRON | {"FLEET_FILE": str(self.shop.file)},
                stdin=theirs,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def list(self, *arguments: str) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = self.json("list", *arguments)["lines"]
        return lines

    def access(self) -> Access:
        return access(read(str(self.shop.file)), ENVIRON)

    def look(self, queue: str = DEAD_SHOP) -> Look:
        return self.access().look(queue)

    def ready(self, queue: str = "fleet.shop") -> int:
        """Return how many messages of a queue nobody holds, as the broker itself counts them now."""
        connection = admin(self.shop)
        try:
            return int(connection.channel().queue_declare(queue, passive=True).message_count)
        finally:
            connection.close()

    def await_nobody(self, queue: str = DEAD_SHOP) -> None:
        """Wait until the broker has noticed that nobody looks any more, and put back what was held."""

        def is_alone() -> bool:
            connection = admin(self.shop)
            try:
                return not connection.channel().queue_declare(queue, passive=True).consumer_count
            finally:
                connection.close()

        eventually(is_alone, what=f"nobody looks into {queue}")

    def await_letters(self, count: int, *, queue: str = DEAD_SHOP) -> None:
        """Wait until so many letters are there for whoever looks next."""
        eventually(lambda: self.ready(queue) == count, what=f"{count} letters in {queue}")


def begin(desk: Desk, *arguments: str) -> "subprocess.Popen[str]":
    """Start a command and do not wait for it."""
    return subprocess.Popen(
        (sys.executable, "-m", "fleet.cli.main", "dead-letters", *arguments),
        env=clean_environ() | ENVIRON | {"FLEET_FILE": str(desk.shop.file)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def taken_out(desk: Desk, queue: str) -> Counter[str]:
    """Take every message out of a queue, and return how many there are of each task id."""
    found: Counter[str] = Counter()
    connection = admin(desk.shop)
    try:
        channel = connection.channel()
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            found[message.headers["id"]] += 1
    finally:
        connection.close()
    return found


def admin(shop: Shop) -> amqp.Connection:
    """Return a connection with every right, to put things where nobody else may."""
    node = shop.vhost.node
    connection = amqp.Connection(
        host=shop.vhost.address,
        userid=node.admin_user,
        password=node.admin_password.reveal(),
        virtual_host=shop.vhost.name,
        login_method="PLAIN",
    )
    connection.connect()
    return connection


def task_headers(number: int, task: str = "probe.ok", **more: object) -> dict[str, object]:
    return {"id": f"letter-{number}", "task": task, "retries": 0, "fleet_sent": 1.0, **more}


def refused(queue: str = "fleet.shop", **more: object) -> dict[str, object]:
    """Return the headers of a worker's refusal."""
    return {
        "fleet_refused_reason": "unknown_task",
        "fleet_refused_queue": queue,
        "fleet_refused_routing_key": queue,
        "fleet_refused_time": 1_700_000_000.0,
        "fleet_refused_host": "alpha",
        **more,
    }


def lay(shop: Shop, letters: Sequence[dict[str, object]], *, body: bytes = b"[[], {}, {}]") -> None:
    """Lay letters with these headers into the shop's dead-letter queue."""
    connection = admin(shop)
    try:
        channel = connection.channel()
        channel.confirm_select()
        open_ones = set(range(1, len(letters) + 1))

        def confirmed(tag: int, multiple: bool) -> None:  # noqa: FBT001 - py-amqp's signature
            open_ones.difference_update(range(tag + 1) if multiple else (tag,))

        channel.events["basic_ack"].add(confirmed)
        for number, headers in enumerate(letters, start=1):
            message = amqp.Message(
                body,
                application_headers=headers,
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
            )
            channel.basic_publish(message, exchange="", routing_key=DEAD_SHOP)
            while number - 1_000 in open_ones:
                connection.drain_events(timeout=20)
        while open_ones:
            connection.drain_events(timeout=20)
    finally:
        connection.close()


def audit(file: Path) -> list[str]:
    """Return what the journal says that operators did: outcome and task id."""
    from fleet.journal import tail
    from fleet.login import observer_login

    fleet = read(str(file))
    records = tail(fleet, observer_login(fleet.broker, environ=ENVIRON), count=1000)
    return [f"{record.outcome} {record.task_id}" for record in records if record.worker.startswith("@")]
