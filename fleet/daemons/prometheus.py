"""How does an ordinary user run a Prometheus of their own?"""

import http.client
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from fleet.daemons.packages import provide
from fleet.daemons.process import LOOPBACK, Child, Command, DaemonFailed, free_ports, require_free, silent

PACKAGE = "prometheus"
MARKER = "usr/bin/prometheus"


class PrometheusServer:
    """A private Prometheus on loopback."""

    def __init__(self, directory: Path, port: int, child: Child) -> None:
        self.directory = directory
        self.port = port
        self._child = child

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        configuration: Path,
        port: int = 0,
        environ: Mapping[str, str] | None = None,
        report: Callable[[str], None] = silent,
    ) -> Self:
        """Start Prometheus with ``configuration`` and return once it is ready; ``port`` 0 means any free one.

        Raises UsageError (port in use), PackagesMissing, DaemonFailed.
        """
        programs = provide(PACKAGE, marker=MARKER, environ=environ or os.environ, report=report)
        directory = directory.absolute()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if port:
            require_free(port, option="--port")
        port = port or free_ports(1)[0]
        command = Command(
            name="Prometheus",
            argv=(
                str(programs.path(MARKER)),
                f"--config.file={configuration.absolute()}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={LOOPBACK}:{port}",
                "--web.enable-lifecycle",
            ),
            environ={"PATH": programs.search_path(), "LANG": "C.UTF-8"},
            log=directory / "prometheus.log",
            cwd=directory,
        )
        child = Child.start(command)
        server = cls(directory, port, child)
        try:
            child.await_ready(server._is_ready, timeout_seconds=30)
        except BaseException:
            child.kill()
            raise
        return server

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{LOOPBACK}:{self.port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the instant vector that ``expression`` evaluates to. Raises DaemonFailed with the reason."""
        status, body = self._get(f"/api/v1/query?{urlencode({'query': expression})}")
        answer = json.loads(body)
        if status != http.HTTPStatus.OK:
            raise DaemonFailed(f"Prometheus refused `{expression}`: {answer.get('error', status)}")
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expression: str) -> float | None:
        """Return the sum of what ``expression`` evaluates to, or None when it has no series."""
        found = self.query(expression)
        return sum(float(series["value"][1]) for series in found) if found else None

    def stop(self) -> None:
        """End Prometheus."""
        self._child.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _is_ready(self) -> bool:
        try:
            return self._get("/-/ready")[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def promtool(*, environ: Mapping[str, str] | None = None, report: Callable[[str], None] = silent) -> Path:
    """Return the path of promtool. Raises PackagesMissing."""
    programs = provide(PACKAGE, marker="usr/bin/promtool", environ=environ or os.environ, report=report)
    return programs.path("usr/bin/promtool")
