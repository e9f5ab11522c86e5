"""How is a connection opened so that it trusts only known keys and never waits without end?"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fabric
import paramiko

from provisioning.errors import HostAccessRefused, HostUnreachable
from provisioning.hosts.command import words
from provisioning.hosts.known_hosts import HostKey
from provisioning.hosts.ssh.config import Endpoint
from provisioning.hosts.ssh.settings import SshSettings
from provisioning.hosts.ssh.transport import Line
from provisioning.hosts.ssh.trust import KnownHosts, Policy, host_key


class Way:
    """The connections to a host and to those before it, opened nearest first."""

    def __init__(self, ends: tuple[Endpoint, ...], settings: SshSettings, known: KnownHosts) -> None:
        self.ends = ends
        self._settings = settings
        self._known = known
        self._opened: list[fabric.Connection] = []
        self._lines: list[Line] = []

    @property
    def end(self) -> Endpoint:
        """The host itself."""
        return self.ends[-1]

    @property
    def line(self) -> Line:
        """The innermost transport."""
        return self._lines[-1]

    @property
    def is_open(self) -> bool:
        """Tell whether the host itself is connected."""
        return len(self._opened) == len(self.ends) and bool(self._opened[-1].is_connected)

    def open(self) -> None:
        """Connect to every host on the way. Raises HostUnreachable, HostAccessRefused."""
        self.close()
        for end in self.ends:
            self._step(end)

    def close(self) -> None:
        """Hang up, innermost first; any thread may do it."""
        opened, self._opened = self._opened, []
        lines, self._lines = self._lines, []
        for connection in reversed(opened):
            connection.client.close()
        for line in reversed(lines):
            if line.transport is not None:
                line.transport.close()

    def host_key(self) -> HostKey:
        """Return the key that the host shows, without trusting it or logging in to it."""
        self.close()
        for end in self.ends[:-1]:
            self._step(end)
        line = self._line()
        with self._failures(self.end):
            transport = line.make(self._socket(), self._offer(self.end))
            transport.banner_timeout = self._settings.connect_timeout_seconds
            transport.start_client(timeout=self._settings.connect_timeout_seconds)
            return host_key(transport.get_remote_server_key())

    def _step(self, end: Endpoint) -> None:
        line = self._line()
        connection = self._connection(end, line)
        self._opened.append(connection)
        with self._failures(end):
            connection.open()
        line.watch()

    def _line(self) -> Line:
        line = Line(
            ask_seconds=self._settings.keepalive_seconds, silence_seconds=self._settings.silence_seconds
        )
        self._lines.append(line)
        return line

    def _connection(self, end: Endpoint, line: Line) -> fabric.Connection:
        def transport(sock: Any, **_: object) -> paramiko.Transport:
            return line.make(sock, self._offer(end))

        _check_keys(end)
        connection = fabric.Connection(
            end.host,
            user=end.user,
            port=end.port,
            # False: through nothing else, whatever Fabric would find
            gateway=self._opened[-1] if self._opened else end.proxy_command or False,
            # Without configuration files of Fabric's, which could change whom it trusts.
            config=fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig()),
            connect_kwargs={
                # Fabric would round its own timeout to whole seconds, and 0 is none.
                "timeout": self._settings.connect_timeout_seconds,
                "banner_timeout": self._settings.connect_timeout_seconds,
                "auth_timeout": self._settings.login_timeout_seconds,
                # for the way through to the next host
                "channel_timeout": self._settings.connect_timeout_seconds,
                "key_filename": [str(Path(key).expanduser()) for key in end.keys if _exists(key)],
                "allow_agent": end.other_keys,
                "look_for_keys": end.other_keys,
                "transport_factory": transport,
            },
        )
        connection.client.set_missing_host_key_policy(Policy(end, self._known))
        return connection

    def _offer(self, end: Endpoint) -> tuple[str, ...]:
        return self._known.algorithms(end, paramiko.Transport._preferred_keys)

    def _socket(self) -> Any:
        end = self.end
        if self._opened:
            return self._opened[-1].transport.open_channel(
                "direct-tcpip", (end.host, end.port), ("", 0), timeout=self._settings.connect_timeout_seconds
            )
        if end.proxy_command:
            return paramiko.ProxyCommand(end.proxy_command)
        return socket.create_connection((end.host, end.port), timeout=self._settings.connect_timeout_seconds)

    @contextmanager
    def _failures(self, end: Endpoint) -> Iterator[None]:
        """Turn what Paramiko raises while connecting into words about ``end``; nothing stays open then."""
        done = False
        try:
            yield
            done = True
        except paramiko.AuthenticationException as error:
            raise HostAccessRefused(
                f"{end} refused the login of `{end.user}`: {words(str(error).encode())}",
                hint=f"let a key of yours in (`ssh-copy-id {end.user}@{end.host}`), or load it: `ssh-add`",
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            transport = self._lines[-1].transport
            if transport is not None and transport.is_active() and transport.initial_kex_done:
                raise HostAccessRefused(
                    f"no key to log in to {end} as `{end.user}`: {words(str(error).encode())}",
                    hint="name one (`key` in [ssh], IdentityFile in ~/.ssh/config), or load one: `ssh-add`",
                ) from error
            raise HostUnreachable(f"{end} {self._reason(error)}", hint=self._hint(end)) from error
        finally:
            if not done:
                self.close()

    def _reason(self, error: Exception) -> str:
        through = f" through `{self.ends[len(self._opened) - 2].name}`" if len(self._opened) > 1 else ""
        if isinstance(error, TimeoutError):
            return f"does not answer{through}: timed out after {self._settings.connect_timeout_seconds:g} s"
        if isinstance(error, paramiko.ChannelException):
            return f"is not reached{through}: {words(error.text.encode())}"
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
            said = "; ".join(dict.fromkeys(str(each.strerror) for each in error.errors.values()))
        return f"does not answer{through}: {words(said.encode()) or type(error).__name__}"

    def _hint(self, end: Endpoint) -> str:
        return (
            f"try `ssh -p {end.port} {end.user}@{end.host}` from here; `fleet hosts check` looks at all hosts"
        )


def _exists(key: str) -> bool:
    return Path(key).expanduser().is_file()


def _check_keys(end: Endpoint) -> None:
    """Raise HostAccessRefused where the one key to log in with cannot be read."""
    if end.other_keys or not end.keys or any(_exists(key) for key in end.keys):
        return
    raise HostAccessRefused(
        f"the key to log in to {end} with is not there: {', '.join(end.keys)}",
        hint="correct `key` in [ssh] of the fleet file, or IdentityFile in ~/.ssh/config",
    )
