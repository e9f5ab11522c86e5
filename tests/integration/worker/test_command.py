"""`fleet worker` at its start, on request, and as a supervisor of all workers of a host."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.fleetfile import read
from tests.integration.worker.conftest import ENVIRON, OPERATOR_PASSWORD, Shop, eventually
from tests.servers import RunFleet, answers_ok, clean_environ, ready_urls

#: what is wrong → how the fleet file becomes so
Edit = Callable[[str, Shop], str]

WRONG: dict[str, tuple[Edit, int, str, str]] = {
    "queue": (
        lambda text, shop: text.replace("[queues.shop]", "[queues.gone]").replace('["shop"]', '["gone"]'),
        1,
        "has no queue `fleet.gone`",
        "fleet provision broker",
    ),
    "vhost": (
        lambda text, shop: text.replace(f'"{shop.vhost.name}"', '"gone"'),
        1,
        "vhost `gone",
        "fleet provision broker",
    ),
    "password": (
        lambda text, shop: text.replace(f"file:{shop.vhost.password_file}", "env:WEB_PASSWORD"),
        1,
        "ACCESS_REFUSED",
        "fleet provision broker --check",
    ),
    "broker": (
        lambda text, shop: text.replace(f"127.0.0.1:{shop.vhost.node.port}", "127.0.0.1:1"),
        5,
        "no broker node answered",
        "[broker]",
    ),
    "module": (lambda text, shop: text.replace("probe_tasks", "no_such"), 2, "`no_such`", "PYTHONPATH"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_missing_at_the_start_is_one_error_with_a_hint(
    shop: Shop, run_fleet: RunFleet, wrong: str
) -> None:
    edit, code, said, hint = WRONG[wrong]
    shop.file.write_text(edit(shop.file.read_text(), shop))
    environ = shop.environ | {"PYTHONPATH": str(shop.file.parent)}
    arguments = ("worker", "shared", "--host", "alpha", "--wait-for-broker", "0")
    done = run_fleet(*arguments, file=shop.file, env=environ)
    assert done.returncode == code
    assert said in done.stderr
    assert hint in done.stderr.rpartition("hint: ")[2]
    assert "Traceback" not in done.stderr


def test_a_metrics_port_in_use_is_one_error(shop: Shop, run_fleet: RunFleet) -> None:
    worker = read(str(shop.file)).worker("shared")
    assert worker is not None
    environ = shop.environ | {"PYTHONPATH": str(shop.file.parent)}
    with socket.create_server(("127.0.0.2", worker.metrics_port)):
        done = run_fleet("worker", "shared", "--host", "alpha", file=shop.file, env=environ)
    assert done.returncode == 1
    assert f":{worker.metrics_port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_operator_inspects_workers_and_sees_no_argument_and_no_password(shop: Shop) -> None:
    shop.start()
    shop.send("probe.hold", "visible-argument", queue="shop")
    shop.expect("start")
    operator = {"FLEET_FILE": str(shop.file), "FLEET_BROKER_USER": f"operator-web-{shop.vhost.name}"}

    def celery(*arguments: str) -> str:
        done = subprocess.run(
            (sys.executable, "-m", "celery", "-A", "fleet.worker.app", *arguments),
            env=clean_environ() | ENVIRON | operator,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout

    assert "shared-a@alpha: OK" in celery("inspect", "ping")
    active = celery("inspect", "active")
    assert "probe.hold" in active
    assert "visible-argument" not in active
    shown = active + celery("inspect", "conf") + celery("inspect", "stats") + celery("report")
    for secret in (shop.vhost.password_file.read_text().strip(), OPERATOR_PASSWORD, "WEB_PASSWORD"):
        assert secret not in shown


def test_traced_tasks_show_arguments_and_failing_locals_but_no_secret(shop: Shop) -> None:
    log = trace(shop, "FLEET_WORKER_TRACE_TASKS")
    assert "task_trace_begin" in log
    assert "visible-argument" in log
    assert "secret_token: ***" in log
    assert "hunter2" not in log


def test_without_tracing_even_debug_lines_show_no_argument(shop: Shop) -> None:
    log = trace(shop)
    assert "event=task_failed" in log
    assert "visible-argument" not in log


def trace(shop: Shop, *options: str) -> str:
    """Run a worker at level debug, let it fail a task, and return what it wrote."""
    shop.start(FLEET_WORKER_LOGLEVEL="debug", **dict.fromkeys(options, "1"))
    shop.send("probe.fail", "visible-argument")
    shop.dead_letters("shop", at_least=1)
    return shop.worker_logs()


def descendants(pid: int) -> list[int]:
    """Return the processes below ``pid``, nearest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] + [
        each for child in children if Path(f"/proc/{child}").exists() for each in descendants(int(child))
    ]


def test_all_workers_of_a_host_run_together_restart_when_killed_and_end_together(shop: Shop) -> None:
    supervisor = shop.start(None)
    (first, *_) = descendants(supervisor.pid)
    pool = descendants(first)
    os.kill(first, signal.SIGKILL)
    eventually(
        lambda: not [pid for pid in (first, *pool) if alive(pid)], what="the pool ends with its worker"
    )
    eventually(lambda: all(map(answers_ok, ready_urls(shop.file, host="alpha"))), seconds=30)
    shop.send("probe.ok", "again")
    shop.expect("ok", "again")
    below = descendants(supervisor.pid)
    supervisor.signal(signal.SIGTERM)
    assert supervisor.wait(30)
    eventually(lambda: not [pid for pid in below if alive(pid)])


def test_workers_do_not_outlive_a_killed_supervisor(shop: Shop) -> None:
    supervisor = shop.start(None)
    below = descendants(supervisor.pid)
    assert len(below) >= 4
    os.kill(supervisor.pid, signal.SIGKILL)
    eventually(lambda: not [pid for pid in below if alive(pid)], seconds=20)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
