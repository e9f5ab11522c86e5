"""Do the workers of three hosts come up, each where the fleet file puts it?"""

from fleet.ops.demo.claims import Claim
from fleet.ops.demo.fleetfile import HOSTS
from fleet.ops.demo.sandbox import Sandbox, StepFailed, await_true, get_status

READY_SECONDS = 30.0


def show_workers(sandbox: Sandbox) -> list[Claim]:
    """Start all workers of each host, and beat; wait until every one says that it is ready."""
    sandbox.report(f"starting the workers of {', '.join(HOSTS)}, and beat")
    for host in HOSTS:
        sandbox.start(host, "worker", "--host", host)
    sandbox.start("beat", "beat")
    seconds = _await_all_ready(sandbox)
    count = len(HOSTS) * len(sandbox.metrics_ports)
    return [
        Claim(
            claim="three hosts run their workers",
            evidence=f"{count} workers ready on {', '.join(HOSTS)} within {seconds:.0f} s",
            ok=True,
        )
    ]


def _await_all_ready(sandbox: Sandbox) -> float:
    try:
        return await_true(
            lambda: _all_ready(sandbox), what="all workers ready", timeout_seconds=READY_SECONDS
        )
    except StepFailed as error:
        waiting = [host for host in HOSTS if not ready(sandbox, host)]
        told = [f"{host}: {sandbox.running[host].last_words(lines=1)}" for host in waiting]
        raise StepFailed(f"{error}; {'; '.join(told)}") from error


def _all_ready(sandbox: Sandbox) -> bool:
    sandbox.require_running()
    return all(ready(sandbox, host) for host in HOSTS)


def ready(sandbox: Sandbox, host: str) -> bool:
    """Tell whether every worker of ``host`` answers its readiness probe with 200."""
    return all(get_status(HOSTS[host], port, "/readyz") == 200 for port in sandbox.metrics_ports)
