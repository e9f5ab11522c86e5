"""The fleet's own users on real brokers: every request and every attack goes as the simulator says."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import amqp
import pytest

from fleet import fleetfile
from fleet.model import Fleet
from fleet.ops.permissions import look
from fleet.ops.provision import provision_broker
from provisioning.broker.operations import BindExchange, DeclareExchange, Operation, Publish
from provisioning.broker.simulator import Rights
from tests.broker import BrokerNode, BrokerVhost
from tests.broker_attempts import Client
from tests.recorded_rights import told
from tests.unit.provisioning.test_roles_by_record import BYPASSES, FILE, MAILBOX, NOBODYS, RECORD, SOMEBODYS

ASKED: frozenset[Operation] = frozenset((*NOBODYS, *BYPASSES, *SOMEBODYS)).union(*RECORD.values())


class Site:
    """The fleet of the record, on a vhost of its own and with users of its own."""

    def __init__(self, node: BrokerNode, directory: Path) -> None:
        self.vhost = BrokerVhost.name_only(node, directory)
        self.file = directory / "fleet.toml"
        self._write("per-host")

    def _write(self, profile: str) -> None:
        vhost, password = self.vhost, f"file:{self.vhost.password_file}"
        tables = FILE.format(profile=profile).partition("[broker.users.web]")[2]
        for role in ("hands", "eyes"):
            tables = tables.replace(f"[broker.users.{role}]", f"[broker.users.{role}-{vhost.name}]")
        tables = tables.replace('"env:P"', f'"{password}"')
        (vhost.directory / "alpha").write_text(f"{vhost.password}")
        (vhost.directory / "alpha").chmod(0o600)
        host_password = (
            f'host_password = "file:{vhost.directory}/{{host}}"\n' if profile == "per-host" else ""
        )
        self.file.write_text(f"""\
[broker]
url = "{vhost.node.url}"
vhost = "{vhost.name}"
user = "{vhost.user}"
password = "{password}"
profile = "{profile}"
{host_password}
[broker.management]
url = "{vhost.node.management_url}"
user = "{vhost.node.admin_user}"
password = "file:{vhost.node.admin_password_file}"

[broker.users.web-{vhost.name}]{tables}""")

    def provision(self, profile: str) -> Fleet:
        self._write(profile)
        fleet = fleetfile.read(str(self.file))
        assert provision_broker(fleet, {}, prune=True).converged
        return fleet

    def users(self) -> dict[str, str]:
        """Return the name of each user of the record as the broker knows it."""
        roles = {role: f"{role}-{self.vhost.name}" for role in ("web", "hands", "eyes")}
        main = self.vhost.user
        return roles | {
            "celery": main,
            "celery-alpha": f"{main}-alpha",
            "celery-alpha_send": f"{main}-alpha_send",
        }

    def client(self, user: str) -> Client:
        return Client(node=self.vhost.node, vhost=self.vhost.name, user=user, password=self.vhost.password)


@pytest.fixture
def site(each_broker: BrokerNode, tmp_path: Path) -> Iterator[Site]:
    made = Site(each_broker, tmp_path)
    try:
        yield made
    finally:
        made.vhost.delete()


def named(operation: Operation, users: dict[str, str]) -> Operation:
    """Return ``operation`` with the operator's real name in its key of the journal."""
    if isinstance(operation, Publish) and operation.key == "@hands":
        return replace(operation, key=f"@{users['hands']}")
    return operation


@pytest.mark.parametrize("profile", ["per-host", "least-privilege"])
def test_every_user_may_on_the_broker_what_the_simulator_says(site: Site, profile: str) -> None:
    fleet = site.provision(profile)
    seen = look(fleet, {})
    users = site.users()
    here = users if profile == "per-host" else {k: v for k, v in users.items() if not k.startswith("celery-")}
    allowed = 0
    for role, user in here.items():
        rights = Rights.of(seen.state, user, site.vhost.name, version=seen.version)
        client = site.client(user)
        asked = {named(operation, users) for operation in ASKED}
        says = {operation for operation in asked if client.may(operation)}
        simulated = {operation for operation in asked if rights.allows(operation)}
        assert told(says) == told(simulated), role
        allowed += len(says)
        # And what it asks for in real life is among that.
        assert {named(operation, users) for operation in RECORD[role]} <= says, role
    assert allowed >= 50


def test_who_may_declare_write_and_read_one_name_sends_past_topic_permissions(site: Site) -> None:
    site.provision("least-privilege")
    with site.client(site.vhost.user).channel() as channel:
        channel.exchange_declare(MAILBOX, "fanout", durable=False, auto_delete=False)
        channel.exchange_bind("fleet.journal", MAILBOX, "")
        with pytest.raises(amqp.AccessRefused):
            channel.basic_publish(amqp.Message("{}"), exchange="fleet.journal", routing_key="@somebody")
    with site.client(site.vhost.user).channel() as channel:
        channel.confirm_select()
        # Confirmed and not returned: it is in the stream, to which alone this way leads.
        channel.basic_publish_confirm(
            amqp.Message("{}"), exchange=MAILBOX, routing_key="@somebody", mandatory=True, confirm_timeout=20
        )


def test_neither_user_of_a_host_can_do_that(site: Site) -> None:
    site.provision("per-host")
    ways: tuple[Operation, ...] = tuple(
        BindExchange(destination=exchange, source=MAILBOX)
        for exchange in ("fleet.tasks", "celery_delayed_27", "fleet.journal", "fleet.dead")
    )
    ways += (DeclareExchange(exchange="other@alpha.celery.pidbox", alternate_exchange="fleet.tasks"),)
    for role in ("celery-alpha", "celery-alpha_send"):
        client = site.client(site.users()[role])
        assert told(way for way in ways if client.may(way)) == [], role
