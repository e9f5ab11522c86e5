"""What becomes of the instances of a worker that is not to run on a host any more?"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.config.parse import parse
from fleet.hosts.install import KEEP, Release
from fleet.hosts.needs import SMTP_PASSWORD
from fleet.hosts.paths import CREDENTIALS, credential_file
from fleet.hosts.target import Target
from fleet.hosts.units import unit_file, worker_unit
from fleet.model import Fleet
from fleet.ops.host_change import HostChange
from fleet.ops.host_plans import plan_host
from provisioning.hosts.objects import File, Unit
from provisioning.hosts.runner import Ran
from provisioning.hosts.state import HostState
from provisioning.plan import Action
from tests.simulated_hosts import World, world
from tests.unit.hosts.fleets import TEXT, material, office

TARGET = Target(python=(3, 11), machine="x86_64", glibc_minor=36)
MAIL, BACKUP = worker_unit("mail", "a"), worker_unit("backup", "a")
ITS_SECRET = ("path", credential_file(SMTP_PASSWORD))
ENDS = {"active": False, "ending": True, "enabled": False}
ENDED = {"active": False, "ending": False, "enabled": False}


def released(name: str) -> Release:
    return Release(name=name, digest="0" * 64, archive=Path(f"{name}.tar.gz"), target=TARGET)


OLD, NEW = released("1.0.0-0"), released("1.0.1-1")


def without_mail() -> Fleet:
    """Return the office, whose mail goes out from beta and not from alpha any more."""
    return parse(
        TEXT.replace('[workers.mail]\nhosts = ["alpha"]', '[workers.mail]\nhosts = ["beta"]'),
        source="/home/ops/fleet.toml",
    )


class Answering:
    """Alpha, of which it is known what stands there."""

    name = "alpha"

    def __init__(self, there: World) -> None:
        self.there = there
        self.looks = 0

    def run(self, argv: Sequence[str], *, stdin: Iterable[bytes] = (), **_: object) -> Ran:
        self.looks += 1
        return self.there.run(argv, stdin)

    def close(self) -> None:
        """Nothing is open."""


def alpha(fleet: Fleet, release: Release) -> World:
    return world(fleet, "alpha", release, material(fleet, "alpha"))


def with_unit(there: World, unit: str, **state: Any) -> World:
    return replace(there, units={**there.units, unit: {**there.units[unit], **state}})


def after_mail(**state: Any) -> World:
    """Return alpha as it is once its worker of mail has been told to end, in this ``state``."""
    before, now = alpha(office(), OLD), alpha(without_mail(), NEW)
    paths = {path: before.paths[path] for path in (unit_file(MAIL), credential_file(SMTP_PASSWORD))}
    units = {**now.units, MAIL: {**before.units[MAIL], **state}}
    ours = {
        "paths": {**{path: before.manifest["paths"][path] for path in paths}, **now.manifest["paths"]},
        "units": {**now.manifest["units"], MAIL: before.manifest["units"][MAIL]},
    }
    return replace(
        now,
        paths={**now.paths, **paths},
        contents={**before.contents, **now.contents},
        units=units,
        manifest=ours,
    )


def planned(there: World, *, release: Release = NEW) -> HostChange:
    fleet = without_mail()
    return plan_host(fleet, Answering(there), lambda _: release, material(fleet, "alpha"))


def unit_in(state: HostState | None, name: str) -> Unit:
    assert state is not None
    (unit,) = (each for each in state if isinstance(each, Unit) and each.name == name)
    return unit


def deleted(change: HostChange) -> set[str]:
    return {each.identity[1] for each in change.begin.changes if each.action is Action.DELETE}


@pytest.mark.parametrize("active", [True, None])
def test_one_that_runs_is_told_to_end_by_itself_when_the_new_instances_are_ready(
    *, active: bool | None
) -> None:
    change = planned(with_unit(alpha(office(), OLD), MAIL, active=active))
    assert change.leaving == (MAIL,)
    assert change.ends == (BACKUP, MAIL)
    assert deleted(change) == set()
    told = unit_in(change.end, MAIL)
    assert (told.enabled, told.active, told.waits) == (False, False, False)
    goes_on = unit_in(change.begin.desired, MAIL)
    assert (goes_on.enabled, goes_on.active) == (None, None)
    # It goes on where nothing new gets ready.
    assert change.back is not None
    assert unit_in(change.back, MAIL).active is None
    assert ITS_SECRET in {each.identity for each in change.back}


def test_what_it_runs_with_stays_as_long_as_it_does() -> None:
    change = planned(after_mail(**ENDS))
    assert (change.ending, change.ends, change.leaving) == ((MAIL,), (), ())
    assert change.is_empty
    assert change.only_clears
    stays = {each.identity for each in change.begin.desired}
    assert {("path", unit_file(MAIL)), ITS_SECRET} < stays


def test_its_release_stays_however_many_have_come_since() -> None:
    there = after_mail(**ENDS)
    others = [f"1.0.{number}-{number}" for number in range(2, 3 + KEEP)]

    class Crowded(Answering):
        def run(self, argv: Sequence[str], **options: Any) -> Ran:
            ran = super().run(argv, **options)
            said = json.loads(ran.stdout)
            said["holding"] = {place: [OLD.name, NEW.name, *others] for place in said["holding"]}
            return replace(ran, stdout=json.dumps(said).encode() + b"\n")

    fleet, runner = without_mail(), Crowded(there)
    change = plan_host(fleet, runner, lambda _: NEW, material(fleet, "alpha"))
    assert change.releases_in_use == frozenset({OLD.name, NEW.name})
    assert runner.looks == 2


def test_a_host_that_no_worker_leaves_is_looked_at_once() -> None:
    runner, fleet = Answering(alpha(without_mail(), NEW)), without_mail()
    assert plan_host(fleet, runner, lambda _: NEW, material(fleet, "alpha")).is_empty
    assert runner.looks == 1


def test_what_is_left_of_one_that_has_ended_is_cleared_away_and_a_secret_is_more_than_that() -> None:
    change = planned(after_mail(**ENDED))
    assert deleted(change) == {MAIL, unit_file(MAIL), credential_file(SMTP_PASSWORD)}
    assert len(change.begin.changes) == 3
    assert change.clears == (MAIL,)
    # Nobody needs it there any more, and it is for somebody to take away.
    assert not change.only_clears


def test_a_secret_that_somebody_has_opened_is_closed_while_it_is_needed() -> None:
    there = after_mail(**ENDS)
    path = credential_file(SMTP_PASSWORD)
    opened = replace(there, paths={**there.paths, path: {**there.paths[path], "mode": 0o444}})
    (change,) = planned(opened).begin.changes
    assert isinstance(change.after, File)
    assert (change.identity, change.after.mode) == (ITS_SECRET, 0o440)


def test_a_credential_that_nothing_loads_goes_at_once() -> None:
    there, path = after_mail(**ENDS), f"{CREDENTIALS}/forgotten"
    of_mail = there.paths[credential_file(SMTP_PASSWORD)]
    more = replace(
        there,
        paths={**there.paths, path: of_mail},
        manifest={**there.manifest, "paths": {**there.manifest["paths"], path: {"kind": "file"}}},
    )
    assert deleted(planned(more)) == {path}
