"""What does the management API show besides definitions: nodes, queues, channels, the broker's clock?"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import requests
from requests.auth import HTTPBasicAuth

from fleet.doctor.facts import NodeFact, QueueFact
from fleet.doctor.unseen import Unseen

TIMEOUT_SECONDS = (5.0, 30.0)
_ALARMS = {"mem_alarm": "memory", "disk_free_alarm": "disk"}
_QUEUE_COLUMNS = "name,type,durable,exclusive,members,online"
#: the broker's clock shows whole seconds, so it is half a second further on average
_HALF_A_TICK_SECONDS = 0.5


class ManagementView:
    """RabbitMQ's management API, to be looked at only."""

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: str,
        ca: str | None = None,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self._url = url
        self._session = requests.Session()
        # What the caller says is all: no proxy, no .netrc, no CA bundle from the environment.
        self._session.trust_env = False
        self._session.auth = HTTPBasicAuth(user.encode(), password.encode())
        self._session.verify = ca or True
        self._session.cert = certificate

    def __repr__(self) -> str:
        return f"ManagementView({self._url!r})"

    def nodes(self) -> tuple[NodeFact, ...]:
        """Return the members of the cluster. Raises Unseen."""
        rows = self._get("nodes").json()
        return tuple(
            NodeFact(
                name=str(row["name"]),
                is_running=bool(row.get("running")),
                alarms=tuple(word for key, word in _ALARMS.items() if row.get(key)),
                partitions=tuple(map(str, row.get("partitions") or ())),
                keeps_on_disk=row.get("type", "disc") == "disc",
            )
            for row in rows
        )

    def queues(self, vhost: str) -> tuple[QueueFact, ...]:
        """Return the queues of ``vhost``. Raises Unseen."""
        rows = self._get(f"queues/{quote(vhost, safe='')}", {"columns": _QUEUE_COLUMNS}).json()
        return tuple(map(queue_fact, rows))

    def global_prefetch_channels(self, vhost: str) -> int:
        """Return how many channels of ``vhost`` have one prefetch for all their consumers. Raises Unseen."""
        path = f"vhosts/{quote(vhost, safe='')}/channels"
        rows = self._get(path, {"columns": "global_prefetch_count"}).json()
        return sum(1 for row in rows if row.get("global_prefetch_count"))

    def deprecated_in_use(self) -> tuple[str, ...]:
        """Return the deprecated features in use, as far as the broker can tell. Raises Unseen."""
        answer = self._get("deprecated-features/used", missing_ok=True)
        return tuple(str(row["name"]) for row in answer.json()) if answer.ok else ()

    def clock_offset_seconds(self) -> float:
        """Return the broker's clock minus this machine's. Raises Unseen."""
        before = datetime.now(UTC)
        answer = self._get("overview", {"columns": "node"})
        after = datetime.now(UTC)
        try:
            said = parsedate_to_datetime(answer.headers["date"])
        except (KeyError, ValueError) as error:
            raise Unseen("the management API does not say what time it is") from error
        return (said - before - (after - before) / 2).total_seconds() + _HALF_A_TICK_SECONDS

    def _get(
        self, path: str, params: Mapping[str, str] | None = None, *, missing_ok: bool = False
    ) -> requests.Response:
        try:
            answer = self._session.get(
                f"{self._url}/api/{path}", params=params, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
        except (requests.RequestException, OSError) as error:
            raise Unseen(f"{self._url} does not answer") from error
        if answer.status_code == requests.codes.not_found and missing_ok:
            return answer
        if answer.status_code != requests.codes.ok:
            raise Unseen(f"{self._url} answers {answer.status_code} to {path}")
        if not answer.headers.get("content-type", "").startswith("application/json"):
            raise Unseen(f"{self._url} does not answer in JSON")
        return answer


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
