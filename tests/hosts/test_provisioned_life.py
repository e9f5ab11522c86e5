"""Hosts go back a release, come to rest, work again, start anew and leave, on bare machines."""

import json
import re
import shutil
import threading
from pathlib import Path
from typing import Self

import pytest

from fleet.hosts.units import worker_unit
from fleet.model import SLOTS
from fleet.ops.provision_hosts import apply_hosts, this_operator
from fleet.ops.restart import plan_restart
from fleet.ops.witness import Consumers, Witness
from tests.hosts.lab import Host, Lab
from tests.hosts.lab.system import await_that
from tests.hosts.site import PROBE, Site, await_rest, read_until, show, states, works

FLEET_FILE = "/etc/fleet/fleet.toml"
SOURCE = Path(__file__).parents[2]


def current(host: Host) -> str:
    return host.console("readlink", "/opt/fleet/current").strip().rpartition("/")[2]


def enabled_units(host: Host) -> set[str]:
    """Return the units of the fleet that start with a host."""
    told = host.console("systemctl", "list-unit-files", "--state=enabled", "--no-legend", "fleet*")
    return {line.split()[0] for line in told.splitlines()}


#: files of fleet that say which version it writes
NEXT_VERSIONS = ("fleet/config/version.py", "fleet/journal/record.py", "fleet/publish/message.py")


def next_release(directory: Path) -> Path:
    """Write fleet as its next release might be, with files, records and messages of version 2."""
    for package in ("fleet", "provisioning"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCE / package, directory / package, ignore=ignored)
    for name in NEXT_VERSIONS:
        path = directory / name
        changed = re.sub(r"^VERSION = 1$", "VERSION = 2", path.read_text(), flags=re.MULTILINE)
        assert changed != path.read_text()
        path.write_text(changed)
    return directory


class Load:
    """An application that sends to both hosts all the time."""

    def __init__(self, site: Site) -> None:
        self._ids: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, args=(site,), name="load")
        self._site = site

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def outcomes(self) -> set[str]:
        """Return how what was sent has ended, when all of it has."""
        with self._site.client() as client:
            done = client.wait(self._ids, timeout_seconds=60)
        assert len(done) == len(self._ids) > 20
        return {outcome.outcome for outcome in done.values()}

    def _send(self, site: Site) -> None:
        with site.client() as client:
            while not self._over.wait(0.1):
                self._ids += [
                    client.send("probe.sleep", {"seconds": 0.1}, host=host).id for host in ("alpha", "beta")
                ]


@pytest.fixture(scope="module")
def settled(provisioned: Site) -> Site:
    """Both hosts as the fleet file says, with nothing that still ends."""
    path = provisioned.directory / "fleet.toml"
    path.write_text(re.sub(r"concurrency = \d", "concurrency = 2", path.read_text()))
    provisioned.provision("--yes")
    await_rest(provisioned.alpha, provisioned.beta)
    return provisioned


def test_a_rollback_brings_release_and_configuration_back_and_can_be_said_again(settled: Site) -> None:
    alpha, beta = settled.alpha, settled.beta
    first = current(alpha)
    refused = settled.run("rollback", "--yes", code=1)
    assert f"nothing is known to have run before {first}" in refused.stderr
    (settled.directory / "probe.py").write_text(PROBE + "\nTHE_NEXT = True\n")
    settled.change("concurrency = 2", "concurrency = 3")
    # It comes to one host only, as with a rollout that stopped.
    settled.provision("alpha", "--yes")
    second = current(alpha)
    assert (second != first, current(beta)) == (True, first)
    await_rest(alpha)
    told = settled.run("rollback", "--diff", "--yes").stdout
    assert "-concurrency = 3" in told
    assert "+concurrency = 2" in told
    assert (current(alpha), current(beta)) == (first, first)
    assert "concurrency = 2" in alpha.console("cat", FLEET_FILE)
    assert works(settled, "alpha", "beta")
    await_rest(alpha)
    # What has ended is tidied away, and nothing else happens.
    assert "deleted 2" in settled.run("rollback", "--yes").stderr
    assert "no changes: the hosts have gone back" in settled.run("rollback", "--yes").stderr
    drift = settled.provision("--check", code=4).stdout
    assert f"{second} was rolled back here, and would come again" in drift
    assert "(rollback)" in settled.run("audit", "alpha", "--last", "2").stdout
    (settled.directory / "probe.py").write_text(PROBE)
    settled.change("concurrency = 3", "concurrency = 2")


def test_a_drained_host_finishes_its_tasks_and_rests_over_a_reboot_until_it_is_resumed(
    settled: Site, lab: Lab
) -> None:
    alpha = settled.alpha
    runs = next(slot for slot, state in states(alpha).items() if state == "active")
    with settled.client() as client:
        sent = client.send("probe.sleep", {"seconds": 12}, host="alpha")
        unit = worker_unit("probe", runs)
        await_that(
            lambda: "1 running" in show(alpha, unit, "StatusText"), "it should run", timeout_seconds=20
        )
        told = settled.run("drain", "alpha", "--reason", "new disk", "--yes").stderr
        assert f"{unit}: draining, 1 task left" in told
        settled.run("drain", "alpha", "--wait", "60", "--yes")
        (outcome,) = client.wait([sent.id], timeout_seconds=10).values()
        assert (outcome.outcome, outcome.attempt) == ("succeeded", 1)
    alpha.power_off()
    lab.boot(alpha.name)
    assert "active" not in states(alpha).values()
    assert "drained by" in settled.run("hosts", "check", "alpha").stdout
    assert "new disk" in settled.run("hosts", "list", "--state").stdout
    settled.change("concurrency = 2", "concurrency = 4")
    assert "its workers are not started" in settled.provision("alpha", "--yes").stdout
    assert "active" not in states(alpha).values()
    assert "concurrency = 4" in alpha.console("cat", FLEET_FILE)
    settled.run("resume", "alpha", "--yes")
    assert works(settled, "alpha")
    settled.change("concurrency = 4", "concurrency = 2")
    settled.run("rollout", "alpha", "--yes")
    await_rest(alpha)


def test_a_rolling_restart_starts_every_worker_in_its_other_slot_and_changes_nothing_else(
    settled: Site,
) -> None:
    hosts = (settled.alpha, settled.beta)
    before = [states(host) for host in hosts]
    done = settled.run("restart", "--rolling", "--yes")
    assert "in this order: alpha, then beta" in done.stderr
    await_rest(*hosts)
    for host, was in zip(hosts, before, strict=True):
        now = states(host)
        assert {slot for slot in SLOTS if now[slot] == "active"} == {
            slot for slot in SLOTS if was[slot] != "active"
        }
    assert works(settled, "alpha", "beta")
    assert "deleted 2" in settled.provision("--yes").stderr
    assert "no changes" in settled.provision("--yes").stderr


def test_an_instance_that_is_ready_and_unseen_by_the_broker_is_put_back(settled: Site) -> None:
    fleet = settled.load()
    alpha = next(host for host in fleet.hosts if host.name == "alpha")
    before = states(settled.alpha)
    (planned,) = plan_restart(fleet, (alpha,))
    assert planned.value is not None
    blind = Witness(look=frozenset, limit_seconds=1.0)
    (done,) = apply_hosts(fleet, {"alpha": planned.value}, by=this_operator({}), witness=blind)
    assert done.value is not None
    assert "the broker shows no consumer of `probe-" in str(done.value.error)
    assert "the old instances go on" in done.value.notes
    await_rest(settled.alpha)
    assert states(settled.alpha) == before
    assert "no changes" in settled.provision("alpha", "--yes").stderr


@pytest.mark.parametrize("is_seen", [False, True], ids=["put-back", "ready"])
def test_a_host_that_somebody_drains_while_it_is_changed_stays_drained(
    settled: Site, *, is_seen: bool
) -> None:
    fleet, drains = settled.load(), list[str]()
    (planned,) = plan_restart(fleet, (fleet.hosts[0],))
    assert planned.value is not None
    there = frozenset((node, queue) for node, queues in planned.value.consumes.items() for queue in queues)

    def look() -> Consumers:
        if not drains:
            drains.append(settled.run("drain", "alpha", "--reason", "new disk", "--yes").stderr)
        return there if is_seen else frozenset()

    witness = Witness(look=look, limit_seconds=1.0)
    (done,) = apply_hosts(fleet, {"alpha": planned.value}, by=this_operator({}), witness=witness)
    assert done.value is not None
    assert "it is drained, and its workers stay at rest" in done.value.notes
    await_rest(settled.alpha)
    assert "active" not in states(settled.alpha).values()
    assert "new disk" in settled.run("hosts", "list", "--state").stdout
    settled.run("resume", "alpha", "--yes")
    assert works(settled, "alpha")
    await_rest(settled.alpha)


def test_what_an_operator_had_stopped_is_there_and_stopped_when_it_is_put_back(settled: Site) -> None:
    fleet, alpha = settled.load(), settled.alpha
    alpha.console("systemctl", "stop", "fleet.target")
    await_rest(alpha)
    before, enabled = states(alpha), enabled_units(alpha)
    assert len(enabled) == 2
    assert "fleet.target" in enabled
    (planned,) = plan_restart(fleet, (fleet.hosts[0],))
    assert planned.value is not None
    blind = Witness(look=frozenset, limit_seconds=1.0)
    (done,) = apply_hosts(fleet, {"alpha": planned.value}, by=this_operator({}), witness=blind)
    assert done.value is not None
    assert "the broker shows no consumer" in str(done.value.error)
    await_rest(alpha)
    assert (states(alpha), enabled_units(alpha)) == (before, enabled)
    settled.provision("alpha", "--yes")
    assert works(settled, "alpha")


def test_old_releases_that_cannot_be_removed_are_told_after_the_change_that_is_made(settled: Site) -> None:
    alpha, releases = settled.alpha, "/opt/fleet/releases"
    old = [f"{releases}/0-old{number}" for number in range(4)]
    # Of the same age they are listed by name, and the first ones stay.
    busy = f"{old[-1]}/busy"
    alpha.console("mkdir", "-p", *old, busy)
    alpha.console("touch", "-d", "2020-01-01", *(f"{path}/.complete" for path in old))
    alpha.console("mount", "-t", "tmpfs", "tmpfs", busy)
    try:
        settled.change("concurrency = 2", "concurrency = 5")
        told = settled.provision("alpha", "--yes", code=3).stderr
        assert "concurrency = 5" in alpha.console("cat", FLEET_FILE)
    finally:
        alpha.console("umount", busy)
        alpha.console("rm", "-rf", *old)
    made, why = told.find("host `alpha` is as desired"), told.find("old releases could not be removed")
    assert 0 < made < why
    assert "busy" in told[why:]
    await_rest(alpha)
    settled.change("concurrency = 5", "concurrency = 2")
    settled.provision("alpha", "--yes")
    await_rest(alpha)


def test_a_step_to_the_next_versions_and_back_loses_nothing_of_what_is_sent_meanwhile(
    settled: Site, tmp_path: Path
) -> None:
    alpha, newer = settled.alpha, next_release(tmp_path)
    with Load(settled) as load:
        settled.run("rollout", "--yes", code_of=newer)
        assert "version = 2" in alpha.console("cat", FLEET_FILE)
    # The journal of the new workers is read by the release of before, whose messages they ran.
    assert load.outcomes() == {"succeeded"}
    await_rest(settled.alpha, settled.beta)
    with Load(settled) as load:
        settled.run("rollback", "--yes")
        assert "version = 1" in alpha.console("cat", FLEET_FILE)
    assert load.outcomes() == {"succeeded"}
    await_rest(settled.alpha, settled.beta)
    settled.run("rollback", "--yes")


SLOW_TASK = """

@shared_task(name="slow.sleep")
def sleep_elsewhere(seconds):
    sleep(seconds)
"""
SLOW_TABLES = """\
[queues.slow]
tasks = ["slow.*"]
per_host = true
[workers.slow]
queues = ["slow"]
concurrency = 1
stop_timeout = "30m"
"""
LEAVES = worker_unit("slow", "a")


def test_a_worker_that_leaves_the_fleet_file_ends_its_task_in_the_background_and_is_cleared_away_later(
    settled: Site,
) -> None:
    beta, prune = settled.beta, ("provision", "broker", "--yes", "--prune", "--allow-destructive")

    def is_pruned() -> bool:
        with settled.running(*prune) as command:
            return "deleted" in command.communicate(timeout=60)[1] and command.returncode == 0

    (settled.directory / "probe.py").write_text(PROBE + SLOW_TASK)
    settled.change("[tasks]", f"{SLOW_TABLES}[tasks]")
    settled.run("provision", "--yes")
    await_rest(settled.alpha, beta)
    with settled.client() as client:
        sent = client.send("slow.sleep", {"seconds": 45}, host="beta")
        await_that(
            lambda: "1 running" in show(beta, LEAVES, "StatusText"), "it should run", timeout_seconds=20
        )
        settled.change(SLOW_TABLES, "")
        done = settled.provision("--yes")
        assert f"{LEAVES} ends when its tasks have: its worker is not to run here any more" in done.stdout
        assert f"beta: {LEAVES} takes nothing new" in done.stderr
        assert (show(beta, LEAVES), show(beta, LEAVES, "UnitFileState")) == ("deactivating", "disabled")
        # Whoever comes again is told, and takes away only what is left of others.
        assert f"{LEAVES} is still ending" in settled.provision("beta", "--check").stdout
        await_rest(beta)
        assert "deleted 2" in settled.provision("beta", "--yes").stderr
        # What is in its hands is not taken from it by the broker, either.
        refused = settled.run(*prune, code=1).stderr
        assert "queue fleet.slow.beta" in refused
        assert "holds 1 messages" in refused
        assert (show(beta, LEAVES), show(beta, LEAVES, "LoadState")) == ("deactivating", "loaded")
        (outcome,) = client.wait([sent.id], timeout_seconds=60).values()
    assert (outcome.outcome, outcome.attempt) == ("succeeded", 1)
    await_that(lambda: show(beta, LEAVES) == "inactive", "it should end", timeout_seconds=20)
    # The host does all that it should, and that something is left there is said.
    assert f"{LEAVES} has ended" in settled.provision("--check").stdout
    (found,) = json.loads(settled.provision("beta", "--check", "--json").stdout)
    assert (found["changed"], found["clears"]) == (False, [LEAVES])
    assert f"- file /etc/systemd/system/{LEAVES}" in settled.provision("--yes").stdout
    assert show(beta, LEAVES, "LoadState") == "not-found"
    # What it shows of its queues is some seconds late.
    await_that(is_pruned, "the broker should see that its queue is not used", timeout_seconds=60)
    (settled.directory / "probe.py").write_text(PROBE)
    settled.provision("--yes")
    await_rest(settled.alpha, beta)


def test_broker_and_hosts_are_provisioned_together_and_the_broker_first(settled: Site) -> None:
    settled.change('queues = ["probe", ', 'queues = ["probe", "more", ')
    settled.change("[workers.probe]", '[queues.more]\ntasks = ["more.*"]\n[workers.probe]')
    told = settled.run("provision", "--check", "--json", code=4).stdout
    found = json.loads(told)
    assert "fleet.more" in {change["identity"][-1] for change in found["broker"]["changes"]}
    assert [each["changed"] for each in found["hosts"]] == [True, True]
    # A worker that starts before its queue is there would end at once.
    settled.run("provision", "--yes")
    await_rest(settled.alpha, settled.beta)
    settled.run("provision", "--yes", "--prune")
    settled.run("provision", "--check")


#: what fleet put on a host
PUT_THERE = (
    "/etc/fleet",
    "/opt/fleet/releases",
    "/opt/fleet/incoming",
    "/opt/fleet/current",
    "/usr/local/bin/fleet",
    "/etc/systemd/system/fleet.target",
    "/etc/systemd/system/fleet-worker@*",
)


def assert_left(host: Host) -> None:
    """Assert that nothing of the fleet is on a host but its data."""
    for gone in PUT_THERE:
        assert not host.console("sh", "-c", f"ls -d {gone} 2>/dev/null || true"), gone
    # One that has just gone may still be known to systemd, as not found and dead.
    states_left = "--state=active,activating,deactivating,failed"
    assert host.console("systemctl", "list-units", states_left, "--plain", "--no-legend", "fleet*") == ""
    assert "/var/lib/fleet" in host.console("ls", "-d", "/var/lib/fleet")


def running(host: Host, tasks: int) -> bool:
    return any(f"{tasks} running" in show(host, worker_unit("probe", slot), "StatusText") for slot in SLOTS)


def test_a_host_that_leaves_at_once_keeps_its_data_and_loses_its_access_and_its_tasks_run_elsewhere(
    settled: Site,
) -> None:
    alpha, beta = settled.alpha, settled.beta
    told = settled.run("remove", "beta", "--check", code=4)
    assert "[hosts.beta]" in told.stderr
    with settled.client() as client:
        # As many as both have room for, so that either has two.
        sent = [client.send("anywhere.sleep", {"seconds": 15}).id for _ in range(4)]
        await_that(lambda: running(alpha, 2) and running(beta, 2), "each should have two", timeout_seconds=20)
        found = json.loads(settled.run("remove", "beta", "--now", "--yes", "--json").stdout)
        done = client.wait(sent, timeout_seconds=90)
    assert len(found["revoked"]) == 2
    assert {(each.outcome, each.host) for each in done.values()} == {("succeeded", "alpha")}
    assert done.keys() == set(sent)
    assert_left(beta)
    assert "(remove)" in settled.run("audit", "beta", "--last", "1").stdout
    again = settled.run("remove", "beta", "--yes").stderr
    assert "nothing of the fleet is there" in again
    assert "its broker users are gone already" in again


#: in the place of Python on a host: a program is killed once it has told of so many changes
SHORT_LIVED = """\
#!/usr/bin/python3
import subprocess, sys
with subprocess.Popen(["/usr/bin/python3", *sys.argv[1:]], stdout=subprocess.PIPE) as program:
    for number, line in enumerate(program.stdout, start=1):
        sys.stdout.buffer.write(line)
        sys.stdout.flush()
        if number == {lives}:
            program.kill()
sys.exit(program.returncode)
"""
#: in the place of `rm` on a host: its disk is slow, until its cable is pulled
SLOW = """\
#!/bin/sh
touch /run/removing
until [ "$(cat /sys/class/net/host0/carrier)" = 0 ]; do sleep 0.1; done
exec /usr/bin/rm "$@"
"""


def test_a_removal_that_is_cut_off_wherever_it_is_goes_on_when_it_is_said_again(settled: Site) -> None:
    beta, remove = settled.beta, ("remove", "beta", "--yes")

    def releases_go() -> bool:
        return "removing" in beta.console("ls", "/run")

    settled.run("provision", "--yes")
    with settled.client() as client:
        sent = client.send("probe.sleep", {"seconds": 20}, host="beta")
        await_that(lambda: running(beta, 1), "it should run", timeout_seconds=20)
        with settled.running(*remove) as killed:
            read_until(killed, "draining, 1 task left")
        with settled.running(*remove) as cut_off:
            read_until(cut_off, "draining, 1 task left")
            beta.unplug()
            told = cut_off.communicate(timeout=120)[1]
        beta.plug()
        assert cut_off.returncode == 3, told
        assert "run `fleet remove beta` again" in told
        (outcome,) = client.wait([sent.id], timeout_seconds=60).values()
    assert (outcome.outcome, outcome.attempt) == ("succeeded", 1)
    beta.put("/usr/local/bin/rm", SLOW, mode=0o755)
    lives = 2
    while not releases_go():
        assert lives < 20
        beta.put("/usr/local/bin/python3", SHORT_LIVED.format(lives=lives), mode=0o755)
        with settled.running(*remove) as cut_off:
            await_that(
                lambda: cut_off.poll() is not None or releases_go(),
                "it should be cut off",
                timeout_seconds=60,
            )
            if releases_go():
                beta.unplug()
            told = cut_off.communicate(timeout=120)[1]
        assert cut_off.returncode == 3, told
        lives += 1
    assert lives > 5
    beta.plug()
    beta.console("/usr/bin/rm", "/usr/local/bin/python3", "/usr/local/bin/rm")
    assert "deleted from the broker" in settled.run(*remove).stderr
    assert_left(beta)


def test_a_lost_host_loses_its_access_without_being_reached(settled: Site) -> None:
    settled.alpha.unplug()
    try:
        done = settled.run("remove", "alpha", "--lost", "--yes")
    finally:
        settled.alpha.plug()
    assert "deleted from the broker" in done.stderr
    unit = next(
        worker_unit("probe", slot) for slot, each in states(settled.alpha).items() if each == "active"
    )
    await_that(
        lambda: (
            "waiting for the broker" in show(settled.alpha, unit, "StatusText")
            or show(settled.alpha, unit) != "active"
        ),
        "its worker should not get in any more",
        timeout_seconds=60,
    )
