"""The Ansible role: linted, and as honest about changes as the command that it runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.integration.provisioning.conftest import Site

ROOT = Path(__file__).parents[3]
ANSIBLE = ROOT / "ansible"
BIN = Path(sys.executable).parent


def environ(home: Path) -> dict[str, str]:
    """Return an environment in which Ansible keeps its files in ``home`` and finds the role."""
    return {
        "HOME": str(home),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
        "ANSIBLE_REMOTE_TEMP": str(home / "tmp"),
        "ANSIBLE_ROLES_PATH": str(ANSIBLE / "roles"),
        "ANSIBLE_NOCOLOR": "1",
        "NO_COLOR": "1",
    }


def run(command: str, *arguments: str, home: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        (str(BIN / command), *arguments),
        cwd=home,
        env=environ(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_role_passes_the_strictest_lint(tmp_path: Path) -> None:
    done = run("ansible-lint", "-c", str(ANSIBLE / ".ansible-lint"), "--strict", str(ANSIBLE), home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_playbook_is_well_formed(tmp_path: Path) -> None:
    done = run(
        "ansible-playbook", "--syntax-check", "-i", "localhost,", str(ANSIBLE / "broker.yml"), home=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def play(site: Site, home: Path, *options: str) -> tuple[int, int, int, str]:
    """Run the role's provisioning here; return exit code, changed and failed tasks, and all output."""
    inventory = home / "inventory.ini"
    inventory.write_text(
        f"[broker]\nlocalhost ansible_connection=local ansible_python_interpreter={sys.executable}\n"
    )
    where = {
        "fleet_broker_file": site.file,
        "fleet_broker_command": BIN / "fleet",
        "fleet_broker_door": "http",
        "fleet_broker_become": False,
    }
    given = [text for name, value in where.items() for text in ("-e", f"{name}={value}")]
    playbook = str(ANSIBLE / "broker.yml")
    done = run(
        "ansible-playbook", "-i", str(inventory), "--tags", "provision", *given, *options, playbook, home=home
    )
    output = done.stdout + done.stderr
    recap = re.search(r"changed=(\d+) .*failed=(\d+)", output)
    assert recap, output
    return done.returncode, int(recap[1]), int(recap[2]), output


def test_changed_is_true_once_and_check_mode_is_honest(bare_site: Site, tmp_path: Path) -> None:
    checked = play(bare_site, tmp_path, "--check")
    assert checked[:3] == (0, 1, 0), checked[3]
    assert f"create vhost {bare_site.vhost.name}" in checked[3]
    assert bare_site.vhost.name not in {row["name"] for row in bare_site.vhost.api("GET", "vhosts")}
    first = play(bare_site, tmp_path)
    assert first[:3] == (0, 1, 0), first[3]
    assert bare_site.pending(prune=True) == []
    for again in ([], ["--check"]):
        second = play(bare_site, tmp_path, *again)
        assert second[:3] == (0, 0, 0), second[3]


def test_a_broker_that_refuses_is_a_failed_task(bare_site: Site, tmp_path: Path) -> None:
    text = bare_site.file.read_text()
    admin = bare_site.vhost.node.admin_password_file
    bare_site.file.write_text(text.replace(str(admin), str(bare_site.vhost.password_file)))
    code, changed, failed, output = play(bare_site, tmp_path, "--check")
    assert (code, changed, failed) == (2, 0, 1), output
    assert "refuses user" in output
    assert bare_site.password not in output
