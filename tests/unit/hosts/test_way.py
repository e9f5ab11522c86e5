"""The way to a host: what the fleet file says, what `~/.ssh/config` adds, and which jump hosts come first."""

from pathlib import Path
from types import SimpleNamespace

import paramiko
import pytest

from fleet.config.parse import parse
from fleet.errors import UsageError
from fleet.model import Fleet
from fleet.ops.hosts import choose, destination
from provisioning.errors import HostAccessRefused
from provisioning.hosts.route import Destination, Hop, parse_jumps
from provisioning.hosts.ssh import SshDoor, SshSettings
from provisioning.hosts.ssh.config import Endpoint, load_config, route
from provisioning.hosts.ssh.transport import Line

REST = """
[broker]
url = "amqp://127.0.0.1:5672"
password = "env:P"
"""


def fleet(text: str) -> Fleet:
    return parse(REST + text, source="fleet.toml")


def way(
    directory: Path, config: str, address: str = "alpha", jumps: tuple[Hop, ...] | None = None
) -> tuple[Endpoint, ...]:
    path = directory / "config"
    path.write_text(config)
    end = Hop(name=address, address=address)
    return route(Destination(host=end, jumps=jumps), load_config((str(path), str(directory / "absent"))))


@pytest.mark.parametrize(
    ("text", "hops"),
    [
        ("none", []),
        ("bastion", [("bastion", None, None)]),
        ("ops@bastion:2222", [("bastion", "ops", 2222)]),
        ("[2001:db8::1]:22, b", [("2001:db8::1", None, 22), ("b", None, None)]),
    ],
)
def test_jump_hosts_are_written_as_for_ssh(text: str, hops: list[tuple[str, str | None, int | None]]) -> None:
    assert [(hop.address, hop.user, hop.port) for hop in parse_jumps(text)] == hops


@pytest.mark.parametrize(
    "text", ["", "a,,b", "a b", "-oProxyCommand=x", "a:0", "a:65536", "@a", "ssh://a", "a:b"]
)
def test_what_is_no_jump_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_jumps(text)


def test_the_host_s_own_words_come_before_the_fleets_and_those_before_the_configuration() -> None:
    made = fleet(
        """
[ssh]
user = "admin"
port = 2222
key = "~/.ssh/fleet"
jump = "ops@bastion"
[hosts.alpha]
address = "10.0.0.1"
[hosts.beta]
ssh_user = "root"
ssh_port = 22
jump = "none"
[hosts.gamma]
jump = "alpha"
"""
    )
    alpha, beta, gamma = (destination(made, host) for host in made.hosts)
    assert alpha.host == Hop(name="alpha", address="10.0.0.1", user="admin", port=2222, key="~/.ssh/fleet")
    assert alpha.jumps == (Hop(name="bastion", address="bastion", user="ops", port=None, key="~/.ssh/fleet"),)
    assert (beta.host.user, beta.host.port, beta.jumps) == ("root", 22, ())
    # a jump host that is a host of the fleet is reached as such
    assert gamma.jumps == (alpha.host,)


def test_without_a_word_in_the_fleet_file_the_configuration_decides(tmp_path: Path) -> None:
    made = fleet("[hosts.alpha]\n")
    assert destination(made, made.hosts[0]) == Destination(
        host=Hop(name="alpha", address="alpha"), jumps=None
    )
    config = """
Host alpha
  HostName 10.0.0.1
  Port 2200
  User carol
  IdentityFile ~/.ssh/a
  ProxyJump ops@one:2201,two
  UserKnownHostsFile ~/mine ~/ours
Host two
  HostKeyAlias Second
"""
    one, two, alpha = way(tmp_path, config)
    assert (one.host, one.user, one.port, one.known_as) == ("one", "ops", 2201, "[one]:2201")
    assert (two.host, two.known_as) == ("two", "second")
    assert (alpha.host, alpha.user, alpha.port, alpha.known_as) == (
        "10.0.0.1",
        "carol",
        2200,
        "[10.0.0.1]:2200",
    )
    assert alpha.keys[0].endswith("/.ssh/a")
    assert len(alpha.known_hosts or ()) == 2
    assert str(alpha) == "host `alpha` ([10.0.0.1]:2200)"


def test_a_jump_host_does_not_jump_through_itself_and_may_have_one_before_it(tmp_path: Path) -> None:
    config = "Host *\n  ProxyJump bastion\n"
    assert [end.host for end in way(tmp_path, config)] == ["bastion", "alpha"]
    assert [end.host for end in way(tmp_path, config, "bastion")] == ["bastion"]
    chain = "Host alpha\n  ProxyJump inner\nHost inner\n  ProxyJump outer\n"
    assert [end.host for end in way(tmp_path, chain)] == ["outer", "inner", "alpha"]
    loop = "Host alpha\n  ProxyJump inner\nHost inner\n  ProxyJump outer\nHost outer\n  ProxyJump inner\n"
    assert [end.host for end in way(tmp_path, loop)] == ["outer", "inner", "alpha"]


def test_the_fleet_files_jump_hosts_take_the_place_of_the_configurations(tmp_path: Path) -> None:
    config = "Host alpha\n  ProxyCommand nc %h %p\n"
    (alpha,) = way(tmp_path, config)
    assert alpha.proxy_command == "nc alpha 22"
    (direct,) = way(tmp_path, config, jumps=())
    assert direct.proxy_command is None


def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostAccessRefused, match=f"cannot read the SSH configuration {tmp_path}/config"):
        way(tmp_path, "Host 'alpha\n")
    with pytest.raises(
        HostAccessRefused, match="ProxyJump for host `alpha` in the SSH configuration must be"
    ):
        way(tmp_path, "Host alpha\n  ProxyJump a:b:c\n")


def test_hosts_are_chosen_by_name_glob_and_label_and_a_name_that_means_none_is_refused() -> None:
    made = fleet('[hosts.web-1]\n[hosts.web-2]\n[hosts.db]\nlabels = ["sql"]\n')
    assert [host.name for host in choose(made, ())] == ["web-1", "web-2", "db"]
    assert [host.name for host in choose(made, ("@sql", "web-1"))] == ["web-1", "db"]
    with pytest.raises(UsageError, match=r"no host of fleet\.toml is meant by `web-3`"):
        choose(made, ("web-1", "web-3"))


@pytest.mark.parametrize(
    ("written", "meant"),
    [("~/keys", "~/keys"), ("/etc/keys", "/etc/keys"), ("keys/known hosts", "/srv/office/keys/known hosts")],
)
def test_files_of_the_ssh_table_lie_beside_the_fleet_file(written: str, meant: str) -> None:
    text = f'[ssh]\nkey = "{written}"\nknown_hosts = "{written}"\n[hosts.alpha]\n'
    made = parse(REST + text, source="/srv/office/fleet.toml")
    assert (made.ssh.key, made.ssh.known_hosts) == (meant, meant)
    assert fleet("[hosts.alpha]\n").ssh.known_hosts == "known_hosts"


@pytest.mark.parametrize(
    ("ours", "theirs", "decides"),
    [("alpha", "", True), ("alpha", "alpha", True), ("", "", True), ("", "alpha", False)],
)
def test_where_the_fleets_own_file_knows_a_host_no_other_program_need_ask_another(
    ours: str, theirs: str, tmp_path: Path, *, decides: bool
) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVhc3kgdG8gcmVhZCBhcyBhIGtleSBvZiBub2Jv\n"
    files = {"ours": ours, "theirs": theirs}
    for name, host in files.items():
        (tmp_path / name).write_text(f"{host} {key}" if host else "")
    own, users = (str(tmp_path / name) for name in files)
    door = SshDoor(SshSettings(known_hosts=own, user_known_hosts=(users,), config_files=()))
    end = Hop(name="alpha", address="alpha")
    assert door.known_hosts(door.route(Destination(host=end))[-1]) == (own if decides else None)


def test_a_host_is_asked_first_for_a_cipher_that_needs_no_mac_besides() -> None:
    nowhere = SimpleNamespace(settimeout=lambda _: None, close=lambda: None)
    transport = Line(ask_seconds=5, silence_seconds=20).make(nowhere, ("ssh-ed25519",))
    ciphers = transport.get_security_options().ciphers
    assert ciphers[:2] == ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
    assert set(ciphers) == set(paramiko.Transport._preferred_ciphers)
