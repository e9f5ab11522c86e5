"""What a host tells of itself, and whether it is fit."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.doctor.finding import Level
from fleet.doctor.host import GIB, MIB, Needs, examine
from provisioning.errors import HostUnfit
from provisioning.hosts import facts as facts_module
from provisioning.hosts.facts import Facts, Root, parse
from provisioning.hosts.runner import Ran

TOLD: dict[str, Any] = {
    "time": 105.0,
    "os_id": "debian",
    "os_version": "12",
    "os_name": "Debian GNU/Linux 12 (bookworm)",
    "architecture": "x86_64",
    "python": "3.11.2",
    "systemd": 252,
    "disk_free_bytes": 10 * GIB,
    "memory_bytes": 4 * GIB,
    "memory_available_bytes": 2 * GIB,
    "user": "admin",
    "root": "sudo",
    "programs": {"rsync": "/usr/bin/rsync", "restic": None},
}
NEEDS = Needs(state_dir="/var/lib/fleet", rsync=True)


def read(told: object) -> Facts:
    ran = Ran(exit_code=0, stdout=json.dumps(told).encode(), stderr=b"")
    return parse(ran, host="alpha", sent=100.0, received=102.0)


def levels(needs: Needs = NEEDS, **changed: Any) -> dict[str, Level]:
    return {
        finding.check: finding.level
        for finding in examine(replace(read(TOLD), **changed), needs)
        if finding.level is not Level.OK
    }


def test_the_clock_is_compared_with_the_middle_of_the_way_there_and_back() -> None:
    facts = read(TOLD)
    assert (facts.clock_offset_seconds, facts.clock_uncertainty_seconds) == (4.0, 1.0)
    assert facts.root is Root.SUDO


@pytest.mark.parametrize(
    "ran",
    [
        Ran(exit_code=127, stdout=b"", stderr=b"python3: not found"),
        Ran(exit_code=0, stdout=b"", stderr=b""),
        Ran(exit_code=0, stdout=b"[1]", stderr=b""),
        Ran(exit_code=0, stdout=b'{"time": 1}', stderr=b""),
        Ran(exit_code=0, stdout=json.dumps(TOLD | {"root": "king"}).encode(), stderr=b""),
        Ran(exit_code=0, stdout=json.dumps(TOLD | {"more": 1}).encode(), stderr=b""),
    ],
)
def test_a_host_that_tells_something_else_is_unfit(ran: Ran) -> None:
    with pytest.raises(HostUnfit, match="host `alpha` cannot say what it is like") as unfit:
        parse(ran, host="alpha", sent=0.0, received=1.0)
    assert "apt install python3" in (unfit.value.hint or "")


def test_the_program_itself_tells_of_this_machine_what_is_read(tmp_path: Path) -> None:
    program = Path(facts_module.__file__).with_name("facts_program.py").read_bytes()
    told = subprocess.run(
        [sys.executable, "-I", "-", str(tmp_path / "not" / "there"), "sh", "no-such-program"],
        input=program,
        capture_output=True,
        check=True,
        timeout=30,
    )
    facts = parse(Ran(exit_code=0, stdout=told.stdout, stderr=b""), host="here", sent=0.0, received=0.0)
    assert facts.disk_free_bytes > 0
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert facts.programs["sh"]
    assert facts.programs["no-such-program"] is None


def test_a_fit_host_has_nothing_to_say_but_ok() -> None:
    assert levels(clock_offset_seconds=0.0) == {}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"os_id": "fedora"}, {"system": Level.WARN}),
        ({"architecture": "riscv64"}, {"system": Level.WARN}),
        ({"python": "3.9.2"}, {"python": Level.FAIL}),
        ({"systemd": None}, {"systemd": Level.FAIL}),
        ({"systemd": 241}, {"systemd": Level.FAIL}),
        ({"root": Root.NONE}, {"root": Level.FAIL}),
        ({"root": Root.ASKED}, {"root": Level.FAIL}),
        ({"disk_free_bytes": GIB}, {"disk": Level.WARN}),
        ({"disk_free_bytes": 100 * MIB}, {"disk": Level.FAIL}),
        ({"memory_available_bytes": 100 * MIB}, {"memory": Level.WARN}),
        ({"memory_available_bytes": None}, {}),
        # a difference that the way of the answer explains is none
        ({"clock_offset_seconds": -2.9}, {}),
        ({"clock_offset_seconds": -3.5}, {"clock": Level.WARN}),
        ({"clock_offset_seconds": 31.5}, {"clock": Level.FAIL}),
        ({"programs": {}}, {"rsync": Level.FAIL}),
    ],
)
def test_what_a_host_lacks_is_told(changed: dict[str, Any], found: dict[str, Level]) -> None:
    assert levels(**({"clock_offset_seconds": 0.0} | changed)) == found


def test_a_password_for_sudo_that_was_given_settles_whether_root_can_be_had() -> None:
    asked = {"root": Root.ASKED, "clock_offset_seconds": 0.0}
    assert levels(replace(NEEDS, root_with_password=True), **asked) == {}
    assert levels(replace(NEEDS, root_with_password=False), **asked) == {"root": Level.FAIL}


def test_rsync_is_missed_only_where_backups_run() -> None:
    assert levels(replace(NEEDS, rsync=False), programs={}, clock_offset_seconds=0.0) == {}
