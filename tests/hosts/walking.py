"""A fleet on hosts of the lab, set up by hand: what an operator would type, step by step.

The control machine provisions the broker and sends; alpha, beta and gamma run the workers as a systemd unit
of an ordinary user; Postfix on a host of its own takes the mail.
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests
from prometheus_client.parser import text_string_to_metric_families

from fleet import Client
from fleet.daemons.files import write_private
from tests.hosts.by_hand import ETC, FLEET, SERVICE, STATE, broker_tables, install
from tests.hosts.lab import Host
from tests.hosts.lab.brokers import Cluster
from tests.hosts.lab.disk import File
from tests.servers import clean_environ, worker_urls

MAILBOX = "/home/ops/Maildir/new"
FLEET_TOML = """\
[fleet]
name = "walk"
timezone = "UTC"
state_dir = "{state}"

{broker}[broker.users.{vhost}-observer]
role = "observer"
password = "file:{etc}/observer.password"

{hosts}
[backups.data]
sources = ["/srv/data"]
destination = "/srv/backup"
# Slow enough, 72 s, to be met by what happens to its host while the machine is busy with other labs.
bandwidth_limit = 250_000

[mail]
from = "fleet@lab.test"
templates = "{etc}/mail"
retry_base = "1s"
retry_max = "2s"
[mail.smtp]
host = "mail"
port = 25
ca = "{etc}/ca.pem"
timeout = "5s"
"""
MAIN_CF = """\
compatibility_level = 3.6
myhostname = mail
mydestination = lab.test
mynetworks = 127.0.0.0/8
inet_interfaces = all
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_tls_cert_file = /etc/postfix/mail.crt
smtpd_tls_key_file = /etc/postfix/mail.key
smtpd_tls_security_level = encrypt
alias_maps =
alias_database =
home_mailbox = Maildir/
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The parts of the fleet, and what is asked of them."""

    cluster: Cluster
    workers: tuple[Host, ...]
    mail: Host
    #: where the control machine keeps its fleet file and secrets
    directory: Path
    vhost: str

    @property
    def fleet_file(self) -> Path:
        """The control machine's own."""
        return self.directory / "fleet.toml"

    def client(self) -> Client:
        """Return a client on the control machine."""
        return Client(self.fleet_file, {})

    def fleet(self, *arguments: str, timeout: float = 120) -> str:
        """Run the command line on the control machine to a good end and return its stdout."""
        done = subprocess.run(
            (sys.executable, "-m", "fleet.cli.main", *arguments),
            env=clean_environ() | {"FLEET_FILE": str(self.fleet_file)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def on(self, host: Host, *arguments: str) -> str:
        """Run the command line on ``host`` as the user of its workers and return its stdout."""
        user = ("runuser", "-u", "fleet", "--", "env", f"FLEET_FILE={ETC}/fleet.toml")
        return host.run(*user, FLEET, *arguments)

    def received(self) -> list[int]:
        """Return the numbers of the mails that lie in the mailbox, in any order."""
        listed = self.mail.console(
            "sh", "-c", f"cat {MAILBOX}/* 2>/dev/null | grep '^mail number'", check=False
        )
        return [int(line.split()[2]) for line in listed.splitlines()]

    def starts(self, host: Host, task: str) -> int:
        """Return how often ``task`` was started on ``host`` since its workers began, by their own metrics."""
        return round(
            sum(_started(url, task) for url in worker_urls(self.fleet_file, "metrics", host=host.name))
        )

    def has_workers_of(self, host: Host) -> bool:
        """Tell whether the broker holds connections of ``host``'s workers, living or not.

        Workers only: a journal's connection has the broker's own heartbeat of 60 s, and holds no task.
        The broker itself is asked: the HTTP API would go on listing a connection that was closed within
        moments of its opening.
        """
        told = self.cluster.nodes[0].ctl("--quiet", "list_connections", "client_properties")
        return f'@{host.name}"' in told

    def waiting(self) -> dict[str, int]:
        """Return how many messages each queue of the fleet holds; streams left out."""
        rows = self.cluster.nodes[0].api(f"queues/{self.vhost}") or []
        return {row["name"]: row.get("messages", 0) for row in rows if row["type"] == "quorum"}


def set_up(cluster: Cluster, workers: Sequence[Host], mail: Host, *, wheel: Path, directory: Path) -> Walk:
    """Provision the broker, put the fleet onto the hosts and start the workers."""
    made = Walk(
        cluster=cluster,
        workers=tuple(workers),
        mail=mail,
        directory=directory,
        vhost=f"walk-{secrets.token_hex(3)}",
    )
    _write_control(made)
    made.fleet("provision", "broker", "--yes")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: _install(made, host, wheel), made.workers))
    return made


def mail_files(cluster: Cluster) -> tuple[File, ...]:
    """Return the files that make a host with Postfix the fleet's mail server."""
    issued = cluster.authority.issue("mail")
    return (
        File(path="/etc/postfix/main.cf", content=MAIN_CF.encode()),
        File(path="/etc/postfix/mail.crt", content=issued.cert.read_bytes()),
        File(path="/etc/postfix/mail.key", content=issued.key.read_bytes(), mode=0o600),
    )


def _write_control(walk: Walk) -> None:
    admin = walk.cluster.nodes[0].admin_password.reveal()
    for name, text in (
        ("celery", secrets.token_urlsafe(16)),
        ("observer", secrets.token_urlsafe(16)),
        ("admin", admin),
    ):
        write_private(walk.directory / f"{name}.password", text + "\n")
    (walk.directory / "ca.pem").write_bytes(walk.cluster.authority.cert.read_bytes())
    (walk.directory / "mail").mkdir()
    (walk.directory / "mail" / "note.subject.txt").write_text("Mail {{ number }}")
    (walk.directory / "mail" / "note.txt").write_text("mail number {{ number }}\n")
    walk.fleet_file.write_text(
        _fleet_toml(walk, etc=str(walk.directory), state=str(walk.directory / "state"))
    )


def _started(url: str, task: str) -> float:
    """Return how many runs of ``task`` the worker behind ``url`` has begun."""
    families = text_string_to_metric_families(requests.get(url, timeout=10).text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "fleet_tasks_started_total" and sample.labels["task"] == task
    )


def _fleet_toml(walk: Walk, *, etc: str, state: str) -> str:
    hosts = "".join(f'[hosts.{host.name}]\naddress = "{host.address}"\n' for host in walk.workers)
    broker = broker_tables(walk.cluster, vhost=walk.vhost, user=walk.vhost, etc=etc)
    return FLEET_TOML.format(etc=etc, state=state, broker=broker, vhost=walk.vhost, hosts=hosts)


def _install(walk: Walk, host: Host, wheel: Path) -> None:
    install(host, wheel=wheel, fleet_toml=_fleet_toml(walk, etc=ETC, state=STATE), secrets=walk.directory)
    for name in ("note.subject.txt", "note.txt"):
        host.put(f"{ETC}/mail/{name}", walk.directory / "mail" / name)
    for place in ("/srv/data", "/srv/backup"):
        host.run("install", "-d", "-o", "fleet", "-m", "0700", place)
    host.put("/srv/data/name", host.name, owner="fleet")
    host.put("/srv/data/bulk", os.urandom(18_000_000), owner="fleet")
    host.run("systemctl", "enable", "--now", SERVICE)


def snapshots(walk: Walk, host: Host) -> list[dict[str, object]]:
    """Return the copies that `fleet backup list` shows on ``host``."""
    copies: list[dict[str, object]] = json.loads(walk.on(host, "backup", "list", "data", "--json"))["copies"]
    return copies
