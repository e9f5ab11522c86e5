"""What does the management API show besides definitions: nodes, queues, channels, the broker's clock?"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import requests
from requests.auth import HTTPBasicAuth

from fleet.doctor.facts import NodeFact, QueueFact
from fleet.doctor.unseen import Unseen, unseen_otherwise
from provisioning.broker.http_api import CONNECT_TIMEOUT_SECONDS, ClientCertificate, HttpApi

TIMEOUT_SECONDS = 30.0
#: RabbitMQ 3.10 lists queues some 35 s later while a node is cut off and silent
QUEUES_TIMEOUT_SECONDS = 120.0
_ALARMS = {"mem_alarm": "memory", "disk_free_alarm": "disk"}
_QUEUE_COLUMNS = "name,type,durable,exclusive,members,online"
#: the broker's clock shows whole seconds, so it is half a second further on average
_HALF_A_TICK_SECONDS = 0.5


class ManagementView:
    """RabbitMQ's management API at one or more nodes, to be looked at only."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        user: str,
        password: str,
        ca: str | None = None,
        certificate: ClientCertificate | None = None,
    ) -> None:
        self._api, self._patient = (
            HttpApi(
                urls,
                user=user,
                password=password,
                ca=ca,
                certificate=certificate,
                timeout_seconds=seconds,
            )
            for seconds in (TIMEOUT_SECONDS, QUEUES_TIMEOUT_SECONDS)
        )
        # For what stands in the head of an answer; what the caller says is all here, too.
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = HTTPBasicAuth(user.encode(), password.encode())
        self._session.verify = ca or True
        if certificate:
            both = (certificate.certificate, certificate.key) if certificate.key else certificate.certificate
            self._session.cert = both

    def __repr__(self) -> str:
        return f"ManagementView({self._api.urls!r})"

    def nodes(self) -> tuple[NodeFact, ...]:
        """Return the members of the cluster. Raises Unseen."""
        with unseen_otherwise("the management API"):
            return tuple(map(_node, self._get("nodes")))

    def queues(self, vhost: str) -> tuple[QueueFact, ...]:
        """Return the queues of ``vhost``. Raises Unseen."""
        with unseen_otherwise("the management API"):
            path = f"queues/{quote(vhost, safe='')}"
            rows = self._patient.request("GET", path, params={"columns": _QUEUE_COLUMNS})
            return tuple(map(queue_fact, rows))

    def consumers(self, vhost: str) -> frozenset[tuple[str, str]]:
        """Return who consumes in ``vhost``: the name that the client gave itself, and the queue.

        Raises Unseen.
        """
        with unseen_otherwise("the management API"):
            where = quote(vhost, safe="")
            # Consumers first: one whose connection is not listed yet counts at the next look.
            rows = self._get(f"consumers/{where}")
            told = self._get(f"vhosts/{where}/connections", columns="name,user_provided_name")
            names = {row["name"]: row.get("user_provided_name") for row in told}
            pairs = ((_client(row, names), str(row["queue"]["name"])) for row in rows)
            return frozenset((client, queue) for client, queue in pairs if client)

    def has_queue(self, vhost: str, name: str) -> bool:
        """Tell whether there is a queue; one is seen at once, where statistics are late. Raises Unseen."""
        with unseen_otherwise("the management API"):
            path = f"queues/{quote(vhost, safe='')}/{quote(name, safe='')}"
            return self._api.request("GET", path, params={"columns": "name"}, missing_ok=True) is not None

    def global_prefetch_channels(self, vhost: str) -> int:
        """Return how many channels of ``vhost`` have one prefetch for all their consumers. Raises Unseen."""
        with unseen_otherwise("the management API"):
            rows = self._get(f"vhosts/{quote(vhost, safe='')}/channels", columns="global_prefetch_count")
            return sum(1 for row in rows if row.get("global_prefetch_count"))

    def deprecated_in_use(self) -> tuple[str, ...]:
        """Return the deprecated features in use; a broker that cannot tell (before 3.13) has no such list.

        Raises Unseen.
        """
        with unseen_otherwise("the management API"):
            rows = self._api.request("GET", "deprecated-features/used", missing_ok=True)
            return () if rows is None else tuple(str(row["name"]) for row in rows)

    def clock_offset_seconds(self) -> float:
        """Return the broker's clock minus this machine's, by the node that answered last. Raises Unseen."""
        before = datetime.now(UTC)
        try:
            answer = self._session.get(
                f"{self._api.url}/api/overview",
                params={"columns": "node"},
                timeout=(CONNECT_TIMEOUT_SECONDS, TIMEOUT_SECONDS),
                allow_redirects=False,
            )
        except (requests.RequestException, OSError) as error:
            raise Unseen(f"{self._api.url} does not answer") from error
        after = datetime.now(UTC)
        if answer.status_code != requests.codes.ok:
            raise Unseen(f"{self._api.url} answers {answer.status_code} to overview")
        try:
            said = parsedate_to_datetime(answer.headers["date"])
        except (KeyError, ValueError) as error:
            raise Unseen("the management API does not say what time it is") from error
        return (said - before - (after - before) / 2).total_seconds() + _HALF_A_TICK_SECONDS

    def _get(self, path: str, **params: str) -> Any:
        return self._api.request("GET", path, params=params)


def _client(consumer: Mapping[str, Any], names: Mapping[str, Any]) -> str:
    # Of a channel that has just been closed there are no details, but an empty list.
    details = consumer.get("channel_details") or {}
    return str(names.get(str(details.get("connection_name"))) or "")


def _node(row: Mapping[str, Any]) -> NodeFact:
    return NodeFact(
        name=str(row["name"]),
        is_running=bool(row.get("running")),
        alarms=tuple(word for key, word in _ALARMS.items() if row.get(key)),
        partitions=tuple(map(str, row.get("partitions") or ())),
        keeps_on_disk=row.get("type", "disc") == "disc",
    )


def queue_fact(row: Mapping[str, Any]) -> QueueFact:
    """Return the queue that a row of the API or of ``rabbitmqctl list_queues`` describes."""
    return QueueFact(
        name=str(row["name"]),
        type=str(row.get("type", "classic")),
        durable=bool(row.get("durable", True)),
        exclusive=bool(row.get("exclusive", False)),
        members=tuple(map(str, row.get("members") or ())),
        online=tuple(map(str, row.get("online") or ())),
    )
