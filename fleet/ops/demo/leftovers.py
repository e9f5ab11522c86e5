"""What is on this machine now that was not there before, and comes from us?

Other programs start and end meanwhile, so a difference counts when it bears the demo's token: in an
environment, a working directory, a command line or a name. Where only we have business, every one counts.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LISTEN = "0A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The machine at one moment."""

    #: ``pid command`` of processes that bear the token
    processes: frozenset[str]
    #: listening TCP ports
    ports: frozenset[int]
    #: mount points
    mounts: frozenset[str]
    #: paths in places where programs like to leave files
    files: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """The difference between two snapshots."""

    processes: tuple[str, ...]
    ports: tuple[int, ...]
    mounts: tuple[str, ...]
    files: tuple[str, ...]

    def __str__(self) -> str:
        kinds = (
            ("processes", self.processes),
            ("ports", self.ports),
            ("mounts", self.mounts),
            ("files", self.files),
        )
        found = [f"{len(items)} {kind} ({', '.join(map(str, items[:3]))})" for kind, items in kinds if items]
        return "; ".join(found)


def compare(before: Snapshot, after: Snapshot, *, ours: Iterable[int], token: str) -> Leftovers:
    """Return what only ``after`` has; of ports only ``ours``, of mounts only the token's."""
    return Leftovers(
        processes=tuple(sorted(after.processes - before.processes)),
        ports=tuple(sorted((after.ports - before.ports) & set(ours))),
        mounts=tuple(sorted(mount for mount in after.mounts - before.mounts if token in mount)),
        files=tuple(sorted(after.files - before.files)),
    )


def observe(token: str, *, private: Iterable[Path], shared: Iterable[Path]) -> Snapshot:
    """Look at the machine: every entry of the ``private`` directories, the token's in the ``shared`` ones."""
    files = {str(path) for directory in private for path in _entries(directory)}
    files |= {str(path) for directory in shared for path in _entries(directory) if token in path.name}
    return Snapshot(
        processes=frozenset(_processes(token)),
        ports=frozenset(_listening()),
        mounts=frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        files=frozenset(files),
    )


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _processes(token: str) -> Iterable[str]:
    needle = token.encode()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes()
            traces = command + (process / "environ").read_bytes() + os.fsencode((process / "cwd").readlink())
        except OSError:
            # It has ended meanwhile, or it is somebody else's.
            continue
        if needle in traces:
            yield f"{process.name} {command.replace(bytes(1), b' ').decode(errors='replace')[:60]}"


def _listening() -> Iterable[int]:
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN:
                yield int(fields[1].rpartition(":")[2], 16)
