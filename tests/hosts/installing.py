"""How does a bundle come onto a host of the lab? One command for each record."""

from collections.abc import Iterable

from fleet.hosts.bundle import Directory, File, Link, Record, SystemUser, Unit
from tests.hosts.lab import Host
from tests.hosts.lab.system import LabFailed


def put_records(host: Host, records: Iterable[Record]) -> None:
    """Make ``host`` what ``records`` say; nothing is started."""
    for record in records:
        match record:
            case SystemUser(name=name, home=home, shell=shell):
                host.console(
                    "useradd", "--system", "--user-group", "--home-dir", home, "--shell", shell, name
                )
            case Directory():
                host.console(*_install(record), "-d", "--", record.path)
            case File():
                host.console(*_install(record), "-T", "/dev/stdin", record.path, stdin=record.content)
            case Link(path=path, target=target):
                host.console("ln", "-sfn", "--", target, path)
    host.console("systemctl", "daemon-reload")


def start_units(host: Host, records: Iterable[Record]) -> None:
    """Enable and start what ``records`` say; returns when all of it is ready."""
    units = [record for record in records if isinstance(record, Unit)]
    host.console("systemctl", "enable", "--quiet", *(unit.name for unit in units if unit.enabled))
    try:
        host.console("systemctl", "start", *(unit.name for unit in units if unit.active))
    except LabFailed as error:
        lines = host.console("journalctl", "--no-pager", "--lines=40", "--unit=fleet-*", "--output=cat")
        raise LabFailed(f"{error.message}\n{lines}") from error


def _install(record: Directory | File) -> tuple[str, ...]:
    return ("install", "-o", record.owner, "-g", record.group, "-m", f"{record.mode:o}")
