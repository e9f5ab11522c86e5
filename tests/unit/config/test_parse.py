import pytest

from fleet.config.parse import parse
from fleet.errors import ConfigError
from fleet.model import Kind, Pool

MINIMAL = '[broker]\nurl = "amqp://mq1"\npassword = "env:P"\n[hosts.alpha]\n'


def test_a_minimal_file_gets_the_built_in_queues_and_one_worker_for_the_long_one() -> None:
    fleet = parse(MINIMAL, source="fleet.toml")
    assert [queue.name for queue in fleet.queues] == ["backup", "email", "default"]
    assert [(worker.name, worker.queues, worker.concurrency) for worker in fleet.workers] == [
        ("backup", ("backup",), 1),
        ("shared", ("email", "default"), 2),
    ]
    assert fleet.broker.vhost == fleet.broker.user == "celery"


def test_a_declared_worker_replaces_the_default_ones() -> None:
    fleet = parse(MINIMAL + '[workers.mail]\nqueues = ["email"]\npool = "threads"\n', source="fleet.toml")
    assert [(worker.name, worker.pool) for worker in fleet.workers] == [("mail", Pool.THREADS)]
    assert [queue.name for queue in fleet.queues] == ["email"]


def test_a_queue_carries_what_is_routed_to_it() -> None:
    text = MINIMAL + '[queues.shop]\n[tasks]\nimports = ["shop.tasks"]\n[tasks.routes]\n"shop.*" = "shop"\n'
    queue = parse(text, source="fleet.toml").queue("shop")
    assert queue is not None
    assert queue.tasks == ("shop.*",)


def test_a_redis_url_makes_the_reduced_profile() -> None:
    text = '[broker]\nurl = "redis://localhost:6380/3"\nvisibility_timeout = "2d"\n[hosts.alpha]\n'
    broker = parse(text, source="fleet.toml").broker
    assert (broker.kind, broker.nodes[0].port, broker.vhost) == (Kind.REDIS, 6380, "3")


def test_a_secret_in_the_clear_is_accepted_only_on_request_and_never_shown() -> None:
    text = MINIMAL.replace("env:P", "hunter2")
    fleet = parse(text, source="fleet.toml", plaintext_secrets=True)
    assert "hunter2" not in repr(fleet)
    with pytest.raises(ConfigError) as caught:
        parse(text, source="fleet.toml")
    assert "hunter2" not in str(caught.value)


def test_a_password_in_a_url_moves_out_of_it_where_the_operator_insists() -> None:
    text = """\
[broker]
url = "amqp://me:hunter%202@mq1/v"
result_backend = "redis://:hunter3@r1/1"
[hosts.alpha]
"""
    broker = parse(text, source="fleet.toml", plaintext_secrets=True).broker
    assert (broker.user, broker.vhost, broker.password and broker.password.name) == ("me", "v", "hunter 2")
    assert (broker.result_backend, broker.result_password and broker.result_password.name) == (
        "redis://r1/1",
        "hunter3",
    )


def test_values_nested_beyond_all_reason_are_a_problem_of_the_file() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse("x = " + "[" * 5000 + "]" * 5000, source="fleet.toml")


def test_ports_that_are_not_written_leave_room_for_every_second_instance() -> None:
    text = (
        MINIMAL + '[workers.a]\nqueues = ["email"]\nmetrics_port = 9640\n[workers.b]\nqueues = ["default"]\n'
    )
    fleet = parse(text, source="fleet.toml")
    assert [worker.metrics_port for worker in fleet.workers] == [9640, 9541]


def test_the_smtp_port_follows_the_kind_of_security() -> None:
    text = MINIMAL + '[mail]\nfrom = "a@b.org"\ntemplates = "mail"\n[mail.smtp]\nhost = "mx"\n'
    for security, port in {"starttls": 587, "tls": 465}.items():
        mail = parse(f'{text}security = "{security}"\n', source="etc/fleet.toml").mail
        assert mail is not None
        assert mail.smtp is not None
        assert (mail.smtp.port, mail.templates) == (port, "etc/mail")
