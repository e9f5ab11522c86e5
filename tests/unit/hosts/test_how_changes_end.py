"""What a command that changes hosts ends with, by what became of them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.cli.host_changes import Prepared
from fleet.cli.main import fleet
from fleet.errors import FleetError, ProblemsFound
from fleet.ops.host_change import HostChange
from provisioning import errors
from provisioning.apply import Report
from provisioning.hosts.many import Done
from provisioning.hosts.objects import File
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


@pytest.mark.parametrize("command", ["provision hosts", "rollout"])
def test_what_goes_on_is_the_command_that_was_said_and_no_other_that_changes_all_hosts_at_once(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = HostObservation(host="alpha", objects=(), blocked={}, fingerprint="", free_bytes={})
    begin = plan(HostState((File(path="/srv/one", content=b"one"),)), seen)
    planned = Done(name="alpha", value=HostChange(release="1-a", begin=begin), error=None, seconds=1.0)
    monkeypatch.setattr("fleet.ops.provision_hosts.plan_hosts", lambda *_, **__: (planned,))
    file = tmp_path / "fleet.toml"
    file.write_text('[broker]\nurl = "amqp://mq1"\npassword = "env:P"\n[hosts.alpha]\n')
    argv = ["--file", str(file), *command.split(), "--check"]
    with pytest.raises(ProblemsFound) as caught:
        CliRunner().invoke(fleet, argv, standalone_mode=False, catch_exceptions=False)
    assert caught.value.hint == f"run `fleet {command}` to change them"
