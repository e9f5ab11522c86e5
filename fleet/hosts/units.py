"""Which systemd units run a host's part of the fleet, and what stands in them?

Each instance of a worker has a unit of its own instead of a template's: what it may read, write and log in
with differs from worker to worker. A unit names its release by its directory, not by `current`: an instance
that restarts while another release is rolled out stays what it was.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fleet.hosts.needs import beat_credentials, worker_backups, worker_credentials
from fleet.hosts.paths import FLEET_FILE, UNITS, USER, VAR_LIB, credential_file, release_directory
from fleet.hosts.sandbox import backup_places, backup_sandbox, service_sandbox
from fleet.model import SLOTS, Fleet, Worker

TARGET = "fleet.target"
BEAT = "fleet-beat.service"
#: the event loop may rest for half a minute on a blocked answer, and is looked at twice in this time
WORKER_WATCHDOG_SECONDS = 90
#: what `/healthz` of beat calls a hang, and a little more
BEAT_WATCHDOG_SECONDS = 360
#: a worker waits half a minute for the broker, and has children to start
START_SECONDS = 120
#: beyond a worker's own deadline: its tasks end, its connection is closed
STOP_MARGIN_SECONDS = 30
RESTART_SECONDS = 5
_INSTANCE = re.compile(rf"fleet-worker@(.+)-[{''.join(SLOTS)}]\.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance of a worker on a host, and the release that it runs."""

    #: name of the worker
    worker: str
    #: of ``SLOTS``
    slot: str
    #: name of the release
    release: str
    #: it runs, and is started at boot; otherwise it may end when it is done
    active: bool = True

    @property
    def unit(self) -> str:
        """Return the name of its unit."""
        return worker_unit(self.worker, self.slot)


def worker_unit(worker: str, slot: str) -> str:
    """Return the name of the unit of one instance."""
    return f"fleet-worker@{worker}-{slot}.service"


def worker_of_unit(name: str) -> str | None:
    """Return the worker of which the unit ``name`` is an instance; None for any other unit."""
    found = _INSTANCE.fullmatch(name)
    return found[1] if found else None


def unit_file(name: str) -> str:
    """Return where the unit ``name`` lies."""
    return f"{UNITS}/{name}"


def first_instances(fleet: Fleet, host: str, release: str) -> tuple[Instance, ...]:
    """Return the instances of a host that has none yet: slot a of each worker."""
    return tuple(
        Instance(worker=worker.name, slot=SLOTS[0], release=release) for worker in fleet.workers_on(host)
    )


def target_text() -> str:
    """Return the target that starts and stops all of the fleet on a host."""
    return _text(
        {
            "Unit": ("Description=All of the fleet on this host",),
            "Install": ("WantedBy=multi-user.target",),
        }
    )


def worker_text(fleet: Fleet, host: str, worker: Worker, instance: Instance) -> str:
    """Return the unit of ``instance`` of ``worker`` on ``host``."""
    backups = worker_backups(fleet, host, worker)
    writable = _state_elsewhere(fleet)
    sandbox = backup_sandbox(backups, writable) if backups else service_sandbox(writable)
    command = (
        f"{release_directory(instance.release)}/bin/fleet worker "
        f"--host {host} --instance {instance.slot} -- {worker.name}"
    )
    service = (
        *_notifying(command, watchdog_seconds=WORKER_WATCHDOG_SECONDS),
        # A stop signals the main process, which ends its children in order.
        "KillMode=mixed",
        "KillSignal=SIGTERM",
        f"TimeoutStopSec={stop_seconds(worker)}",
        *_credentials(worker_credentials(fleet, host, worker)),
        *_state(fleet),
        *sandbox,
    )
    mounts = tuple(f"RequiresMountsFor={_escaped(path)}" for path in backup_places(backups))
    return _text(
        {
            "Unit": (*_unit(f"Worker {worker.name} of the fleet, instance {instance.slot}"), *mounts),
            "Service": service,
            "Install": (f"WantedBy={TARGET}",),
        }
    )


def beat_text(fleet: Fleet, release: str) -> str:
    """Return the unit of beat."""
    command = f"{release_directory(release)}/bin/fleet beat"
    service = (
        *_notifying(command, watchdog_seconds=BEAT_WATCHDOG_SECONDS),
        f"TimeoutStopSec={STOP_MARGIN_SECONDS}",
        *_credentials(beat_credentials(fleet)),
        *_state(fleet),
        *service_sandbox(_state_elsewhere(fleet)),
    )
    install = (f"WantedBy={TARGET}",)
    return _text({"Unit": _unit("Beat of the fleet"), "Service": service, "Install": install})


def stop_seconds(worker: Worker) -> int:
    """Return how long systemd waits for the end of ``worker``: all of its drain.

    What a worker is granted beyond that, bit by bit, systemd forgets as soon as it reads its units anew, and
    kills at once who is over the time that stands here. Every installation of a package has it do so.
    """
    return worker.stop_timeout_seconds + STOP_MARGIN_SECONDS


def state_directory(fleet: Fleet) -> str | None:
    """Return the state directory as ``StateDirectory=`` names it; None where it lies elsewhere."""
    inside = fleet.state_dir.removeprefix(f"{VAR_LIB}/")
    return inside if inside != fleet.state_dir and inside.strip("/") and ".." not in inside else None


def _unit(description: str) -> tuple[str, ...]:
    return (
        f"Description={description}",
        f"PartOf={TARGET}",
        "Wants=network-online.target",
        "After=network-online.target",
        # A broker that is away for an hour must not leave a worker off for ever.
        "StartLimitIntervalSec=0",
    )


def _notifying(command: str, *, watchdog_seconds: int) -> tuple[str, ...]:
    return (
        "Type=notify",
        "NotifyAccess=main",
        f"User={USER}",
        f"Group={USER}",
        f"Environment=FLEET_FILE={FLEET_FILE}",
        # A hang that the watchdog ends leaves a traceback of each thread in the journal.
        "Environment=PYTHONFAULTHANDLER=1",
        f"ExecStart={command}",
        "Restart=on-failure",
        # Exit status 2 is a mistake in the fleet file or in the unit, which no restart mends.
        "RestartPreventExitStatus=2",
        f"RestartSec={RESTART_SECONDS}",
        f"TimeoutStartSec={START_SECONDS}",
        f"WatchdogSec={watchdog_seconds}",
        "TimeoutAbortSec=10",
    )


def _credentials(names: Iterable[str]) -> Iterator[str]:
    return (f"LoadCredential={name}:{credential_file(name)}" for name in sorted(names))


def _state(fleet: Fleet) -> tuple[str, ...]:
    inside = state_directory(fleet)
    return () if inside is None else (f"StateDirectory={_escaped(inside)}", "StateDirectoryMode=0700")


def _state_elsewhere(fleet: Fleet) -> tuple[str, ...]:
    return (fleet.state_dir,) if state_directory(fleet) is None else ()


def _escaped(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if any(c in path for c in " \t\"'\\") else escaped


def _text(sections: Mapping[str, Iterable[str]]) -> str:
    head = "# Written by `fleet provision hosts`; what is changed here is changed back.\n"
    return head + "\n".join(
        f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections.items()
    )
