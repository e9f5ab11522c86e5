"""How does a program run on a host over SSH, as whom, and what is said when it cannot?"""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

import paramiko

from provisioning.errors import HostAccessRefused, HostOutputTooLong, HostTimeout, HostUnreachable
from provisioning.hosts.command import (
    KILL_AFTER_SECONDS,
    TIMED_OUT_CODES,
    Rights,
    command_line,
    words,
)
from provisioning.hosts.known_hosts import HostKey, Verdict
from provisioning.hosts.route import Destination
from provisioning.hosts.runner import Ran
from provisioning.hosts.ssh.config import Endpoint, load_config, route
from provisioning.hosts.ssh.connect import Way
from provisioning.hosts.ssh.settings import SshSettings
from provisioning.hosts.ssh.shared import Shared
from provisioning.hosts.ssh.talk import NO_EXIT_CODE, Lost, Talk, TooLate
from provisioning.hosts.ssh.trust import KnownHosts

#: after a program should have been killed over there, how long to wait for that to be said (s)
_GRACE_SECONDS = 10.0
#: a channel that ends without an exit code may be the first to know that the connection is lost (s)
_DYING_SECONDS = 1.0
_PREPARE = "see docs/how-to/prepare-a-host.md"


class SshDoor:
    """The way to many hosts: configuration and known hosts are read once."""

    def __init__(self, settings: SshSettings) -> None:
        self.settings = settings
        self._config = load_config(settings.config_files)
        self._known = KnownHosts(settings)
        self._jump_hosts: Shared[Way] = Shared()

    def runner(
        self, destination: Destination, *, sudo_password: Callable[[], str] | None = None
    ) -> "SshRunner":
        """Return a runner, not yet connected; ``sudo_password`` is called when sudo asks for it."""
        name = destination.host.name
        return SshRunner(name, self.way(destination), self.settings, sudo_password=sudo_password)

    def way(self, destination: Destination) -> Way:
        """Return the connections to ``destination``, none of them open."""
        return self._way(route(destination, self._config))

    def route(self, destination: Destination) -> tuple[Endpoint, ...]:
        """Return every host on the way to ``destination``, nearest first, itself last."""
        return route(destination, self._config)

    def known_key(self, end: Endpoint) -> HostKey | None:
        """Return the key that ``end`` is known by, or None."""
        return self._known.key(end)

    def known_hosts(self, end: Endpoint) -> str | None:
        """Return the fleet's own known_hosts file where that decides about ``end``; else the user's do."""
        return self.settings.known_hosts if self._known.decides_alone(end) else None

    def host_key(self, ends: tuple[Endpoint, ...]) -> tuple[HostKey, Verdict]:
        """Return the key that the last of ``ends`` shows, and how it is known. The others must be trusted."""
        way = self._way(ends)
        try:
            seen = way.host_key()
        finally:
            way.close()
        return seen, self._known.judge(ends[-1], seen)

    def _way(self, ends: tuple[Endpoint, ...]) -> Way:
        return Way(ends, self.settings, self._known, self._jump_hosts)


class SshRunner:
    """One host over SSH; connects when it is first used."""

    def __init__(
        self,
        name: str,
        way: Way,
        settings: SshSettings,
        *,
        sudo_password: Callable[[], str] | None = None,
    ) -> None:
        self.name = name
        self._way = way
        self._settings = settings
        self._sudo_password = sudo_password
        #: sudo was seen to want a password
        self._sudo_asks = False
        #: how often somebody hung up
        self._hangups = 0

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        """Run ``argv`` there and return how it ended; see `provisioning.hosts.runner.Runner`.

        An exit code of -1 means that a signal ended it.
        """
        if not self._way.is_open:
            self._way.open()
        if not as_root or self._way.end.user == "root":
            return self._run(argv, stdin, Rights.OWN, timeout_seconds)
        if not self._sudo_asks:
            try:
                return self._run(argv, stdin, Rights.SUDO, timeout_seconds)
            except _SudoAsks:
                if self._sudo_password is None:
                    raise
                self._sudo_asks = True
        return self._run(argv, stdin, Rights.SUDO_PASSWORD, timeout_seconds)

    def close(self) -> None:
        """Hang up; any thread may do that to end what runs. A runner that is used again connects anew."""
        self._hangups += 1
        self._way.close()

    def _run(self, argv: Sequence[str], stdin: Iterable[bytes], rights: Rights, seconds: float) -> Ran:
        mark, prompt = f"<{secrets.token_hex(8)}>", f"<{secrets.token_hex(8)}?>"
        line = command_line(argv, mark=mark, prompt=prompt, rights=rights, timeout_seconds=seconds)
        started = time.monotonic()
        deadline = started + seconds + KILL_AFTER_SECONDS + _GRACE_SECONDS
        talk = self._begin(line, mark)
        try:
            if rights is Rights.OWN:
                talk.feed(stdin)
            else:
                self._get_rights(talk, rights, prompt.encode())
                talk.feed(stdin)
            code = talk.finish(deadline=deadline)
        except TooLate:
            self._way.close()
            raise self._too_late(argv, seconds) from None
        except Lost as error:
            raise self._lost(argv) from error
        finally:
            talk.close()
        return self._ended(talk, code, argv, timed_out=time.monotonic() - started >= seconds, seconds=seconds)

    def _begin(self, line: str, mark: str) -> Talk:
        """Let the host run ``line``; a connection that has died since it was last used is opened anew."""
        hangups = self._hangups
        try:
            channel = self._channel(line)
        except (paramiko.SSHException, OSError, EOFError) as error:
            self._way.close()
            if self._hangups != hangups:
                raise HostUnreachable(f"the connection to {self._way.end} was given up") from error
            self._way.open()
            try:
                channel = self._channel(line)
            except (paramiko.SSHException, OSError, EOFError) as error:
                self._way.close()
                raise HostUnreachable(
                    f"{self._way.end} is connected, but runs nothing: {words(str(error).encode())}"
                ) from error
        return Talk(
            channel, mark=mark, most=self._settings.most_output_bytes, is_dead=lambda: self._way.is_dead
        )

    def _channel(self, line: str) -> paramiko.Channel:
        channel = self._way.transport.open_session(timeout=self._settings.begin_timeout_seconds)
        channel.exec_command(line.encode())
        return channel

    def _get_rights(self, talk: Talk, rights: Rights, prompt: bytes) -> None:
        """Wait until sudo has let the program begin, and give sudo the password if it wants one.

        Nothing else is on the program's stdin until then, and the password only after the prompt, so neither
        can be taken for the other.
        """
        if self._begins(talk, prompt, prompts=1):
            return
        if prompt in talk.stderr.before and self._sudo_password is not None:
            talk.say(f"{self._sudo_password()}\n".encode())
            if self._begins(talk, prompt, prompts=2):
                return
            if talk.stderr.before.count(prompt) > 1:
                raise HostAccessRefused(
                    f"sudo of {self._way.end} does not accept the password of `{self._way.end.user}`",
                    hint="give the right one, or a sudo rule without one: " + _PREPARE,
                )
        self._refuse_rights(talk, rights, prompt)

    def _begins(self, talk: Talk, prompt: bytes, *, prompts: int) -> bool:
        """Wait until the program begins, ends before, or sudo has asked ``prompts`` times."""
        most = self._settings.begin_timeout_seconds
        try:
            talk.until(
                lambda: talk.has_begun or talk.stderr.before.count(prompt) >= prompts,
                deadline=time.monotonic() + most,
            )
        except TooLate:
            said = words(talk.stderr.before.replace(prompt, b"")) or "nothing"
            raise HostAccessRefused(
                f"sudo of {self._way.end} let nothing begin within {most:g} s; it said: {said}",
                hint=_PREPARE,
            ) from None
        return talk.has_begun

    def _refuse_rights(self, talk: Talk, rights: Rights, prompt: bytes) -> NoReturn:
        if not talk.has_exit_code and self._way.has_died(within_seconds=_DYING_SECONDS):
            raise Lost
        said = words(talk.stderr.before.replace(prompt, b""))
        kind = _SudoAsks if rights is Rights.SUDO else HostAccessRefused
        hint = "a sudo rule without a password, or `--ask-sudo-password`: "
        raise kind(
            f"`{self._way.end.user}` cannot be root on {self._way.end}: {said or 'sudo said nothing'}",
            hint=(hint if rights is Rights.SUDO else "") + _PREPARE,
        )

    def _ended(self, talk: Talk, code: int, argv: Sequence[str], *, timed_out: bool, seconds: float) -> Ran:
        if talk.stdout.is_too_long or talk.stderr.is_too_long:
            most = self._settings.most_output_bytes // 1024**2
            raise HostOutputTooLong(f"`{argv[0]}` on {self._way.end} printed more than {most} MiB")
        if timed_out and (code in TIMED_OUT_CODES or code == NO_EXIT_CODE):
            raise self._too_late(argv, seconds)
        if code == NO_EXIT_CODE and self._way.has_died(within_seconds=_DYING_SECONDS):
            raise self._lost(argv)
        if not talk.has_begun:
            said = words(talk.stderr.before) or words(talk.stdout.before) or f"exit code {code}"
            raise HostAccessRefused(
                f"{self._way.end} lets `{self._way.end.user}` in, but runs nothing: {said}",
                hint="the user needs a shell such as /bin/sh there: " + _PREPARE,
            )
        return Ran(exit_code=code, stdout=talk.stdout.after, stderr=talk.stderr.after)

    def _too_late(self, argv: Sequence[str], seconds: float) -> HostTimeout:
        return HostTimeout(f"`{argv[0]}` on {self._way.end} did not end within {seconds:g} s")

    def _lost(self, argv: Sequence[str]) -> HostUnreachable:
        self._way.close()
        return HostUnreachable(
            f"the connection to {self._way.end} was lost while `{argv[0]}` ran there",
            hint="it is not known how far it came; look at the host before you go on",
        )


class _SudoAsks(HostAccessRefused):
    """Sudo does nothing without a password, or nothing at all."""
