"""Passwords change on real brokers of each release, while everybody goes on logging in."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import amqp
import pytest

from fleet import fleetfile
from fleet.accounts import MARK, Slotted
from fleet.connection import Target, connect
from fleet.daemons.files import write_private
from fleet.daemons.process import free_ports
from fleet.daemons.rabbitmq import RabbitNode
from fleet.errors import FleetError
from fleet.login import Login, host_login, login_of
from fleet.secrets import Secret
from tests.broker import BrokerNode, BrokerVhost, hosts_and_workers
from tests.servers import RunFleet, clean_environ

SHOP = """\
[broker.users.shop-{name}]
role = "publisher"
queues = ["email"]
password = "env:SHOP"
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A provisioned fleet without machines, and its command line."""

    vhost: BrokerVhost
    file: Path
    run_fleet: RunFleet
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def user(self) -> str:
        return self.vhost.user

    @property
    def kept(self) -> str:
        """What is kept as the main user's password."""
        return self.vhost.password_file.read_text().strip()

    def run(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        done = self.run_fleet(*arguments, file=self.file, env=self.environ)
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            (sys.executable, "-m", "fleet.cli.main", *arguments),
            env=clean_environ() | {"FLEET_FILE": str(self.file)} | self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def users(self) -> set[str]:
        """Return the users that have rights in the vhost, without the administrator."""
        rows = self.vhost.api("GET", f"vhosts/{self.vhost.name}/permissions")
        return {row["user"] for row in rows} - {self.vhost.node.admin_user}

    def all_of(self, user: str) -> list[object]:
        """Return tags, limits and rights of ``user``."""
        name = quote(user, safe="")
        limits = self.vhost.api("GET", f"user-limits/{name}")
        rights = self.vhost.api("GET", f"users/{name}/permissions")
        topics = self.vhost.api("GET", f"users/{name}/topic-permissions")
        found = [self.vhost.api("GET", f"users/{name}")["tags"], [each["value"] for each in limits]]
        rows = [{key: value for key, value in row.items() if key != "user"} for row in (*rights, *topics)]
        return [*found, *sorted(map(json.dumps, rows))]

    def login(self) -> Login:
        return login_of(fleetfile.read(str(self.file)).broker, environ=self.environ)

    @contextmanager
    def connected(self, login: Login, name: str = "an old application") -> Iterator[amqp.Connection]:
        broker = fleetfile.read(str(self.file)).broker
        connection = connect(Target(broker=broker, login=login, name=name))
        try:
            yield connection
        finally:
            with suppress(OSError, amqp.AMQPError):
                connection.close()


@pytest.fixture
def named(each_broker: BrokerNode, tmp_path: Path) -> Iterator[BrokerVhost]:
    yield from named_on(each_broker, tmp_path)


def named_on(node: BrokerNode, directory: Path) -> Iterator[BrokerVhost]:
    made = BrokerVhost.name_only(node, directory)
    try:
        yield made
    finally:
        made.delete()


@pytest.fixture
def place(named: BrokerVhost, run_fleet: RunFleet) -> Place:
    return provisioned(named, run_fleet)


def provisioned(named: BrokerVhost, run_fleet: RunFleet) -> Place:
    body = SHOP.format(name=named.name) + hosts_and_workers("alpha", "beta")
    file = named.write_fleet_toml(body)
    made = Place(vhost=named, file=file, run_fleet=run_fleet, environ={"SHOP": "first-password"})
    made.run("provision", "broker", "--yes")
    return made


@pytest.fixture
def per_host(named: BrokerVhost, run_fleet: RunFleet) -> Place:
    for host in ("alpha", "beta"):
        write_private(named.directory / f"{host}.password", f"of-{host}\n")
    file = named.write_fleet_toml(hosts_and_workers("alpha", "beta"))
    places = f'profile = "per-host"\nhost_password = "file:{named.directory}/{{host}}.password"\n'
    file.write_text(file.read_text().replace("[broker.management]", f"{places}[broker.management]"))
    made = Place(vhost=named, file=file, run_fleet=run_fleet)
    made.run("provision", "broker", "--yes")
    return made


@dataclass
class Attempts:
    """Logs in with the present password every 100 ms, and keeps what was refused."""

    place: Place
    made: int = 0
    refused: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Attempts":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=20)

    def _run(self) -> None:
        while not self._over.wait(0.1):
            try:
                with self.place.connected(self.place.login(), "attempt"):
                    self.made += 1
            except FleetError as error:
                self.refused.append(error.message)


def read_until(stream: Iterator[str], wanted: str) -> list[str]:
    """Read lines until one has ``wanted``."""
    lines = []
    for line in stream:
        lines.append(line)
        if wanted in line:
            return lines
    raise AssertionError(f"`{wanted}` is not in {lines}")


def rotate(user: str, *more: str) -> Sequence[str]:
    return ("rotate", "password", "--user", user, "--without-hosts", "--yes", *more)


def test_several_users_are_rotated_together(per_host: Place) -> None:
    done = per_host.run("rotate", "password", "--all", "--without-hosts", "--wait", "30s", "--yes")
    names = [f"{per_host.user}-{host}{end}" for host in ("alpha", "beta") for end in ("", "_send")]
    assert per_host.users() == {f"{name}+b" for name in (per_host.user, per_host.vhost.observer, *names)}
    assert "rotated: " in done.stderr
    per_host.run("provision", "broker", "--check")


def test_an_application_is_waited_for_and_then_the_old_user_goes(place: Place) -> None:
    place.vhost.api("PUT", f"user-limits/{place.user}/max-channels", {"value": 512})
    old, before, first = place.login(), place.all_of(place.user), place.kept
    with Attempts(place) as attempts:
        with place.connected(old) as application:
            running = place.start(*rotate(place.user, "--wait", "60s"))
            assert running.stderr is not None
            told = read_until(iter(running.stderr), "still connected as")
            assert f"still connected as {place.user}: " in told[-1]
            address = application.transport.sock.getsockname()[0]
            assert told[-1].endswith(f" from {address}\n")
            assert place.users() >= {place.user, f"{place.user}+b"}
            assert application.connected
            with place.connected(old):
                pass
            assert place.run("provision", "broker", "--check").returncode == 0
        out, err = running.communicate(timeout=40)
    assert running.returncode == 0, err
    assert f"rotated: {place.user}" in err
    assert attempts.made > 10
    assert attempts.refused == []
    assert place.kept.startswith(MARK)
    assert place.vhost.password_file.stat().st_mode & 0o777 == 0o600
    assert place.user not in place.users()
    assert place.all_of(f"{place.user}+b") == before
    new = place.login().password
    assert new is not None
    assert [secret for secret in (first, new.reveal()) if secret in "".join((*told, out, err))] == []
    assert "no changes" in place.run("provision", "broker", "--prune", "--check").stderr
    with pytest.raises(FleetError, match="refused"), place.connected(old):
        pass


@pytest.fixture
def on_one_release(rabbit: RabbitNode, tmp_path: Path, run_fleet: RunFleet) -> Iterator[Place]:
    for named in named_on(rabbit, tmp_path):
        yield provisioned(named, run_fleet)


@pytest.fixture
def with_two_nodes(on_one_release: Place, tmp_path: Path) -> Iterator[tuple[Place, RabbitNode]]:
    """A fleet whose second node hears of nothing that the first one is told, as one that is cut off."""
    place, url = on_one_release, on_one_release.vhost.node.url
    with RabbitNode.start(tmp_path / "apart") as apart:
        apart.ctl("add_vhost", place.vhost.name)
        both = f'nodes = ["{url}", "{apart.url}"]'
        place.file.write_text(place.file.read_text().replace(f'url = "{url}"', both, 1))
        yield place, apart


def test_a_login_is_switched_to_when_every_node_that_answers_takes_it(
    with_two_nodes: tuple[Place, RabbitNode],
) -> None:
    place, apart = with_two_nodes
    first, new = place.kept, f"{place.user}+b"
    refused = place.run(*rotate(place.user), code=3).stderr
    assert f"{apart.url.removeprefix('amqp://')} refused vhost" in refused
    assert f"as user `{new}`" in refused
    assert "run it again" in refused
    assert place.kept == first
    with place.start(*rotate(place.user)) as again:
        # The node hears of the user while the command waits.
        prepared = Secret(place.vhost.password_file.with_suffix(".password.next").read_text().strip())
        apart.ctl("add_user", new, Slotted.read(prepared).secret.reveal())
        apart.ctl("set_permissions", "-p", place.vhost.name, new, ".*", ".*", ".*")
        err = again.communicate(timeout=60)[1]
    assert again.returncode == 0, err
    assert place.users() & {place.user, new} == {new}
    apart.kill()
    told = place.run(*rotate(place.user)).stderr
    assert f"not asked whether it lets the new users in: {apart.url.removeprefix('amqp://')}: " in told
    assert place.users() & {place.user, new} == {place.user}


def test_where_no_node_answers_from_here_nothing_is_switched_unless_that_is_said(
    on_one_release: Place,
) -> None:
    place, first = on_one_release, on_one_release.kept
    (port,) = free_ports(1)
    url = f'url = "{place.vhost.node.url}"'
    place.file.write_text(place.file.read_text().replace(url, f'url = "amqp://127.0.0.1:{port}"', 1))
    assert "`--unproved`" in place.run(*rotate(place.user), code=5).stderr
    assert place.kept == first
    place.run(*rotate(place.user, "--unproved"))
    assert place.kept != first


def test_the_next_rotation_leads_back_to_the_first_name(place: Place) -> None:
    for name, is_marked in ((f"{place.user}+b", True), (place.user, False)):
        place.run(*rotate(place.user))
        assert name in place.users()
        assert place.kept.startswith(MARK) is is_marked
        with place.connected(place.login()):
            pass
    assert "no changes" in place.run("provision", "broker", "--prune", "--check").stderr


def test_a_run_that_was_killed_while_it_waited_is_finished_by_the_next_one(place: Place) -> None:
    with place.connected(place.login()):
        running = place.start(*rotate(place.user, "--wait", "60s"))
        assert running.stderr is not None
        read_until(iter(running.stderr), "still connected as")
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=10)
        kept = place.kept
        checked = place.run("rotate", "password", "--all", "--check", code=4)
        assert f"still connected as {place.user}" in checked.stderr
        late = place.run(*rotate(place.user, "--wait", "1s"), code=3)
        assert "not everybody has moved over" in late.stderr
    place.run(*rotate(place.user))
    assert place.kept == kept
    assert f"{place.user}+b" in place.users()
    assert place.user not in place.users()


def test_while_a_rotation_is_under_way_provisioning_and_doctor_know_both_users(place: Place) -> None:
    place.run(*rotate(place.user, "--keep"), code=3)
    both = {place.user, f"{place.user}+b"}
    checked = place.run("provision", "broker", "--prune", "--check")
    assert "`fleet rotate password" in checked.stdout + checked.stderr
    place.run("provision", "broker", "--prune", "--yes", "--allow-destructive")
    assert place.users() >= both
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    place.vhost.api("PUT", f"permissions/{place.vhost.name}/{place.user}", rights)
    found = json.loads(place.run("doctor", "broker", "--json", code=4).stdout)
    told = [each["message"] for each in found["findings"] if each["check"] == "rights"]
    assert any(place.user in each for each in told), told
    assert not any(f"{place.user}+b" in each for each in told), told
    place.run("provision", "broker", "--yes", "--allow-destructive")
    place.run(*rotate(place.user))
    assert place.users() & both == {f"{place.user}+b"}


def test_a_password_from_the_environment_is_supplied_by_the_operator(place: Place) -> None:
    shop = f"shop-{place.vhost.name}"
    refused = place.run(*rotate(shop), code=2)
    assert "`env:SHOP_NEXT`" in refused.stderr
    place.environ["SHOP_NEXT"] = "without-the-mark"
    assert f"`{MARK}`" in place.run(*rotate(shop), code=2).stderr
    assert place.users() & {shop, f"{shop}+b"} == {shop}
    place.environ["SHOP_NEXT"] = f"{MARK}second-password"
    assert "`env:SHOP`" in place.run(*rotate(shop), code=3).stderr
    assert place.users() >= {shop, f"{shop}+b"}
    place.environ["SHOP"] = place.environ["SHOP_NEXT"]
    place.run(*rotate(shop))
    assert place.users() & {shop, f"{shop}+b"} == {f"{shop}+b"}
    del place.environ["SHOP_NEXT"]
    assert "no changes" in place.run("provision", "broker", "--prune", "--check").stderr
    place.environ["SHOP"] = "first-password"
    stale = place.run("provision", "broker", "--yes", code=2)
    assert "has taken its place" in stale.stderr
    assert "second-password" not in stale.stderr


def test_a_prepared_password_that_is_put_aside_ends_the_rotation_as_if_it_had_not_begun(place: Place) -> None:
    shop = f"shop-{place.vhost.name}"
    place.environ["SHOP_NEXT"] = f"{MARK}second-password"
    place.run(*rotate(shop), code=3)
    del place.environ["SHOP_NEXT"]
    place.run(*rotate(shop))
    assert place.users() & {shop, f"{shop}+b"} == {shop}


def test_a_lost_host_is_shut_out_alone_and_at_once(per_host: Place) -> None:
    fleet = fleetfile.read(str(per_host.file))
    logins = {
        (host, sends): host_login(fleet, host, sends=sends, environ={})
        for host in ("alpha", "beta")
        for sends in (False, True)
    }
    with (
        per_host.connected(logins["alpha", False]) as consumes,
        per_host.connected(logins["alpha", True]) as sends,
        per_host.connected(logins["beta", False]) as other,
    ):
        done = per_host.run("hosts", "revoke", "alpha", "--yes", "--json")
        for lost in (consumes, sends):
            with pytest.raises((OSError, amqp.AMQPError), match=r"deleted|closed|reset|shutdown"):
                lost.drain_events(timeout=5)
        other.channel().close()
    names = {f"{per_host.user}-alpha", f"{per_host.user}-alpha_send"}
    assert set(json.loads(done.stdout)["users"]) == names
    assert "change what is kept as its password" in done.stderr
    for login in (logins["alpha", False], logins["alpha", True]):
        with pytest.raises(FleetError, match="refused"), per_host.connected(login):
            pass
    with per_host.connected(logins["beta", True]):
        pass
    again = per_host.run("hosts", "revoke", "alpha", "--yes", "--json")
    assert json.loads(again.stdout)["users"] == []


def test_a_host_that_shares_its_user_cannot_be_shut_out_alone(place: Place) -> None:
    done = place.run("hosts", "revoke", "alpha", "--yes", code=2)
    assert "every host logs in as" in done.stderr
    assert "fleet rotate password --all" in done.stderr
    assert place.user in place.users()


def test_the_two_users_of_a_host_are_rotated_together(per_host: Place) -> None:
    user = f"{per_host.user}-alpha"
    per_host.run(*rotate(user))
    assert per_host.users() >= {f"{user}+b", f"{user}_send+b", f"{per_host.user}-beta"}
    assert not per_host.users() & {user, f"{user}_send"}
    kept = Secret((per_host.vhost.directory / "alpha.password").read_text().strip())
    assert Slotted.read(kept).slot == "b"
    assert "no changes" in per_host.run("provision", "broker", "--prune", "--check").stderr
    assert json.loads(per_host.run("hosts", "revoke", "alpha", "--yes", "--json").stdout)["users"] == [
        f"{user}+b",
        f"{user}_send+b",
    ]
