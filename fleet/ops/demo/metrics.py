"""Do the counters in Prometheus say what happened?"""

from pathlib import Path

from fleet.daemons.prometheus import PrometheusServer
from fleet.ops.demo.claims import Claim
from fleet.ops.demo.fleetfile import HOSTS
from fleet.ops.demo.mails import MAILS
from fleet.ops.demo.sandbox import Sandbox, StepFailed, await_true

SCRAPED_SECONDS = 20.0
INTERVAL = "1"
MAILS_DONE = 'sum(fleet_tasks_finished_total{task="fleet.send_mail",outcome="succeeded"})'
MAILS_RETRIED = 'sum(fleet_tasks_finished_total{task="fleet.send_mail",outcome="retried"})'
WORKERS_UP = 'sum(up{job="fleet-worker"})'
BACKUPS = 'count(max by (host) (fleet_job_last_success_timestamp_seconds{kind="backup"}))'
REDELIVERED = 'sum(fleet_tasks_redelivered_total{task="shop.pack_order"})'


def start_prometheus(sandbox: Sandbox) -> list[Claim]:
    """Start Prometheus with the files that ``fleet prometheus`` writes; it claims nothing yet."""
    sandbox.report("starting Prometheus on what `fleet prometheus` writes")
    directory = sandbox.directory / "prometheus"
    directory.mkdir()
    for name, file in (("targets", "fleet-targets.json"), ("rules", "fleet-rules.yml")):
        sandbox.fleet("prometheus", name, "--output", str(directory / file)).expect(0)
    sandbox.fleet("prometheus", "config", *_options(sandbox, directory)).expect(0)
    sandbox.prometheus = PrometheusServer.start(
        directory / "server", configuration=directory / "prometheus.yml", report=sandbox.report
    )
    return []


def show_metrics(sandbox: Sandbox) -> list[Claim]:
    """Ask Prometheus for what the demo has done so far."""
    sandbox.report("asking Prometheus")
    return [
        _counted(sandbox, MAILS_DONE, expected=MAILS - 1, claim="Prometheus counts the mails"),
        _counted(sandbox, MAILS_RETRIED, expected=1, claim="Prometheus counts the retry"),
        _counted(sandbox, BACKUPS, expected=len(HOSTS), claim="Prometheus knows each host's last backup"),
        _counted(sandbox, WORKERS_UP, expected=len(HOSTS) * 2, claim="Prometheus sees every worker"),
    ]


def show_redelivery(sandbox: Sandbox) -> list[Claim]:
    """Ask Prometheus for the killed worker's task."""
    return [_counted(sandbox, REDELIVERED, expected=1, claim="Prometheus counts the redelivery")]


def _options(sandbox: Sandbox, directory: Path) -> tuple[str, ...]:
    return (
        *("--targets-file", str(directory / "fleet-targets.json")),
        *("--rules-file", str(directory / "fleet-rules.yml")),
        *("--broker", f"127.0.0.1:{sandbox.node.prometheus_port}"),
        *("--interval", INTERVAL),
        *("--output", str(directory / "prometheus.yml")),
    )


def _counted(sandbox: Sandbox, expression: str, *, expected: float, claim: str) -> Claim:
    """Wait until the next scrapes have brought the expected value; more than that is wrong, too."""
    server = sandbox.prometheus
    if server is None:
        raise StepFailed("Prometheus does not run")
    try:
        await_true(
            lambda: server.value(expression) == expected, what=expression, timeout_seconds=SCRAPED_SECONDS
        )
    except StepFailed:
        return Claim(
            claim=claim, evidence=f"{expression} = {server.value(expression)}, not {expected:g}", ok=False
        )
    return Claim(claim=claim, evidence=f"{expression} = {expected:g}", ok=True)
