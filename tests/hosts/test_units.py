"""Workers and beat as systemd units of a real host: what they may do, when they are ready, how they end."""

import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests

from fleet import Client, fleetfile
from fleet.client import SentTask
from fleet.daemons.files import write_private
from fleet.errors import FleetError, OutcomeUnknown
from fleet.hosts.bundle import bundle
from fleet.hosts.install import MARK, Release, install, prune, switch
from fleet.hosts.material import gather
from fleet.hosts.paths import CURRENT, RELEASES
from fleet.hosts.release import build_release
from fleet.hosts.target import target_of
from fleet.hosts.units import Instance, first_instances
from fleet.model import Fleet
from provisioning.hosts.door import HostDoor
from provisioning.hosts.state import HostState
from tests.hosts.by_hand import broker_tables
from tests.hosts.fixtures import MAIL, WORKERS, Clusters
from tests.hosts.installing import put_records, start_units
from tests.hosts.lab import Host, Lab
from tests.hosts.lab.brokers import Cluster
from tests.hosts.lab.system import await_that
from tests.hosts.over_ssh import OverSsh
from tests.hosts.walking import MAILBOX, mail_files
from tests.servers import clean_environ

SHARED, BACKUP, BEAT = "fleet-worker@shared-a.service", "fleet-worker@backup-a.service", "fleet-beat.service"
BESIDE = "fleet-worker@shared-b.service"
MOST_EXPOSED = {SHARED: 2.0, BACKUP: 2.5, BEAT: 2.0}
#: long after the time that the unit gives
TASK_SECONDS = 8
QUICK = "[Service]\nWatchdogSec=4\nTimeoutAbortSec=1\nRestartSec=100ms\nTimeoutStopSec=3\n"
#: gives a file a capability, as Debian's ping has one
CAPABLE = (
    "import os; os.setxattr('/srv/data/name', 'security.capability', "
    "bytes.fromhex('0000000200200000' + 24 * '0'))"
)
#: the worker's user and capabilities
AS_WORKER = (
    *("setpriv", "--reuid=fleet", "--regid=fleet", "--clear-groups"),
    "--inh-caps=+chown,+dac_override,+dac_read_search,+fowner,+fsetid,+setfcap",
    "--ambient-caps=+chown,+dac_override,+dac_read_search,+fowner,+fsetid,+setfcap",
)
FLEET_TOML = """\
[fleet]
name = "units"
timezone = "UTC"

{broker}
[broker.users.{vhost}-observer]
role = "observer"
password = "file:{etc}/observer.password"

[hosts.alpha]
address = "{address}"

[queues.probe]
tasks = ["probe.*"]

[backups.data]
sources = ["/srv/data", "/root/kept"]
destination = "/srv/backup"
restore_dir = "/srv/back"

[mail]
from = "fleet@lab.test"
templates = "{etc}/mail"
[mail.smtp]
host = "mail"
port = 25
ca = "{etc}/ca.pem"
timeout = "5s"

[schedule.urls]
task = "fleet.check_urls"
every = "1d"

[tasks]
imports = ["probe"]
"""
PROBE = """\
import time

from celery import shared_task


@shared_task(name="probe.sleep")
def sleep(seconds):
    time.sleep(seconds)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A host with its release, its broker, and the control machine's files."""

    host: Host
    cluster: Cluster
    mail: Host
    vhost: str
    directory: Path
    release: Release

    @property
    def fleet(self) -> Fleet:
        return fleetfile.read(str(self.directory / "fleet.toml"))

    def client(self) -> Client:
        return Client(self.directory / "fleet.toml", {})

    def show(self, unit: str, name: str) -> str:
        """Return a property of ``unit``."""
        return self.host.console("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def tell(self, verb: str, *units: str) -> None:
        self.host.console("systemctl", verb, *units, timeout_seconds=60)

    def consumers(self) -> list[str]:
        """Return the queues that are consumed, as the broker itself says at this moment."""
        listed = self.cluster.nodes[0].ctl("list_consumers", "-p", self.vhost, "--formatter=json", "--quiet")
        return [row["queue_name"] for row in json.loads(listed)]

    def await_success(self, client: Client, sent: Sequence[SentTask]) -> None:
        """Return when all tasks of ``sent`` have succeeded; else show what the host has to say."""
        ids = [task.id for task in sent]
        try:
            done = client.wait(ids, timeout_seconds=30)
        except OutcomeUnknown as error:
            raise AssertionError(f"{error.message}\n{self.host.journal('fleet-*')[-8000:]}") from error
        assert {outcome.outcome for outcome in done.values()} == {"succeeded"}, done

    def await_active(self, unit: str, *, timeout_seconds: float = 30) -> None:
        await_that(
            lambda: self.show(unit, "ActiveState") == "active",
            f"{unit} should be active",
            timeout_seconds=timeout_seconds,
        )

    def drop_in(self, unit: str) -> None:
        """Shorten the times of ``unit``, so that a test need not wait for them."""
        self.host.put(f"/etc/systemd/system/{unit}.d/quick.conf", QUICK)
        self.tell("daemon-reload")


def control_files(cluster: Cluster, host: Host, directory: Path, vhost: str) -> None:
    passwords = {name: secrets.token_urlsafe(16) for name in ("celery", "alpha", "observer")}
    passwords["admin"] = cluster.nodes[0].admin_password.reveal()
    for name, text in passwords.items():
        write_private(directory / f"{name}.password", text + "\n")
    (directory / "ca.pem").write_bytes(cluster.authority.cert.read_bytes())
    (directory / "mail").mkdir()
    (directory / "mail/note.subject.txt").write_text("Mail {{ number }}")
    (directory / "mail/note.txt").write_text("mail number {{ number }}\n")
    (directory / "probe.py").write_text(PROBE)
    broker = broker_tables(cluster, vhost=vhost, user=vhost, etc=str(directory)).replace(
        "[broker.tls]",
        f'profile = "per-host"\nhost_password = "file:{directory}/{{host}}.password"\n[broker.tls]',
    )
    (directory / "fleet.toml").write_text(
        FLEET_TOML.format(broker=broker, vhost=vhost, address=host.address, etc=directory)
    )


@pytest.fixture(scope="module")
def site(lab: Lab, clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    cluster, host, mail = clusters.single("3.10"), lab[WORKERS[0]], lab[MAIL]
    directory, vhost = tmp_path_factory.mktemp("control"), f"units-{secrets.token_hex(3)}"
    host.reset()
    mail.reset()
    for file in mail_files(cluster):
        mail.put(file.path, file.content, mode=file.mode)
    lab.boot(host.name, mail.name)
    mail.console("useradd", "--create-home", "ops")
    control_files(cluster, host, directory, vhost)
    provision = (sys.executable, "-m", "fleet.cli.main", "provision", "broker", "--yes")
    environ = clean_environ() | {"FLEET_FILE": str(directory / "fleet.toml")}
    subprocess.run(provision, env=environ, check=True, capture_output=True, timeout=60)
    fleet, runner = fleetfile.read(str(directory / "fleet.toml")), OverSsh(host)
    cache = Path("/var/cache/fleet-lab/control/fleet")
    release = build_release(fleet, target_of(HostDoor(runner).observe(HostState(())).runtime), cache=cache)
    assert build_release(fleet, release.target, cache=cache) == release
    host.console(
        "sh", "-c", f"mkdir -p {RELEASES}/{release.name}/bin && : > {RELEASES}/{release.name}/bin/python"
    )
    began = time.monotonic()
    # Over what one that was cut off has left.
    assert install(runner, release)
    print(f"release installed in {time.monotonic() - began:.1f} s")
    assert not install(runner, release)
    switch(runner, release.name)
    made = Site(host=host, cluster=cluster, mail=mail, vhost=vhost, directory=directory, release=release)
    host.console("sh", "-c", "mkdir -p /srv/data /root/kept && umask 077 && echo mine > /root/kept/name")
    host.put("/srv/data/name", "everybody's")
    records = bundle(fleet, host.name, release.name, gather(fleet, host.name, environ={}))
    put_records(host, records)
    start_units(host, records)
    yield made
    host.power_off()
    mail.power_off()


def test_a_release_that_is_not_what_was_built_is_refused(site: Site) -> None:
    other = replace(site.release, name="0-other", digest="0" * 64)
    with pytest.raises(FleetError, match=r"alpha: `sha256sum .* ended with 1"):
        install(OverSsh(site.host), other)
    with pytest.raises(FleetError, match="alpha: `test -f"):
        switch(OverSsh(site.host), other.name)
    assert site.host.console("readlink", CURRENT).strip() == f"{RELEASES}/{site.release.name}"


def test_old_releases_go_and_those_that_run_stay(site: Site) -> None:
    for age in range(1, 5):
        home = f"{RELEASES}/0-old{age}"
        make = f"mkdir -p {home} && touch -d '-{age} days' {home}/{MARK}"
        site.host.console("sh", "-c", make)
    gone = prune(OverSsh(site.host), in_use=[site.release.name, "0-old4"], keep=2)
    assert gone == ("0-old2", "0-old3")
    left = site.host.console("ls", RELEASES).split()
    assert set(left) >= {"0-old1", "0-old4", site.release.name}
    assert not {"0-old2", "0-old3"} & set(left)


def test_units_are_exposed_no_more_than_their_work_needs(site: Site) -> None:
    for unit, most in MOST_EXPOSED.items():
        told = site.host.console("systemd-analyze", "security", "--no-pager", unit)
        (exposure,) = re.findall(rf"{re.escape(unit)}: ([0-9.]+)", told)
        print(unit, exposure)
        assert float(exposure) <= most, told


def test_systemd_has_nothing_to_say_against_the_units(site: Site) -> None:
    units = (SHARED, BACKUP, BEAT, "fleet.target")
    said = site.host.console("sh", "-c", f"systemd-analyze verify {' '.join(units)} 2>&1")
    assert said == ""


def test_mail_backups_and_restores_are_done_within_the_sandbox(site: Site) -> None:
    site.host.console("python3", "-c", CAPABLE)
    with site.client() as client:
        sent = [client.mail("ops@lab.test", "note", {"number": 1}), *client.backup("data")]
        site.await_success(client, sent)
        part = {"backup": "data", "path": "/root/kept"}
        site.await_success(client, [client.send("fleet.restore", part, host=site.host.name)])
    assert "mail number 1" in site.mail.console("sh", "-c", f"cat {MAILBOX}/*")
    for place, names in (
        ("/srv/backup", {"data": "0 644", "kept": "0 600"}),
        ("/srv/back", {"kept": "0 600"}),
    ):
        listed = site.host.console("find", place, "-name", "name", "-printf", "%h %U %m\n")
        # What is somebody else's stays theirs.
        found = {line.split()[0].rpartition("/")[2]: line.partition(" ")[2] for line in listed.splitlines()}
        assert found == names, listed
    (copied,) = site.host.console("find", "/srv/backup", "-path", "*/data/name").splitlines()
    read = f"import os; print(len(os.getxattr({copied!r}, 'security.capability')))"
    assert site.host.console("python3", "-c", read).strip() == "20"


def test_a_backup_worker_can_write_nowhere_else_and_read_no_secrets(site: Site) -> None:
    pid = site.show(BACKUP, "MainPID")
    for command, expected in (
        ("touch /srv/data/x", "Read-only file system"),
        ("touch /etc/x", "Read-only file system"),
        ("touch /root/kept/x", "Read-only file system"),
        ("wc -c < /etc/shadow", "0"),
        ("ls -A /etc/fleet/credentials | wc -l", "0"),
        ("ls /root", "kept"),
        ("touch /srv/backup/x && echo written", "written"),
    ):
        inside = ("nsenter", f"--target={pid}", "--mount", "--", *AS_WORKER, "sh", "-c", f"{command} 2>&1")
        said = site.host.console(*inside, check=False).strip()
        assert said.rpartition(": ")[2] == expected, command


def test_a_unit_is_ready_when_the_broker_delivers_to_it_and_not_before(site: Site) -> None:
    site.tell("stop", SHARED)
    site.cluster.nodes[0].ctl("suspend_listeners")
    try:
        site.host.console("systemctl", "start", "--no-block", SHARED)
        await_that(
            lambda: "event=broker_unreachable" in site.host.journal(SHARED),
            "the worker should wait for the broker",
            timeout_seconds=30,
        )
        assert site.show(SHARED, "ActiveState") == "activating"
    finally:
        site.cluster.nodes[0].ctl("resume_listeners")
    site.await_active(SHARED)
    assert {"fleet.default", "fleet.email", "fleet.probe"} <= set(site.consumers())
    assert site.show(SHARED, "StatusText") == "0 running, 0 waiting"


def test_journald_knows_the_level_of_each_line(site: Site) -> None:
    lines = site.host.console(
        "journalctl", "--unit", SHARED, "--output=json", "--output-fields=MESSAGE,PRIORITY"
    )
    told = [json.loads(line) for line in lines.splitlines()]
    ours = [line for line in told if str(line["MESSAGE"]).startswith("time=")]
    levels = {"info": "6", "warning": "4", "error": "3", "critical": "2"}
    assert ours
    assert all(line["PRIORITY"] == levels[line["MESSAGE"].split()[1].removeprefix("level=")] for line in ours)


def test_a_stop_waits_for_a_task_beyond_the_units_own_time(site: Site) -> None:
    site.drop_in(SHARED)
    site.tell("restart", SHARED)
    with site.client() as client:
        task = client.send("probe.sleep", kwargs={"seconds": TASK_SECONDS}).id
        await_that(
            lambda: site.show(SHARED, "StatusText") == "1 running, 0 waiting",
            "the task should run",
            timeout_seconds=15,
        )
        site.host.console("systemctl", "stop", "--no-block", SHARED)
        await_that(
            lambda: site.show(SHARED, "StatusText") == "draining, 1 task left",
            "it should drain",
            timeout_seconds=5,
        )
        outcome = client.wait([task], timeout_seconds=30)[task]
    assert outcome.outcome == "succeeded"
    await_that(
        lambda: site.show(SHARED, "ActiveState") == "inactive", "it should have ended", timeout_seconds=15
    )
    assert site.show(SHARED, "Result") == "success"


def test_a_main_process_that_hangs_or_dies_is_started_again(site: Site) -> None:
    site.drop_in(SHARED)
    for number, result in (("STOP", "watchdog"), ("KILL", "signal")):
        site.tell("restart", SHARED)
        before, restarts = site.show(SHARED, "MainPID"), site.show(SHARED, "NRestarts")
        site.host.console("kill", f"-{number}", before)
        await_that(
            lambda restarts=restarts: site.show(SHARED, "NRestarts") > restarts,  # type: ignore[misc]
            f"SIG{number} should lead to a restart",
            timeout_seconds=25,
        )
        site.await_active(SHARED)
        assert site.show(SHARED, "MainPID") != before
        assert f"Failed with result '{result}'" in site.host.journal(SHARED)


def test_old_and_new_run_side_by_side(site: Site) -> None:
    fleet = site.fleet
    here = (
        *first_instances(fleet, site.host.name, site.release.name),
        Instance(worker="shared", slot="b", release=site.release.name),
    )
    material = gather(fleet, site.host.name, environ={})
    records = bundle(fleet, site.host.name, site.release.name, material, instances=here)
    put_records(site.host, records[1:])
    start_units(site.host, records)
    worker = fleet.worker("shared")
    assert worker is not None
    for slot in ("a", "b"):
        url = f"http://{site.host.address}:{worker.slot_port(slot)}/readyz"
        assert requests.get(url, timeout=5).ok
    assert site.consumers().count("fleet.email") == 2
    site.tell("stop", BESIDE)
    assert site.show(BESIDE, "Result") == "success"
    assert site.consumers().count("fleet.email") == 1
