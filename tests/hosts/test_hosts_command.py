"""``fleet hosts`` against real hosts, as an operator types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bad_input import Ended, in_process
from tests.hosts.fixtures import CleanHosts
from tests.hosts.lab import Host

FILE = """\
[broker]
url = "amqp://127.0.0.1:5672"
password = "env:P"
[ssh]
user = "root"
key = "{key}"
connect_timeout = 3
deadline = 60
"""


class Operator:
    """Types commands beside a fleet file; nothing of this machine's own SSH configuration counts."""

    def __init__(self, directory: Path, key: Path, home: Path) -> None:
        self.directory = directory
        self.known_hosts = directory / "known_hosts"
        self._text = FILE.format(key=key)
        self._home = home

    def declare(self, *hosts: str) -> None:
        (self.directory / "fleet.toml").write_text(self._text + "".join(f"{each}\n" for each in hosts))

    def fleet(self, *arguments: str) -> Ended:
        return in_process(("hosts", *arguments), self.directory)

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "fleet.cli.main", "hosts", *arguments]

    def environ(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self._home), "COLUMNS": "200"}


@pytest.fixture
def operator(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> Operator:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    made = Operator(tmp_path, host.ssh_config.with_name("id_ed25519"), home)
    made.declare(f'[hosts.alpha]\naddress = "{host.address}"')
    return made


def test_hosts_are_trusted_then_checked_and_tell_their_facts(operator: Operator, host: Host) -> None:
    refused = operator.fleet("check")
    assert refused.exit_status == 4
    assert "fleet hosts trust alpha" in refused.stdout
    asked = operator.fleet("trust")
    assert asked.exit_status == 2
    assert "compare the fingerprints" in asked.stderr
    assert not operator.known_hosts.exists()

    trusted = operator.fleet("trust", "--yes", "--json")
    assert trusted.exit_status == 0, trusted.stderr
    (key,) = json.loads(trusted.stdout)
    shown = host.console("ssh-keygen", "-l", "-f", "/etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert (key["fingerprint"], key["recorded"], key["standing"]) == (shown, True, "unknown")
    assert operator.known_hosts.stat().st_mode & 0o777 == 0o644
    assert "1 of 1 keys recorded" not in operator.fleet("trust", "--yes").stderr

    checked = operator.fleet("check", "--json")
    assert checked.exit_status == 0, checked.stdout + checked.stderr
    (one,) = json.loads(checked.stdout)
    levels = {finding["check"]: finding["level"] for finding in one["findings"]}
    assert levels["root"] == levels["systemd"] == levels["python"] == levels["clock"] == "ok"

    told = operator.fleet("facts", "--json")
    assert told.exit_status == 0
    facts = json.loads(told.stdout)[0]["facts"]
    assert facts["os_id"] == "debian"
    assert (
        facts["python"]
        == host.console("python3", "-c", "import platform; print(platform.python_version())").strip()
    )
    assert facts["programs"]["rsync"] == "/usr/bin/rsync"
    assert facts["root"] == "itself"
    assert abs(facts["clock_offset_seconds"]) <= facts["clock_uncertainty_seconds"] + 0.5
    listed = json.loads(operator.fleet("list", "--json").stdout)
    assert listed[0]["key"]["fingerprint"] == shown


def test_a_changed_key_is_recorded_only_when_told_to_replace_it(operator: Operator, host: Host) -> None:
    assert operator.fleet("trust", "--yes").exit_status == 0
    host.console("sh", "-c", "rm /etc/ssh/ssh_host_*; ssh-keygen -A; systemctl restart ssh")
    before = operator.known_hosts.read_text()
    kept = operator.fleet("trust", "--yes")
    assert kept.exit_status == 1
    assert "CHANGED: known is SHA256:" in kept.stdout
    assert operator.known_hosts.read_text() == before
    refused = operator.fleet("facts")
    assert refused.exit_status == 1
    assert "has changed, or another machine answers" in refused.stderr
    assert operator.fleet("trust", "--yes", "--replace").exit_status == 0
    assert operator.fleet("facts").exit_status == 0


def test_a_host_that_does_not_answer_is_a_line_of_its_own_and_a_code_of_its_own(
    operator: Operator, host: Host
) -> None:
    nobody = host.address.rpartition(".")[0] + ".250"
    operator.declare(f'[hosts.alpha]\naddress = "{host.address}"', f'[hosts.dead]\naddress = "{nobody}"')
    trusted = operator.fleet("trust", "--yes")
    assert trusted.exit_status == 3
    assert "not recorded: dead" in trusted.stderr
    started = time.monotonic()
    checked = operator.fleet("check")
    assert time.monotonic() - started < 10
    assert checked.exit_status == 3
    assert f"host `dead` ({nobody}) does not answer" in checked.stdout
    assert "1 of 2 hosts could not be reached" in checked.stderr
    assert operator.fleet("check", "dead").exit_status == 5
    assert operator.fleet("facts", "nosuch").exit_status == 2


def test_a_host_that_lacks_what_the_fleet_needs_fails_its_check(operator: Operator, host: Host) -> None:
    assert operator.fleet("trust", "--yes").exit_status == 0
    host.run(
        "sh",
        "-c",
        "useradd -m -s /bin/bash plain; install -d -o plain /home/plain/.ssh;"
        "install -o plain -m 600 /root/.ssh/authorized_keys /home/plain/.ssh/; rm /usr/bin/rsync",
    )
    operator.declare(
        f'[hosts.alpha]\naddress = "{host.address}"\nssh_user = "plain"',
        '[backups.etc]\nhosts = ["*"]\nsources = ["/etc"]\ndestination = "/srv/backup"',
    )
    checked = operator.fleet("check", "--json")
    assert checked.exit_status == 4
    failed = {
        each["check"]: each for each in json.loads(checked.stdout)[0]["findings"] if each["level"] == "fail"
    }
    assert set(failed) == {"root", "rsync"}
    assert "--ask-sudo-password" in failed["root"]["hint"]
    host.run("mv", "/usr/bin/python3", "/usr/bin/python3.away")
    unfit = operator.fleet("facts")
    assert unfit.exit_status == 1
    assert "apt install python3" in unfit.stderr


def test_jump_hosts_are_trusted_before_what_lies_behind_them(
    operator: Operator, host: Host, clean_hosts: CleanHosts
) -> None:
    (beta,) = clean_hosts("beta")
    operator.declare(
        f'[hosts.alpha]\naddress = "{host.address}"\njump = "root@{beta.address}"',
    )
    trusted = operator.fleet("trust", "--yes", "--json")
    assert trusted.exit_status == 0, trusted.stderr
    assert [key["known_as"] for key in json.loads(trusted.stdout)] == [beta.address, host.address]
    assert operator.fleet("check").exit_status == 0
    assert beta.address in operator.fleet("list").stdout


def test_ctrl_c_ends_at_once_although_hosts_are_busy(operator: Operator, host: Host) -> None:
    assert operator.fleet("trust", "--yes").exit_status == 0
    # Its Python never answers, so the command would wait for its timeout.
    host.put("/usr/local/bin/python3", "#!/bin/sh\ntouch /run/asked\nexec sleep 60\n", mode=0o755)
    asked = subprocess.Popen(
        operator.argv("facts"),
        cwd=operator.directory,
        env=operator.environ(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        host.console("sh", "-c", "until test -e /run/asked; do sleep 0.05; done", timeout_seconds=20)
        started = time.monotonic()
        asked.send_signal(signal.SIGINT)
        _, said = asked.communicate(timeout=20)
        assert time.monotonic() - started < 4
        assert (asked.returncode, said.strip()) == (130, "interrupted")
    finally:
        asked.kill()
        asked.wait()
