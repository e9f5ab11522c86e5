"""The fleet walks on real hosts: a cluster, workers, a mail server; a cable is pulled and a power cut."""

import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from fleet.errors import BrokerUnreachable, PublishUncertain
from tests.hosts.fixtures import MAIL, WORKERS, CleanHosts
from tests.hosts.lab import Host, Lab
from tests.hosts.lab.brokers import Cluster
from tests.hosts.lab.system import await_that
from tests.hosts.lab.wheels import fleet_wheel
from tests.hosts.walking import Walk, mail_files, set_up, snapshots

#: between two mails, so that thousands do not pile up while a host is away
PAUSE_SECONDS = 0.1


@pytest.fixture(scope="session")
def wheel(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return fleet_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def walk(lab: Lab, cluster: Cluster, clean_hosts: CleanHosts, wheel: Path, tmp_path: Path) -> Walk:
    """The fleet, with its workers ready."""
    mail = lab[MAIL]
    mail.reset()
    for file in mail_files(cluster):
        mail.put(file.path, file.content, mode=file.mode)
    mail.boot()
    mail.console("useradd", "--create-home", "ops")
    made = set_up(cluster, clean_hosts(*WORKERS), mail, wheel=wheel, directory=tmp_path)
    await_that(lambda: all(map(is_ready, made.workers)), "all workers should be ready", timeout_seconds=60)
    return made


def is_ready(host: Host) -> bool:
    """Tell whether both default workers of ``host`` say that they are ready."""
    try:
        return all(
            requests.get(f"http://{host.address}:{port}/readyz", timeout=2).ok for port in (9540, 9541)
        )
    except requests.RequestException:
        return False


class Sender:
    """Sends numbered mails, one after the other, until the block ends; remembers which were accepted."""

    def __init__(self, walk: Walk) -> None:
        self.accepted: dict[int, str] = {}
        self._walk = walk
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        number = 0
        with self._walk.client() as client:
            while not self._over.wait(PAUSE_SECONDS):
                # Whatever is raised was not accepted.
                with suppress(BrokerUnreachable, PublishUncertain):
                    self.accepted[number] = client.mail("ops@lab.test", "note", {"number": number}).id
                number += 1


@pytest.mark.timeout(600)
def test_nothing_accepted_is_lost_when_a_cable_is_pulled_and_a_power_cut(walk: Walk) -> None:
    alpha, beta, gamma = walk.workers
    with Sender(walk) as sender, walk.client() as client:
        backups = {task.host: task.id for task in client.backup("data")}
        await_that(
            lambda: all(walk.starts(host, "fleet.backup") for host in walk.workers),
            "each host's backup should have begun",
            timeout_seconds=30,
        )
        beta.unplug()
        gamma.power_off()
        gamma.boot()
        await_that(
            lambda: not walk.has_workers_of(beta), "the broker should give beta up", timeout_seconds=60
        )
        assert not snapshots(walk, alpha), "the backups ended before the faults did"
        beta.plug()
        await_that(lambda: walk.has_workers_of(beta), "beta should be back", timeout_seconds=60)
    with walk.client() as client:
        outcomes = client.wait(backups.values(), timeout_seconds=200)
    assert {outcome.outcome for outcome in outcomes.values()} == {"succeeded"}
    # It went on while its host was cut off, and nothing ran beside it when its message came again.
    assert walk.starts(beta, "fleet.backup") == 1
    assert walk.starts(gamma, "fleet.backup") == 1
    await_that(
        lambda: all(count == 0 for name, count in walk.waiting().items() if not name.endswith(".dlq")),
        "the queues should be empty",
        timeout_seconds=150,
    )
    for host in walk.workers:
        (snapshot,) = snapshots(walk, host)
        assert snapshot["outcome"] == "complete"
        walk.on(host, "backup", "restore", "data", "/srv/data/name", "--to", "/var/lib/fleet/back")
        assert host.read("/var/lib/fleet/back/srv/data/name").decode() == host.name
    counted = Counter(walk.received())
    missing = sender.accepted.keys() - counted.keys()
    # A mail whose answer was lost with the host is held where an operator sees it.
    assert len(missing) == walk.waiting()["fleet.email.dlq"], (sorted(missing), walk.waiting())
    assert len(missing) <= 4
    # Twice, at most what was in the hands of the two hosts: two children each.
    assert sum(count - 1 for count in counted.values()) <= 4
