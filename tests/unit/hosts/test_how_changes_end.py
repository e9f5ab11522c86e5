"""What a command that changes hosts ends with, by what became of them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.cli.host_changes import Prepared, teller
from fleet.cli.main import fleet
from fleet.errors import FleetError, PartlyDone, ProblemsFound
from fleet.hosts.install import list_argv
from fleet.hosts.units import unit_file, worker_unit
from fleet.ops.host_change import HostChange
from fleet.ops.provision_hosts import apply_host
from fleet.ops.rollout import is_good
from provisioning import errors
from provisioning.apply import Report
from provisioning.hosts.door import Operator
from provisioning.hosts.many import Done
from provisioning.hosts.objects import File, HostObject, Unit
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.planning import plan
from provisioning.hosts.runner import Ran
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


MADE = Report(done=(CHANGE,), failed=(), skipped=(), left=())


def test_old_releases_that_stay_take_nothing_from_a_change_that_is_told_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    left = errors.HostChangeFailed("old releases could not be removed: `rm` ended with 1", hint="look")
    became = Done(name="alpha", value=replace(MADE, uncleared=left), error=None, seconds=1.0)
    teller(0.0)(became)
    made, why, hint = capsys.readouterr().err.splitlines()
    assert made.startswith("created 1 in ")
    assert made.endswith(": host `alpha` is as desired")
    assert (why, hint) == ("alpha: old releases could not be removed: `rm` ended with 1", "  hint: look")
    prepared = Prepared(
        fleet=office(), planned=(), sudo_password=None, started=0.0, with_diff=False, as_json=False
    )
    with pytest.raises(PartlyDone, match="as desired, but not cleared up: alpha"):
        prepared.conclude([became])
    # It keeps no rollout from going on.
    assert is_good(became)


class Stuck:
    """A host with old releases that cannot be removed."""

    name = "alpha"

    def run(self, argv: Sequence[str], **_: object) -> Ran:
        if argv == list_argv():
            marks = "".join(f"/opt/fleet/releases/1-{name}/.complete\n" for name in "abcd")
            return Ran(exit_code=0, stdout=marks.encode(), stderr=b"")
        failed = {"end": "failed", "argv": ["rm", "-rf", "--", "x"], "code": 1, "said": "busy"}
        return Ran(exit_code=0, stdout=json.dumps(failed).encode(), stderr=b"")

    def close(self) -> None:
        pass


def test_a_prune_that_fails_leaves_the_report_of_the_change() -> None:
    seen = HostObservation(host="alpha", objects=(), blocked={}, fingerprint="", free_bytes={})
    change = HostChange(release="1-a", begin=plan(HostState(()), seen), releases_in_use=frozenset({"1-a"}))
    report = apply_host(change, Stuck(), by=Operator(name="ann", origin="desk"))
    assert report.converged
    assert "old releases could not be removed: alpha: `rm -rf -- x` ended with 1: busy" in str(
        report.uncleared
    )


class Away(Stuck):
    """A host that is lost after its new instances were started."""

    def run(self, argv: Sequence[str], **_: object) -> Ran:
        raise LOST


def test_a_host_that_is_lost_before_its_old_instances_are_told_to_end_keeps_its_report() -> None:
    seen = HostObservation(host="alpha", objects=(), blocked={}, fingerprint="", free_bytes={})
    change = HostChange(release="1-a", begin=plan(HostState(()), seen), end=HostState(()), ends=("old",))
    report = apply_host(change, Away(), by=Operator(name="ann", origin="desk"))
    assert (report.error, report.left) == (LOST, None)


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
