"""What does the demo's fleet look like? Pure: paths and ports in, the texts of its files out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

#: each simulated host has a loopback address of its own, so that the same ports serve all of them
HOSTS: Mapping[str, str] = MappingProxyType({"alpha": "127.0.0.2", "beta": "127.0.0.3", "gamma": "127.0.0.4"})
#: how long the user's task runs, and so how long there is to kill its worker
TASK_SECONDS = 6
MAIL_TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "receipt.subject.txt": "Order {{ order }}: thank you, {{ name }}\n",
        "receipt.txt": "Dear {{ name }},\n\nyour order {{ order }} is on its way.\n",
        "receipt.html": "<p>Dear <b>{{ name }}</b>,</p>\n<p>your order {{ order }} is on its way.</p>\n",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """Everything the demo's fleet file depends on."""

    directory: Path
    #: the tables ``[broker]`` and ``[broker.management]``
    broker_lines: str
    #: host name → loopback address
    hosts: Mapping[str, str]
    smtp_port: int
    backup_metrics_port: int
    shared_metrics_port: int


def fleet_file(plan: DemoPlan) -> str:
    """Return the fleet file: three hosts, the built-in queues and one queue for a task of the user's own."""
    hosts = "".join(
        f"[hosts.{name}]\naddress = {_string(address)}\n\n" for name, address in plan.hosts.items()
    )
    return f"""\
[fleet]
name = "demo"
timezone = "UTC"
state_dir = {_string(plan.directory / "state")}

{plan.broker_lines}
{hosts}[queues.shop]
tasks = ["shop.*"]
max_runtime = "60s"

[workers.backup]
hosts = ["*"]
queues = ["backup"]
concurrency = 1
metrics_port = {plan.backup_metrics_port}

[workers.shared]
hosts = ["*"]
queues = ["email", "default", "shop"]
concurrency = 2
metrics_port = {plan.shared_metrics_port}

{_work(plan)}"""


def _work(plan: DemoPlan) -> str:
    return f"""\
[backups.docs]
sources = [{_string(plan.directory / "data" / "docs")}]
destination = {_string(plan.directory / "backups")}
restore_dir = {_string(plan.directory / "restored")}

[schedule.docs]
backup = "docs"
every = "10s"

[mail]
from = "Fleet demo <demo@example.org>"
templates = {_string(plan.directory / "templates")}
retry_base = "1s"

[mail.smtp]
host = "127.0.0.1"
port = {plan.smtp_port}
security = "none"

[tasks]
imports = ["shop_tasks"]
routes = {{ "shop.*" = "shop" }}
"""


def task_module(diary: Path) -> str:
    """Return the source of the user's own Celery task, which keeps a diary of its starts and ends."""
    return f'''\
"""A task of the user's own: it takes a while and writes down when it starts and ends."""

import json
import os
import time

from celery import Task, shared_task

DIARY = {str(diary)!r}


def note(event: str, order: int, worker: str) -> None:
    """Append one line; short appends of several processes do not mix."""
    line = {{"event": event, "order": order, "worker": worker, "pid": os.getpid(), "parent": os.getppid()}}
    with open(DIARY, "a", encoding="utf-8") as diary:
        diary.write(json.dumps(line) + "\\n")


@shared_task(name="shop.pack_order", bind=True)
def pack_order(self: Task, order: int) -> None:
    """Pack an order, slowly."""
    note("start", order, self.request.hostname)
    time.sleep({TASK_SECONDS})
    note("end", order, self.request.hostname)
'''


def _string(value: object) -> str:
    # JSON's strings are TOML's basic strings, quotes and backslashes included.
    return json.dumps(str(value), ensure_ascii=False)
