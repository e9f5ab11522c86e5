"""How does an ordinary user run a Redis of their own?"""

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from fleet.daemons.files import write_private
from fleet.daemons.packages import provide
from fleet.daemons.process import LOOPBACK, Child, Command, free_ports, require_free, silent
from fleet.secrets import Secret

PACKAGE = "redis-server"
MARKER = "usr/bin/redis-server"


class RedisServer:
    """A private Redis on loopback that asks for a password."""

    def __init__(self, directory: Path, port: int, child: Child, password: Secret) -> None:
        self.directory = directory
        self.port = port
        self.password = password
        self._child = child

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        port: int = 0,
        environ: Mapping[str, str] | None = None,
        report: Callable[[str], None] = silent,
    ) -> Self:
        """Start Redis in ``directory`` and return once it answers; ``port`` 0 means any free one.

        Raises UsageError (port in use), PackagesMissing, DaemonFailed.
        """
        programs = provide(PACKAGE, marker=MARKER, environ=environ or os.environ, report=report)
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if port:
            require_free(port, option="--port")
        port = port or free_ports(1)[0]
        password = Secret(secrets.token_urlsafe(24))
        configuration = directory / "redis.conf"
        write_private(configuration, _configuration(directory, port, password))
        command = Command(
            name="Redis",
            argv=(str(programs.path(MARKER)), str(configuration)),
            environ=programs.library_environ() | {"PATH": programs.search_path(), "LANG": "C.UTF-8"},
            log=directory / "redis.log",
            cwd=directory,
        )
        child = Child.start(command)
        try:
            child.await_ready(lambda: _answers(port, password), timeout_seconds=20)
        except BaseException:
            child.kill()
            raise
        return cls(directory, port, child, password)

    @property
    def url(self) -> str:
        """The URL of database 0, without password."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def kill(self) -> None:
        """Kill Redis at once, as a power cut would."""
        self._child.kill()

    def stop(self) -> None:
        """End Redis."""
        self._child.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _configuration(directory: Path, port: int, password: Secret) -> str:
    lines = (
        f"bind {LOOPBACK}",
        f"port {port}",
        "protected-mode yes",
        "daemonize no",
        f'dir "{directory}"',
        "appendonly yes",
        'save ""',
        f"requirepass {password.reveal()}",
        "maxmemory-policy noeviction",
    )
    return "\n".join(lines) + "\n"


def _answers(port: int, password: Secret) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(f"AUTH {password.reveal()}\r\nPING\r\n".encode())
            answer = connection.makefile("rb")
            return (answer.readline(), answer.readline()) == (b"+OK\r\n", b"+PONG\r\n")
    except OSError:
        return False
