"""How does a lab go on running after the command that started it has ended?

A keeper owns it: a process of its own, which tells its starter how the start goes, then waits for SIGTERM.
Were it killed instead, its hosts would die with it, as with any other owner of a lab.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.lab.broker_files import ADMIN_USER
from tests.hosts.lab.brokers import BOOT_SECONDS, RELEASES, Cluster, Release, broker_specs
from tests.hosts.lab.claims import down_command, records
from tests.hosts.lab.host import HostSpec
from tests.hosts.lab.lab import Lab
from tests.hosts.lab.layers import Image
from tests.hosts.lab.system import LabFailed, lab_root

WORKERS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
END_SECONDS = 90
ENDS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a kept lab is made of."""

    name: str
    #: a key of RELEASES; the workers run the same Debian suite
    release: str = "3.10"
    brokers: int = 3
    workers: int = 3

    @property
    def broker_names(self) -> tuple[str, ...]:
        """The broker hosts, one cluster."""
        return tuple(f"mq{number}" for number in range(1, self.brokers + 1))

    @property
    def worker_names(self) -> tuple[str, ...]:
        """The plain hosts."""
        return WORKERS[: self.workers]

    def specs(self) -> tuple[HostSpec, ...]:
        """Return every host."""
        image = Image(suite=self._release.suite)
        plain = tuple(HostSpec(name=name, image=image) for name in self.worker_names)
        return (*broker_specs(self.broker_names, self._release), *plain)

    @property
    def title(self) -> str:
        """What it is, in words."""
        brokers = f"{self.brokers} x RabbitMQ {self._release.version}, " if self.brokers else ""
        return f"{brokers}{self.workers} x Debian {self._release.suite}"

    @property
    def _release(self) -> Release:
        return RELEASES[self.release]


def start_keeper(shape: Shape, relay: Callable[[str], None]) -> None:
    """Start a keeper, relay what it says, and return once its lab is up. Raises LabFailed.

    Interrupted before that, it lets the keeper clean up.
    """
    argv = (sys.executable, "-m", "tests.hosts.lab", "keep", *_options(shape))
    keeper = subprocess.Popen(
        argv,
        cwd=Path(__file__).parents[3],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert keeper.stdout is not None
    try:
        for line in keeper.stdout:
            relay(line.rstrip("\n"))
    except BaseException:
        keeper.terminate()
        keeper.wait(END_SECONDS)
        raise
    # It closes its output when the lab is up, or by its end.
    if not any(record.owner == keeper.pid for record, is_alive in records(lab_root()) if is_alive):
        keeper.wait(END_SECONDS)
        raise LabFailed(f"lab `{shape.name}` did not start")


def keep(shape: Shape, say: Callable[[str], None]) -> None:
    """Run a lab until SIGTERM or SIGINT; ``say`` is heard until it is up."""
    # While it starts, a signal is an interruption that closes the lab.
    for number in ENDS:
        signal.signal(number, _interrupt)
    started = time.monotonic()
    try:
        with Lab.start(shape.name, shape.specs(), is_kept=True, report=say) as lab:
            cluster = Cluster(lab, shape.broker_names, lab.directory) if shape.brokers else None
            lab.boot(timeout_seconds=BOOT_SECONDS)
            if cluster:
                cluster.await_healthy()
            for line in how_to(lab, shape, seconds=time.monotonic() - started):
                say(line)
            _hush()
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
            signal.sigwait(ENDS)
    except KeyboardInterrupt:
        return


def how_to(lab: Lab, shape: Shape, *, seconds: float) -> list[str]:
    """Return what a person at the terminal wants to know."""
    memory = sum(host.memory_bytes() for host in lab.hosts)
    lines = [f"lab `{lab.name}` is up: {shape.title}; {seconds:.0f} s, {memory / 1e9:.2f} GB", ""]
    lines += [f"  {host.name:<8} {host.address}" for host in lab.hosts]
    host = lab[(*shape.worker_names, *shape.broker_names)[0]]
    lines += ["", f"  log in            ssh -F {host.ssh_config} {host.name}"]
    lines += [f"  pull its cable    ip link set {host.cable} down   (and up again)"]
    if shape.brokers:
        node = lab[shape.broker_names[0]]
        lines += [f"  HTTP API          http://{node.address}:15672 as {ADMIN_USER}"]
        lines += [f"  its password      {lab.directory}/admin.password"]
        lines += [f"  rabbitmqctl       {lab.directory}/rabbitmqctl-{node.name} cluster_status"]
    end = down_command(lab.name).strip("`")
    return [*lines, "  how it is         make lab-status", f"  end it            {end}"]


def stop_keeper(name: str) -> bool:
    """End the lab ``name`` in order and return whether there was one. Raises LabFailed."""
    for record, is_alive in records(lab_root()):
        if record.name == name and is_alive:
            if not record.is_kept:
                raise LabFailed(
                    f"lab `{name}` belongs to process {record.owner}, which ends it itself",
                    hint="end that process, such as a test run",
                )
            try:
                pidfd = os.pidfd_open(record.owner)
            except ProcessLookupError:
                return True
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
                _await_end(pidfd, record.owner)
            finally:
                os.close(pidfd)
            return True
    return False


def _await_end(pidfd: int, pid: int) -> None:
    if not select.select([pidfd], [], [], END_SECONDS)[0]:
        raise LabFailed(f"process {pid}, which keeps the lab, did not end within {END_SECONDS} s")


def _options(shape: Shape) -> Sequence[str]:
    sizes = ("--brokers", str(shape.brokers), "--workers", str(shape.workers))
    return ("--name", shape.name, "--release", shape.release, *sizes)


def _interrupt(number: int, frame: object) -> None:
    # Once is enough: a second one must not interrupt the cleaning up.
    for one in ENDS:
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def _hush() -> None:
    """Close the output, which tells the starter that the lab is up; whatever is said later goes nowhere."""
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
