"""In which order is everything shown, and is the machine afterwards what it was before?"""

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from fleet.errors import FleetError
from fleet.ops.demo.backups import show_restore, show_run, show_schedule
from fleet.ops.demo.claims import Claim, DemoReport, Place
from fleet.ops.demo.crash import show_crash
from fleet.ops.demo.fleetfile import HOSTS
from fleet.ops.demo.leftovers import Snapshot, compare, observe
from fleet.ops.demo.mails import show_mails
from fleet.ops.demo.metrics import show_metrics, show_redelivery, start_prometheus
from fleet.ops.demo.provisioning import show_provisioning
from fleet.ops.demo.sandbox import Sandbox
from fleet.ops.demo.setup import set_up
from fleet.ops.demo.workers import show_workers

#: where programs leave files
SHARED_PLACES = ("/var/tmp", "/dev/shm", "/run")  # noqa: S108 - looked at, never written to

Step = Callable[[Sandbox], Sequence[Claim]]
STORY: tuple[tuple[str, Step], ...] = (
    ("provisioning makes what the fleet file declares", show_provisioning),
    ("three hosts run their workers", show_workers),
    ("Prometheus starts", start_prometheus),
    ("mail arrives", show_mails),
    ("beat's schedule backs up every host", show_schedule),
    ("a backup can be asked for, and waited for", show_run),
    ("a deleted file comes back, bit for bit", show_restore),
    ("Prometheus counts what happened", show_metrics),
    # A killed worker counts from zero again, so this comes after the counters have been read.
    ("a task whose worker is killed is finished all the same", show_crash),
    ("Prometheus counts the redelivery", show_redelivery),
)


def run_demo(
    *,
    environ: Mapping[str, str],
    report: Callable[[str], None],
    keep: Callable[[DemoReport, Sequence[Place]], None] | None = None,
) -> DemoReport:
    """Show everything in a directory of its own, which is removed at the end, and look for leftovers.

    ``keep`` is called while everything still runs. Raises PackagesMissing, DaemonFailed.
    """
    started = time.monotonic()
    token = f"fleet-demo-{secrets.token_hex(4)}"
    before = _look(token)
    directory = Path(tempfile.gettempdir(), token)
    directory.mkdir(mode=0o700)
    ports: list[int] = []
    try:
        with ExitStack() as stack:
            sandbox = set_up(directory, stack=stack, environ=environ, report=report)
            claims = _tell(sandbox)
            if keep:
                keep(DemoReport(claims=claims, seconds=time.monotonic() - started), places(sandbox))
            ports = own_ports(sandbox)
            report("stopping everything")
    finally:
        shutil.rmtree(directory)
    claims = (*claims, _nothing_left(token, before, ports))
    return DemoReport(claims=claims, seconds=time.monotonic() - started)


def _tell(sandbox: Sandbox) -> tuple[Claim, ...]:
    """Run the steps in order; what follows a failed step would only repeat its failure."""
    claims: list[Claim] = []
    for title, step in STORY:
        try:
            claims.extend(step(sandbox))
        except FleetError as error:
            claims.append(Claim(claim=title, evidence=" ".join(str(error).split()), ok=False))
            break
    return tuple(claims)


def own_ports(sandbox: Sandbox) -> list[int]:
    """Return every TCP port that the demo has opened."""
    daemons = [*asdict(sandbox.node.ports).values(), sandbox.sink.port, *sandbox.metrics_ports]
    return daemons + ([sandbox.prometheus.port] if sandbox.prometheus else [])


def places(sandbox: Sandbox) -> list[Place]:
    """Return where to look while everything runs."""
    found = [
        Place(what="fleet file", where=str(sandbox.fleet_file)),
        Place(what="RabbitMQ", where=f"{sandbox.node.management_url} (user {sandbox.node.admin_user})"),
        Place(what="its password", where=str(sandbox.node.admin_password_file)),
        Place(what="logs", where=str(sandbox.directory / "log")),
        Place(what="mail", where=str(sandbox.sink.directory / "messages.jsonl")),
        Place(what="snapshots", where=str(sandbox.directory / "backups")),
    ]
    found += [
        Place(what=f"metrics of {host}", where=f"http://{address}:{port}/metrics")
        for host, address in HOSTS.items()
        for port in sandbox.metrics_ports
    ]
    if sandbox.prometheus:
        found.append(Place(what="Prometheus", where=sandbox.prometheus.url))
    return found


def _look(token: str) -> Snapshot:
    """Look where fleet has business, and, for the token only, where everybody has."""
    home = Path.home()
    shared = {home, Path(tempfile.gettempdir()), *map(Path, SHARED_PLACES)}
    private = {Path.cwd(), home / ".local/state/fleet", Path("/var/lib/fleet")} - shared
    return observe(token, private=private, shared=shared)


def _nothing_left(token: str, before: Snapshot, ports: Sequence[int]) -> Claim:
    found = compare(before, _look(token), ours=ports, token=token)
    told = str(found) or f"no process, none of {len(ports)} ports, no mount, no file"
    return Claim(claim="nothing is left behind", evidence=told, ok=not str(found))
