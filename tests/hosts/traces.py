"""What of a lab can be seen on this machine, so that before and after can be compared?"""

from dataclasses import dataclass
from pathlib import Path

from tests.hosts.lab.cgroups import PARENT
from tests.hosts.lab.network import interfaces
from tests.hosts.lab.system import cgroup_roots, lab_root


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Everything that a lab could leave behind."""

    interfaces: frozenset[str]
    #: mount points in this process's namespace
    mounts: frozenset[str]
    cgroups: frozenset[str]
    #: directories of labs
    directories: frozenset[str]
    #: processes whose arguments name a directory of a lab
    processes: frozenset[str]


def observe() -> Traces:
    """Look at this machine now."""
    labs = lab_root() / "labs"
    return Traces(
        interfaces=interfaces(),
        mounts=frozenset(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        cgroups=frozenset(
            str(path) for root in cgroup_roots() for path in (root / PARENT).glob("**") if path.is_dir()
        ),
        directories=frozenset(str(path) for path in labs.glob("[!.]*")),
        processes=frozenset(_processes_naming(str(labs))),
    )


def _processes_naming(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in arguments:
            found.append(f"{path.parent.name} {arguments}")
    return found
