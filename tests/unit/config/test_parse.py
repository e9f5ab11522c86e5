import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def paths(document: dict[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in document.items():
        found.append((*prefix, key))
        if isinstance(value, dict):
            found.extend(paths(value, (*prefix, key)))
    return found


RICH = (
    MINIMAL
    + '[workers.backup]\nqueues = ["backup"]\n[workers.shared]\nqueues = ["email", "default"]\n'
    + '[backups.etc]\nsources = ["/etc"]\ndestination = "/srv/backup"\n'
    + '[mail]\nfrom = "a@example.org"\ntemplates = "mail"\n[mail.smtp]\nhost = "mx"\n'
    + '[schedule.nightly]\nbackup = "etc"\ncrontab = "30 7 * * mon"\n'
)


@settings(max_examples=80)
@given(
    st.sampled_from(paths(tomllib.loads(RICH))), st.sampled_from(["", 0, -1, 3.5, True, [], {}, "x", ["*"]])
)
def test_any_one_wrong_value_ends_in_a_fleet_or_in_a_list_of_problems(
    path: tuple[str, ...], value: object
) -> None:
    document = tomllib.loads(RICH)
    table = document
    for part in path[:-1]:
        table = table[part]
    table[path[-1]] = value
    problems: tuple[object, ...] = ()
    try:
        fleet = parse(as_toml(document), source="fleet.toml")
    except ConfigError as error:
        fleet, problems = None, error.problems
    assert (fleet is None) == bool(problems)


def as_toml(document: dict[str, Any]) -> str:
    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f'"{key}" = {inline(item)}' for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(inline(item) for item in value) + "]"
        return str(value).lower() if isinstance(value, bool | int | float) else f'"{value}"'

    return "".join(f"{key} = {inline(value)}\n" for key, value in document.items())
