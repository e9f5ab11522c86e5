"""Ansible and `fleet provision hosts` on the same machines: one result, whoever comes first."""

import json
import secrets

import pytest

from fleet.daemons.files import write_private
from tests.ansible import BIN, Ansible, Played
from tests.hosts.lab import Host, Lab
from tests.hosts.logins import add_user
from tests.hosts.site import BROKEN_PROBE, NEW, OLD, PROBE, Site, await_rest, show

SITE, ROLLING = "fleet.fleet.site", "fleet.fleet.rolling"
#: everything that is ours on a host, and every file of its release but what Python compiled there
LOOK = """\
import hashlib, json, os, pathlib, pwd, grp
MANIFEST = "/var/lib/fleet-provision/fleet.json"
ours = list(json.loads(pathlib.Path(MANIFEST).read_text())["paths"])
tree = pathlib.Path("/opt/fleet/current/").rglob("*")
release = [str(each) for each in tree if "__pycache__" not in each.parts]
found = {}
for path in [MANIFEST, *ours, *release]:
    seen = os.lstat(path)
    what = os.readlink(path) if os.path.islink(path) else ""
    if os.path.isfile(path) and not what:
        what = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    found[path] = [pwd.getpwuid(seen.st_uid)[0], grp.getgrgid(seen.st_gid)[0], oct(seen.st_mode), what]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def ansible(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    made = Ansible(tmp_path_factory.mktemp("a"), {"XDG_CACHE_HOME": site.environ["XDG_CACHE_HOME"]})
    made.install()
    (site.directory / "fleet.yml").write_text("plugin: fleet.fleet.hosts\nfile: fleet.toml\n")
    return made


def play(ansible: Ansible, site: Site, playbook: str, *options: str) -> Played:
    given = {"fleet_worker_file": site.directory / "fleet.toml", "fleet_worker_command": BIN / "fleet"}
    played = ansible.play(site.directory / "fleet.yml", playbook, *options, given=given)
    assert not [name for name, text in site.passwords.items() if text in played.output]
    return played


def look(host: Host) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(host.console("python3", "-c", LOOK))
    return found


@pytest.fixture(scope="module")
def by_ansible(site: Site, ansible: Ansible) -> dict[str, list[str]]:
    """What stands on alpha once Ansible has provisioned it from nothing."""
    checked = play(ansible, site, SITE, "--check", "--diff", "--limit", "alpha")
    assert (checked.exit_code, checked.changed) == (0, {"alpha": 1}), checked.output
    assert "+concurrency = 2" in checked.output
    assert f"create unit {OLD}" in checked.output
    assert show(site.alpha, OLD, "LoadState") == "not-found"
    first = play(ansible, site, SITE, "--limit", "alpha", "-vvv")
    assert (first.exit_code, first.changed) == (0, {"alpha": 1}), first.output
    assert show(site.alpha, OLD) == "active"
    return look(site.alpha)


def test_after_ansible_neither_way_finds_anything_to_do(
    site: Site, ansible: Ansible, by_ansible: dict[str, list[str]]
) -> None:
    again = play(ansible, site, SITE, "--limit", "alpha")
    assert (again.exit_code, again.changed) == (0, {"alpha": 0}), again.output
    assert "alpha: as desired" in site.provision("alpha", "--check").stdout
    assert look(site.alpha) == by_ansible


def test_fleet_makes_the_same_host_to_the_byte_and_ansible_finds_nothing_to_do_there(
    site: Site, ansible: Ansible, lab: Lab, by_ansible: dict[str, list[str]]
) -> None:
    site.alpha.reset()
    lab.boot("alpha")
    site.provision("alpha", "--yes")
    by_ssh = look(site.alpha)
    assert by_ssh == by_ansible
    secret = by_ssh["/etc/fleet/credentials/host-password-alpha"]
    assert secret[:3] == ["root", "root", oct(0o100400)]
    before = show(site.alpha, OLD, "MainPID")
    for way in (["--check", "--diff"], []):
        after = play(ansible, site, SITE, "--limit", "alpha", *way)
        assert (after.exit_code, after.changed) == (0, {"alpha": 0}), after.output
    assert show(site.alpha, OLD, "MainPID") == before
    assert look(site.alpha) == by_ssh


def test_a_hand_edited_file_is_shown_by_its_lines_and_a_new_password_by_its_name(
    site: Site, ansible: Ansible, by_ansible: dict[str, list[str]]
) -> None:
    site.alpha.console("sed", "-i", "s/concurrency = 2/concurrency = 7/", "/etc/fleet/fleet.toml")
    new = secrets.token_urlsafe(16)
    write_private(site.directory / "alpha.password", new + "\n")
    try:
        checked = play(ansible, site, SITE, "--check", "--diff", "--limit", "alpha", "-vvv")
    finally:
        write_private(site.directory / "alpha.password", site.passwords["alpha"] + "\n")
    assert checked.changed == {"alpha": 1}, checked.output
    assert "-concurrency = 7" in checked.output
    assert "update file /etc/fleet/credentials/host-password-alpha" in checked.output
    assert new not in checked.output
    assert "concurrency = 7" in site.alpha.console("cat", "/etc/fleet/fleet.toml")
    assert play(ansible, site, SITE, "--limit", "alpha").changed == {"alpha": 1}
    assert look(site.alpha) == by_ansible


def test_rolling_stops_at_the_host_that_does_not_get_ready(
    site: Site, ansible: Ansible, by_ansible: dict[str, list[str]]
) -> None:
    (site.directory / "probe.py").write_text(BROKEN_PROBE)
    try:
        played = play(ansible, site, ROLLING)
    finally:
        (site.directory / "probe.py").write_text(PROBE)
    assert played.exit_code == 2, played.output
    assert (played.failed, list(played.changed)) == ({"alpha": 1}, ["alpha"])
    assert "broken by the operator" in played.output
    assert "the old instances go on" in played.output
    assert (show(site.alpha, OLD), show(site.alpha, NEW, "LoadState")) == ("active", "not-found")
    assert show(site.beta, OLD, "LoadState") == "not-found"
    again = play(ansible, site, ROLLING)
    assert (again.exit_code, again.changed) == (0, {"alpha": 0, "beta": 1}), again.output
    assert "no changes" in site.provision("--check").stderr
    assert '"reason": "ansible"' in site.run("audit", "beta", "--json").stdout


def test_a_user_who_becomes_root_by_sudo_makes_what_root_makes(
    site: Site, ansible: Ansible, lab: Lab, by_ansible: dict[str, list[str]]
) -> None:
    site.alpha.reset()
    lab.boot("alpha")
    add_user(site.alpha, "deploy", sudoers="deploy ALL=(ALL) NOPASSWD: ALL")
    site.change('user = "root"', 'user = "deploy"')
    try:
        refused = play(ansible, site, SITE, "--limit", "alpha", "--extra-vars", "fleet_worker_become=false")
        assert refused.failed == {"alpha": 1}, refused.output
        played = play(ansible, site, SITE, "--limit", "alpha")
    finally:
        site.change('user = "deploy"', 'user = "root"')
    assert (played.exit_code, played.changed) == (0, {"alpha": 1}), played.output
    assert look(site.alpha) == by_ansible
    (entry,) = json.loads(site.run("audit", "alpha", "--json", "--last", "1").stdout)[0]["entries"]
    assert entry["login"] == "deploy"
    assert "no changes" in site.provision("alpha", "--check").stderr


def test_what_an_old_instance_has_left_is_no_change_for_either_way_and_goes_with_the_next(
    site: Site, ansible: Ansible, by_ansible: dict[str, list[str]]
) -> None:
    del by_ansible
    site.change("concurrency = 2", "concurrency = 3")
    site.provision("alpha", "--yes")
    await_rest(site.alpha)
    for way in (["--check", "--diff"], []):
        after = play(ansible, site, SITE, "--limit", "alpha", "-v", *way)
        assert (after.exit_code, after.changed) == (0, {"alpha": 0}), after.output
        assert f"{OLD} has ended, and what it left goes with the next change" in after.output
        assert f"delete unit {OLD}" not in after.output
    assert show(site.alpha, OLD, "LoadState") == "loaded"
    assert f"{OLD} has ended" in site.provision("alpha", "--check").stdout
    site.alpha.console("sed", "-i", "s/concurrency = 3/concurrency = 7/", "/etc/fleet/fleet.toml")
    site.provision("alpha", "--check", code=4)
    played = play(ansible, site, SITE, "--limit", "alpha")
    assert (played.exit_code, played.changed) == (0, {"alpha": 1}), played.output
    assert show(site.alpha, OLD, "LoadState") == "not-found"
    assert "alpha: as desired" in site.provision("alpha", "--check").stdout
