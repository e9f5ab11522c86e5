"""How does Prometheus reach this process? A small HTTP server of our own, in threads of its own.

``prometheus_client.start_http_server`` answers every path, binds all interfaces, has no time limit for a
silent connection and stays open in forked children; this one does not.
"""

import os
import socket
import threading
import weakref

from fleet.errors import FleetError
from fleet.metrics.http import Exposition, HttpServer
from fleet.metrics.state import Health


class MetricsServer:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz`` until ``close``; forked children drop it."""

    def __init__(
        self, exposition: Exposition, health: Health, address: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._exposition = exposition
        self._health = health
        self._address = address
        self._port = port
        self._server: HttpServer | None = None

    @property
    def port(self) -> int:
        """Return the port that is listened on; the wanted one before ``start``."""
        return int(self._server.server_address[1]) if self._server else self._port

    def start(self) -> None:
        """Listen and answer in the background.

        Raises FleetError when the address is not to be had, such as a port in use.
        """
        server = self._listen()
        # A pool child must not keep the port or a scrape's connection open. At-fork hooks cannot be taken
        # back, so this one holds no reference that would keep a closed server alive.
        reference = weakref.ref(server)
        os.register_at_fork(after_in_child=lambda: _close_sockets(reference()))
        threading.Thread(target=server.serve_forever, args=(0.2,), name="fleet-metrics", daemon=True).start()
        self._server = server

    def close(self) -> None:
        """Stop listening; requests under way are finished by their own threads."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _listen(self) -> HttpServer:
        try:
            found = socket.getaddrinfo(
                self._address, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, _, _, _, place = found[0]
            return HttpServer(place, family=family, exposition=self._exposition, health=self._health)
        except OSError as error:
            raise FleetError(
                f"cannot serve metrics on {self._address}:{self._port}: {error.strerror or error}",
                hint=f"see who has the port with `ss -ltnp sport = :{self._port}`, "
                "or give the worker another `metrics_port` in the fleet file",
            ) from error


def _close_sockets(server: HttpServer | None) -> None:
    if server is not None:
        for connection in (server.socket, *server.connections):
            connection.close()
