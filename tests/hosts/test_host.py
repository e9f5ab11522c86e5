"""A host of the lab is a machine: it boots, it can be asked, unplugged, cut off and wiped."""

import socket
import subprocess
import time

import pytest

from tests.hosts.fixtures import MAIL, SERVICES, CleanHosts
from tests.hosts.lab import Host, Lab, LabFailed
from tests.hosts.lab.system import await_that

UNIT = """\
[Service]
ExecStart=/bin/sleep infinity
ExecStop=/bin/sh -c 'echo stopped in order > /var/lib/stopped'
[Install]
WantedBy=multi-user.target
"""


def answers(host: Host, *, seconds: float = 2) -> bool:
    """Tell whether the host's SSH port accepts connections."""
    try:
        socket.create_connection((host.address, 22), timeout=seconds).close()
    except OSError:
        return False
    return True


def reaches(host: Host, other: Host) -> bool:
    """Tell whether ``host`` gets an answer from the SSH port of ``other``."""
    knock = f"timeout 2 bash -c 'echo > /dev/tcp/{other.address}/22' && echo open"
    return "open" in host.console("sh", "-c", knock, check=False)


def said_back(talk: "subprocess.Popen[bytes]", line: bytes) -> bytes:
    """Say ``line`` to a remote `cat` and return what comes back."""
    assert talk.stdin is not None
    assert talk.stdout is not None
    talk.stdin.write(line)
    talk.stdin.flush()
    return talk.stdout.readline()


def test_a_host_runs_systemd_with_nothing_failed_and_knows_its_name(host: Host) -> None:
    assert host.run("systemctl", "is-system-running").strip() == "running"
    assert host.failed_units() == ()
    assert host.run("hostname").strip() == host.name
    assert "Reached target" in host.journal()


def test_arguments_arrive_as_they_are_and_failures_carry_the_hosts_words(host: Host) -> None:
    assert host.run("printf", "%s|", "a b", "$HOME", "'", ";true") == "a b|$HOME|'|;true|"
    with pytest.raises(LabFailed, match=r"`ls /absent` on host `alpha` ended with 2: .*No such file"):
        host.run("ls", "/absent")
    with pytest.raises(LabFailed, match=r"took longer than 0\.5 s"):
        host.console("sleep", "30", timeout_seconds=0.5)


def test_another_machine_at_the_hosts_address_is_not_logged_in_to(host: Host) -> None:
    host.console("sh", "-c", "rm /etc/ssh/ssh_host_*; ssh-keygen -A; systemctl restart ssh")
    with pytest.raises(LabFailed, match="Host key verification failed"):
        host.run("true")


def test_files_are_put_and_read_with_their_rights_whether_the_host_is_on_or_off(host: Host) -> None:
    host.put("/srv/new/secret", b"\x00one", mode=0o640, owner="daemon")
    host.power_off()
    assert host.read("/srv/new/secret") == b"\x00one"
    host.put("/srv/other/secret", "two", mode=0o600, owner="daemon")
    host.put("/lib/systemd/system/other.service", "through a link of the host's own")
    with pytest.raises(LabFailed, match="not an absolute path"):
        host.put("/srv/../../outside", "out of the tree")
    with pytest.raises(LabFailed, match="No such file"):
        host.read("/srv/absent")
    host.boot()
    assert host.run("stat", "-c", "%U %a", "/srv/new/secret").split() == ["daemon", "640"]
    assert host.run("stat", "-c", "%U %a", "/srv/other/secret").split() == ["daemon", "600"]
    assert host.read("/srv/other/secret") == b"two"
    assert host.read("/usr/lib/systemd/system/other.service").startswith(b"through a link")


def test_the_disk_of_a_host_that_is_off_is_read_as_the_host_left_it(host: Host) -> None:
    host.run("rm", "/etc/ssh/sshd_config")
    host.put("/etc/link-to", "mine")
    host.run("ln", "-s", "/etc/link-to", "/srv/link")
    host.power_off()
    with pytest.raises(LabFailed, match="No such file"):
        host.read("/etc/ssh/sshd_config")
    # An absolute link leads to the host's own file, not to one of this machine.
    assert host.read("/srv/link") == b"mine"


def test_a_shut_down_host_stops_its_services_and_a_cut_off_one_does_not(host: Host) -> None:
    host.put("/etc/systemd/system/told.service", UNIT)
    host.run("systemctl", "enable", "--now", "told.service")
    host.power_off()
    assert not host.is_on
    with pytest.raises(LabFailed, match="No such file"):
        host.read("/var/lib/stopped")
    host.boot()
    host.reboot()
    assert host.read("/var/lib/stopped") == b"stopped in order\n"
    assert host.run("systemctl", "is-active", "told.service").strip() == "active"


def test_a_service_that_takes_long_to_start_does_not_hold_up_its_host(host: Host) -> None:
    # Its systemd tells of such a job several times a second, and waits while what it told is not read.
    host.run("systemd-run", "--property=Type=oneshot", "--property=RemainAfterExit=yes", "sleep", "25")
    assert host.run("systemctl", "list-jobs", "--no-legend", timeout_seconds=10) in {"", "No jobs running.\n"}


def test_a_host_that_is_off_says_so(host: Host) -> None:
    with pytest.raises(LabFailed, match="host `alpha` is on already"):
        host.boot()
    host.power_off()
    host.power_off()
    with pytest.raises(LabFailed, match="host `alpha` is off"):
        host.console("true")
    with pytest.raises(LabFailed, match="host `alpha` is off"):
        host.shut_down()
    assert not host.is_plugged


def test_a_reset_host_has_a_new_disk(host: Host, clean_hosts: CleanHosts) -> None:
    host.put("/srv/mine", "here")
    (again,) = clean_hosts(host.name)
    assert again is host
    with pytest.raises(LabFailed, match="No such file"):
        host.read("/srv/mine")


def test_an_unplugged_host_hears_nothing_and_its_connections_outlive_a_short_break(host: Host) -> None:
    ssh = ("ssh", "-F", str(host.ssh_config), host.name, "cat")
    with subprocess.Popen(ssh, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as talk:
        assert said_back(talk, b"before\n") == b"before\n"
        host.unplug()
        assert not host.is_plugged
        assert not answers(host)
        assert host.console("cat", "/sys/class/net/host0/carrier").strip() == "0"
        host.plug()
        assert host.is_plugged
        assert said_back(talk, b"after\n") == b"after\n"
        talk.kill()


def test_a_silenced_host_keeps_its_carrier(host: Host) -> None:
    host.silence()
    assert not host.is_plugged
    assert not answers(host)
    assert host.console("cat", "/sys/class/net/host0/carrier").strip() == "1"
    host.plug()
    await_that(lambda: answers(host), "the host should answer again", timeout_seconds=20)


def test_a_partition_is_between_its_sides_only(lab: Lab, clean_hosts: CleanHosts) -> None:
    alpha, beta, gamma = clean_hosts("alpha", "beta", "gamma")
    lab.partition(["alpha"], ["beta"])
    assert not reaches(alpha, beta)
    assert not reaches(beta, alpha)
    assert reaches(alpha, gamma)
    assert reaches(beta, gamma)
    lab.heal("alpha", "beta")
    assert reaches(alpha, beta)
    assert reaches(beta, alpha)


def test_hosts_have_no_way_out_of_the_lab(host: Host) -> None:
    assert "default" not in host.run("ip", "route")
    # TEST-NET-3: an address that nobody has.
    said = host.run("sh", "-c", "timeout 2 bash -c 'echo > /dev/tcp/203.0.113.9/80' 2>&1", check=False)
    assert "Network is unreachable" in said


def test_services_of_the_same_name_on_two_hosts_do_not_know_of_each_other(clean_hosts: CleanHosts) -> None:
    alpha, beta = clean_hosts("alpha", "beta")
    for host in (alpha, beta):
        host.run("systemd-run", "--unit=same", "sleep", "infinity")
    started = time.monotonic()
    alpha.run("systemctl", "stop", "same.service")
    # Were the other one's process in the same control group, systemd would wait 90 s for it to end.
    assert time.monotonic() - started < 30
    assert beta.run("systemctl", "is-active", "same.service").strip() == "active"


def test_hardening_of_a_unit_is_enforced(host: Host) -> None:
    hardened = ("-p", "ProtectSystem=strict", "-p", "ReadWritePaths=/srv", "-p", "ProtectHome=yes")
    try_all = "touch /srv/yes; touch /etc/no; ls -A /root; true"
    run = ("systemd-run", "--wait", "--pipe", "--quiet", *hardened, "--", "sh", "-c", f"({try_all}) 2>&1")
    said = host.run(*run)
    assert host.run("ls", "/srv").strip() == "yes"
    assert "'/etc/no': Read-only file system" in said
    assert ".ssh" in host.run("ls", "-A", "/root")
    assert ".ssh" not in said


@pytest.mark.parametrize(
    ("name", "units"),
    [(MAIL, ["postfix@-.service"]), (SERVICES, ["prometheus.service", "postgresql@15-main.service"])],
)
def test_services_of_an_image_run_from_the_first_boot(
    clean_hosts: CleanHosts, name: str, units: list[str]
) -> None:
    (host,) = clean_hosts(name)
    assert host.failed_units() == ()
    assert host.run("systemctl", "is-active", *units).split() == ["active"] * len(units)
    # Nobody else needs it for a while, and hosts that run are what the kernel has a limit for.
    host.power_off()
