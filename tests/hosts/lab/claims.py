"""Which lab has which name and network, whose is it, and what became of labs whose owner died?

A lab is a directory with a lock that its owner holds for as long as it lives; the kernel drops the lock with
the owner. A directory that nobody holds is the rest of a lab that was killed, and whoever comes next sweeps
it away.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from fleet.daemons.process import silent
from tests.hosts.lab.cgroups import ControlGroup, groups
from tests.hosts.lab.locks import locked, try_lock
from tests.hosts.lab.network import SLOTS, Network, interfaces, subnet_is_free
from tests.hosts.lab.system import LabFailed, call

CLAIM_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a lab's directory says about it."""

    name: str
    slot: int
    #: process that owns it
    owner: int
    #: address of each host by name
    hosts: dict[str, str]

    @property
    def network(self) -> Network:
        """Its wiring."""
        return Network(self.slot)


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


def claim(name: str, hosts: tuple[str, ...], root: Path, *, report: Callable[[str], None] = silent) -> Claim:
    """Take ``name`` and a free network for ``hosts``, after sweeping away labs whose owners died.

    Raises LabFailed when a living process has that name.
    """
    (root / "labs").mkdir(parents=True, exist_ok=True)
    with locked(_gate(root), timeout_seconds=CLAIM_SECONDS, report=report):
        sweep_dead(root, report=report)
        directory = root / "labs" / name
        if directory.exists():
            raise LabFailed(
                f"a lab named `{name}` is running", hint="`make lab-down`, or choose another name"
            )
        network = Network(_free_slot(root))
        addresses = {host: network.address(index) for index, host in enumerate(hosts)}
        record = Record(name=name, slot=network.slot, owner=os.getpid(), hosts=addresses)
        # The record comes first: whatever is made after it can be found and swept.
        directory.mkdir(mode=0o700)
        lock = try_lock(directory / "lock")
        assert lock is not None
        (directory / "lab.json").write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")
    return Claim(root=root, record=record, lock=lock)


def records(root: Path) -> Iterator[tuple[Record, bool]]:
    """Yield each lab and whether its owner lives."""
    for directory in sorted((root / "labs").glob("[!.]*")):
        record = _read(directory)
        if record is not None:
            yield record, not _is_dead(directory)


def sweep_dead(root: Path, *, report: Callable[[str], None] = silent) -> None:
    """Remove what is left of labs whose owners died. The gate must be held."""
    for directory in sorted((root / "labs").glob("[!.]*")):
        if _is_dead(directory):
            report(f"removing what is left of lab `{directory.name}`, whose owner died")
            _sweep(directory, _read(directory))


def sweep(root: Path, *, report: Callable[[str], None] = silent) -> None:
    """Remove what is left of labs whose owners died."""
    if (root / "labs").exists():
        with locked(_gate(root), timeout_seconds=CLAIM_SECONDS, report=report):
            sweep_dead(root, report=report)


def _sweep(directory: Path, record: Record | None) -> None:
    for name in groups(directory.name):
        group = ControlGroup(name)
        group.kill()
        group.delete()
    if record is not None:
        record.network.delete()
    _require_unmounted(directory)
    shutil.rmtree(directory)


def _require_unmounted(directory: Path) -> None:
    """Refuse to remove a tree into which something is mounted: removing would follow."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    inside = [place for place in mounted if Path(place).is_relative_to(directory)]
    if inside:
        raise LabFailed(f"something is mounted at {inside[0]}", hint=f"umount -- {inside[0]}")


def _is_dead(directory: Path) -> bool:
    try:
        handle = try_lock(directory / "lock")
    except FileNotFoundError:
        return False
    if handle is None:
        return False
    handle.close()
    return True


def _read(directory: Path) -> Record | None:
    # Killed between making the directory and writing the record, it has made nothing else.
    with suppress(FileNotFoundError, json.JSONDecodeError, TypeError):
        return Record(**json.loads((directory / "lab.json").read_text(encoding="utf-8")))
    return None


def _free_slot(root: Path) -> int:
    taken = {record.slot for record, _ in records(root)}
    present = interfaces()
    addresses = call("ip", "-o", "-4", "address")
    for slot in SLOTS:
        network = Network(slot)
        if slot not in taken and network.bridge not in present and subnet_is_free(slot, addresses):
            return slot
    raise LabFailed(f"all {len(SLOTS)} networks for labs are in use", hint="make lab-down")


def _gate(root: Path) -> Path:
    return root / "labs" / ".gate"
