from dataclasses import replace
from typing import Any

import pytest

from fleet.errors import UsageError
from fleet.model import Backup, Broker, Fleet, Host, Mail, Node, Queue, Worker
from fleet.publish.compose import Destinations, backup_messages, mail_message, task_message
from fleet.routes import route

FLEET = Fleet(
    name="test",
    timezone="UTC",
    state_dir="/var/lib/fleet",
    broker=Broker(nodes=(Node(host="127.0.0.1", port=5672),)),
    hosts=(
        Host(name="alpha", address="alpha", labels=("db",)),
        Host(name="beta", address="beta", labels=("db",)),
        Host(name="gamma", address="gamma"),
    ),
    queues=(
        Queue(name="backup", tasks=("fleet.backup",), long=True, per_host=True),
        Queue(name="email", tasks=("fleet.send_mail", "shop.*")),
    ),
    workers=(
        Worker(name="backup", hosts=("alpha", "beta"), queues=("backup",), concurrency=1),
        Worker(name="shared", hosts=("*",), queues=("email",)),
    ),
    backups=(Backup(name="etc", hosts=("@db",), sources=("/etc",), destination="/backups"),),
    mail=Mail(sender="fleet@example.org", templates="/nonexistent"),
)


def queues_of(**options: Any) -> list[str]:
    return [message.queue.name for message in backup_messages(FLEET, "etc", **options)]


def test_a_backup_goes_to_the_queue_of_each_of_its_hosts() -> None:
    assert queues_of() == ["fleet.backup.alpha", "fleet.backup.beta"]


@pytest.mark.parametrize(
    ("patterns", "hosts"),
    [(["beta"], ["beta"]), (["al*"], ["alpha"]), (["@db"], ["alpha", "beta"]), (["*"], ["alpha", "beta"])],
)
def test_patterns_choose_among_a_backups_hosts(patterns: list[str], hosts: list[str]) -> None:
    assert queues_of(hosts=patterns) == [f"fleet.backup.{host}" for host in hosts]


def test_a_backup_names_what_to_do_and_carries_no_paths() -> None:
    assert [dict(message.kwargs) for message in backup_messages(FLEET, "etc")] == [{"backup": "etc"}] * 2


def test_one_key_on_two_hosts_is_two_pieces_of_work() -> None:
    first, again = (backup_messages(FLEET, "etc", key="monday") for _ in range(2))
    assert [message.task_id for message in first] == [message.task_id for message in again]
    assert len({message.task_id for message in first}) == 2


def test_without_a_key_every_task_is_another() -> None:
    ids = {task_message(Destinations(FLEET), "shop.charge", kwargs={}).task_id for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (lambda: backup_messages(FLEET, "etcc"), "no backup `etcc`", "did you mean `etc`?"),
        (lambda: backup_messages(FLEET, "etc", hosts=["gamma"]), "no host `gamma`", "its hosts: alpha, beta"),
        (lambda: backup_messages(FLEET, "etc", hosts=["web-*"]), "no host `web-*`", "its hosts: alpha, beta"),
        (
            lambda: task_message(Destinations(FLEET), "shop.charge", kwargs={}, host="xyz"),
            "no host `xyz`",
            "known: alpha",
        ),
        (
            lambda: task_message(Destinations(FLEET), "shop.charge", kwargs={}, host="alpha"),
            "is shared",
            "per_host",
        ),
        (
            lambda: task_message(Destinations(FLEET), "nobody.knows", kwargs={}),
            "has no queue for task `nobody.knows`",
            "fleet config show",
        ),
        (
            lambda: task_message(Destinations(FLEET), "fleet.backup", kwargs={}),
            "needs a host",
            "--host alpha",
        ),
        (
            lambda: task_message(Destinations(FLEET), "fleet.backup", kwargs={}, queue="email"),
            "queue `email` does not allow task `fleet.backup`",
            "tasks",
        ),
        (
            lambda: mail_message(FLEET, to="a@example.org", template="../x", context={}),
            "not the name of a mail template",
            "letters",
        ),
    ],
)
def test_what_the_fleet_does_not_have_is_refused_before_anything_is_sent(
    make: Any, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


def test_arguments_that_are_no_mapping_are_refused_in_words() -> None:
    text: Any = "order-7"
    with pytest.raises(UsageError, match="are of type str, not names with values"):
        task_message(Destinations(FLEET), "shop.charge", kwargs=text)


@pytest.mark.parametrize("args", ["2026-01", b"x", {"order": 7}, 7, {1, 2}])
def test_positional_arguments_that_are_no_list_are_refused_in_words(args: Any) -> None:
    with pytest.raises(UsageError, match="not a list of values"):
        task_message(Destinations(FLEET), "shop.charge", args=args, kwargs={})


@pytest.mark.parametrize("key", ["", 7, "\ud800"])
def test_a_key_that_would_stand_for_any_work_or_cannot_be_sent_is_refused(key: Any) -> None:
    with pytest.raises(UsageError, match="the idempotency key is empty, or no text"):
        task_message(Destinations(FLEET), "shop.charge", kwargs={}, key=key)


@pytest.mark.parametrize("task", ["shop.a\nb", "shop." + "k" * 251, "shop.\ud800"])
def test_a_name_that_every_worker_would_refuse_is_refused_by_the_sender(task: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a task"):
        task_message(Destinations(FLEET), task, kwargs={})


def test_a_fleet_without_mail_sends_none() -> None:
    with pytest.raises(UsageError, match=r"no `\[mail\]`"):
        mail_message(replace(FLEET, mail=None), to="a@example.org", template="welcome", context={})


def test_a_destination_is_looked_up_once_for_each_host_and_queue_and_is_that_of_the_fleet() -> None:
    destinations = Destinations(FLEET)
    asked: list[dict[str, Any]] = [{"host": "alpha"}, {"host": "beta"}, {"host": "alpha", "queue": "backup"}]
    for options in asked:
        found = destinations.of("fleet.backup", **options)
        assert found == route(FLEET, "fleet.backup", **options)
        assert destinations.of("fleet.backup", **options) is found
    for _ in range(2):
        with pytest.raises(UsageError, match="needs a host"):
            destinations.of("fleet.backup")
