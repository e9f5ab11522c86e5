import ast
from pathlib import Path

from fleet.config.parse import parse
from fleet.ops.demo.fleetfile import HOSTS, DemoPlan, fleet_file, task_module
from fleet.ops.private_broker import PrivateBroker, fleet_lines
from fleet.routes import route

BROKER = PrivateBroker(
    directory=Path("/d"),
    url="amqp://127.0.0.1:20001",
    vhost="celery",
    user="celery",
    password_file=Path("/d/celery.password"),
    observer="observer",
    observer_password_file=Path("/d/observer.password"),
    management_url="http://127.0.0.1:20002",
    admin_user="fleet-admin",
    admin_password_file=Path("/d/admin.password"),
    rabbitmqctl=("/d/rabbitmqctl",),
    metrics_url="http://127.0.0.1:20003/metrics",
)


def test_the_demos_fleet_file_is_valid_whatever_its_directory_is_called() -> None:
    plan = DemoPlan(
        directory=Path('/tmp/with "quotes" and \\'),
        broker_lines=fleet_lines(BROKER),
        hosts=HOSTS,
        smtp_port=2525,
        backup_metrics_port=20004,
        shared_metrics_port=20005,
    )
    fleet = parse(fleet_file(plan), source="fleet.toml")
    assert {host.name: host.address for host in fleet.hosts} == dict(HOSTS)
    assert route(fleet, "shop.pack_order").queue == "shop"
    assert fleet.state_dir == '/tmp/with "quotes" and \\/state'


def test_the_users_task_is_python() -> None:
    assert "shop.pack_order" in task_module(Path("/d/diary's.jsonl"))
    ast.parse(task_module(Path("/d/diary's.jsonl")))
