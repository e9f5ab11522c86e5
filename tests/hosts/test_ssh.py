"""The SSH door on real hosts: whom it trusts, what it refuses, how bytes flow and how it ends."""

import base64
import hashlib
import hmac
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provisioning.errors import HostAccessRefused, HostOutputTooLong, HostTimeout, HostUnreachable
from provisioning.hosts.many import on_each
from provisioning.hosts.route import Destination, Hop
from provisioning.hosts.ssh import SshDoor, SshRunner, SshSettings
from tests.hosts.fixtures import CleanHosts
from tests.hosts.lab import Host, Lab
from tests.hosts.lab.system import await_that
from tests.hosts.logins import add_user

MIB = 1024**2
#: in tests a lost connection is noticed sooner
WATCHFUL = SshSettings(
    config_files=(),
    user_known_hosts=(),
    connect_timeout_seconds=3,
    keepalive_seconds=1,
    silence_seconds=4,
)


class Ways:
    """Doors and runners with the lab's keys; every runner is closed when the test ends."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._runners: list[SshRunner] = []

    def settings(self, host: Host) -> SshSettings:
        return replace(WATCHFUL, known_hosts=str(host.ssh_config.with_name("known_hosts")))

    def hop(self, host: Host, user: str = "root") -> Hop:
        key = str(host.ssh_config.with_name("id_ed25519"))
        return Hop(name=host.name, address=host.address, user=user, key=key)

    def runner(
        self,
        host: Host,
        *,
        user: str = "root",
        jumps: tuple[Hop, ...] = (),
        settings: SshSettings | None = None,
        sudo_password: Callable[[], str] | None = None,
    ) -> SshRunner:
        door = SshDoor(settings or self.settings(host))
        destination = Destination(host=self.hop(host, user), jumps=jumps)
        self._runners.append(door.runner(destination, sudo_password=sudo_password))
        return self._runners[-1]

    def knowing(self, *lines: str) -> SshSettings:
        """Settings whose known_hosts file has these lines."""
        path = self.directory / "known_hosts"
        path.write_text("".join(f"{line}\n" for line in lines))
        return replace(WATCHFUL, known_hosts=str(path))

    def close(self) -> None:
        for runner in self._runners:
            runner.close()


@pytest.fixture
def ways(tmp_path: Path) -> Iterator[Ways]:
    made = Ways(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def alpha(lab_host: Callable[[str], Host]) -> Host:
    return lab_host("alpha")


@pytest.fixture
def lab_host(lab: Lab, clean_hosts: CleanHosts) -> Callable[[str], Host]:
    """Hosts that are booted once for this module: no test here leaves one in need of a new disk."""

    def booted(name: str) -> Host:
        host: Host = lab[name]
        if not host.is_on:
            clean_hosts(name)
        host.plug()
        return host

    return booted


def public_key(host: Host, kind: str = "ed25519") -> str:
    return " ".join(host.console("cat", f"/etc/ssh/ssh_host_{kind}_key.pub").split()[:2])


def other_key(directory: Path) -> str:
    path = directory / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def fingerprint(key: str) -> str:
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def test_a_program_gets_its_arguments_and_its_input_and_gives_its_output_and_exit_code(
    alpha: Host, ways: Ways
) -> None:
    runner = ways.runner(alpha)
    awkward = ["a b", "$HOME", "'", '"', ";true", "*", "\\", "\n", "", "ü"]
    ran = runner.run(["printf", "%s|", *awkward])
    assert ran.stdout.decode() == "".join(f"{each}|" for each in awkward)
    ran = runner.run(["sh", "-c", "cat; echo bad >&2; exit 7"], stdin=[b"one\n", b"two\n"])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (7, b"one\ntwo\n", b"bad\n")
    assert runner.run(["/absent"]).exit_code == 127
    # root stays root, without sudo
    assert runner.run(["id", "-un"], as_root=True).stdout == b"root\n"


def test_twenty_megabytes_go_both_ways_at_once_and_come_back_whole(alpha: Host, ways: Ways) -> None:
    runner = ways.runner(alpha)
    data = os.urandom(20 * MIB)
    chunks = (data[at : at + 65536] for at in range(0, len(data), 65536))
    # Both streams fill beyond any buffer before the input ends.
    ran = runner.run(["sh", "-c", "tee /dev/stderr"], stdin=chunks, timeout_seconds=60)
    assert hashlib.sha256(ran.stdout).digest() == hashlib.sha256(data).digest()
    assert hashlib.sha256(ran.stderr).digest() == hashlib.sha256(data).digest()


def test_a_program_need_not_read_its_input(alpha: Host, ways: Ways) -> None:
    ran = ways.runner(alpha).run(["true"], stdin=(bytes(MIB) for _ in range(20)))
    assert ran.exit_code == 0


def test_a_failing_input_fails_the_run(alpha: Host, ways: Ways) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the disk is gone")

    runner = ways.runner(alpha)
    with pytest.raises(OSError, match="the disk is gone"):
        runner.run(["cat"], stdin=broken())
    assert runner.run(["true"]).exit_code == 0


def test_a_program_that_prints_too_much_is_ended(alpha: Host, ways: Ways) -> None:
    runner = ways.runner(alpha, settings=replace(ways.settings(alpha), most_output_bytes=MIB))
    with pytest.raises(HostOutputTooLong, match=r"`yes` on host `alpha` \(.*\) printed more than 1 MiB"):
        runner.run(["yes"])
    await_that(
        lambda: "yes" not in alpha.console("ps", "-eo", "comm").split(),
        "yes should have ended",
        timeout_seconds=10,
    )


def test_a_program_that_takes_too_long_is_ended_over_there(alpha: Host, ways: Ways) -> None:
    runner = ways.runner(alpha)
    stubborn = "trap '' TERM; while :; do sleep 987654; done"
    for argv in (["sleep", "987654"], ["sh", "-c", stubborn]):
        started = time.monotonic()
        with pytest.raises(HostTimeout, match=r"on host `alpha` \(.*\) did not end within 0\.5 s"):
            runner.run(argv, timeout_seconds=0.5)
        assert time.monotonic() - started < 12
        assert "987654" not in alpha.console("ps", "-eo", "args")
    # The connection is as good as before.
    assert runner.run(["true"]).exit_code == 0


def test_what_a_program_leaves_running_does_not_hold_its_end_back(alpha: Host, ways: Ways) -> None:
    started = time.monotonic()
    ran = ways.runner(alpha).run(["sh", "-c", "setsid sleep 20 & echo begun"])
    assert (ran.exit_code, ran.stdout) == (0, b"begun\n")
    assert time.monotonic() - started < 8


def test_an_unknown_key_is_refused_with_its_fingerprint(alpha: Host, ways: Ways) -> None:
    with pytest.raises(HostAccessRefused) as refused:
        ways.runner(alpha, settings=ways.knowing("198.18.0.99 " + public_key(alpha))).run(["true"])
    assert "host `alpha`" in refused.value.message
    assert fingerprint(public_key(alpha)) in refused.value.message
    assert "`fleet hosts trust alpha`" in (refused.value.hint or "")


def test_a_changed_key_is_refused_with_both_fingerprints_and_the_line(
    alpha: Host, ways: Ways, tmp_path: Path
) -> None:
    other = other_key(tmp_path)
    settings = ways.knowing("# a comment", f"{alpha.address} {other}")
    with pytest.raises(HostAccessRefused, match="has changed, or another machine answers") as refused:
        ways.runner(alpha, settings=settings).run(["true"])
    for part in (fingerprint(other), fingerprint(public_key(alpha)), f"{tmp_path}/known_hosts:2"):
        assert part in refused.value.message
    assert "`fleet hosts trust --replace alpha`" in (refused.value.hint or "")


def test_a_host_is_asked_for_the_type_of_key_that_is_known_and_may_be_known_by_a_hash(
    alpha: Host, ways: Ways
) -> None:
    make = (
        "test -e /etc/ssh/ssh_host_rsa_key || ssh-keygen -q -t rsa -b 2048 -N '' -f /etc/ssh/ssh_host_rsa_key"
    )
    alpha.console("sh", "-c", f"{make}; systemctl restart ssh")
    salt = os.urandom(20)
    digest = hmac.new(salt, alpha.address.encode(), hashlib.sha1).digest()
    hashed = "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))
    # Paramiko would ask for ed25519 first, and see another key than the one that is known.
    settings = ways.knowing(f"{hashed} {public_key(alpha, 'rsa')}")
    assert ways.runner(alpha, settings=settings).run(["true"]).exit_code == 0


def test_a_revoked_key_is_refused_although_it_is_known(alpha: Host, ways: Ways) -> None:
    key = public_key(alpha)
    with pytest.raises(HostAccessRefused, match="shows a key that is revoked"):
        ways.runner(alpha, settings=ways.knowing(f"{alpha.address} {key}", f"@revoked * {key}")).run(["true"])


def test_a_refused_login_names_the_user_and_what_to_do(alpha: Host, ways: Ways) -> None:
    with pytest.raises(HostAccessRefused, match="refused the login of `nobody`") as refused:
        ways.runner(alpha, user="nobody").run(["true"])
    assert "ssh-copy-id nobody@" in (refused.value.hint or "")


def test_a_key_that_is_not_there_or_has_a_passphrase_is_told_from_a_refused_login(
    alpha: Host, ways: Ways, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", locked], check=True)
    for key, words in (
        (tmp_path / "absent", "the key to log in to host `alpha` .* is not there: .*/absent"),
        (locked, "no key to log in to host `alpha` .* as `root`: .*encrypted"),
    ):
        host = Hop(name="alpha", address=alpha.address, user="root", key=str(key))
        runner = SshDoor(ways.settings(alpha)).runner(Destination(host=host, jumps=()))
        with pytest.raises(HostAccessRefused, match=words):
            runner.run(["true"])


def test_root_is_had_by_sudo_without_a_password(alpha: Host, ways: Ways) -> None:
    add_user(alpha, "free", sudoers="free ALL=(ALL) NOPASSWD: ALL")
    runner = ways.runner(alpha, user="free")
    assert runner.run(["id", "-un"]).stdout == b"free\n"
    ran = runner.run(["sh", "-c", "id -un; cat"], as_root=True, stdin=[b"input"])
    assert ran.stdout == b"root\ninput"
    with pytest.raises(HostTimeout):
        runner.run(["sleep", "876543"], as_root=True, timeout_seconds=0.5)
    assert "876543" not in alpha.console("ps", "-eo", "args")


def test_root_is_had_by_sudo_with_a_password_that_nothing_else_sees(alpha: Host, ways: Ways) -> None:
    add_user(alpha, "asked", sudoers="asked ALL=(ALL) ALL", password="s3cret ü")
    questions: list[str] = []

    def ask() -> str:
        questions.append("asked")
        return "s3cret ü"

    runner = ways.runner(alpha, user="asked", sudo_password=ask)
    ran = runner.run(["sh", "-c", "id -un; cat; ps -eo args"], as_root=True, stdin=[b"input\n"])
    assert ran.stdout.startswith(b"root\ninput\n")
    assert b"s3cret" not in ran.stdout + ran.stderr
    # Whether sudo still remembers or asks again, the program's input is the program's.
    alpha.put("/etc/sudoers.d/asked", "Defaults:asked timestamp_timeout=0\nasked ALL=(ALL) ALL\n", mode=0o440)
    assert runner.run(["cat"], as_root=True, stdin=[b"again"]).stdout == b"again"
    alpha.put("/etc/sudoers.d/asked", "asked ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)
    assert runner.run(["cat"], as_root=True, stdin=[b"free"]).stdout == b"free"
    assert len(questions) == 2


def test_sudo_that_refuses_is_refused_access_with_sudos_own_words(alpha: Host, ways: Ways) -> None:
    add_user(alpha, "asked", sudoers="asked ALL=(ALL) ALL", password="s3cret")
    with pytest.raises(HostAccessRefused, match="does not accept the password of `asked`"):
        ways.runner(alpha, user="asked", sudo_password=lambda: "wrong").run(["true"], as_root=True)
    with pytest.raises(HostAccessRefused, match=r"cannot be root .*password") as refused:
        ways.runner(alpha, user="asked").run(["true"], as_root=True)
    assert "--ask-sudo-password" in (refused.value.hint or "")
    add_user(alpha, "stranger", password="s3cret")
    with pytest.raises(HostAccessRefused, match="`stranger` cannot be root on host `alpha`"):
        ways.runner(alpha, user="stranger", sudo_password=lambda: "s3cret").run(["true"], as_root=True)


def test_a_host_without_sudo_is_refused_access(alpha: Host, ways: Ways) -> None:
    add_user(alpha, "free", sudoers="free ALL=(ALL) NOPASSWD: ALL")
    alpha.run("mv", "/usr/bin/sudo", "/usr/bin/sudo.away")
    try:
        with pytest.raises(HostAccessRefused, match="sudo: command not found") as refused:
            ways.runner(alpha, user="free").run(["true"], as_root=True)
        assert "prepare-a-host" in (refused.value.hint or "")
    finally:
        alpha.run("mv", "/usr/bin/sudo.away", "/usr/bin/sudo")


def test_a_shell_that_prints_a_banner_does_not_spoil_the_output(alpha: Host, ways: Ways) -> None:
    add_user(alpha, "chatty", sudoers="chatty ALL=(ALL) NOPASSWD: ALL")
    banner = 'echo "Welcome!"; echo "Mind the gap" >&2\n'
    rc = alpha.read("/etc/skel/.bashrc").decode()
    alpha.put("/home/chatty/.bashrc", banner + rc, owner="chatty")
    runner = ways.runner(alpha, user="chatty")
    assert alpha.run("true", user="chatty") == "Welcome!\n"
    for as_root in (False, True):
        ran = runner.run(["sh", "-c", "echo out; echo err >&2"], as_root=as_root)
        assert (ran.stdout, ran.stderr) == (b"out\n", b"err\n")


def test_a_user_without_a_shell_is_told_from_a_program_that_fails(alpha: Host, ways: Ways) -> None:
    add_user(alpha, "shut")
    alpha.run("usermod", "--shell", "/usr/sbin/nologin", "shut")
    with pytest.raises(HostAccessRefused, match=r"lets `shut` in, but runs nothing: .*not available"):
        ways.runner(alpha, user="shut").run(["true"])


@pytest.mark.parametrize("cut", ["unplug", "silence"])
def test_a_host_that_is_cut_off_in_mid_command_is_unreachable_within_its_bound(
    alpha: Host, ways: Ways, cut: str
) -> None:
    runner = ways.runner(alpha)
    runner.run(["true"])

    def cut_off() -> Iterator[bytes]:
        yield b"begun"
        getattr(alpha, cut)()
        if cut == "silence":
            # Bytes go on, so that writing is what blocks.
            yield from (bytes(65536) for _ in range(1000))

    started = time.monotonic()
    try:
        with pytest.raises(HostUnreachable, match="the connection to host `alpha`"):
            runner.run(["sh", "-c", "cat > /dev/null; sleep 60"], stdin=cut_off(), timeout_seconds=60)
        assert time.monotonic() - started < 15
    finally:
        alpha.plug()
    await_that(lambda: runner.run(["true"]).exit_code == 0, "it should answer again", timeout_seconds=20)


@pytest.mark.parametrize("as_root", [False, True])
def test_a_connection_that_the_host_breaks_off_is_lost_and_no_end_of_the_program(
    alpha: Host, ways: Ways, *, as_root: bool
) -> None:
    add_user(alpha, "broken", sudoers="broken ALL=(ALL) NOPASSWD: ALL")
    runner = ways.runner(alpha, user="broken")

    def broken_off() -> Iterator[bytes]:
        yield b"begun"
        alpha.console("pkill", "-KILL", "-f", "sshd: broken")

    with pytest.raises(
        HostUnreachable, match=r"the connection to host `alpha` .* was lost while `sleep` ran"
    ):
        runner.run(["sleep", "30"], stdin=broken_off(), as_root=as_root)
    # A signal that ends the program is none of the connection's.
    assert runner.run(["sh", "-c", "kill -KILL $$"], as_root=as_root).exit_code in (-1, 137)


def test_a_jump_host_is_gone_through_and_its_own_key_counts(
    lab_host: Callable[[str], Host], ways: Ways, tmp_path: Path
) -> None:
    alpha, beta = lab_host("alpha"), lab_host("beta")
    jumps = (ways.hop(beta),)
    through = ways.runner(alpha, jumps=jumps).run(["sh", "-c", "echo $SSH_CONNECTION"])
    assert through.stdout.split()[0].decode() == beta.address

    only_alpha = ways.knowing(f"{alpha.address} {public_key(alpha)}")
    with pytest.raises(HostAccessRefused, match=r"host `beta` .* shows a key that no known_hosts file has"):
        ways.runner(alpha, jumps=jumps, settings=only_alpha).run(["true"])
    only_beta = ways.knowing(f"{beta.address} {public_key(beta)}")
    with pytest.raises(HostAccessRefused, match=r"host `alpha` .* shows a key that no known_hosts file has"):
        ways.runner(alpha, jumps=jumps, settings=only_beta).run(["true"])


def test_hosts_behind_one_jump_host_share_the_connection_to_it_and_the_last_one_closes_it(
    lab_host: Callable[[str], Host], ways: Ways
) -> None:
    alpha, beta = lab_host("alpha"), lab_host("beta")
    door = SshDoor(ways.settings(alpha))
    way = Destination(host=ways.hop(alpha), jumps=(ways.hop(beta),))
    runners = {str(number): door.runner(way) for number in range(12)}

    def connections() -> int:
        listed = beta.console("ss", "--no-header", "--tcp", "state", "established", "( sport = :22 )")
        return len(listed.splitlines())

    # Their own end is one host here, whose sshd drops some of more than ten that log in at once.
    done = on_each(
        tuple(runners), lambda name: runners[name].run(["true"]).exit_code, parallel=6, deadline_seconds=30
    )
    assert [each.value for each in done] == [0] * 12
    assert connections() == 1
    for runner in list(runners.values())[1:]:
        runner.close()
    assert runners["0"].run(["true"]).exit_code == 0
    runners["0"].close()
    await_that(lambda: connections() == 0, "the last one should have hung up", timeout_seconds=10)


def test_a_host_behind_a_jump_host_that_is_cut_off_is_missed_as_soon(
    lab_host: Callable[[str], Host], ways: Ways
) -> None:
    alpha, beta = lab_host("alpha"), lab_host("beta")
    runner = ways.runner(alpha, jumps=(ways.hop(beta),))

    def cut_off() -> Iterator[bytes]:
        yield b"begun"
        alpha.silence()

    started = time.monotonic()
    try:
        # The jump host's connection stays; only silence tells.
        with pytest.raises(HostUnreachable, match="the connection to host `alpha`"):
            runner.run(["sleep", "60"], stdin=cut_off())
        assert time.monotonic() - started < 15
    finally:
        alpha.plug()


def test_a_dead_host_among_five_delays_nobody(lab_host: Callable[[str], Host], ways: Ways) -> None:
    living = {name: ways.runner(lab_host(name)) for name in ("alpha", "beta")}
    alpha = lab_host("alpha")
    # An address of the lab's network that nobody has.
    nobody = alpha.address.rpartition(".")[0] + ".250"
    dead = SshDoor(ways.settings(alpha)).runner(
        Destination(host=Hop(name="dead", address=nobody, user="root"), jumps=())
    )
    runners = {"dead": dead, **living}
    for name in ("alpha-2", "beta-2"):
        runners[name] = ways.runner(lab_host(name.removesuffix("-2")))
    finished: list[str] = []
    started = time.monotonic()
    took: dict[str, float] = {}

    def note(name: str) -> None:
        finished.append(name)
        took[name] = time.monotonic() - started

    done = on_each(
        tuple(runners),
        lambda name: runners[name].run(["hostname"]).stdout,
        parallel=3,
        deadline_seconds=20,
        on_done=lambda each: note(each.name),
    )
    assert [each.name for each in done] == ["dead", "alpha", "beta", "alpha-2", "beta-2"]
    assert finished[-1] == "dead"
    assert max(seconds for name, seconds in took.items() if name != "dead") < 3
    assert isinstance(done[0].error, HostUnreachable)
    assert f"host `dead` ({nobody}) does not answer" in str(done[0].error)
    assert took["dead"] < 6
