"""How are the hosts of a fleet reached, and what are they like?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from fleet.errors import UsageError
from fleet.hosts.drained import Drained, read_mark
from fleet.hosts.paths import DRAINED
from fleet.hosts.performing import QUICK_SECONDS
from fleet.model import Fleet, Host
from provisioning.errors import HostTimeout, HostUnreachable, ProvisioningError
from provisioning.hosts.facts import Facts, gather
from provisioning.hosts.known_hosts import HostKey
from provisioning.hosts.many import Done, on_each
from provisioning.hosts.route import Destination, Hop, parse_jumps
from provisioning.hosts.runner import Runner

if TYPE_CHECKING:
    from types import ModuleType

    from provisioning.hosts.ssh import SshDoor

T = TypeVar("T")
#: gives the password for sudo; called once per host at most, and only where sudo asks
SudoPassword = Callable[[], str]


class Door(Protocol):
    """The way to many hosts."""

    def runner(self, destination: Destination, *, sudo_password: SudoPassword | None = None) -> Runner:
        """Return a runner for a host, not yet connected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A host as the fleet file has it."""

    host: Host
    user: str
    address: str
    port: int
    #: the hosts in between, nearest first
    through: tuple[str, ...]
    workers: tuple[str, ...]
    #: the key by which it is known, or None
    key: HostKey | None
    #: path of this user's private key; None: as `~/.ssh/config` says
    key_file: str | None
    #: the fleet's own known_hosts file where that decides; else None
    known_hosts: str | None
    #: the hosts in between as `ssh -J` takes them, nearest first; None: as `~/.ssh/config` says
    jump: tuple[str, ...] | None


def load_ssh() -> "ModuleType":
    """Import what reaches hosts, which takes a while. Raises UsageError on a host, where it is not."""
    try:
        from provisioning.hosts import ssh
    except ModuleNotFoundError as error:
        if error.name not in {"fabric", "paramiko"}:
            raise
        raise UsageError(
            "hosts cannot be reached from here: this installation comes without Fabric",
            hint="run it on the control machine; what is installed on a host does not reach others",
        ) from error
    return ssh


def open_door(fleet: Fleet) -> "SshDoor":
    """Return the door to all hosts of ``fleet``; it reads configuration and known hosts once.

    Raises UsageError where this installation comes without what reaches hosts.
    """
    ssh = load_ssh()
    settings = ssh.SshSettings(
        known_hosts=fleet.ssh.known_hosts, connect_timeout_seconds=fleet.ssh.connect_timeout_seconds
    )
    door: SshDoor = ssh.SshDoor(settings)
    return door


def open_runner(
    fleet: Fleet, host: Host, *, sudo_password: SudoPassword | None = None, door: Door | None = None
) -> Runner:
    """Return a runner for ``host``, which connects when it is first used and is to be closed.

    For several hosts make the ``door`` once. ``sudo_password`` is called when sudo on the host asks for one.
    """
    return (door or open_door(fleet)).runner(destination(fleet, host), sudo_password=sudo_password)


def runner_at(fleet: Fleet, text: str) -> Runner:
    """Return a runner for the host that ``text`` names as `[user@]host[:port]`, a fleet's own or another."""
    (hop,) = parse_jumps(text)
    known = _jump(fleet, hop)
    end = replace(known, user=known.user or fleet.ssh.user, port=known.port or fleet.ssh.port)
    return open_door(fleet).runner(Destination(host=end, jumps=_jumps(fleet, fleet.ssh.jump)))


def destination(fleet: Fleet, host: Host) -> Destination:
    """Return where ``host`` is and the way to it, as the fleet file says."""
    jump = host.jump if host.jump is not None else fleet.ssh.jump
    return Destination(host=_hop(fleet, host), jumps=_jumps(fleet, jump))


def choose(fleet: Fleet, patterns: Sequence[str]) -> tuple[Host, ...]:
    """Return the hosts that ``patterns`` mean, in the order of the file; all of them for none.

    Raises UsageError for a pattern that means no host.
    """
    for pattern in patterns:
        if not fleet.hosts_for((pattern,)):
            known = ", ".join(host.name for host in fleet.hosts[:12])
            raise UsageError(f"no host of {fleet.source} is meant by `{pattern}`", hint=f"known: {known}")
    return fleet.hosts_for(tuple(patterns)) if patterns else fleet.hosts


def list_hosts(fleet: Fleet) -> tuple[Listed, ...]:
    """Return every host as the fleet file has it; none of them is asked."""
    door = open_door(fleet)
    return tuple(_listed(fleet, host, door) for host in fleet.hosts)


def on_hosts(
    fleet: Fleet,
    hosts: Sequence[Host],
    work: Callable[[Host, Runner], T],
    *,
    sudo_password: SudoPassword | None = None,
    on_done: Callable[[Done[T]], None] = lambda _: None,
    door: Door | None = None,
) -> tuple[Done[T], ...]:
    """Do ``work`` on each of ``hosts``, several at once, and return how it went, in their order.

    Each has a runner of its own, which is closed afterwards; a host that takes too long is given up. They are
    reached through ``door``, over SSH when left out.
    """
    way = door or open_door(fleet)
    by_name = {host.name: host for host in hosts}
    runners = {host.name: open_runner(fleet, host, sudo_password=sudo_password, door=way) for host in hosts}

    def work_on(name: str) -> T:
        try:
            return work(by_name[name], runners[name])
        finally:
            runners[name].close()

    return on_each(
        tuple(by_name),
        work_on,
        parallel=fleet.ssh.parallel,
        deadline_seconds=fleet.ssh.deadline_seconds,
        give_up=lambda name: runners[name].close(),
        on_done=on_done,
    )


def gather_facts(fleet: Fleet, hosts: Sequence[Host]) -> tuple[Done[Facts], ...]:
    """Return what each of ``hosts`` is like, or why that is not known."""
    return on_hosts(fleet, hosts, lambda _, runner: gather(runner, state_dir=fleet.state_dir))


def see_drained(fleet: Fleet, hosts: Sequence[Host]) -> tuple[Done[Drained | None], ...]:
    """Return why each of ``hosts`` is drained, or None where it is not."""
    return on_hosts(fleet, hosts, lambda _, runner: is_drained(runner))


def is_drained(runner: Runner) -> Drained | None:
    """Return why a host is drained, or None where it is not; anybody may ask."""
    ran = runner.run(("cat", "--", DRAINED), timeout_seconds=QUICK_SECONDS)
    return None if ran.exit_code else read_mark(ran.stdout)


def is_unreached(error: ProvisioningError | None) -> bool:
    """Tell whether nobody answered, rather than that the answer was no."""
    return isinstance(error, HostUnreachable | HostTimeout)


def _hop(fleet: Fleet, host: Host) -> Hop:
    return Hop(
        name=host.name,
        address=host.address,
        user=host.ssh_user or fleet.ssh.user,
        port=host.ssh_port or fleet.ssh.port,
        key=fleet.ssh.key,
    )


def _jumps(fleet: Fleet, text: str | None) -> tuple[Hop, ...] | None:
    return None if text is None else tuple(_jump(fleet, hop) for hop in parse_jumps(text))


def _jump(fleet: Fleet, hop: Hop) -> Hop:
    """Return ``hop`` with what the fleet file says of it, where it is a host of the fleet."""
    host = fleet.host(hop.address)
    if host is None:
        return Hop(name=hop.name, address=hop.address, user=hop.user, port=hop.port, key=fleet.ssh.key)
    known = _hop(fleet, host)
    return Hop(
        name=host.name,
        address=host.address,
        user=hop.user or known.user,
        port=hop.port or known.port,
        key=known.key,
    )


def _listed(fleet: Fleet, host: Host, door: "SshDoor") -> Listed:
    there = destination(fleet, host)
    *before, end = door.route(there)
    return Listed(
        host=host,
        user=end.user,
        address=end.host,
        port=end.port,
        through=tuple(each.name for each in before),
        workers=tuple(worker.name for worker in fleet.workers_on(host.name)),
        key=door.known_key(end),
        key_file=fleet.ssh.key,
        known_hosts=door.known_hosts(end),
        jump=None if there.jumps is None else tuple(map(_as_jump, there.jumps)),
    )


def _as_jump(hop: Hop) -> str:
    address = f"[{hop.address}]" if ":" in hop.address else hop.address
    return f"{hop.user}@" * bool(hop.user) + address + f":{hop.port}" * bool(hop.port)
