"""What every role really asks of a broker: recorded off the wire, refused nothing, and as the file has it."""

import os
import signal
import subprocess
import sys

import requests

from fleet.fleetfile import read as read_fleet
from fleet.ops.provision import provision_broker
from tests import recorded_rights
from tests.integration.worker.conftest import ENVIRON, Shop, eventually
from tests.integration.worker.letters import Desk
from tests.integration.worker.proxy import Cable
from tests.recorded_rights import Recording, told
from tests.servers import RunFleet, clean_environ


def give_each_host_a_user(shop: Shop) -> None:
    """Change the shop to the profile ``per-host``, with a monitor, and provision it again."""
    secrets = shop.file.parent / "hosts"
    secrets.mkdir(mode=0o700)
    (secrets / "alpha").write_text("alpha-password")
    text = shop.file.read_text().replace(
        "[broker]\n", f'[broker]\nprofile = "per-host"\nhost_password = "file:{secrets}/{{host}}"\n'
    )
    monitor = f'\n[broker.users.monitor-{shop.vhost.name}]\nrole = "monitor"\npassword = "env:WEB_PASSWORD"\n'
    shop.file.write_text(text + monitor)
    assert provision_broker(read_fleet(str(shop.file)), ENVIRON, allow_destructive=True).converged


def names_of(shop: Shop) -> dict[str, str]:
    """Return, for each user as the broker knows it, the name that the file of records has."""
    vhost = shop.vhost
    return {
        f"{vhost.user}-alpha": "celery-alpha",
        f"{vhost.user}-alpha_send": "celery-alpha_send",
        vhost.user: "celery",
        f"operator-web-{vhost.name}": "hands",
        f"web-{vhost.name}": "web",
        vhost.observer: "eyes",
    }


def celery(shop: Shop, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = clean_environ() | ENVIRON | {"FLEET_FILE": str(shop.file)}
    environ["FLEET_BROKER_USER"] = f"operator-web-{shop.vhost.name}"
    return subprocess.run(
        (sys.executable, "-m", "celery", "-A", "fleet.worker.app", *arguments),
        cwd=shop.file.parent,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def work_of_a_day(shop: Shop, run_fleet: RunFleet) -> None:
    """Let every role do all that it is for, through whatever the fleet file says."""

    def fleet(*arguments: str) -> str:
        done = run_fleet(*arguments, file=shop.file, env=ENVIRON)
        assert done.returncode == 0, done.stderr
        return done.stdout

    workers = [shop.start("shared"), shop.start("slow")]
    fleet("task", "send", "probe.pass_on", "--kwargs", '{"retries": 1}', "--wait", "--timeout", "20s")
    fleet("task", "send", "probe.later", "--args", "[1]", "--queue", "slow", "--host", "alpha")
    fleet(
        "task", "send", "probe.sleep", "--args", "[0]", "--queue", "slow", "--host", "alpha", "--delay", "1s"
    )
    user = f"web-{shop.vhost.name}"
    for delay in ((), ("--delay", "1s")):
        fleet("task", "send", "probe.ok", "--user", user, *delay)
    shop.expect("later", "1")
    shop.expect("end", "0")
    shop.expect("ok", "ok", times=2)
    fleet("task", "send", "probe.fail")
    fleet("task", "send", "probe.nothing", "--queue", "shop")
    desk = Desk(shop=shop, run_fleet=run_fleet)
    desk.await_letters(2)
    fleet("dead-letters", "list")
    fleet("dead-letters", "replay", "--all", "--yes")
    eventually(lambda: desk.ready("fleet.shop.dlq") == 2, what="both letters are dead again")
    fleet("dead-letters", "discard", "--all", "--yes")
    assert "shared-a@alpha: OK" in celery(shop, "inspect", "ping").stdout
    assert celery(shop, "control", "rate_limit", "probe.ok", "10/s").returncode == 0
    for worker in workers:
        worker.signal(signal.SIGTERM)
    for worker in workers:
        worker.stop(grace_seconds=20)


def test_every_role_asks_for_what_the_record_says(shop: Shop, run_fleet: RunFleet) -> None:
    give_each_host_a_user(shop)
    recording = Recording()
    with Cable(shop.vhost.node.port, watch=recording.listener) as cable:
        here, there = f"127.0.0.1:{shop.vhost.node.port}", f"127.0.0.1:{cable.port}"
        shop.file.write_text(shop.file.read_text().replace(here, there))
        work_of_a_day(shop, run_fleet)
    assert "ACCESS_REFUSED" not in shop.worker_logs()
    heard = recording.heard(names_of(shop))
    if os.environ.get("RECORD"):
        recorded_rights.write(heard)
    kept = recorded_rights.read()
    assert {user: told(found) for user, found in heard.items()} == {
        user: told(found) for user, found in kept.items()
    }


def test_a_monitor_sees_the_queues_and_changes_nothing(shop: Shop) -> None:
    give_each_host_a_user(shop)
    login = (f"monitor-{shop.vhost.name}", ENVIRON["WEB_PASSWORD"])
    api = f"{shop.vhost.node.management_url}/api"
    for path in ("overview", "nodes", f"queues/{shop.vhost.name}", "health/checks/alarms", "connections"):
        assert requests.get(f"{api}/{path}", auth=login, timeout=10).status_code == 200, path
    queues = requests.get(f"{api}/queues/{shop.vhost.name}", auth=login, timeout=10).json()
    assert "fleet.shop" in {queue["name"] for queue in queues}
    place = f"queues/{shop.vhost.name}/fleet.shop"
    attacks = {
        "reading": ("POST", f"{place}/get", {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}),
        "purging": ("DELETE", f"{place}/contents", None),
        "deleting": ("DELETE", place, None),
        "publishing": (
            "POST",
            f"exchanges/{shop.vhost.name}/fleet.tasks/publish",
            {"properties": {}, "routing_key": "fleet.shop", "payload": "x", "payload_encoding": "string"},
        ),
        "a policy": (
            "PUT",
            f"policies/{shop.vhost.name}/mine",
            {"pattern": ".*", "definition": {"expires": 1}},
        ),
        "a permission": (
            "PUT",
            f"permissions/{shop.vhost.name}/{login[0]}",
            {"configure": ".*", "write": ".*", "read": ".*"},
        ),
        "definitions with hashes": ("GET", "definitions", None),
    }
    for name, (method, path, body) in attacks.items():
        answer = requests.request(method, f"{api}/{path}", json=body, auth=login, timeout=10)
        # What goes through a channel of the broker's own is answered with 400 and the channel's reason.
        assert answer.status_code == 401 or "ACCESS_REFUSED" in answer.text, (name, answer.text)
