"""What does ``rabbitmqctl`` show besides definitions: nodes, queues, channels, a node's own settings?"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fleet.doctor.facts import NodeFact, QueueFact, Settings
from fleet.doctor.management import queue_fact
from fleet.doctor.unseen import Unseen, unseen_otherwise
from provisioning.broker.ctl import Rabbitmqctl
from provisioning.errors import Unreachable


class CommandView:
    """``rabbitmqctl`` on the broker's machine, to look only."""

    def __init__(self, tool: Rabbitmqctl) -> None:
        self._tool = tool

    def __repr__(self) -> str:
        return f"CommandView({self._tool!r})"

    def nodes(self) -> tuple[NodeFact, ...]:
        """Return the members of the cluster. Raises Unseen."""
        with unseen_otherwise("`rabbitmqctl cluster_status`"):
            status = self._json("cluster_status")
            in_memory = status.get("ram_nodes") or []
            return tuple(
                NodeFact(
                    name=name,
                    is_running=name in status["running_nodes"],
                    alarms=tuple(_alarms(status.get("alarms") or [], name)),
                    partitions=tuple((status.get("partitions") or {}).get(name, ())),
                    keeps_on_disk=name not in in_memory,
                )
                for name in (*status["disk_nodes"], *in_memory)
            )

    def queues(self, vhost: str) -> tuple[QueueFact, ...]:
        """Return the queues of ``vhost``. Raises Unseen."""
        columns = ("name", "type", "durable", "exclusive", "members", "online")
        with unseen_otherwise("`rabbitmqctl list_queues`"):
            return tuple(map(queue_fact, self._json("list_queues", f"--vhost={vhost}", *columns)))

    def global_prefetch_channels(self, vhost: str) -> int:
        """Return how many channels of ``vhost`` have one prefetch for all their consumers. Raises Unseen."""
        with unseen_otherwise("`rabbitmqctl list_channels`"):
            rows = self._json("list_channels", "vhost", "global_prefetch_count")
            return sum(1 for row in rows if row["vhost"] == vhost and row["global_prefetch_count"])

    def settings(self) -> Settings:
        """Return what the node's configuration says. Raises Unseen."""
        # Of all that is shown here, passwords included, only these two are kept.
        with unseen_otherwise("`rabbitmqctl environment`"):
            rabbit = self._json("environment").get("rabbit", {})
            timeout = rabbit.get("consumer_timeout")
            users = rabbit.get("loopback_users") or ()
            return Settings(
                consumer_timeout_seconds=timeout / 1000 if isinstance(timeout, int) and timeout else None,
                loopback_users=tuple(map(str, users)),
            )

    def _json(self, *arguments: str) -> Any:
        try:
            said = self._tool.call("--formatter", "json", *arguments)
        except Unreachable as error:
            raise Unseen(error.message) from error
        if said.exit_code:
            raise Unseen(f"`rabbitmqctl {arguments[0]}` failed with exit code {said.exit_code}")
        try:
            return json.loads(said.stdout)
        except ValueError as error:
            raise Unseen(f"`rabbitmqctl {arguments[0]}` does not answer in JSON") from error


def _alarms(raised: Sequence[Mapping[str, object]], node: str) -> list[str]:
    """Return the kinds of alarm that ``node`` has raised."""
    return sorted(str(alarm["resource"]) for alarm in raised if alarm.get("node") == node)
