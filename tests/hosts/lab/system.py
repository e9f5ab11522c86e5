"""What does a lab need of this machine, and how does it call its programs?"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fleet.errors import FleetError

#: programs that a lab calls, and the Debian package of each
PROGRAMS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
#: what images are built of
SUITES = ("bookworm", "trixie")
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLL_SECONDS = 0.1
WATCHERS = 1024
INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")


class LabFailed(FleetError):
    """A lab could not be built, started or used."""


class LabMissing(FleetError):
    """This machine cannot carry a lab; the message says in one line what is missing."""


def require_lab() -> None:
    """Raise LabMissing unless this machine can carry a lab."""
    missing = lab_missing()
    if missing:
        raise LabMissing(missing, hint="run it as root on Debian 12 or 13, after `make lab-programs`")


def lab_missing() -> str | None:
    """Return in one line what this machine lacks to carry a lab, or None when nothing is missing."""
    if sys.platform != "linux":
        return f"a lab of hosts needs Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "a lab of hosts needs root"
    absent = sorted({PROGRAMS[name] for name in PROGRAMS if shutil.which(name, path=SEARCH_PATH) is None})
    if absent:
        return f"a lab of hosts needs Debian's {', '.join(absent)}"
    roots = cgroup_roots()
    if not roots or not all(os.access(root, os.W_OK) for root in roots):
        return "a lab of hosts needs writable control groups, version 2 or hybrid"
    if machine_suite() not in SUITES:
        return f"a lab of hosts is built on Debian {' or '.join(SUITES)}, and this is `{machine_suite()}`"
    probe = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--", "true")
    if subprocess.run(probe, env=program_environ(), capture_output=True, check=False).returncode:
        return "a lab of hosts needs the right to mount (CAP_SYS_ADMIN)"
    return None


def let_many_watch_files(limit: Path = INOTIFY_INSTANCES) -> None:
    """Raise how many watchers of files this machine's root may have, of which each host takes about eight.

    The usual 128 are the hosts' of this machine together, and end at the sixteenth. It stays raised, for
    another lab may count on it.
    """
    if int(limit.read_text()) < WATCHERS:
        # Where that is not to be changed, a small lab still works.
        with contextlib.suppress(OSError):
            limit.write_text(str(WATCHERS))


def machine_suite() -> str:
    """Return the code name of this machine's own Debian release, such as ``bookworm``."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    return fields.get("VERSION_CODENAME", "").strip('"')


def cgroup_roots() -> tuple[Path, ...]:
    """Return where the hierarchies are mounted that systemd uses: version 2 first."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    unified = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"]
    named = [
        Path(fields[1])
        for fields in mounts
        if fields[2] == "cgroup" and "name=systemd" in fields[3].split(",")
    ]
    return (unified[0], *named[:1]) if unified else ()


def lab_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where images and running labs are kept: ``$FLEET_LAB_CACHE``, else below /var/cache."""
    return Path(environ.get("FLEET_LAB_CACHE") or "/var/cache/fleet-lab").absolute()


def program_environ() -> dict[str, str]:
    """Return the environment of the lab's own programs: of the caller's, only what downloads may need."""
    kept = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return kept | {"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def call(*argv: str, timeout_seconds: float = 60, stdin: str = "") -> str:
    """Run one of the lab's programs and return its stdout. Raises LabFailed with its own reason."""
    try:
        done = subprocess.run(
            # Not one step more once the lab's owner is dead.
            ("setpriv", "--pdeathsig", "KILL", "--", *argv),
            env=program_environ(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabFailed(f"`{' '.join(argv[:3])}` took longer than {timeout_seconds:g} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise LabFailed(f"`{' '.join(argv)}` failed: {said}")
    return done.stdout


def await_that(condition: Callable[[], bool], what: str, *, timeout_seconds: float) -> None:
    """Return once ``condition`` holds, for what the kernel announces by no event. Raises LabFailed."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabFailed(f"{what}: not within {timeout_seconds:g} s")
        time.sleep(POLL_SECONDS)
