"""Is a host fit for what the fleet has it do? Facts in, findings out."""

from collections.abc import Iterator
from dataclasses import dataclass

from fleet.doctor.clock import NOTICEABLE_SECONDS, WRONG_SECONDS
from fleet.doctor.finding import Finding, Level, Verdict, fail, ok, warn
from provisioning.hosts.facts import Facts, Root

PREPARE = "see docs/how-to/prepare-a-host.md"
GIB = 1024**3
MIB = 1024**2
#: systemd of Debian's oldest release that is tested
OLDEST_SYSTEMD = 247
OLDEST_PYTHON = (3, 11)
TESTED_RELEASES = frozenset({("debian", "12"), ("debian", "13")})
TESTED_ARCHITECTURES = frozenset({"x86_64", "aarch64"})
#: a release with its dependencies, twice, and a ledger
ENOUGH_DISK_BYTES = 2 * GIB
LEAST_DISK_BYTES = 512 * MIB
ENOUGH_MEMORY_BYTES = 256 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the fleet has a host do."""

    state_dir: str
    #: backups run there
    rsync: bool
    #: root was had with sudo's password, which was given; None: nobody gave one
    root_with_password: bool | None = None
    #: why its workers do not run: it was drained; None: it was not
    drained: str | None = None


def examine(facts: Facts, needs: Needs) -> tuple[Finding, ...]:
    """Return what can be said of a host, in the order in which it should be put right."""
    checks = {
        "workers": _workers(needs),
        "system": _system(facts),
        "python": _python(facts),
        "systemd": _systemd(facts),
        "root": _root(facts, needs),
        "disk": _disk(facts, needs),
        "memory": _memory(facts),
        "clock": _clock(facts),
        "rsync": _rsync(facts, needs),
    }
    return tuple(
        Finding(check=name, level=verdict.level, message=verdict.message, hint=verdict.hint)
        for name, verdicts in checks.items()
        for verdict in verdicts
    )


def _workers(needs: Needs) -> Iterator[Verdict]:
    if needs.drained is not None:
        yield warn(needs.drained, "`fleet resume` lets its workers run again")


def refused(message: str, hint: str | None) -> Finding:
    """Return the one finding of a host that lets nobody in, or cannot be asked."""
    return Finding(check="access", level=Level.FAIL, message=message, hint=hint)


def unreached(message: str, hint: str | None) -> Finding:
    """Return the one finding of a host that was not reached."""
    return Finding(check="access", level=Level.UNKNOWN, message=message, hint=hint)


def _system(facts: Facts) -> Iterator[Verdict]:
    said = f"{facts.os_name or 'an unknown system'} on {facts.architecture}"
    if (facts.os_id, facts.os_version) not in TESTED_RELEASES:
        yield warn(f"{said}: not tested", "tested are Debian 12 and 13")
    elif facts.architecture not in TESTED_ARCHITECTURES:
        yield warn(f"{said}: architecture not tested", "tested are x86_64 and aarch64")
    else:
        yield ok(said)


def _python(facts: Facts) -> Iterator[Verdict]:
    version = tuple(int(part) for part in facts.python.split(".")[:2] if part.isdigit())
    if version < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        yield fail(f"Python {facts.python} is older than {wanted}", f"install Python {wanted} or newer")
    else:
        yield ok(f"Python {facts.python}")


def _systemd(facts: Facts) -> Iterator[Verdict]:
    if facts.systemd is None:
        yield fail("systemd does not run this host", "workers are systemd units; use a host that has it")
    elif facts.systemd < OLDEST_SYSTEMD:
        yield fail(
            f"systemd {facts.systemd} is older than {OLDEST_SYSTEMD}", "credentials of units need a newer one"
        )
    else:
        yield ok(f"systemd {facts.systemd}")


def _root(facts: Facts, needs: Needs) -> Iterator[Verdict]:
    if facts.root is Root.ITSELF:
        yield ok("logged in as root")
    elif facts.root is Root.SUDO:
        yield ok(f"`{facts.user}` becomes root with sudo, without a password")
    elif facts.root is Root.NONE:
        yield fail(f"`{facts.user}` is not root, and there is no sudo", f"`apt install sudo`; {PREPARE}")
    elif needs.root_with_password:
        yield ok(f"`{facts.user}` becomes root with sudo and its password")
    elif needs.root_with_password is None:
        yield fail(
            f"sudo gives `{facts.user}` nothing without a password",
            f"add `--ask-sudo-password` if it would with one; {PREPARE}",
        )
    else:
        yield fail(f"sudo refuses `{facts.user}`, also with the password given", PREPARE)


def _disk(facts: Facts, needs: Needs) -> Iterator[Verdict]:
    said = f"{facts.disk_free_bytes / GIB:.1f} GiB free for {needs.state_dir}"
    if facts.disk_free_bytes < LEAST_DISK_BYTES:
        yield fail(said, "make room: a release and the ledger need more")
    elif facts.disk_free_bytes < ENOUGH_DISK_BYTES:
        yield warn(said, "make room: two releases side by side take about 1 GiB")
    else:
        yield ok(said)


def _memory(facts: Facts) -> Iterator[Verdict]:
    if facts.memory_available_bytes is None:
        return
    said = f"{facts.memory_available_bytes / GIB:.1f} GiB of memory available"
    if facts.memory_available_bytes < ENOUGH_MEMORY_BYTES:
        yield warn(said, "a worker with two child processes takes about 200 MiB")
    else:
        yield ok(said)


def _clock(facts: Facts) -> Iterator[Verdict]:
    offset = facts.clock_offset_seconds
    # What the way there and back may explain is no difference.
    certain = max(0.0, abs(offset) - facts.clock_uncertainty_seconds)
    said = f"its clock is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} this machine's"
    hint = "let both keep time: `timedatectl` shows whether NTP is active"
    if certain >= WRONG_SECONDS:
        yield fail(f"{said}: schedules and waiting times are wrong by as much", hint)
    elif certain >= NOTICEABLE_SECONDS:
        yield warn(said, hint)
    else:
        yield ok(f"within {NOTICEABLE_SECONDS:.0f} s of this machine's")


def _rsync(facts: Facts, needs: Needs) -> Iterator[Verdict]:
    if not needs.rsync:
        return
    if facts.programs.get("rsync"):
        yield ok("rsync is there")
    else:
        yield fail("rsync is missing, and backups run here", "`apt install rsync`")
