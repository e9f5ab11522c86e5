"""What of a lab can be seen on this machine? Of a named one: others may come and go meanwhile."""

from pathlib import Path

from tests.hosts.lab.cgroups import PARENT
from tests.hosts.lab.network import hardware_address, interfaces, mark
from tests.hosts.lab.system import cgroup_roots, lab_root


def traces(name: str) -> list[str]:
    """Return everything that is there of the lab ``name``, a line each."""
    labs = lab_root() / "labs"
    marked = f"{labs}/{name}"
    bridges = [one for one in interfaces() if hardware_address(one) == mark(labs / name)]
    cables = [one for one in interfaces() for bridge in bridges if one.startswith(f"vb-{bridge}-")]
    groups = [
        str(path) for root in cgroup_roots() for bridge in bridges for path in (root / PARENT).glob(bridge)
    ]
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if marked in line]
    directories = [str(path) for path in labs.glob(name)]
    return [*bridges, *cables, *groups, *mounts, *directories, *processes_naming(marked)]


def processes_naming(text: str) -> list[str]:
    """Return the processes among whose arguments ``text`` stands: number and arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in arguments:
            found.append(f"{path.parent.name} {arguments}")
    return found
