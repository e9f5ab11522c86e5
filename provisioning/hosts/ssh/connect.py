"""How is a connection opened so that it trusts only known keys and never waits without end?"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fabric
import paramiko

from provisioning.errors import HostAccessRefused, HostUnreachable, ProvisioningError
from provisioning.hosts.command import words
from provisioning.hosts.known_hosts import HostKey
from provisioning.hosts.ssh.config import Endpoint
from provisioning.hosts.ssh.settings import SshSettings
from provisioning.hosts.ssh.shared import Shared
from provisioning.hosts.ssh.transport import Line
from provisioning.hosts.ssh.trust import KnownHosts, Policy, host_key


class Way:
    """The connection to a host, and what it goes through: jump hosts, which others may go through as well."""

    def __init__(
        self,
        ends: tuple[Endpoint, ...],
        settings: SshSettings,
        known: KnownHosts,
        jump_hosts: "Shared[Way]",
    ) -> None:
        self.end = ends[-1]
        self._before = ends[:-1]
        self._settings = settings
        self._known = known
        self._jump_hosts = jump_hosts
        self._lock = threading.Lock()
        self._through: Way | None = None
        self._connection: fabric.Connection | None = None
        self._line: Line | None = None

    @property
    def transport(self) -> paramiko.Transport:
        """What channels are opened on. Raises EOFError where somebody hung up."""
        line = self._line
        if line is None or line.transport is None:
            raise EOFError("not connected")
        return line.transport

    @property
    def is_open(self) -> bool:
        """Tell whether the host itself is connected."""
        connection = self._connection
        return connection is not None and bool(connection.is_connected)

    @property
    def is_dead(self) -> bool:
        """Tell whether nothing more will come from the host."""
        line = self._line
        return not self.is_open or line is None or line.is_silent

    def has_died(self, *, within_seconds: float) -> bool:
        """Tell whether the connection is lost; one that is being lost closes its channels first."""
        line = self._line
        if line is not None and line.transport is not None:
            line.transport.join(within_seconds)
        return self.is_dead

    def open(self) -> None:
        """Connect, first to the hosts before. Raises HostUnreachable, HostAccessRefused."""
        self.close()
        self._go_through()
        line = self._line = self._new_line()
        with self._failures():
            connection = self._connection = self._prepare(line)
            connection.open()
            line.watch()

    def close(self) -> None:
        """Hang up; any thread may do it."""
        with self._lock:
            connection, self._connection = self._connection, None
            line, self._line = self._line, None
            through, self._through = self._through, None
        if connection is not None:
            connection.client.close()
        if line is not None and line.transport is not None:
            line.transport.close()
        if through is not None:
            self._jump_hosts.give_back(self._before)

    def host_key(self) -> HostKey:
        """Return the key that the host shows, without trusting it or logging in to it."""
        self.close()
        self._go_through()
        line = self._line = self._new_line()
        with self._failures():
            transport = line.make(self._socket(), self._offer())
            transport.banner_timeout = self._settings.connect_timeout_seconds
            transport.start_client(timeout=self._settings.connect_timeout_seconds)
            return host_key(transport.get_remote_server_key())

    def _go_through(self) -> None:
        if self._before:
            self._through = self._jump_hosts.take(
                self._before, lambda: Way(self._before, self._settings, self._known, self._jump_hosts)
            )

    def _new_line(self) -> Line:
        return Line(
            ask_seconds=self._settings.keepalive_seconds, silence_seconds=self._settings.silence_seconds
        )

    def _prepare(self, line: Line) -> fabric.Connection:
        def transport(sock: Any, **_: object) -> paramiko.Transport:
            return line.make(sock, self._offer())

        end = self.end
        _check_keys(end)
        connection = fabric.Connection(
            end.host,
            user=end.user,
            port=end.port,
            # False: through nothing else, whatever Fabric would find
            gateway=self._through._connection if self._through else end.proxy_command or False,
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

    def _offer(self) -> tuple[str, ...]:
        return self._known.algorithms(self.end, paramiko.Transport._preferred_keys)

    def _socket(self) -> Any:
        address, seconds = (self.end.host, self.end.port), self._settings.connect_timeout_seconds
        if self._through is not None:
            return self._through.transport.open_channel("direct-tcpip", address, ("", 0), timeout=seconds)
        if self.end.proxy_command:
            return paramiko.ProxyCommand(self.end.proxy_command)
        return socket.create_connection(address, timeout=seconds)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn what Paramiko raises while connecting into words about the host; nothing stays open then."""
        done = False
        try:
            yield
            done = True
        except paramiko.PasswordRequiredException as error:
            raise self._no_key(error) from error
        except paramiko.AuthenticationException as error:
            raise HostAccessRefused(
                f"{self.end} refused the login of `{self.end.user}`: {words(str(error).encode())}",
                hint=f"let a key of yours in (`ssh-copy-id {self.end.user}@{self.end.host}`), "
                "or load it: `ssh-add`",
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._not_connected(error) from error
        finally:
            if not done:
                self.close()

    def _not_connected(self, error: Exception) -> ProvisioningError:
        transport = self._line.transport if self._line else None
        if transport is not None and transport.is_active() and transport.initial_kex_done:
            return self._no_key(error)
        return HostUnreachable(f"{self.end} {self._reason(error)}", hint=self._hint(self.end))

    def _no_key(self, error: Exception) -> HostAccessRefused:
        return HostAccessRefused(
            f"no key to log in to {self.end} as `{self.end.user}`: {words(str(error).encode())}",
            hint="name one (`key` in [ssh], IdentityFile in ~/.ssh/config), or load one: `ssh-add`",
        )

    def _reason(self, error: Exception) -> str:
        through = f" through `{self._before[-1].name}`" if self._before else ""
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
