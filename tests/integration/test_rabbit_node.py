from pathlib import Path

import pytest
import requests

from fleet.daemons.process import accepts, marked
from fleet.daemons.rabbitmq import RabbitNode
from fleet.errors import UsageError
from tests.broker import BrokerVhost
from tests.listening import listening_addresses


def test_a_private_node_serves_clients_and_its_http_api_to_the_administrator_only(rabbit: RabbitNode) -> None:
    api = f"{rabbit.management_url}/api/whoami"
    answer = requests.get(api, auth=(rabbit.admin_user, rabbit.admin_password.reveal()), timeout=10)
    assert answer.json()["name"] == rabbit.admin_user
    assert requests.get(api, auth=("guest", "guest"), timeout=10).status_code == 401
    assert accepts(rabbit.port)


def test_a_private_node_listens_on_loopback_only(rabbit: RabbitNode) -> None:
    ports = rabbit.ports
    numbers = {ports.amqp, ports.management, ports.prometheus, ports.distribution, ports.epmd}
    found = {(address, port) for address, port in listening_addresses() if port in numbers}
    assert {port for _, port in found} == numbers
    assert {address for address, _ in found} <= {"127.0.0.1", "::1"}


def test_files_with_secrets_are_for_their_owner_only(rabbit: RabbitNode) -> None:
    assert rabbit.directory.stat().st_mode & 0o077 == 0
    for name in ("admin.password", "rabbitmq.conf", "home/.erlang.cookie"):
        assert (rabbit.directory / name).stat().st_mode & 0o077 == 0


def test_no_password_stands_in_an_argument_or_the_environment(rabbit: RabbitNode) -> None:
    secret = rabbit.admin_password.reveal().encode()
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                text = (process / name).read_bytes()
            except OSError:
                continue
            assert secret not in text


def test_rabbitmqctl_talks_to_the_private_node_from_any_environment(rabbit: RabbitNode) -> None:
    assert rabbit.admin_user in rabbit.ctl("list_users")


def test_a_second_node_in_the_same_directory_is_refused(rabbit: RabbitNode) -> None:
    with pytest.raises(UsageError, match="another broker runs in"):
        RabbitNode.start(rabbit.directory)


def test_a_taken_port_is_refused_by_name_and_nothing_is_left(rabbit: RabbitNode, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"port {rabbit.port} is in use") as caught:
        RabbitNode.start(tmp_path / "second", port=rabbit.port)
    assert caught.value.hint is not None
    assert "--port" in caught.value.hint


def test_a_killed_node_comes_back_with_its_data_on_the_same_ports_and_stops_without_a_trace(
    tmp_path: Path,
) -> None:
    node = RabbitNode.start(tmp_path / "node")
    try:
        url, marks = node.url, node.marks
        vhost = BrokerVhost.create(node, tmp_path)
        node.kill()
        assert not node.is_alive()
        node.restart()
        assert node.url == url
        assert vhost.name in {row["name"] for row in vhost.api("GET", "vhosts")}
        marks = marks + node.marks
    finally:
        node.stop()
    assert [pid for mark in marks for pid in marked(mark)] == []
    ports = node.ports
    assert not [port for port in (ports.amqp, ports.management, ports.epmd) if accepts(port)]
