"""Beat as a broker user of its own, on real brokers: what it sends, and may not, and how it is shut out."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import amqp
import pytest
from amqp.exceptions import AccessRefused

from fleet import fleetfile
from fleet.accounts import MARK
from fleet.daemons.files import write_private
from fleet.errors import FleetError
from fleet.login import Login, beat_login, host_login
from tests.broker import BrokerNode, hosts_and_workers
from tests.integration.provisioning.test_rights import (
    ONE_SECOND,
    Attempt,
    bind,
    consume,
    declare_exchange,
    declare_queue,
    get,
    publish,
    purge,
)
from tests.integration.provisioning.test_rotation import Place, named_on, rotate
from tests.integration.sending.test_beat import beating, until
from tests.servers import RunFleet

BODY = """
[broker.users.{clock}]
role = "scheduler"
password = "file:{directory}/clock.password"

{hosts}
[backups.etc]
hosts = ["alpha"]
sources = ["/etc"]
destination = "/b"

[schedule.etc]
backup = "etc"
every = 2
grace = "60s"

[schedule.urls]
task = "fleet.check_urls"
every = 2
grace = "60s"
"""
NOT_THE_SCHEDULES: dict[str, Attempt] = {
    "a backup of another host": publish("fleet.tasks", "fleet.backup.beta"),
    "a delayed backup of another host": publish("celery_delayed_27", f"{ONE_SECOND}fleet.backup.beta"),
    "a mail": publish("fleet.tasks", "fleet.email"),
    "a delayed mail": publish("celery_delayed_27", f"{ONE_SECOND}fleet.email"),
    "a key that ends as one of its own": publish("fleet.tasks", "fleet.email.fleet.default"),
    "the default exchange": publish("", "fleet.default"),
    "the end of the delay": publish("celery_delayed_delivery", f"{ONE_SECOND}fleet.default"),
    "a forged outcome": publish("fleet.journal", "alpha"),
    "a forged dead letter": publish("fleet.dead", "fleet.default.dlq"),
    "reading what it sent": get("fleet.default"),
    "consuming what it sent": consume("fleet.backup.alpha"),
    "reading outcomes": consume("fleet.journal"),
    "reading dead letters": get("fleet.default.dlq"),
    "a queue of its own": declare_queue("spy"),
    "an exchange of its own": declare_exchange("spy"),
    "a binding": bind("fleet.email", "fleet.tasks", "fleet.default"),
    "a purge": purge("fleet.default"),
}


@pytest.fixture
def place(each_broker: BrokerNode, tmp_path: Path, run_fleet: RunFleet) -> Iterator[Place]:
    """A provisioned fleet whose hosts and whose beat have users of their own; beat's host is alpha."""
    for named in named_on(each_broker, tmp_path):
        for who in ("alpha", "beta", "clock"):
            write_private(tmp_path / f"{who}.password", f"of-{who}\n")
        hosts = hosts_and_workers("alpha", "beta")
        body = BODY.format(clock=f"clock-{named.name}", directory=tmp_path, hosts=hosts)
        file = named.write_fleet_toml(body)
        profile = f'profile = "per-host"\nhost_password = "file:{tmp_path}/{{host}}.password"\n'
        file.write_text(file.read_text().replace("[broker.management]", f"{profile}[broker.management]"))
        made = Place(vhost=named, file=file, run_fleet=run_fleet)
        made.run("provision", "broker", "--yes")
        yield made


def clock(place: Place) -> str:
    return f"clock-{place.vhost.name}"


def login(place: Place) -> Login:
    return beat_login(fleetfile.read(str(place.file)).broker, environ={})


@contextmanager
def channel(place: Place) -> Iterator[amqp.Channel]:
    """Log in as beat does, and open a channel that confirms what is published."""
    mine = login(place)
    assert mine.password is not None
    with amqp.Connection(
        host=place.vhost.address,
        userid=mine.user,
        password=mine.password.reveal(),
        virtual_host=place.vhost.name,
        confirm_publish=True,
        read_timeout=10,
    ) as connection:
        yield connection.channel()


def messages(place: Place, queue: str) -> int:
    """Return how many messages a queue has, without any lag."""
    vhost = place.vhost
    with amqp.Connection(
        host=vhost.address,
        userid=vhost.node.admin_user,
        password=vhost.node.admin_password.reveal(),
        virtual_host=vhost.name,
    ) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).message_count)


def gets(place: Place, *queues: str, more: int = 1) -> bool:
    """Wait until each of ``queues`` has ``more`` messages than now."""
    wanted = {queue: messages(place, queue) + more for queue in queues}
    return until(lambda: all(messages(place, queue) >= count for queue, count in wanted.items()))


def connected(place: Place) -> set[tuple[str, str]]:
    """Return user and name of each connection that the management API shows by now."""
    rows = place.vhost.api("GET", f"vhosts/{place.vhost.name}/connections")
    return {(row["user"], row["client_properties"].get("connection_name", "")) for row in rows}


def log(place: Place) -> str:
    return place.file.with_suffix(".log").read_text()


def test_beat_sends_the_whole_schedule_as_the_scheduler(place: Place) -> None:
    with beating(place.file):
        assert gets(place, "fleet.backup.alpha", "fleet.default", more=2)
        assert until(lambda: connected(place) == {(clock(place), "fleet beat")}), connected(place)
    assert messages(place, "fleet.backup.beta") == messages(place, "fleet.email") == 0
    assert "not sent" not in log(place)


def test_its_user_may_do_nothing_but_that(place: Place) -> None:
    allowed = []
    for name, attempt in NOT_THE_SCHEDULES.items():
        with suppress(AccessRefused, ConnectionError), channel(place) as as_the_scheduler:
            attempt(as_the_scheduler)
            allowed.append(name)
    assert allowed == []
    with channel(place) as as_the_scheduler:
        for key in ("fleet.backup.alpha", "fleet.default"):
            publish("fleet.tasks", key)(as_the_scheduler)
            publish("celery_delayed_27", f"{ONE_SECOND}{key}")(as_the_scheduler)


def test_an_entry_that_the_broker_was_not_told_of_is_held_back_until_it_is(place: Place) -> None:
    place.file.write_text(place.file.read_text().replace('hosts = ["alpha"]', 'hosts = ["*"]'))
    with beating(place.file):
        assert until(lambda: "etc/beta: not sent: " in log(place))
        assert "fleet.backup.beta" in log(place)
        assert gets(place, "fleet.backup.alpha", "fleet.default")
        assert messages(place, "fleet.backup.beta") == 0
        place.run("provision", "broker", "--yes")
        assert gets(place, "fleet.backup.beta")


def test_a_lost_host_that_ran_beat_is_shut_out_with_beats_user_and_another_host_without_it(
    place: Place,
) -> None:
    own = {f"{place.user}-alpha", f"{place.user}-alpha_send"}
    other = place.run("hosts", "revoke", "beta", "--yes", "--json")
    assert clock(place) in place.users()
    assert clock(place) not in other.stdout + other.stderr
    place.run("provision", "broker", "--yes")
    stolen = login(place)
    with beating(place.file):
        assert gets(place, "fleet.default")
        done = place.run("hosts", "revoke", "alpha", "--yes", "--json")
        assert set(json.loads(done.stdout)["users"]) == own | {clock(place)}
        assert until(lambda: "refused" in log(place))
    assert f"alpha runs beat, so user {clock(place)} goes, too" in done.stderr
    assert "scheduler-password" in done.stderr
    assert "before `fleet provision broker` makes its user again" in done.stderr
    with place.connected(host_login(fleetfile.read(str(place.file)), "beta", environ={})):
        pass
    write_private(place.vhost.directory / "clock.password", "another\n")
    place.run("provision", "broker", "--yes")
    with pytest.raises(FleetError, match="refused"), place.connected(stolen):
        pass
    with beating(place.file):
        assert gets(place, "fleet.backup.alpha", "fleet.default")


def test_a_lost_host_leaves_with_beats_user_and_one_that_is_there_without_it(place: Place) -> None:
    kept = place.run("remove", "beta", "--lost", "--check", code=4)
    assert clock(place) not in kept.stderr
    told = place.run("remove", "alpha", "--lost", "--check", code=4).stderr
    assert clock(place) in told
    assert "clock.password` has before `fleet provision broker` makes" in told
    done = place.run("remove", "alpha", "--lost", "--yes", "--json")
    assert clock(place) in json.loads(done.stdout)["revoked"]
    assert clock(place) not in place.users()


def test_its_password_is_rotated_and_the_old_user_stays_for_as_long_as_beat_is_connected_as_it(
    place: Place,
) -> None:
    user, new = clock(place), f"{clock(place)}+b"
    with beating(place.file):
        # The API may show a connection before it knows its name.
        assert until(lambda: connected(place) == {(user, "fleet beat")}), connected(place)
        left = place.run(*rotate(user, "--wait", "2s"), code=3)
        assert f"still connected as {user}: fleet beat" in left.stderr
        assert place.users() >= {user, new}
        assert gets(place, "fleet.backup.alpha", "fleet.default")
    with beating(place.file):
        assert gets(place, "fleet.backup.alpha", "fleet.default")
        place.run(*rotate(user))
        assert place.users() & {user, new} == {new}
        assert gets(place, "fleet.backup.alpha", "fleet.default")
    assert (place.vhost.directory / "clock.password").read_text().startswith(MARK)
    assert "not sent" not in log(place)
    assert "no changes" in place.run("provision", "broker", "--prune", "--check").stderr
