import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fleet.daemons.node_files import NodePorts, configuration, ctl_script, environment
from fleet.daemons.packages import Programs, cache_directory, missing_packages
from fleet.daemons.smtp_rules import Rule, Stage, choose, dump, load

PORTS = NodePorts(amqp=1, management=2, prometheus=3, distribution=4, epmd=5)


def test_packages_that_apt_would_install_are_pinned_to_the_version_it_names() -> None:
    simulation = """\
Reading package lists...
Inst libpopt0 (1.19+dfsg-1 Debian:12.15/oldstable [amd64])
Inst libssl3 [3.0.11-1] (3.0.19-1 Debian:12.15/oldstable [amd64])
Conf libpopt0 (1.19+dfsg-1 Debian:12.15/oldstable [amd64])
"""
    assert missing_packages(simulation) == ("libpopt0=1.19+dfsg-1", "libssl3=3.0.19-1")


def test_the_cache_lies_where_the_environment_says() -> None:
    assert cache_directory({"FLEET_CACHE": "/c", "XDG_CACHE_HOME": "/x"}) == Path("/c/packages")
    assert cache_directory({"XDG_CACHE_HOME": "/x"}) == Path("/x/fleet/packages")
    assert cache_directory({}) == Path.home() / ".cache/fleet/packages"


def test_every_listener_of_a_private_node_is_on_loopback() -> None:
    text = configuration(PORTS, admin_password="p", settings={})
    assert "listeners.tcp.default = 127.0.0.1:1\n" in text
    assert "management.tcp.ip = 127.0.0.1\n" in text
    assert "prometheus.tcp.ip = 127.0.0.1\n" in text
    environ = environment(Path("/d"), PORTS, Programs(root=Path("/")))
    assert environ["ERL_EPMD_ADDRESS"] == "127.0.0.1"
    assert "{127,0,0,1}" in environ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]


def test_further_settings_win_over_the_defaults() -> None:
    text = configuration(PORTS, admin_password="p", settings={"disk_free_limit.absolute": "1GB"})
    assert "disk_free_limit.absolute = 1GB\n" in text
    assert "50MB" not in text


def test_the_environment_of_a_private_node_holds_no_password() -> None:
    environ = environment(Path("/d"), PORTS, Programs(root=Path("/")))
    assert not [name for name in environ if "PASS" in name or "COOKIE" in name]


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_the_rabbitmqctl_script_passes_any_value_unchanged(value: str) -> None:
    script = ctl_script({"V": value}, Path("/usr/bin/printenv"))
    done = subprocess.run(("/bin/sh", "-c", script, "sh", "V"), capture_output=True, timeout=10, check=True)
    assert done.stdout.decode() == value + "\n"


def test_the_first_rule_that_is_not_used_up_speaks() -> None:
    rules = (Rule(recipient="a@*", reply="451 later", times=1), Rule(recipient="*", reply="550 no"))
    assert choose(rules, Stage.RCPT, "A@example.org", {}) == 0
    assert choose(rules, Stage.RCPT, "a@example.org", {(0, "a@example.org"): 1}) == 1
    assert choose(rules, Stage.DATA, "a@example.org", {}) is None


def test_rules_survive_the_way_to_the_sink() -> None:
    rules = (Rule(recipient="a@*", stage=Stage.DATA, disconnect=True), Rule(recipient="*", reply="550 no"))
    assert load(dump(rules)) == rules
