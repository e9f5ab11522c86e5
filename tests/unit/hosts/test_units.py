"""The units, word for word, and what must never be wrong in them.

``python -m tests.unit.hosts.test_units`` writes the files anew.
"""

from pathlib import Path

import pytest

from fleet.hosts.bundle import File, bundle
from fleet.hosts.sandbox import backup_sandbox, service_sandbox
from fleet.hosts.units import stop_seconds
from fleet.model import Backup, Worker
from tests.unit.hosts.fleets import RELEASE, material, office

CASES = Path(__file__).parents[2] / "cases" / "units"


def rendered() -> dict[str, str]:
    fleet = office()
    return {
        f"{host}/{record.path.rpartition('/')[2]}": record.content.decode()
        for host in ("alpha", "beta")
        for record in bundle(fleet, host, RELEASE, material(fleet, host))
        if isinstance(record, File)
        and (record.path.startswith("/etc/systemd/") or record.path.endswith(".toml"))
    }


def golden() -> dict[str, str]:
    return {
        path.relative_to(CASES).as_posix(): path.read_text(encoding="utf-8")
        for path in CASES.rglob("*")
        if path.is_file()
    }


def test_the_files_of_two_hosts_are_these() -> None:
    assert rendered() == golden()


def backup(*sources: str, destination: str = "/mnt/copies", restore_dir: str | None = None) -> Backup:
    return Backup(name="b", hosts=("*",), sources=sources, destination=destination, restore_dir=restore_dir)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (("/srv/data",), ["ProtectHome=yes"]),
        (("/home/ann",), ["ProtectHome=tmpfs", "BindReadOnlyPaths=-/home/ann"]),
        (("/home",), ["ProtectHome=read-only"]),
        (("/",), ["ProtectHome=read-only"]),
        (("/root/kept", "/etc"), ["ProtectHome=tmpfs", "BindReadOnlyPaths=-/root/kept"]),
    ],
)
def test_a_backup_sees_of_homes_what_it_copies(sources: tuple[str, ...], expected: list[str]) -> None:
    found = backup_sandbox((backup(*sources),))
    assert [line for line in found if line.startswith(("ProtectHome", "BindReadOnly"))] == expected


def test_what_a_backup_writes_is_writable_wherever_it_lies() -> None:
    found = backup_sandbox((backup("/srv/a", destination="/home/copies", restore_dir="/srv/back"),))
    assert "BindPaths=/home/copies" in found
    assert "ReadWritePaths=/srv/back" in found


def test_a_backup_reads_password_files_only_where_a_source_says_so() -> None:
    assert "InaccessiblePaths=-/etc/shadow" in backup_sandbox((backup("/srv/a"),))
    assert "InaccessiblePaths=-/etc/shadow" not in backup_sandbox((backup("/etc"),))


def test_what_makes_no_backup_has_no_capability() -> None:
    found = service_sandbox()
    assert "CapabilityBoundingSet=" in found
    assert "AmbientCapabilities=" in found


@pytest.mark.parametrize(("stop_timeout", "seconds"), [(0, 30), (20, 50), (60, 90), (86_400, 86_430)])
def test_systemd_waits_for_all_of_a_drain_for_it_forgets_what_it_granted_beyond(
    stop_timeout: int, seconds: int
) -> None:
    worker = Worker(name="w", hosts=("*",), queues=("q",), stop_timeout_seconds=stop_timeout)
    assert stop_seconds(worker) == seconds


if __name__ == "__main__":
    for name, text in rendered().items():
        (CASES / name).parent.mkdir(parents=True, exist_ok=True)
        (CASES / name).write_text(text, encoding="utf-8")
