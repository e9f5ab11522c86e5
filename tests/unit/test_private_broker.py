import tomllib
from pathlib import Path

from fleet.ops.private_broker import PrivateBroker, fleet_lines

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


def test_the_printed_lines_are_toml_that_references_the_passwords() -> None:
    tables = tomllib.loads(fleet_lines(BROKER))["broker"]
    assert tables["password"] == "file:/d/celery.password"
    assert tables["management"]["password"] == "file:/d/admin.password"
    assert tables["rabbitmqctl"] == ["/d/rabbitmqctl"]
