"""`fleet provision adopt` against a real broker: what is there is described, and stays as it is."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest

from fleet.daemons.rabbitmq import RabbitNode
from tests.broker import BrokerVhost
from tests.integration.provisioning.conftest import Site
from tests.servers import RunFleet, clean_environ

ARTICLE_PASSWORD = "a password of the article"
#: an application as the article's: its queue is named after the module, beside Celery's own
APPLICATION = """\
from celery import Celery

app = Celery("shop", broker={url!r})
app.conf.task_routes = {{"shop.slow": {{"queue": "slow"}}}}


@app.task(name="shop.add")
def add(a, b):
    return a + b


@app.task(name="shop.slow")
def slow():
    return 1
"""


def admin(node: RabbitNode) -> dict[str, str]:
    return {"FLEET_ADMIN_PASSWORD": node.admin_password.reveal()}


def variables(file: Path) -> dict[str, str]:
    """Return what a shell has after it has read ``file``: the hashes, and none of the passwords."""
    command = ("sh", "-c", 'set -a; . "$0"; env', str(file))
    said = subprocess.run(
        command, env=clean_environ(), capture_output=True, text=True, timeout=10, check=True
    )
    lines = (line.partition("=") for line in said.stdout.splitlines())
    return {name: value for name, _, value in lines if name.startswith("FLEET_") and name != "FLEET_CACHE"}


def adopt(
    site_vhost: BrokerVhost,
    run_fleet: RunFleet,
    target: Path,
    *options: str,
    env: dict[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    node = site_vhost.node
    chosen = ("provision", "adopt", "--vhost", site_vhost.name, "--url", node.url, *options)
    return run_fleet("--file", str(target), *chosen, env=env, timeout=90)


def over_http(node: RabbitNode) -> tuple[str, ...]:
    return ("--management", node.management_url, "--admin", node.admin_user)


@pytest.mark.parametrize("door", ["http", "definitions", "rabbitmqctl"])
def test_a_provisioned_fleet_is_adopted_with_its_hashes_and_the_plan_is_empty(
    site: Site, rabbit: RabbitNode, run_fleet: RunFleet, tmp_path: Path, door: str
) -> None:
    target = tmp_path / "adopted.toml"
    exported = tmp_path / "exported.json"
    if door == "definitions":
        exported.write_text(json.dumps(site.vhost.api("GET", "definitions")))
    ways = {
        "http": over_http(rabbit),
        "definitions": ("--definitions", str(exported)),
        "rabbitmqctl": ("--rabbitmqctl", rabbit.rabbitmqctl[0]),
    }
    done = adopt(site.vhost, run_fleet, target, *ways[door], "--json", env=admin(rabbit))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["plan"]["changed"], record["is_fleet"]) == (False, True)
    # Only the management API shows who the provisioner is.
    provisioner = f"permission of user {rabbit.admin_user} in vhost {site.vhost.name}"
    left = [row["label"] for row in record["unmanaged"]]
    assert left == ([] if door == "http" else [provisioner])
    assert [path.stat().st_mode & 0o777 for path in (target, tmp_path / "adopted.env")] == [0o600, 0o600]
    declared = tomllib.loads(target.read_text())
    assert set(declared["hosts"]) == {"alpha", "beta"}
    assert {name: user["role"] for name, user in declared["broker"]["users"].items()} == {
        site.user(role): role for role in ("observer", "publisher", "operator")
    }
    # The hashes alone are enough to provision, through either door, and the broker is as the file wants it.
    known = variables(tmp_path / "adopted.env") | admin(rabbit)
    if door == "definitions":
        text = target.read_text().replace(
            "\nuser =", f'\nrabbitmqctl = ["{rabbit.rabbitmqctl[0]}"]\nuser =', 1
        )
        target.write_text(text)
    checked = run_fleet("provision", "broker", "--check", "--json", file=target, env=known, timeout=90)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with site.channel("worker"):
        pass  # the password is what it was


def test_a_lost_broker_is_made_again_from_the_file_and_the_hashes_and_old_passwords_open_it(
    site: Site, rabbit: RabbitNode, run_fleet: RunFleet, tmp_path: Path
) -> None:
    target = tmp_path / "adopted.toml"
    assert adopt(site.vhost, run_fleet, target, *over_http(rabbit), env=admin(rabbit)).returncode == 0
    site.vhost.delete()
    known = variables(tmp_path / "adopted.env") | admin(rabbit)
    made = run_fleet("provision", "broker", "--yes", file=target, env=known, timeout=90)
    assert made.returncode == 0, made.stderr
    for role in ("worker", "observer", "publisher", "operator"):
        with site.channel(role):
            pass
    assert site.pending() == []


@pytest.fixture
def per_host(site: Site) -> Site:
    """The site after it has changed to users of each host's own, whose passwords are in files."""
    directory = site.file.parent
    for host in ("alpha", "beta"):
        (directory / f"{host}.password").write_text(f"password of {host}")
    chosen = f'[broker]\nprofile = "per-host"\nhost_password = "file:{directory}/{{host}}.password"\n'
    site.file.write_text(site.file.read_text().replace("[broker]\n", chosen, 1))
    site.repair()
    return site


@pytest.mark.parametrize("door", ["http", "definitions"])
def test_users_of_each_hosts_own_are_adopted_and_on_a_new_broker_their_passwords_open_it(
    per_host: Site, rabbit: RabbitNode, run_fleet: RunFleet, tmp_path: Path, door: str
) -> None:
    vhost, target = per_host.vhost, tmp_path / "adopted.toml"
    exported = tmp_path / "exported.json"
    exported.write_text(json.dumps(vhost.api("GET", "definitions")))
    way = over_http(rabbit) if door == "http" else ("--definitions", str(exported))
    done = adopt(vhost, run_fleet, target, *way, env=admin(rabbit))
    assert done.returncode == 0, done.stderr
    assert "provisioning it: changes nothing" in done.stderr
    assert "FLEET_HOST_ALPHA_PASSWORD, FLEET_HOST_BETA_PASSWORD" in done.stderr
    declared = tomllib.loads(target.read_text())
    assert (declared["broker"]["profile"], declared["broker"]["user"]) == ("per-host", vhost.user)
    known = variables(tmp_path / "adopted.env") | admin(rabbit)
    if door == "definitions":
        command = f'\nrabbitmqctl = ["{rabbit.rabbitmqctl[0]}"]\nuser ='
        target.write_text(target.read_text().replace("\nuser =", command, 1))
    checked = run_fleet("provision", "broker", "--check", file=target, env=known, timeout=90)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    vhost.delete()
    made = run_fleet("provision", "broker", "--yes", file=target, env=known, timeout=90)
    assert made.returncode == 0, made.stderr
    for user in (f"{vhost.user}-{host}{end}" for host in ("alpha", "beta") for end in ("", "_send")):
        host = user.removesuffix("_send").rpartition("-")[2]
        with amqp.Connection(
            host=vhost.address,
            userid=user,
            password=f"password of {host}",
            virtual_host=vhost.name,
            read_timeout=10,
        ) as connection:
            assert connection.connected


def test_neither_file_is_ever_replaced_and_no_output_holds_a_hash(
    site: Site, rabbit: RabbitNode, run_fleet: RunFleet, tmp_path: Path
) -> None:
    for name in ("adopted.toml", "adopted.env"):
        (tmp_path / name).write_text("mine\n")
        done = adopt(site.vhost, run_fleet, tmp_path / "adopted.toml", *over_http(rabbit), env=admin(rabbit))
        assert done.returncode == 2
        assert "exists already" in done.stderr
        assert (tmp_path / name).read_text() == "mine\n"
        (tmp_path / name).unlink()
        assert not list(tmp_path.glob("adopted.*"))
    target = tmp_path / "adopted.toml"
    done = adopt(site.vhost, run_fleet, target, *over_http(rabbit), "--json", env=admin(rabbit))
    hashes = [value.rpartition(":")[2] for value in variables(tmp_path / "adopted.env").values()]
    assert len(hashes) == 4
    shown = done.stdout + done.stderr + target.read_text()
    assert [secret for secret in (*hashes, rabbit.admin_password.reveal()) if secret in shown] == []


def test_what_a_fleet_file_cannot_express_is_listed_and_survives_provisioning(
    site: Site, rabbit: RabbitNode, run_fleet: RunFleet, tmp_path: Path
) -> None:
    vhost = site.vhost
    vhost.api("PUT", f"queues/{vhost.name}/audit", {"durable": True})
    vhost.api("PUT", f"policies/{vhost.name}/mine", {"pattern": "^audit$", "definition": {"max-length": 9}})
    target = tmp_path / "adopted.toml"
    done = adopt(vhost, run_fleet, target, *over_http(rabbit), env=admin(rabbit))
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("left alone: ")]
    assert [line.partition(" in vhost")[0] for line in told] == [
        "left alone: policy mine",
        "left alone: queue audit",
    ]
    # Of the policies, pruning takes only those that carry the fleet's name.
    assert ["`--prune` would delete it" in line for line in told] == [False, True]
    assert "# queue audit in vhost" in target.read_text()
    known = variables(tmp_path / "adopted.env") | admin(rabbit)
    assert run_fleet("provision", "broker", "--yes", file=target, env=known, timeout=90).returncode == 0
    assert vhost.api("GET", f"queues/{vhost.name}/audit")["name"] == "audit"


@pytest.fixture
def article(rabbit: RabbitNode, tmp_path: Path) -> Iterator[BrokerVhost]:
    """A vhost made by the article's four lines."""
    named = BrokerVhost.name_only(rabbit, tmp_path)
    rabbit.ctl("add_user", named.user, ARTICLE_PASSWORD)
    rabbit.ctl("add_vhost", named.name)
    rabbit.ctl("set_user_tags", named.user, "administrator")
    rabbit.ctl("set_permissions", "-p", named.name, named.user, ".*", ".*", ".*")
    try:
        yield named
    finally:
        named.delete()


def test_the_articles_broker_is_adopted_and_its_application_goes_on_working(
    article: BrokerVhost, rabbit: RabbitNode, run_fleet: RunFleet, tmp_path: Path
) -> None:
    url = f"amqp://{article.user}:{ARTICLE_PASSWORD.replace(' ', '%20')}@{article.address}/{article.name}"
    (tmp_path / "shop.py").write_text(APPLICATION.format(url=url))
    send(tmp_path, "add.delay(1, 2); slow.delay()")
    target = tmp_path / "adopted.toml"
    done = adopt(
        article, run_fleet, target, *over_http(rabbit), "--host", "web-1", "--json", env=admin(rabbit)
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["is_fleet"] is False
    changes: list[dict[str, Any]] = record["plan"]["changes"]
    # All of a fleet is added; of what is there, only the user gets a tag, and it keeps its password.
    assert {change["action"] for change in changes} == {"create", "update"}
    (updated,) = [change for change in changes if change["action"] == "update"]
    assert updated["kind"] == "user"
    assert {row["label"].partition(" in vhost")[0] for row in record["unmanaged"]} >= {
        "queue celery",
        "queue slow",
    }
    assert '# [queues.slow]\n# tasks = ["slow.tasks.*"]' in target.read_text()
    known = variables(tmp_path / "adopted.env") | admin(rabbit)
    made = run_fleet("provision", "broker", "--yes", file=target, env=known, timeout=90)
    assert made.returncode == 0, made.stderr
    again = run_fleet("provision", "broker", "--check", file=target, env=known, timeout=90)
    assert again.returncode == 0, again.stdout
    # The tasks still wait where they waited, and the application sends and receives as before.
    send(tmp_path, "add.delay(3, 4)")
    with amqp.Connection(
        host=article.address,
        userid=article.user,
        password=ARTICLE_PASSWORD,
        virtual_host=article.name,
        read_timeout=10,
    ) as connection:
        channel = connection.channel()
        assert [channel.queue_declare(name, passive=True).message_count for name in ("celery", "slow")] == [
            2,
            1,
        ]


def send(directory: Path, statement: str) -> None:
    subprocess.run(
        (sys.executable, "-c", f"from shop import add, slow; {statement}"),
        cwd=directory,
        env=clean_environ() | {"PYTHONPATH": str(directory)},
        capture_output=True,
        timeout=60,
        check=True,
    )


def test_a_vhost_that_is_nothing_like_a_fleet_is_one_clear_error_and_no_file(
    vhost: BrokerVhost, rabbit: RabbitNode, run_fleet: RunFleet, tmp_path: Path
) -> None:
    vhost.api("PUT", f"exchanges/{vhost.name}/logs", {"type": "fanout", "durable": True})
    target = tmp_path / "adopted.toml"
    done = adopt(vhost, run_fleet, target, *over_http(rabbit), "--host", "web-1", env=admin(rabbit))
    assert done.returncode == 2
    assert f"error: vhost `{vhost.name}` is nothing like a fleet" in done.stderr
    assert not target.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file"),
        ("<html>", "is not JSON"),
        ('{"queues": []}', "holds no definitions of a whole broker"),
        ('{"vhosts": [{}]}', "`name` of an entry is missing or wrong"),
    ],
)
def test_a_file_that_is_no_export_is_one_clear_error(
    run_fleet: RunFleet, tmp_path: Path, text: str | None, message: str
) -> None:
    exported = tmp_path / "exported.json"
    if text is not None:
        exported.write_text(text)
    done = run_fleet("--file", "new.toml", "provision", "adopt", "--definitions", str(exported))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new.toml").exists()
