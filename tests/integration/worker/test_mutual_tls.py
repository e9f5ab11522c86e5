"""Do worker, beat and publishers reach a broker that asks every client for a certificate?"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.daemons.process import Child, Command, free_ports
from fleet.daemons.rabbitmq import RabbitNode
from tests.broker import BrokerVhost
from tests.certificates import Authority, Issued
from tests.integration.worker.conftest import Shop, eventually, shops
from tests.servers import Provisioned, RunFleet, StartWorker, clean_environ, skipped_without_packages


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A shop whose broker verifies clients, and what the certificates of both sides are signed with."""

    shop: Shop
    authority: Authority
    port: int

    def present(self, client: Issued | None, *, ca: Path | None = None) -> None:
        """Reach the broker with ``client`` from now on."""
        plain = f'url = "amqp://127.0.0.1:{self.shop.vhost.node.port}"'
        text = self.shop.file.read_text().replace(plain, f'url = "amqps://127.0.0.1:{self.port}"')
        text = re.sub(r"\n\[broker\.tls\][^\[]*", "\n", text)
        names = "" if client is None else f'cert = "{client.cert}"\nkey = "{client.key}"\n'
        self.shop.file.write_text(f'{text}\n[broker.tls]\nca = "{ca or self.authority.cert}"\n{names}')


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RabbitNode, Authority, int]]:
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority.create(directory)
    server = authority.issue("127.0.0.1")
    (port,) = free_ports(1)
    settings = {
        "listeners.ssl.default": f"127.0.0.1:{port}",
        "ssl_options.cacertfile": str(authority.cert),
        "ssl_options.certfile": str(server.cert),
        "ssl_options.keyfile": str(server.key),
        "ssl_options.verify": "verify_peer",
        "ssl_options.fail_if_no_peer_cert": "true",
    }
    with skipped_without_packages():
        node = RabbitNode.start(directory / "node", settings=settings)
    try:
        yield node, authority, port
    finally:
        node.kill()
        node.stop()


@pytest.fixture
def guarded(
    made: tuple[RabbitNode, Authority, int], run_fleet: RunFleet, start_worker: StartWorker, tmp_path: Path
) -> Iterator[Guarded]:
    node, authority, port = made
    there = Provisioned(vhost=BrokerVhost.name_only(node, tmp_path), run_fleet=run_fleet)
    with shops(there, start_worker, tmp_path) as make:
        yield Guarded(shop=make(), authority=authority, port=port)


def test_a_worker_and_publishers_present_their_certificate_and_it_is_watched(
    guarded: Guarded, run_fleet: RunFleet
) -> None:
    shop = guarded.shop
    guarded.present(guarded.authority.issue("alpha", days=10, client=True))
    shop.start()
    shop.send("probe.ok", "from python")
    done = run_fleet(
        *("task", "send", "probe.ok", "--queue", "shop", "--args", '["from the command line"]', "--wait"),
        file=shop.file,
        env=shop.environ | {"PYTHONPATH": str(shop.file.parent)},
    )
    assert done.returncode == 0, done.stderr
    shop.expect("ok", times=2)
    (line,) = (
        line
        for line in shop.worker_logs().splitlines()
        if "event=certificate_ends" in line and "the client" in line
    )
    assert "ends on" in line
    end = "fleet_tls_certificate_end_timestamp_seconds"
    assert 0 < shop.metric("shared", end, kind="client") < shop.metric("shared", end, kind="ca")


def test_beat_presents_its_certificate(guarded: Guarded, tmp_path: Path) -> None:
    shop = guarded.shop
    shop.file.write_text(
        shop.file.read_text()
        + '\n[schedule.often]\ntask = "probe.ok"\nevery = "1s"\nkwargs = {word = "beat"}\n'
    )
    guarded.present(guarded.authority.issue("alpha", client=True))
    shop.start()
    beat = Child.start(
        Command(
            name="fleet beat",
            argv=(sys.executable, "-m", "fleet.cli.main", "beat"),
            environ=clean_environ() | shop.environ | {"FLEET_FILE": str(shop.file)},
            log=tmp_path / "beat.log",
            cwd=tmp_path,
        )
    )
    try:
        shop.expect("ok", "beat", seconds=30)
    finally:
        beat.stop()


#: what is wrong → (the client's certificate, what is said)
WRONG: dict[str, tuple[Callable[[Authority, Authority], Issued | None], str]] = {
    "none": (lambda ours, theirs: None, "asks? for a client certificate"),
    "expired": (lambda ours, theirs: ours.issue("alpha", days=-2, client=True), r"alpha-2\.crt` ended on"),
    "strange": (
        lambda ours, theirs: theirs.issue("alpha", client=True),
        "not (know the authority|accept the client certificate)",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_certificate_that_the_broker_does_not_accept_is_one_clear_error(
    guarded: Guarded, run_fleet: RunFleet, tmp_path: Path, wrong: str
) -> None:
    issue, said = WRONG[wrong]
    shop = guarded.shop
    (tmp_path / "theirs").mkdir()
    guarded.present(issue(guarded.authority, Authority.create(tmp_path / "theirs", "another authority")))
    environ = shop.environ | {"PYTHONPATH": str(shop.file.parent)}
    for arguments in (
        ("worker", "shared", "--host", "alpha", "--wait-for-broker", "0"),
        ("task", "send", "probe.ok", "--queue", "shop", "--timeout", "5s"),
    ):
        done = run_fleet(*arguments, file=shop.file, env=environ)
        assert done.returncode == 5, done.stderr
        assert re.search(said, done.stderr)
        assert "Traceback" not in done.stderr


def test_a_certificate_that_is_renewed_in_place_is_used_at_the_next_connection(guarded: Guarded) -> None:
    shop = guarded.shop
    client = guarded.authority.issue("alpha", days=5, client=True)
    guarded.present(client)
    shop.start()
    end = "fleet_tls_certificate_end_timestamp_seconds"
    before = shop.metric("shared", end, kind="client")
    renewed = guarded.authority.issue("alpha", days=25, client=True)
    renewed.cert.replace(client.cert)
    renewed.key.replace(client.key)
    shop.close_connections()
    shop.send("probe.ok", "again")
    shop.expect("ok", "again")
    eventually(lambda: shop.metric("shared", end, kind="client") > before)
