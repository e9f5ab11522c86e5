"""How do Celery's connections keep their password, user and vhost when they move to the next broker node?"""

from typing import Any

from celery.app.amqp import AMQP
from kombu import Connection

#: what a node's URL may leave unsaid
_CREDENTIALS = ("userid", "password", "virtual_host")


class FleetConnection(Connection):  # type: ignore[misc]  # kombu ships no types
    """A connection that keeps user, password and vhost when it moves on to the next node."""

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


class FleetAMQP(AMQP):  # type: ignore[misc]  # celery ships no types
    """Celery's AMQP layer on connections that keep their credentials."""

    Connection = FleetConnection
    BrokerConnection = FleetConnection
