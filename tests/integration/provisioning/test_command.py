"""`fleet provision broker` and `python -m provisioning` as an operator meets them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleet.daemons.process import free_ports
from tests.integration.provisioning.conftest import Site
from tests.servers import RunFleet, clean_environ


def test_check_apply_and_apply_again(bare_site: Site, run_fleet: RunFleet) -> None:
    def provision(*options: str) -> "subprocess.CompletedProcess[str]":
        return run_fleet("provision", "broker", *options, file=bare_site.file)

    checked = provision("--check")
    assert checked.returncode == 4
    assert f"+ vhost {bare_site.vhost.name}" in checked.stdout
    refused = provision()
    assert refused.returncode == 2
    assert "`--yes`" in refused.stderr
    assert provision("--check").stdout == checked.stdout
    first = provision("--yes", "--json")
    assert first.returncode == 0
    record = json.loads(first.stdout)
    assert (record["changed"], record["report"]["converged"], record["door"]) == (True, True, "http")
    assert "created" in first.stderr.splitlines()[-1]
    again = provision("--yes")
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr.splitlines()[-1].startswith("no changes in ")
    checked = provision("--check", "--json")
    assert checked.returncode == 0
    assert json.loads(checked.stdout)["changed"] is False


def test_no_output_holds_a_password_or_a_hash(site: Site, run_fleet: RunFleet) -> None:
    path = f"users/{site.vhost.user}"
    site.vhost.api("PUT", path, {"password": "stolen-and-changed", "tags": ""})
    before = site.vhost.api("GET", path)["password_hash"]
    done = run_fleet("--debug", "provision", "broker", "--yes", "--json", file=site.file)
    after = site.vhost.api("GET", path)["password_hash"]
    assert "password  differs" in done.stderr
    shown = done.stdout + done.stderr
    assert [
        secret for secret in (site.password, "stolen-and-changed", before, after) if secret in shown
    ] == []


def test_a_queue_that_would_be_replaced_is_refused_with_what_it_holds(
    site: Site, run_fleet: RunFleet
) -> None:
    queue = f"queues/{site.vhost.name}/fleet.email"
    site.vhost.api("DELETE", queue)
    site.vhost.api("PUT", queue, {"durable": True})
    done = run_fleet("provision", "broker", "--yes", file=site.file)
    assert done.returncode == 1
    assert "! queue fleet.email" in done.stdout
    assert "type  classic → quorum" in done.stdout
    # The statistics may not know of a new queue yet.
    assert re.search("how much it holds is not known|holds 0 messages and has 0 consumers", done.stdout)
    assert "--allow-destructive" in done.stderr
    assert site.vhost.api("GET", queue)["type"] == "classic"


def change(site: Site, before: str, after: str) -> Path:
    text = site.file.read_text()
    assert before in text
    site.file.write_text(text.replace(before, after))
    return site.file


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("wrong password", 1, "refuses user `fleet-admin`"),
        ("no administrator", 1, "Not administrator user"),
        ("nobody listens", 5, "no management API answers at"),
        ("another service", 5, "no management API answers at"),
        ("no TLS there", 5, "no management API answers at https://"),
        ("rabbitmqctl is missing", 5, "cannot run `/nonexistent/rabbitmqctl"),
        ("rabbitmqctl fails", 5, "failed with exit code 1"),
    ],
)
def test_a_door_that_does_not_open_is_one_clear_error(
    bare_site: Site, run_fleet: RunFleet, path: str, code: int, message: str
) -> None:
    site, node = bare_site, bare_site.vhost.node
    door = "rabbitmqctl" if path.startswith("rabbitmqctl") else "http"
    if path == "wrong password":
        change(site, f"file:{node.admin_password_file}", f"file:{site.vhost.password_file}")
    elif path == "no administrator":
        user = f"{site.vhost.name}-viewer"
        site.vhost.api("PUT", f"users/{user}", {"password": site.password, "tags": "monitoring"})
        change(site, f'user = "{node.admin_user}"', f'user = "{user}"')
        change(site, f"file:{node.admin_password_file}", f"file:{site.vhost.password_file}")
    elif path == "nobody listens":
        change(site, node.management_url, f"http://127.0.0.1:{free_ports(1)[0]}")
    elif path == "another service":
        change(site, node.management_url, f"http://127.0.0.1:{node.port}")
    elif path == "no TLS there":
        change(site, node.management_url, node.management_url.replace("http:", "https:"))
    elif path == "rabbitmqctl is missing":
        change(site, f'["{node.rabbitmqctl[0]}"]', '["/nonexistent/rabbitmqctl"]')
    else:
        change(site, f'["{node.rabbitmqctl[0]}"]', '["/bin/false"]')
    done = run_fleet("provision", "broker", "--check", "--door", door, file=site.file)
    if path == "no administrator":
        site.vhost.api("DELETE", f"users/{user}")
    assert done.returncode == code
    assert message in done.stderr.splitlines()[0]
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fleet_on_redis_has_nothing_to_provision_and_is_told_what_is_lost(
    run_fleet: RunFleet, tmp_path: Path
) -> None:
    file = tmp_path / "fleet.toml"
    text = '[broker]\nurl = "redis://127.0.0.1:6379/0"\nvisibility_timeout = "48h"\n[hosts.alpha]\n'
    file.write_text(text)
    done = run_fleet("provision", "broker", "--json", file=file)
    assert done.returncode == 0, done.stderr
    assert "nothing to provision" in done.stderr
    assert "dead-letter" in done.stderr
    assert json.loads(done.stdout)["changed"] is False


@pytest.mark.parametrize(("answer", "code", "made"), [("n", 1, False), ("y", 0, True)])
def test_on_a_terminal_it_asks_first(bare_site: Site, answer: str, code: int, made: bool) -> None:  # noqa: FBT001 - a case
    ours, theirs = os.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            (sys.executable, "-m", "fleet.cli.main", "provision", "broker"),
            env=clean_environ() | {"FLEET_FILE": str(bare_site.file)},
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code, done.stderr
    assert "changes? [y/N]" in done.stderr
    assert (bare_site.vhost.name in {row["name"] for row in bare_site.vhost.api("GET", "vhosts")}) is made


def test_the_open_profile_is_what_the_usual_four_lines_make(bare_site: Site, run_fleet: RunFleet) -> None:
    file = change(bare_site, "[broker.management]", 'profile = "open"\n\n[broker.management]')
    assert run_fleet("provision", "broker", "--yes", file=file).returncode == 0
    user, vhost = bare_site.vhost.user, bare_site.vhost.name
    assert bare_site.vhost.api("GET", f"users/{user}")["tags"] == [
        "administrator",
        f"fleet:{bare_site.vhost.name}",
    ]
    row = bare_site.vhost.api("GET", f"permissions/{vhost}/{user}")
    assert (row["configure"], row["write"], row["read"]) == (".*", ".*", ".*")
    limited = {(limit["vhost"], limit["user"]) for limit in bare_site.vhost.api("GET", "topic-permissions")}
    assert (vhost, user) not in limited


def recorder(site: Site, directory: Path) -> Path:
    """Return a rabbitmqctl that notes its process id and arguments before it becomes the real one."""
    script = directory / "recording-rabbitmqctl"
    real = site.vhost.node.rabbitmqctl[0]
    script.write_text(f'#!/bin/sh\necho "$$ $*" >> {directory}/argv\nexec {real} "$@"\n')
    script.chmod(0o700)
    return script


def test_interrupted_half_way_it_leaves_no_process_and_the_next_run_finishes(
    bare_site: Site, tmp_path: Path, run_fleet: RunFleet
) -> None:
    ctl = recorder(bare_site, tmp_path)
    file = change(bare_site, bare_site.vhost.node.rabbitmqctl[0], str(ctl))
    argv = tmp_path / "argv"
    command = (
        sys.executable,
        "-m",
        "fleet.cli.main",
        "provision",
        "broker",
        "--yes",
        "--door",
        "rabbitmqctl",
    )
    with subprocess.Popen(
        command,
        env=clean_environ() | {"FLEET_FILE": str(file)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and "import_definitions" not in (
            argv.read_text() if argv.exists() else ""
        ):
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=20)
    assert running.returncode == 130
    assert "Traceback" not in stderr
    pids = [int(line.split()[0]) for line in argv.read_text().splitlines()]
    while time.monotonic() < deadline and any(map(is_running, pids)):
        time.sleep(0.02)
    assert not [pid for pid in pids if is_running(pid)]
    done = run_fleet("provision", "broker", "--yes", file=file)
    assert done.returncode == 0, done.stderr
    # Neither a password, nor a hash, nor an expression ever stood in argv.
    assert not set(argv.read_text()) & set("[$^")
    assert bare_site.password not in argv.read_text()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_scripts_work_without_any_fleet(bare_site: Site, tmp_path: Path) -> None:
    name = bare_site.vhost.name
    desired = tmp_path / "desired.json"
    desired.write_text(
        json.dumps(
            {
                "vhosts": [{"name": name}],
                "queues": [{"vhost": name, "name": "q", "arguments": {"x-queue-type": "quorum"}}],
            }
        )
    )
    node = bare_site.vhost.node

    def run(command: str, *options: str) -> "subprocess.CompletedProcess[str]":
        where = ("--url", node.management_url, "--user", node.admin_user)
        secret = ("--password-file", str(node.admin_password_file))
        return subprocess.run(
            (sys.executable, "-m", "provisioning", command, str(desired), *where, *secret, *options),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    pending = run("plan")
    assert (pending.returncode, pending.stdout.count("\n+ ")) == (4, 1)
    assert run("apply").returncode == 2
    assert run("apply", "--yes").returncode == 0
    assert run("plan").returncode == 0
    desired.write_text("[]")
    wrong = run("plan")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"error: {desired}: definitions are a JSON object")
