import pytest

from fleet.errors import UsageError
from fleet.model import Node
from fleet.worker.app import build_app, control_app
from fleet.worker.context import worker_context
from tests.unit.worker.fleets import ENVIRON, context, fleet


def test_a_worker_consumes_its_own_queues_and_knows_the_others() -> None:
    app = build_app(context("backup"))
    assert set(app.amqp.queues.consume_from) == {"fleet.backup.alpha"}
    assert set(app.amqp.queues) == {"fleet.backup.alpha", "fleet.backup.beta", "fleet.email", "fleet.shop"}


def test_the_password_reaches_a_connection_but_no_setting() -> None:
    app = build_app(context())
    assert app.connection_for_read().password() == "hunter2"
    assert "hunter2" not in app.bugreport()
    assert "hunter2" not in repr(app.conf.table(with_defaults=True))
    assert "hunter2" not in app.connection_for_read().as_uri()


def test_a_connection_keeps_user_vhost_and_password_when_it_moves_to_the_next_node() -> None:
    nodes = (Node(host="mq1", port=5672), Node(host="mq2", port=5673))
    connection = build_app(context(nodes=nodes)).connection_for_read()
    connection.maybe_switch_next()
    assert (connection.hostname, connection.port) == ("mq2", 5673)
    assert (connection.userid, connection.virtual_host) == ("celery", "celery")
    assert connection.password() == "hunter2"


def test_a_certificate_is_checked_against_the_node_that_is_connected_to() -> None:
    nodes = (Node(host="mq1", port=5671, tls=True), Node(host="mq2", port=5671, tls=True))
    connection = build_app(context(nodes=nodes)).connection_for_read()
    assert connection.ssl["server_hostname"] == "mq1"
    connection.maybe_switch_next()
    assert connection.ssl["server_hostname"] == "mq2"


def test_only_publishing_connections_have_bounded_reads_and_writes() -> None:
    app = build_app(context())
    assert app.connection_for_write().transport_options["read_timeout"] == 10
    assert app.connection_for_write().transport_options["confirm_publish"] is True
    assert "read_timeout" not in app.connection_for_read().transport_options


def test_a_missing_module_of_the_operators_tasks_is_one_clear_error() -> None:
    with pytest.raises(UsageError, match=r"`no_such_shop\.tasks`"):
        build_app(context(imports=("no_such_shop.tasks",)))


def test_an_app_that_only_inspects_knows_no_tasks_of_the_fleet() -> None:
    app = control_app(fleet(), environ=ENVIRON)
    assert not [name for name in app.tasks if name.startswith("fleet.")]
    assert app.connection_for_write().password() == "hunter2"


def test_an_unknown_broker_user_is_named() -> None:
    with pytest.raises(UsageError, match="`eve`"):
        control_app(fleet(), environ={**ENVIRON, "FLEET_BROKER_USER": "eve"})


@pytest.mark.parametrize(
    ("host", "worker", "instance", "named"),
    [
        ("delta", "shared", "a", "delta"),
        ("alpha", "night", "a", "night"),
        ("alpha", "shared", "c", "`c`"),
    ],
)
def test_a_context_names_what_the_fleet_lacks(host: str, worker: str, instance: str, named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        worker_context(fleet(), host=host, worker=worker, instance=instance, environ=ENVIRON)
    assert caught.value.hint


def test_instances_have_names_and_ports_of_their_own() -> None:
    old = worker_context(fleet(metrics_port=9540), host="alpha", worker="backup", environ=ENVIRON)
    new = worker_context(
        fleet(metrics_port=9540), host="alpha", worker="backup", instance="b", environ=ENVIRON
    )
    assert (old.node_name, old.metrics_port) == ("backup-a@alpha", 9540)
    assert (new.node_name, new.metrics_port) == ("backup-b@alpha", 9640)
