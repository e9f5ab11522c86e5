"""How do Celery's connections keep their password, user and vhost when they move to the next broker node?"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection, Consumer
from kombu.transport import pyamqp

from fleet.worker.wire import ForgivingSSLTransport, ForgivingTransport

#: what a node's URL may leave unsaid
_CREDENTIALS = ("userid", "password", "virtual_host")


_FORGIVING: Mapping[Any, Any] = MappingProxyType(
    {pyamqp.Transport: ForgivingTransport, pyamqp.SSLTransport: ForgivingSSLTransport}
)
#: where a message's compression is kept, out of the sight of kombu
COMPRESSION = "fleet_compression"


class FleetConnection(Connection):  # type: ignore[misc]  # kombu ships no types
    """A connection that keeps user, password and vhost when it moves on to the next node."""

    def get_transport_cls(self) -> Any:
        """Return the transport's class: for AMQP, one that no message can end."""
        chosen = super().get_transport_cls()
        return _FORGIVING.get(chosen, chosen)

    def _init_params(self, **params: Any) -> None:
        # ``switch`` passes what the next node's URL says, and None for what it does not say.
        for name in _CREDENTIALS:
            if params.get(name) is None:
                params[name] = self._initial_params[name]
        tls = params.get("ssl")
        if isinstance(tls, dict) and "cert_reqs" in tls:
            # The name that the certificate must carry is that of this node, not of the first one.
            params["ssl"] = tls | {"server_hostname": params["hostname"]}
        super()._init_params(**params)


class UnpackedConsumer(Consumer):  # type: ignore[misc]  # kombu ships no types
    """A consumer that unpacks nothing: a small message could fill the memory before the gate sees it."""

    def _receive_callback(self, message: Any) -> Any:
        properties = getattr(message, "properties", {})
        headers = properties.get("application_headers") or {}
        if "compression" in headers:
            message.delivery_info[COMPRESSION] = headers.pop("compression")
        return super()._receive_callback(message)


class FleetAMQP(AMQP):  # type: ignore[misc]  # celery ships no types
    """Celery's AMQP layer on connections that keep their credentials."""

    Connection = FleetConnection
    Consumer = UnpackedConsumer
    BrokerConnection = FleetConnection
