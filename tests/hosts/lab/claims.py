"""Which lab has which name and network, whose is it, and what became of labs whose owner died?

A lab is a directory with a lock that its owner holds for as long as it lives; the kernel drops the lock with
the owner. A directory that nobody holds is the rest of a lab that was killed, and whoever comes next sweeps
it away.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from fleet.daemons.process import silent
from tests.hosts.lab.cgroups import ControlGroup, groups
from tests.hosts.lab.locks import is_held, locked, try_lock
from tests.hosts.lab.network import SLOTS, Network, interfaces, subnet_is_free
from tests.hosts.lab.system import LabFailed, await_that, call

CLAIM_SECONDS = 120
REMOVE_SECONDS = 20
LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a lab's directory says about it."""

    name: str
    slot: int
    #: process that owns it
    owner: int
    #: address of each host by name
    hosts: dict[str, str]
    #: made to go on running after the command that started it
    is_kept: bool = False

    @property
    def network(self) -> Network:
        """Its wiring."""
        return Network(self.slot)

    def group(self, host: str) -> ControlGroup:
        """Return the control group of ``host``."""
        return ControlGroup(f"{self.network.bridge}/{host}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A name and a network that are ours until ``release``."""

    root: Path
    record: Record
    lock: IO[str]

    @property
    def directory(self) -> Path:
        """Where everything of the lab lies."""
        return self.root / "labs" / self.record.name

    def release(self) -> None:
        """Remove everything of the lab and give up its name and network."""
        with locked(_gate(self.root), timeout_seconds=CLAIM_SECONDS):
            _sweep(self.directory, self.record)
            self.lock.close()


def claim(
    name: str,
    hosts: tuple[str, ...],
    root: Path,
    *,
    is_kept: bool = False,
    report: Callable[[str], None] = silent,
) -> Claim:
    """Take ``name`` and a free network for ``hosts``, after sweeping away labs whose owners died.

    Raises LabFailed when a living process has that name.
    """
    (root / "labs").mkdir(parents=True, exist_ok=True)
    with locked(_gate(root), timeout_seconds=CLAIM_SECONDS, report=report):
        _sweep_dead(root, report)
        directory = root / "labs" / name
        if directory.exists():
            raise LabFailed(
                f"a lab named `{name}` is running", hint=f"{down_command(name)}, or choose another name"
            )
        directory.mkdir(mode=0o700)
        lock = _hold(directory / "lock")
        try:
            record = _take_network(
                Record(name=name, slot=0, owner=os.getpid(), hosts={}, is_kept=is_kept), hosts, directory
            )
        except BaseException:
            lock.close()
            raise
    return Claim(root=root, record=record, lock=lock)


def down_command(name: str) -> str:
    """Return what a person types to end the kept lab ``name``."""
    return "`make lab-down`" if name == "lab" else f"`make lab-down NAME={name}`"


def _hold(path: Path) -> IO[str]:
    # Somebody who looks may have it for a moment.
    deadline = time.monotonic() + CLAIM_SECONDS
    while (lock := try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise LabFailed(f"another process holds {path}")
        time.sleep(LOOK_SECONDS)
    return lock


def _take_network(empty: Record, hosts: tuple[str, ...], directory: Path) -> Record:
    """Make the first bridge that nobody has; the record is written first, so that it can be swept."""
    addresses = call("ip", "-o", "-4", "address")
    for slot in SLOTS:
        network = Network(slot)
        if network.bridge in interfaces() or not subnet_is_free(slot, addresses):
            continue
        by_name = {host: network.address(index) for index, host in enumerate(hosts)}
        record = replace(empty, slot=slot, hosts=by_name)
        (directory / "lab.json").write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")
        try:
            network.create(directory)
        except LabFailed:
            # A lab with another root may have been faster; anything else is an error.
            if network.is_owned_by(directory) or network.bridge not in interfaces():
                raise
        else:
            return record
    raise LabFailed(
        f"all {len(SLOTS)} networks for labs are in use", hint="`make lab-status`, `make lab-down`"
    )


def records(root: Path) -> Iterator[tuple[Record, bool]]:
    """Yield each lab and whether its owner lives."""
    for directory in _directories(root):
        record = _read(directory)
        if record is not None:
            yield record, is_held(directory / "lock")


@contextmanager
def swept(root: Path, *, report: Callable[[str], None] = silent) -> Iterator[None]:
    """Let no lab start in the block, before which what is left of labs whose owners died is removed."""
    (root / "labs").mkdir(parents=True, exist_ok=True)
    with locked(_gate(root), timeout_seconds=CLAIM_SECONDS, report=report):
        _sweep_dead(root, report)
        yield


def _directories(root: Path) -> list[Path]:
    return sorted((root / "labs").glob("[!.]*"))


def _sweep_dead(root: Path, report: Callable[[str], None]) -> None:
    for directory in _directories(root):
        if not is_held(directory / "lock"):
            report(f"removing what is left of lab `{directory.name}`, whose owner died")
            _sweep(directory, _read(directory))


def _sweep(directory: Path, record: Record | None) -> None:
    # A bridge of that name may be another lab's by now: after this machine booted, or with another root.
    if record is not None and record.network.is_owned_by(directory):
        for host in groups(record.network.bridge):
            record.group(host).end()
        ControlGroup(record.network.bridge).end()
        record.network.delete()
    _require_unmounted(directory)
    # A program that its dying owner had started may still write its last file.
    await_that(lambda: _is_removed(directory), f"{directory} should go", timeout_seconds=REMOVE_SECONDS)


def _is_removed(directory: Path) -> bool:
    with suppress(OSError):
        shutil.rmtree(directory)
    return not directory.exists()


def _require_unmounted(directory: Path) -> None:
    """Refuse to remove a tree into which something is mounted: removing would follow."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    inside = [place for place in mounted if Path(place).is_relative_to(directory)]
    if inside:
        raise LabFailed(f"something is mounted at {inside[0]}", hint=f"umount -- {inside[0]}")


def _read(directory: Path) -> Record | None:
    # Killed between making the directory and writing the record, it has made nothing else.
    with suppress(FileNotFoundError, json.JSONDecodeError, TypeError):
        return Record(**json.loads((directory / "lab.json").read_text(encoding="utf-8")))
    return None


def _gate(root: Path) -> Path:
    return root / "labs" / ".gate"
