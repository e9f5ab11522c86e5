import pytest

from fleet.config.parse import parse
from tests.broker import BrokerVhost, hosts_and_workers
from tests.servers import Provisioned, RunFleet, StartWorker, answers_ok, ready_urls


def test_the_fleet_file_of_a_test_is_valid(vhost: BrokerVhost) -> None:
    fleet = parse(vhost.fleet_toml(), source="fleet.toml")
    assert fleet.broker.vhost == vhost.name
    assert {host.name for host in parse(vhost.fleet_toml(hosts_and_workers("a", "b")), source="f").hosts} == {
        "a",
        "b",
    }


def test_a_command_of_a_test_sees_no_variable_of_the_machine(
    run_fleet: RunFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_FILE", "/nowhere/else.toml")
    done = run_fleet("broker", "run", "--help")
    assert done.returncode == 0
    assert "/nowhere" not in done.stdout


def test_a_worker_on_a_provisioned_vhost_is_ready_until_it_is_stopped(
    provisioned: Provisioned, start_worker: StartWorker
) -> None:
    path = provisioned()
    worker = start_worker(path, "shared")
    (url,) = ready_urls(path, host="alpha", worker="shared")
    assert answers_ok(url)
    worker.stop()
    assert not answers_ok(url)
