"""Plans that wait in a file, plans as scripts, and connections that outlive their rights."""

import json
import subprocess
from pathlib import Path

import amqp
import pytest

from fleet.ops.provision import DoorName, plan_broker
from provisioning.apply import apply
from tests.integration.provisioning.conftest import Site
from tests.servers import RunFleet, clean_environ

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
#: passes through a shell, sed, JSON and the broker as it is
AWKWARD = "pa$$w`id`\\n\"'ord\\ %s\tü"


@pytest.mark.parametrize("door", ["http", "rabbitmqctl"])
def test_a_plan_in_a_file_is_carried_out_once(
    bare_site: Site, run_fleet: RunFleet, tmp_path: Path, door: str
) -> None:
    file = tmp_path / "plan.json"
    options = ("--check", "--door", door, "--out", str(file))
    checked = run_fleet("provision", "broker", *options, file=bare_site.file)
    assert checked.returncode == 4, checked.stderr
    admin = bare_site.vhost.node.admin_user
    given = f"besides: RabbitMQ gives its creator, user {admin}, the permission `.* .* .*`"
    assert (given in checked.stdout) == (door == "http")
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert bare_site.password not in text
    assert json.loads(text)["door"] == door
    unasked = run_fleet("provision", "apply", str(file), file=bare_site.file)
    assert unasked.returncode == 2
    assert unasked.stdout == checked.stdout
    done = run_fleet("provision", "apply", str(file), "--yes", "--json", file=bare_site.file)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["report"]["converged"] is True
    assert bare_site.pending(prune=True) == []
    again = run_fleet("provision", "apply", str(file), "--yes", file=bare_site.file)
    assert again.returncode == 1
    assert "the broker changed after the plan was made" in again.stderr


def test_a_plan_is_refused_when_broker_or_fleet_file_moved(
    site: Site, run_fleet: RunFleet, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    policy = f"policies/{site.vhost.name}/fleet.email"
    before = site.vhost.api("GET", policy)
    site.vhost.api("DELETE", policy)
    run_fleet("provision", "broker", "--check", "--out", str(file), file=site.file)

    def refused() -> str:
        done = run_fleet("provision", "apply", str(file), "--yes", file=site.file)
        assert done.returncode == 1, done.stderr
        return done.stderr

    site.vhost.api("DELETE", f"queues/{site.vhost.name}/fleet.email")
    assert f"queue fleet.email in vhost {site.vhost.name} is gone" in refused()
    site.repair()
    site.vhost.api("DELETE", policy)
    text = site.file.read_text()
    site.file.write_text(text + '[queues.email]\ntasks = ["fleet.send_mail"]\nmax_length = 7\n')
    assert f"policy fleet.email in vhost {site.vhost.name} changed" in refused()
    site.file.write_text(text)
    assert run_fleet("provision", "apply", str(file), "--yes", file=site.file).returncode == 0
    assert site.vhost.api("GET", policy) == before


@pytest.mark.parametrize("content", ["", "{}", '{"format": "fleet-plan", "format_version": 99}', "\udcff"])
def test_what_is_no_plan_is_one_clear_error(
    bare_site: Site, run_fleet: RunFleet, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "plan.json"
    if content:
        file.write_text(content, errors="surrogateescape")
    done = run_fleet("provision", "apply", str(file), "--yes", file=bare_site.file)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


def written(site: Site, run_fleet: RunFleet, *options: str) -> Path:
    """Return the script that makes the broker match the site's file."""
    script = site.file.with_name("make.sh")
    chosen = ("--check", "--script", str(script), *options)
    done = run_fleet("provision", "broker", *chosen, file=site.file)
    assert done.returncode == 4, done.stderr
    return script


def run_script(site: Site, script: Path, secrets: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ("/bin/sh", str(script)),
        env=clean_environ() | {"RABBITMQCTL": site.vhost.node.rabbitmqctl[0]},
        input=secrets,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_a_script_makes_what_the_plan_says_and_holds_no_secret(bare_site: Site, run_fleet: RunFleet) -> None:
    site = bare_site
    site.vhost.password_file.write_text(AWKWARD + "\n")
    script = written(site, run_fleet)
    text = script.read_text()
    assert script.stat().st_mode & 0o777 == 0o700
    assert AWKWARD not in text
    asked = [line for line in text.splitlines() if line.startswith("#   password of user ")]
    assert len(asked) == text.count("ask 'password of user ") > 1
    # A password too few is found out before anything is changed.
    short = run_script(site, script, f"{AWKWARD}\n" * (len(asked) - 1))
    assert (short.returncode, "nothing was changed" in short.stderr) == (2, True)
    assert site.vhost.name not in {row["name"] for row in site.vhost.api("GET", "vhosts")}
    own = f"#   password of user {site.vhost.observer}"
    told = [site.password if line == own else AWKWARD for line in asked]
    done = run_script(site, script, "".join(f"{line}\n" for line in told))
    assert done.returncode == 0, done.stderr
    assert site.pending(prune=True) == []


def test_a_script_changes_users_replaces_queues_and_prunes(site: Site, run_fleet: RunFleet) -> None:
    name = site.vhost.name
    queue = f"queues/{name}/fleet.email"
    site.vhost.api("DELETE", queue)
    site.vhost.api("PUT", queue, {"durable": True})
    site.vhost.api("PUT", f"queues/{name}/leftover", {"durable": True})
    site.vhost.api("PUT", f"users/{site.vhost.user}", {"password": "other", "tags": f"fleet:{name}"})
    kept = site.vhost.api("GET", f"users/{site.vhost.observer}")["password_hash"]
    retagged = {"password_hash": kept, "tags": "management"}
    site.vhost.api("PUT", f"users/{site.vhost.observer}", retagged)
    refused = run_fleet("provision", "broker", "--check", "--prune", "--script", "/dev/null", file=site.file)
    assert "lose data or access" in refused.stderr
    script = written(site, run_fleet, "--prune", "--allow-destructive")
    publish = {"properties": {}, "routing_key": "leftover", "payload": "x", "payload_encoding": "string"}
    site.vhost.api("POST", f"exchanges/{name}/amq.default/publish", publish)
    held = run_script(site, script, f"{site.password}\n")
    assert held.returncode == 1
    assert "queue leftover holds 1 messages, 0 consumers; nothing was changed" in held.stderr
    assert site.vhost.api("GET", queue)["type"] == "classic"
    site.vhost.api("DELETE", f"queues/{name}/leftover/contents")
    done = run_script(site, script, f"{site.password}\n")
    assert done.returncode == 0, done.stderr
    assert site.pending(prune=True) == []
    # Only its tags were wrong, so its password was not asked for and is the one of before.
    assert site.vhost.api("GET", f"users/{site.vhost.observer}")["password_hash"] == kept


def test_what_rabbitmqctl_cannot_do_makes_no_script(site: Site, run_fleet: RunFleet) -> None:
    name = site.vhost.name
    site.vhost.api("PUT", f"exchanges/{name}/leftover", {"type": "topic", "durable": True})
    script = site.file.with_name("make.sh")
    options = ("--check", "--prune", "--allow-destructive", "--script", str(script))
    done = run_fleet("provision", "broker", *options, file=site.file)
    assert done.returncode == 1
    assert "needs the HTTP door (rabbitmqctl has no command that deletes an exchange)" in done.stderr
    assert not script.exists()


def is_open(connection: amqp.Connection) -> bool:
    """Tell whether the broker still answers on a connection."""
    try:
        connection.channel().close()
    except (OSError, amqp.AMQPError):
        return False
    return True


@pytest.mark.parametrize("door", list(DoorName))
def test_exactly_the_connections_whose_rights_shrank_are_ended(site: Site, door: DoorName) -> None:
    name, operator = site.vhost.name, site.user("operator")
    site.vhost.api("PUT", f"permissions/{name}/{operator}", EVERYTHING)
    with site.channel("operator") as held, site.channel("worker") as other:
        planned = plan_broker(site.fleet, {}, door=door)
        assert [(c.user, c.vhost, c.client) for c in planned.plan.connections] == [
            (operator, name, "127.0.0.1")
        ]
        report = apply(planned.plan, planned.door, allow_destructive=True)
        assert (report.converged, len(report.holding), report.closed) == (True, 1, ())
        assert is_open(held.connection)
        site.vhost.api("PUT", f"permissions/{name}/{operator}", EVERYTHING)
        again = plan_broker(site.fleet, {}, door=door)
        report = apply(again.plan, again.door, allow_destructive=True, close_connections=True)
        assert (report.converged, report.holding) == (True, ())
        assert [(c.user, c.client) for c in report.closed] == [(operator, "127.0.0.1")]
        with pytest.raises((ConnectionError, amqp.ConnectionForced)):
            held.connection.drain_events(timeout=20)
        assert is_open(other.connection)


def test_a_busy_channel_goes_on_with_rights_that_were_taken_away(site: Site) -> None:
    # Why there is something to end: RabbitMQ looks a right up once and remembers it in the channel.
    right = f"permissions/{site.vhost.name}/{site.user('operator')}"
    site.vhost.api("PUT", right, EVERYTHING)
    with site.channel("operator") as held:
        held.queue_declare("before", durable=True, auto_delete=False)
        site.vhost.api("PUT", right, {"configure": "^$", "write": "^$", "read": "^$"})
        held.queue_declare("before", durable=True, auto_delete=False)
        with site.channel("operator") as fresh, pytest.raises(amqp.AccessRefused):
            fresh.queue_declare("before", durable=True, auto_delete=False)


def test_the_account_that_is_logged_in_is_not_locked_out(
    site: Site, run_fleet: RunFleet, tmp_path: Path
) -> None:
    (tmp_path / "new.password").write_text("another")
    user, node = site.vhost.user, site.vhost.node
    tags = f"administrator,fleet:{site.vhost.name}"
    site.vhost.api("PUT", f"users/{user}", {"password": site.password, "tags": tags})
    text = site.file.read_text().replace(f"{site.vhost.password_file}", f"{tmp_path / 'new.password'}")
    text = text.replace(f'user = "{node.admin_user}"', f'user = "{user}"')
    text = text.replace(f"file:{node.admin_password_file}", f"file:{site.vhost.password_file}")
    site.file.write_text(text.replace("[broker.management]", 'profile = "open"\n\n[broker.management]'))
    done = run_fleet("provision", "broker", "--yes", "--allow-destructive", file=site.file)
    assert done.returncode == 1
    assert f"{user} would get another password, and it is the account that is logged in here" in done.stderr
    with site.channel("worker"):
        pass
