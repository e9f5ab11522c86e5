"""How does an ordinary user run a RabbitMQ node of their own, without touching the system's?

    with RabbitNode.start(Path("/tmp/node")) as node:
        ...  # node.url, node.management_url, node.admin_user, node.admin_password

The directory keeps data, ports and passwords, so a node that is started there again is the same node.
"""

import base64
import fcntl
import http.client
import json
import os
import secrets
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Self

from fleet.daemons.files import write_private
from fleet.daemons.node_files import (
    ADMIN_USER,
    NodePorts,
    configuration,
    ctl_script,
    enabled_plugins,
    environment,
)
from fleet.daemons.packages import Programs, provide
from fleet.daemons.process import (
    LOOPBACK,
    Child,
    Command,
    DaemonFailed,
    accepts,
    free_ports,
    require_free,
    silent,
)
from fleet.errors import UsageError
from fleet.secrets import Secret

PACKAGE = "rabbitmq-server"
MARKER = "usr/lib/rabbitmq/bin/rabbitmq-server"
START_SECONDS = 60.0
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class RabbitNode:
    """A private RabbitMQ node on loopback, with the management and Prometheus plugins."""

    def __init__(self, directory: Path, ports: NodePorts, programs: Programs, lock: IO[str]) -> None:
        self.directory = directory
        self.ports = ports
        self.admin_user = ADMIN_USER
        self.admin_password = Secret((directory / "admin.password").read_text(encoding="utf-8").strip())
        self._programs = programs
        self._environ = environment(directory, ports, programs)
        self._lock = lock
        self._epmd: Child | None = None
        self._node: Child | None = None

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        port: int = 0,
        settings: Mapping[str, str] = NO_SETTINGS,
        environ: Mapping[str, str] | None = None,
        report: Callable[[str], None] = silent,
    ) -> Self:
        """Start a node in ``directory`` and return once it serves clients and its HTTP API.

        ``port`` 0 means the directory's port of last time, or any free one. ``settings`` are further lines of
        rabbitmq.conf. Raises UsageError (port or directory in use), PackagesMissing, DaemonFailed.
        """
        programs = provide(PACKAGE, marker=MARKER, environ=environ or os.environ, report=report)
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _own(directory)
        try:
            ports = _ports(directory, port)
            _write_files(directory, ports, settings)
            node = cls(directory, ports, programs, lock)
            tool = programs.path("usr/lib/rabbitmq/bin/rabbitmqctl")
            write_private(directory / "rabbitmqctl", ctl_script(node.ctl_environ, tool), mode=0o700)
            node._boot()
        except BaseException:
            lock.close()
            raise
        return node

    @property
    def port(self) -> int:
        """The AMQP port."""
        return self.ports.amqp

    @property
    def management_port(self) -> int:
        """The port of the HTTP API."""
        return self.ports.management

    @property
    def prometheus_port(self) -> int:
        """The port of the broker's own metrics."""
        return self.ports.prometheus

    @property
    def url(self) -> str:
        """The AMQP URL, without user or password."""
        return f"amqp://{LOOPBACK}:{self.ports.amqp}"

    @property
    def management_url(self) -> str:
        """The HTTP API's URL, without user or password."""
        return f"http://{LOOPBACK}:{self.ports.management}"

    @property
    def admin_password_file(self) -> Path:
        """The file (mode 0600) that holds the administrator's password."""
        return self.directory / "admin.password"

    @property
    def rabbitmqctl(self) -> tuple[str, ...]:
        """The argv that starts rabbitmqctl against this node from any environment."""
        return (str(self.directory / "rabbitmqctl"),)

    @property
    def ctl_environ(self) -> Mapping[str, str]:
        """The environment that the node's own command line tools need."""
        return MappingProxyType(self._environ)

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks that the node's processes carry, to look for what is left of them."""
        return tuple(child.mark for child in (self._epmd, self._node) if child)

    def is_alive(self) -> bool:
        """Tell whether the node's process runs."""
        return self._node is not None and self._node.is_alive()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the node to end by itself; return whether it has."""
        return self._node is None or self._node.wait(timeout_seconds)

    def ctl(self, *arguments: str, timeout_seconds: float = 60) -> str:
        """Run rabbitmqctl and return its stdout. Raises DaemonFailed with its reason."""
        done = subprocess.run(
            (*self.rabbitmqctl, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if done.returncode:
            raise DaemonFailed(
                f"rabbitmqctl {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    def kill(self) -> None:
        """Kill the node at once, as a power cut would; its data stays."""
        if self._node:
            self._node.kill()
            self._node = None

    def restart(self) -> None:
        """Start the node again on the same ports and data, ending it first if it still runs."""
        if self._node:
            self._node.stop()
        self._boot()

    def stop(self) -> None:
        """End the node, its port mapper and everything they started."""
        try:
            if self._node:
                self._node.stop(grace_seconds=20)
                self._node = None
        finally:
            if self._epmd:
                self._epmd.kill()
                self._epmd = None
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _boot(self) -> None:
        try:
            if self._epmd is None or not self._epmd.is_alive():
                self._start_epmd()
            argv = (str(self._programs.path(MARKER)),)
            self._node = Child.start(self._command("RabbitMQ", argv))
            self._node.await_ready(self._is_ready, timeout_seconds=START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def _start_epmd(self) -> None:
        # Started here, in the foreground: the one that Erlang starts by itself would outlive the node.
        argv = ("epmd", "-address", LOOPBACK, "-port", str(self.ports.epmd))
        self._epmd = Child.start(self._command("Erlang's port mapper", argv))
        self._epmd.await_ready(lambda: accepts(self.ports.epmd), timeout_seconds=10)

    def _command(self, name: str, argv: tuple[str, ...]) -> Command:
        log = self.directory / "log" / "start.log"
        return Command(name=name, argv=argv, environ=self._environ, log=log, cwd=self.directory)

    def _is_ready(self) -> bool:
        """Tell whether both clients and the HTTP API are served."""
        if not accepts(self.ports.amqp):
            return False
        connection = http.client.HTTPConnection(LOOPBACK, self.ports.management, timeout=5)
        login = f"{self.admin_user}:{self.admin_password.reveal()}".encode()
        try:
            headers = {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
            connection.request("GET", "/api/overview", headers=headers)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _own(directory: Path) -> IO[str]:
    """Lock ``directory`` for as long as the returned file is open."""
    handle = (directory / "lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise UsageError(
            f"another broker runs in {directory}", hint="stop it, or choose another directory with `--dir`"
        ) from None
    return handle


def _ports(directory: Path, port: int) -> NodePorts:
    """Return the directory's ports, chosen once and kept so that printed URLs stay true."""
    kept = directory / "ports.json"
    if kept.exists():
        numbers = json.loads(kept.read_text(encoding="utf-8"))
    else:
        names = ("amqp", "management", "prometheus", "distribution", "epmd")
        numbers = dict(zip(names, free_ports(len(names)), strict=True))
    if port:
        numbers["amqp"] = port
    ports = NodePorts(**numbers)
    for number in asdict(ports).values():
        require_free(number, option="--port" if number == ports.amqp else "--dir")
    kept.write_text(json.dumps(asdict(ports)) + "\n", encoding="utf-8")
    return ports


def _write_files(directory: Path, ports: NodePorts, settings: Mapping[str, str]) -> None:
    for name in ("home", "data", "data/config", "log"):
        (directory / name).mkdir(mode=0o700, exist_ok=True)
    password = directory / "admin.password"
    if not password.exists():
        write_private(password, secrets.token_urlsafe(24) + "\n")
        write_private(directory / "home" / ".erlang.cookie", secrets.token_hex(20), mode=0o400)
    text = password.read_text(encoding="utf-8").strip()
    write_private(directory / "rabbitmq.conf", configuration(ports, admin_password=text, settings=settings))
    write_private(directory / "enabled_plugins", enabled_plugins())
