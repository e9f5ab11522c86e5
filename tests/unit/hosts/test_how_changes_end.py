"""What a command that changes hosts ends with, by what became of them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.cli.host_changes import Prepared
from fleet.cli.main import fleet
from fleet.errors import FleetError, ProblemsFound
from fleet.hosts.units import unit_file, worker_unit
from fleet.ops.host_change import HostChange
from provisioning import errors
from provisioning.apply import Report
from provisioning.hosts.many import Done
from provisioning.hosts.objects import File, HostObject, Unit
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.planning import plan
from provisioning.hosts.state import HostState
from provisioning.plan import Action, Change
from tests.unit.hosts.fleets import office

CHANGE = Change(action=Action.CREATE, after=File(path="/srv/one", content=b"one"))
LOST = errors.HostUnreachable("the connection to alpha was lost")
LATE = errors.HostTimeout("alpha was given up")
BUSY = errors.HostBusy("somebody else is changing alpha")
FAILED = errors.HostChangeFailed("cannot create file /srv/one")


def ended(error: errors.ProvisioningError) -> Done[Report]:
    return Done(name="alpha", value=None, error=error, seconds=1.0)


def stopped(
    error: errors.ProvisioningError, *, done: tuple[Change, ...] = (), left: tuple[Change, ...] | None
) -> Done[Report]:
    report = Report(done=done, failed=(CHANGE,), skipped=(), left=left, error=error)
    return Done(name="alpha", value=report, error=None, seconds=1.0)


@pytest.mark.parametrize(
    ("became", "code"),
    [
        # While its release was installed, or between two steps.
        (ended(LOST), 3),
        (ended(LATE), 3),
        # In the middle of its changes; away for good, or there again at the second look.
        (stopped(LOST, left=None), 3),
        (stopped(LOST, done=(CHANGE,), left=(CHANGE,)), 3),
        # Nothing was done for certain.
        (ended(BUSY), 1),
        (ended(FAILED), 1),
        (stopped(FAILED, left=(CHANGE,)), 1),
    ],
)
def test_a_host_that_is_lost_in_the_middle_of_its_change_is_partly_done_whenever_that_was(
    became: Done[Report], code: int
) -> None:
    prepared = Prepared(
        fleet=office(), planned=(), sudo_password=None, started=0.0, with_diff=False, as_json=False
    )
    with pytest.raises(FleetError, match="not as desired: alpha") as caught:
        prepared.conclude([became])
    assert caught.value.exit_code == code


def planned(wanted: HostState, *objects: HostObject) -> HostChange:
    """Return what must change to ``wanted`` on a host where ``objects`` stand."""
    seen = HostObservation(host="alpha", objects=objects, blocked={}, fingerprint="", free_bytes={})
    return HostChange(release="1-a", begin=plan(wanted, seen))


def check(command: str, change: HostChange, monkeypatch: pytest.MonkeyPatch, directory: Path) -> Result:
    """Run ``command`` with `--check` for a host where ``change`` is what was found."""
    done = Done(name="alpha", value=change, error=None, seconds=1.0)
    monkeypatch.setattr("fleet.ops.provision_hosts.plan_hosts", lambda *_, **__: (done,))
    file = directory / "fleet.toml"
    file.write_text('[broker]\nurl = "amqp://mq1"\npassword = "env:P"\n[hosts.alpha]\n')
    argv = ["--file", str(file), *command.split(), "--check"]
    return CliRunner().invoke(fleet, argv, standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize("command", ["provision hosts", "rollout"])
def test_what_goes_on_is_the_command_that_was_said_and_no_other_that_changes_all_hosts_at_once(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = planned(HostState((File(path="/srv/one", content=b"one"),)))
    with pytest.raises(ProblemsFound) as caught:
        check(command, found, monkeypatch, tmp_path)
    assert caught.value.hint == f"run `fleet {command}` to change them"


OLD = worker_unit("mail", "a")
LEFT = (Unit(name=OLD, enabled=False, active=False), File(path=unit_file(OLD), content=b"old", ours=True))


@pytest.mark.parametrize("command", ["provision hosts", "rollout"])
def test_a_host_on_which_an_old_instance_has_ended_is_as_it_should_be_and_what_is_left_is_told(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = check(command, planned(HostState(()), *LEFT), monkeypatch, tmp_path)
    assert f"- unit {OLD}" in done.stdout
    assert f"{OLD} has ended, and what it left is not needed any more" in done.stdout
    assert "no changes: the hosts are as desired" in done.stderr
    told = check(f"{command} --json", planned(HostState(()), *LEFT), monkeypatch, tmp_path).stdout
    (found,) = json.loads(told)
    assert (found["changed"], found["clears"], len(found["changes"])) == (False, [OLD], 2)


def test_what_is_left_beside_a_difference_does_not_hide_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = planned(HostState((File(path="/srv/one", content=b"one"),)), *LEFT)
    with pytest.raises(ProblemsFound, match="1 of 1 hosts are not as the fleet file wants them"):
        check("provision hosts", found, monkeypatch, tmp_path)
