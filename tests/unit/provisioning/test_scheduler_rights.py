"""The user as whom beat logs in may send what the schedule sends, and nothing else."""

from dataclasses import replace

import pytest
from hypothesis import assume, given

from fleet.beat.scheduler import message_for
from fleet.config.parse import parse
from fleet.doctor.diagnose import diagnose
from fleet.doctor.finding import Level
from fleet.model import Fleet, Kind
from fleet.rights import explain
from fleet.routes import broker_queues
from fleet.schedule import Occurrence, targets
from fleet.topology import declared_users, desired_state
from provisioning.broker import operations as ask
from provisioning.broker.passwords import Password
from provisioning.broker.permissions import NOTHING
from provisioning.broker.simulator import Rights
from provisioning.broker.state import State
from provisioning.plan import plan
from tests.recorded_rights import told
from tests.unit.config.documents import Document, documents, to_toml
from tests.unit.doctor.sound import sound
from tests.unit.provisioning.test_roles_by_record import BYPASSES, DELAY, NOBODYS, VERSIONS

FILE = """
[broker]
url = "amqp://mq1"
password = "env:P"
profile = "per-host"
host_password = "file:/{host}"
[broker.users.clock]
role = "scheduler"
password = "env:CLOCK"
[hosts.alpha]
[hosts.beta]
[hosts.gamma]
[queues.shop]
tasks = ["shop.*"]
[queues.slow]
tasks = ["slow.*"]
long = true
per_host = true
[workers.shared]
queues = ["shop", "default"]
[workers.slow]
hosts = ["alpha", "gamma"]
queues = ["slow"]
[workers.backup]
queues = ["backup"]
[backups.etc]
hosts = ["*"]
sources = ["/etc"]
destination = "/b"
[schedule.etc]
backup = "etc"
every = "1d"
[schedule.slow]
task = "slow.down"
hosts = ["gamma"]
every = "1d"
[schedule.urls]
task = "fleet.check_urls"
every = "5m"
"""


def clocks(text: str = FILE, version: tuple[int, ...] = ()) -> Rights:
    return Rights.of(desired_state(parse(text, source="fleet.toml"), {}), "clock", "celery", version=version)


def sendable(rights: Rights, fleet: Fleet, *, delayed: bool) -> set[str]:
    exchange, delay = ("celery_delayed_27", DELAY) if delayed else ("fleet.tasks", "")
    names = {queue.name for queue in broker_queues(fleet)}
    return {name for name in names if rights.allows(ask.Publish(exchange=exchange, key=f"{delay}{name}"))}


def sent(fleet: Fleet) -> set[str]:
    """Return the queues of the messages that beat makes."""
    return {
        message_for(fleet, Occurrence(entry=entry.name, host=host, slot=0, due=0)).queue.name
        for entry in fleet.schedule
        for host in targets(fleet, entry)
    }


def test_it_may_send_to_the_hosts_of_the_schedules_entries_and_to_no_others() -> None:
    backups = {f"fleet.backup.{host}" for host in ("alpha", "beta", "gamma")}
    expected = {*backups, "fleet.slow.gamma", "fleet.default"}
    fleet = parse(FILE, source="fleet.toml")
    assert sent(fleet) == expected
    for delayed in (False, True):
        assert sendable(clocks(), fleet, delayed=delayed) == expected


@given(document=documents())
def test_whatever_the_schedule_it_may_send_what_beat_sends_and_nothing_else(document: Document) -> None:
    users = {"clock": {"role": "scheduler", "password": "env:CLOCK"}}
    assume("redis" not in document["broker"].get("url", ""))
    document["broker"] = document["broker"] | {"users": document["broker"].get("users", {}) | users}
    fleet = parse(to_toml(document), source="fleet.toml", plaintext_secrets=True)
    assert fleet.broker.kind is Kind.RABBITMQ
    rights = Rights.of(desired_state(fleet, {}), "clock", fleet.broker.vhost)
    for delayed in (False, True):
        assert sendable(rights, fleet, delayed=delayed) == sent(fleet)


@pytest.mark.parametrize("version", VERSIONS)
def test_it_reads_nothing_declares_nothing_and_gets_round_nothing(version: tuple[int, ...]) -> None:
    state = desired_state(parse(FILE, source="fleet.toml"), {})
    mine = clocks(version=version)
    attacks = (
        *NOBODYS,
        *BYPASSES,
        *(ask.Consume(queue=queue.name) for queue in state.queues),
        *(ask.Purge(queue=queue.name) for queue in state.queues),
        ask.Publish(exchange="celery.pidbox"),
        ask.Publish(exchange="fleet.journal", key="alpha"),
        ask.Publish(exchange="fleet.dead", key="fleet.shop.dlq"),
    )
    assert told(operation for operation in attacks if mine.allows(operation)) == []


def test_without_a_schedule_it_may_send_nothing() -> None:
    text = FILE[: FILE.index("[schedule.etc]")]
    state = desired_state(parse(text, source="fleet.toml"), {})
    assert {row.write for row in state.topic_permissions if row.user == "clock"} == {NOTHING}
    assert sendable(clocks(text), parse(text, source="fleet.toml"), delayed=False) == set()


def test_what_it_can_do_is_told_in_words() -> None:
    fleet = parse(FILE, source="fleet.toml")
    told_of = explain(fleet, desired_state(fleet, {}), "clock")
    expected = tuple(sorted(sent(fleet)))
    assert {ability.what: ability.names for ability in told_of.can} == {
        "send": expected,
        "send_delayed": expected,
    }


def state_of(text: str) -> State:
    fleet = parse(text, source="fleet.toml")
    hashes = {name: Password("p").hashed(salt=b"salt") for name in declared_users(fleet)}
    return desired_state(fleet, hashes, broker_version=(3, 10, 8))


def test_a_further_entry_is_no_loss_and_one_that_goes_is() -> None:
    grown = f'{FILE}[schedule.shop]\ntask = "shop.tidy"\nevery = "1h"\n'
    more, less = plan(state_of(grown), state_of(FILE)), plan(state_of(FILE), state_of(grown))
    assert {change.resource.label.split()[0] for change in more.changes} == {"topic"}
    assert more.losses == {}
    assert {loss.reason for loss in less.losses.values()} == {"user clock may lose rights (write)"}


def test_the_doctor_tells_when_it_can_send_more_than_the_schedule() -> None:
    text = FILE.replace('"file:/{host}"', '"env:P_{host}"')
    facts = sound(text)
    assert {each.level for each in diagnose(facts) if each.check == "rights"} == {Level.OK}
    state = facts.state or State()
    rows = tuple(
        replace(row, write="^fleet[.]") if (row.user, row.exchange) == ("clock", "fleet.tasks") else row
        for row in state.topic_permissions
    )
    found = diagnose(replace(facts, state=replace(state, topic_permissions=rows)))
    (finding,) = (each for each in found if each.check == "rights")
    assert finding.level is Level.FAIL
    assert finding.message.startswith("user clock can send tasks to queues (")
    assert "fleet.shop" in finding.message
