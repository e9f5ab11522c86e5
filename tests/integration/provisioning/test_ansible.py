"""The collection: linted, and as honest about changes as the command that it runs."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

import fleet
from tests.ansible import BIN, COLLECTION, Ansible
from tests.integration.provisioning.conftest import Site

PLAYBOOKS = sorted(path.stem for path in (COLLECTION / "playbooks").glob("*.yml"))
ROLES = sorted(path.name for path in (COLLECTION / "roles").iterdir())
FLEET_TOML = """\
[broker]
url = "amqp://127.0.0.1:5672"
password = "env:P"
[ssh]
user = "deploy"
key = "~/.ssh/fleet"
jump = "ops@bastion.example.org:2222"
[hosts.alpha]
address = "10.0.0.11"
labels = ["db", "far-away"]
[hosts.beta]
address = "10.0.0.12"
ssh_user = "root"
ssh_port = 2022
jump = "none"
[queues.mail]
tasks = ["fleet.check_urls"]
[workers.mail]
hosts = ["alpha"]
queues = ["mail"]
"""


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    """Ansible with our collection."""
    made = Ansible(tmp_path_factory.mktemp("a"))
    made.install()
    return made


def test_the_collection_passes_the_strictest_lint(ansible: Ansible, tmp_path: Path) -> None:
    # It leaves a cache where it runs.
    shutil.copytree(COLLECTION, tmp_path / "ansible")
    done = ansible.run("ansible-lint", "--strict", ".", directory=tmp_path / "ansible")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_collection_has_the_version_and_licence_of_fleet() -> None:
    assert yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["version"] == fleet.__version__
    assert (COLLECTION / "LICENSE").read_text() == (COLLECTION.parent / "LICENSE").read_text()


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbook_is_well_formed(ansible: Ansible, playbook: str) -> None:
    done = ansible.run("ansible-playbook", "--syntax-check", "-i", "localhost,", f"fleet.fleet.{playbook}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_of_a_role_is_described_with_its_default(role: str) -> None:
    directory = COLLECTION / "roles" / role
    described = yaml.safe_load((directory / "meta/argument_specs.yml").read_text())
    options = described["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((directory / "defaults/main.yml").read_text())
    known = {name: option["default"] for name, option in options.items() if "default" in option}
    assert known == defaults


def test_the_inventory_is_that_of_the_fleet_file(ansible: Ansible, tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(FLEET_TOML)
    (tmp_path / "fleet.yml").write_text(
        f"plugin: fleet.fleet.hosts\ncommand: {BIN / 'fleet'}\n"
        "groups:\n  far: \"'far-away' in fleet_labels\"\n"
    )
    done = ansible.run("ansible-inventory", "-i", str(tmp_path / "fleet.yml"), "--list")
    found = json.loads(done.stdout, object_hook=lambda given: given.get("__ansible_unsafe", given))
    groups = {name: group.get("hosts") for name, group in found.items() if name != "_meta"}
    assert {name: hosts for name, hosts in groups.items() if hosts} == {
        "far": ["alpha"],
        "fleet_label_db": ["alpha"],
        "fleet_label_far_away": ["alpha"],
        "fleet_worker_mail": ["alpha"],
        "fleet_workers": ["alpha"],
        "ungrouped": ["beta"],
    }
    trust = f"-o StrictHostKeyChecking=yes -o 'UserKnownHostsFile=\"{tmp_path}/known_hosts\"'"
    alpha, beta = (found["_meta"]["hostvars"][name] for name in ("alpha", "beta"))
    assert alpha == {
        "ansible_host": "10.0.0.11",
        "ansible_port": 22,
        "ansible_user": "deploy",
        "ansible_ssh_private_key_file": "~/.ssh/fleet",
        "ansible_ssh_common_args": f"{trust} -o GlobalKnownHostsFile=none"
        " -o ProxyJump=ops@bastion.example.org:2222",
        "fleet_labels": ["db", "far-away"],
        "fleet_host_workers": ["mail"],
    }
    assert (beta["ansible_user"], beta["ansible_port"]) == ("root", 2022)
    assert beta["ansible_ssh_common_args"].endswith("-o ProxyJump=none")


def test_a_fleet_file_with_a_mistake_is_told_by_its_line(ansible: Ansible, tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(FLEET_TOML.replace("[queues.mail]", "[queue.mail]"))
    (tmp_path / "fleet.yml").write_text(f"plugin: fleet.fleet.hosts\ncommand: {BIN / 'fleet'}\n")
    done = ansible.run("ansible-inventory", "-i", str(tmp_path / "fleet.yml"), "--list")
    # Its lines are as wide as a terminal, and broken wherever that ends.
    assert "fleet.toml:16:queue:unknowntable" in "".join(done.stderr.split()), done.stderr


def play(ansible: Ansible, site: Site, home: Path, *options: str) -> tuple[int, int, int, str]:
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
    done = ansible.play(inventory, "fleet.fleet.broker", "--tags", "provision", *options, given=where)
    assert "localhost" in done.changed, done.output
    return done.exit_code, done.changed["localhost"], done.failed["localhost"], done.output


def test_changed_is_true_once_and_check_mode_is_honest(
    ansible: Ansible, bare_site: Site, tmp_path: Path
) -> None:
    checked = play(ansible, bare_site, tmp_path, "--check")
    assert checked[:3] == (0, 1, 0), checked[3]
    assert f"create vhost {bare_site.vhost.name}" in checked[3]
    assert bare_site.vhost.name not in {row["name"] for row in bare_site.vhost.api("GET", "vhosts")}
    first = play(ansible, bare_site, tmp_path)
    assert first[:3] == (0, 1, 0), first[3]
    assert bare_site.pending(prune=True) == []
    for again in ([], ["--check"]):
        second = play(ansible, bare_site, tmp_path, *again)
        assert second[:3] == (0, 0, 0), second[3]


def test_a_broker_that_refuses_is_a_failed_task(ansible: Ansible, bare_site: Site, tmp_path: Path) -> None:
    text = bare_site.file.read_text()
    admin = bare_site.vhost.node.admin_password_file
    bare_site.file.write_text(text.replace(str(admin), str(bare_site.vhost.password_file)))
    code, changed, failed, output = play(ansible, bare_site, tmp_path, "--check")
    assert (code, changed, failed) == (2, 0, 1), output
    assert "refuses user" in output
    assert bare_site.password not in output
