import re
from pathlib import Path

from fleet.config.parse import parse

DIRECTORY = Path(__file__).parents[2] / "docs" / "how-to"


def blocks(name: str, language: str) -> list[str]:
    text = (DIRECTORY / f"{name}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_the_schedule_of_the_how_to_is_a_valid_fleet_file() -> None:
    (tables,) = blocks("schedule", "toml")
    rest = """
[broker]
url = "amqp://127.0.0.1:5672"
password = "env:P"
[hosts.alpha]
address = "127.0.0.1"
[backups.etc]
hosts = ["*"]
sources = ["/etc"]
destination = "/var/backups/fleet"
[urls.shop]
url = "https://shop.example.org/"
[queues.shop]
tasks = ["shop.*"]
"""
    fleet = parse(tables.replace("[fleet]", '[fleet]\nname = "shop"') + rest, source="fleet.toml")
    assert [entry.name for entry in fleet.schedule] == ["nightly-etc", "shop-urls", "monday-report"]


def test_the_backup_of_the_how_to_is_a_valid_fleet_file() -> None:
    (tables,) = blocks("back-up-and-restore", "toml")
    rest = """
[broker]
url = "amqp://127.0.0.1:5672"
password = "env:P"
[hosts.alpha]
"""
    fleet = parse(tables + rest, source="fleet.toml")
    assert [backup.restore_dir for backup in fleet.backups] == ["/srv/restore"]
    assert [entry.hosts for entry in fleet.schedule] == [("*",)]


def test_the_first_broker_of_the_how_to_is_a_valid_fleet_file() -> None:
    (tables,) = blocks("first-broker", "toml")
    fleet = parse(tables, source="fleet.toml")
    assert (fleet.broker.vhost, fleet.broker.user, fleet.broker.profile) == (
        "celery",
        "celery",
        "least-privilege",
    )


def test_the_users_of_the_how_to_on_permissions_go_together_in_one_fleet_file() -> None:
    fleet = parse("\n".join(blocks("permissions", "toml")), source="fleet.toml")
    assert fleet.broker.scheduler is not None
    assert {user.name: user.role for user in fleet.broker.users} == {
        "beat": "scheduler",
        "shop": "publisher",
        "prometheus": "monitor",
    }


def test_the_application_of_the_how_to_may_send_to_its_queues() -> None:
    (tables,) = blocks("add-an-application", "toml")
    rest = """
[broker]
url = "amqp://127.0.0.1:5672"
password = "env:P"
[hosts.alpha]
"""
    (user,) = parse(tables + rest, source="fleet.toml").broker.users
    assert (user.name, user.role, user.queues) == ("shop-web", "publisher", ("shop", "email"))


def test_the_cluster_of_the_how_to_is_a_valid_broker() -> None:
    (tables,) = blocks("cluster", "toml")
    fleet = parse(tables + "[hosts.alpha]\n", source="fleet.toml")
    assert [node.host for node in fleet.broker.nodes] == [f"mq{number}.example.org" for number in (1, 2, 3)]
    assert all(node.tls for node in fleet.broker.nodes)


def test_the_hosts_of_the_how_to_are_reached_as_it_says() -> None:
    (tables,) = blocks("prepare-a-host", "toml")
    rest = """
[broker]
url = "amqp://127.0.0.1:5672"
password = "env:P"
"""
    fleet = parse(rest + tables, source="fleet.toml")
    assert (fleet.ssh.user, fleet.ssh.jump) == ("deploy", "ops@bastion.example.org")
    assert [(host.ssh_user, host.jump) for host in fleet.hosts] == [(None, None), ("root", "none")]
