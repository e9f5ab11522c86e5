"""`fleet provision hosts` on bare machines: from nothing to workers that run, and every change after that."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from fleet.hosts.install import MARK
from fleet.hosts.paths import INCOMING, RELEASES
from tests.hosts.lab import Host
from tests.hosts.lab.system import await_that
from tests.hosts.logins import add_user
from tests.hosts.site import BROKEN_PROBE, NEW, OLD, PROBE, Site, await_rest, show, works


def test_workers_run_what_is_sent_and_a_second_run_changes_nothing(provisioned: Site) -> None:
    hosts = (provisioned.alpha, provisioned.beta)
    before = [show(host, OLD, "MainPID") for host in hosts]
    with provisioned.client() as client:
        sent = [client.send("probe.sleep", {"seconds": 0}, host=host.name) for host in hosts]
        done = client.wait([task.id for task in sent], timeout_seconds=30)
    assert {outcome.outcome for outcome in done.values()} == {"succeeded"}
    said = provisioned.provision("--yes").stderr
    assert "no changes" in said
    assert "building" not in said
    found = json.loads(provisioned.provision("--check", "--json").stdout)
    assert [(each["host"], each["changed"], each["error"]) for each in found] == [
        ("alpha", False, None),
        ("beta", False, None),
    ]
    assert [show(host, OLD, "MainPID") for host in hosts] == before


def test_a_hand_edited_file_is_shown_by_its_lines_and_put_back_without_a_restart(provisioned: Site) -> None:
    before = show(provisioned.alpha, OLD, "MainPID")
    provisioned.alpha.console("sed", "-i", "s/concurrency = 2/concurrency = 7/", "/etc/fleet/fleet.toml")
    told = provisioned.provision("alpha", "--check", "--diff", code=4).stdout
    assert "-concurrency = 7" in told
    assert "+concurrency = 2" in told
    provisioned.provision("alpha", "--yes")
    assert "concurrency = 2" in provisioned.alpha.console("cat", "/etc/fleet/fleet.toml")
    assert show(provisioned.alpha, OLD, "MainPID") == before


def test_a_host_that_is_away_delays_nobody_and_is_told_by_name(provisioned: Site) -> None:
    provisioned.beta.unplug()
    try:
        done = provisioned.provision("--check", code=3)
    finally:
        provisioned.beta.plug()
    assert "alpha: as desired" in done.stdout
    assert "beta" in done.stderr


def test_a_rollout_stops_at_a_worker_that_does_not_get_ready_and_the_old_one_goes_on(
    provisioned: Site,
) -> None:
    current = provisioned.alpha.console("readlink", "/opt/fleet/current")
    (provisioned.directory / "probe.py").write_text(BROKEN_PROBE)
    done = provisioned.run("rollout", "--yes", code=3)
    assert "in this order: alpha, then beta" in done.stderr
    assert "module `probe` of [tasks] imports cannot be imported" in done.stderr
    assert "broken by the operator" in done.stderr
    assert "`fleet rollout` goes on from where it stopped" in done.stderr
    assert "the old instances go on" in done.stderr
    assert "not begun: beta" in done.stderr
    assert show(provisioned.beta, NEW, "LoadState") == "not-found"
    assert (show(provisioned.alpha, OLD), show(provisioned.alpha, NEW)) == ("active", "inactive")
    assert provisioned.alpha.console("readlink", "/opt/fleet/current") == current
    (provisioned.directory / "probe.py").write_text(PROBE)
    assert "no changes" in provisioned.run("rollout", "--yes").stderr
    told = provisioned.run("audit", "alpha", "--last", "2").stdout
    assert "failed: create unit fleet-worker@probe-b.service" in told
    assert "(put back)" in told


def test_a_changed_worker_starts_beside_the_old_one_which_ends_its_task(provisioned: Site) -> None:
    alpha = provisioned.alpha
    runs, other = (OLD, NEW) if show(alpha, OLD) == "active" else (NEW, OLD)
    with provisioned.client() as client:
        sent = client.send("probe.sleep", {"seconds": 40}, host="alpha")
        await_that(
            lambda: "probe.sleep" in alpha.journal(runs) or "running 1" in show(alpha, runs, "StatusText"),
            "the task should run",
            timeout_seconds=20,
        )
        provisioned.change("concurrency = 2", "concurrency = 3")
        provisioned.provision("alpha", "--yes")
        assert (show(alpha, other), show(alpha, runs)) == ("active", "deactivating")
        assert "is still ending" in provisioned.provision("alpha", "--check").stdout
        (outcome,) = client.wait([sent.id], timeout_seconds=60).values()
        assert (outcome.outcome, outcome.attempt) == ("succeeded", 1)
    await_that(lambda: show(alpha, runs) == "inactive", "the old one should end", timeout_seconds=30)
    told = provisioned.provision("alpha", "--yes").stdout
    assert f"- file /etc/systemd/system/{runs}" in told
    assert show(alpha, runs, "LoadState") == "not-found"


#: prints what there is of releases that are not complete
HALF = f'for each in {RELEASES}/*; do test -f "$each/{MARK}" || echo "$each"; done'
#: what is seen on a host at a moment of its change, by the instance that ran before and the one that comes
MOMENTS: dict[str, Callable[[Host, str, str], bool]] = {
    "a release is being installed": lambda host, was, comes: host.console("sh", "-c", HALF) != "",
    "the new instance starts": lambda host, was, comes: show(host, comes) in {"activating", "active"},
    "the old instance stops": lambda host, was, comes: show(host, was) != "active",
}


@pytest.mark.parametrize(
    ("moment", "cut"),
    [
        ("a release is being installed", "unplug"),
        ("the new instance starts", "power_off"),
        ("the old instance stops", "power_off"),
    ],
)
def test_a_host_that_fails_in_mid_change_runs_the_old_or_the_new_worker_and_is_finished_by_the_next_run(
    provisioned: Site, moment: str, cut: str
) -> None:
    alpha, is_now = provisioned.alpha, MOMENTS[moment]
    was, comes = (OLD, NEW) if show(alpha, OLD) == "active" else (NEW, OLD)
    await_that(lambda: show(alpha, comes) == "inactive", "one instance should run", timeout_seconds=60)
    (provisioned.directory / "probe.py").write_text(f"{PROBE}\nSEEN = {moment + cut!r}\n")
    argv = (sys.executable, "-m", "fleet.cli.main", "provision", "hosts", "alpha", "--yes")
    with subprocess.Popen(
        argv, env=provisioned.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        await_that(lambda: is_now(alpha, was, comes), moment, timeout_seconds=120)
        getattr(alpha, cut)()
        _, told = run.communicate(timeout=120)
    # Partly done, as far as is known.
    assert run.returncode == 3, told
    assert "alpha" in told
    if cut == "unplug":
        alpha.plug()
    else:
        alpha.boot()
    await_that(
        lambda: "active" in (show(alpha, was), show(alpha, comes)), "a worker should run", timeout_seconds=60
    )
    provisioned.provision("alpha", "--yes")
    with provisioned.client() as client:
        sent = client.send("probe.sleep", {"seconds": 0}, host="alpha")
        (outcome,) = client.wait([sent.id], timeout_seconds=60).values()
    assert outcome.outcome == "succeeded"
    assert show(alpha, comes) == "active"


def test_a_full_disk_in_mid_upload_leaves_what_runs_and_is_told_by_its_reason(provisioned: Site) -> None:
    alpha = provisioned.alpha
    provisioned.provision("alpha", "--yes")
    before = [show(alpha, unit, "MainPID") for unit in (OLD, NEW)]
    (provisioned.directory / "probe.py").write_text(f"{PROBE}\nSEEN = 'too large'\n")
    alpha.console("mkdir", "-p", INCOMING)
    alpha.console("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", INCOMING)
    try:
        told = provisioned.provision("alpha", "--yes", code=1).stderr
        # What did come takes no room from whoever has to make some.
        assert alpha.console("ls", "-A", INCOMING) == ""
    finally:
        alpha.console("umount", INCOMING)
    assert "No space left on device" in told
    assert [show(alpha, unit, "MainPID") for unit in (OLD, NEW)] == before
    (provisioned.directory / "probe.py").write_text(PROBE)
    provisioned.provision("alpha", "--yes")


def test_a_machine_that_packages_are_not_made_for_is_told_before_anything_is_changed(
    provisioned: Site,
) -> None:
    alpha = provisioned.alpha
    alpha.put("/usr/local/bin/python3", '#!/bin/sh\nexec setarch i686 /usr/bin/python3 "$@"\n', mode=0o755)
    try:
        told = provisioned.provision("alpha", "--yes", code=1).stderr
    finally:
        alpha.console("rm", "/usr/local/bin/python3")
    assert "alpha" in told
    assert "for cp311-i686" in told
    assert "no wheel of " in told


def with_terminal(site: Site, *arguments: str, question: str, answer: str) -> "tuple[int, str]":
    """Run a command at a terminal, answer its question, and return how it ended and what it said."""
    terminal, its_end = os.openpty()
    argv = (sys.executable, "-m", "fleet.cli.main", *arguments)
    with subprocess.Popen(
        argv,
        env=site.environ,
        stdin=its_end,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as run:
        os.close(its_end)
        assert run.stdout is not None
        said = b""
        while question.encode() not in said and (chunk := os.read(run.stdout.fileno(), 4096)):
            said += chunk
        os.write(terminal, f"{answer}\n".encode())
        said += run.communicate(timeout=240)[0]
    os.close(terminal)
    return run.returncode, said.decode()


def test_a_user_who_becomes_root_by_sudo_makes_what_root_makes_with_a_password_and_without(
    provisioned: Site,
) -> None:
    alpha, beta = provisioned.alpha, provisioned.beta
    add_user(alpha, "free", sudoers="free ALL=(ALL) NOPASSWD: ALL")
    add_user(beta, "asked", sudoers="asked ALL=(ALL) ALL", password="s3cret ü")
    provisioned.change('user = "root"', 'user = "free"')
    provisioned.change("[hosts.beta]\n", '[hosts.beta]\nssh_user = "asked"\n')
    # A release that neither has, so that all of a change has to go through sudo.
    (provisioned.directory / "probe.py").write_text(f"{PROBE}\nSEEN = 'by sudo'\n")
    try:
        refused = provisioned.provision("--yes", code=3)
        assert "beta" in refused.stderr
        assert "--ask-sudo-password" in refused.stderr
        code, said = with_terminal(
            provisioned,
            *("provision", "hosts", "beta", "--ask-sudo-password", "--yes"),
            question="password for sudo",
            answer="s3cret ü",
        )
        assert code == 0, said
        assert "s3cret" not in said + beta.journal()
    finally:
        provisioned.change('user = "free"', 'user = "root"')
        provisioned.change('ssh_user = "asked"\n', "")
    told = json.loads(provisioned.run("audit", "--json", "--last", "1").stdout)
    assert [entry["login"] for host in told for entry in host["entries"]] == ["free", "asked"]
    assert works(provisioned, "alpha", "beta")
    await_rest(alpha, beta)
    # What has ended is tidied away, and root finds nothing else to do.
    changed = json.loads(provisioned.provision("--yes", "--json").stdout)
    assert {change["action"] for host in changed for change in host["changes"]} == {"delete"}
