"""The HTTP door: RabbitMQ's management API, seen and changed with as few requests as possible.

Objects are made by importing partial definitions: an import passes by the permissions in the vhost, so the
provisioner needs none for it. Deleting exchanges, queues and bindings does need a permission there.
"""

import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from provisioning import errors
from provisioning.apply import Observation
from provisioning.broker import connections, definitions
from provisioning.broker.desired_values import NOT_IN_URLS
from provisioning.broker.document import ClearedLimit, cleared_limits, document
from provisioning.broker.http_api import TIMEOUT_SECONDS, ClientCertificate, HttpApi
from provisioning.broker.losses import locks_out
from provisioning.broker.objects import (
    Binding,
    Exchange,
    OperatorPolicy,
    Permission,
    Policy,
    Queue,
    TopicPermission,
    User,
    Vhost,
)
from provisioning.broker.parameters import VHOST_LIMITS, GlobalParameter, Parameter
from provisioning.broker.passwords import SALT_BYTES
from provisioning.plan import Action, Change, Connection, Contents, Identity, Resource


class ManagementDoor:
    """RabbitMQ's management HTTP API, as a user with the tag ``administrator``."""

    #: queue statistics are collected every 5 s in the queue and every 5 s in the plugin
    staleness_seconds = 11.0

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        user: str,
        password: str,
        ca: str | None = None,
        certificate: ClientCertificate | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        urls = (url,) if isinstance(url, str) else tuple(url)
        self._user = user
        #: connections that the statistics do not know, and since when they were seen, by the monotonic clock
        self._unknown_since: dict[str, float] = {}
        self._api = HttpApi(
            urls,
            user=user,
            password=password,
            ca=ca,
            certificate=certificate,
            timeout_seconds=timeout_seconds,
        )

    def __repr__(self) -> str:
        return f"ManagementDoor({self._api.urls!r}, user={self._user!r})"

    @property
    def url(self) -> str:
        """The URL of the node that answered last."""
        return self._api.url

    def observe(self) -> Observation:
        """Return the actual state.

        Raises Unreachable, AccessRefused, or ChangeRefused for what is no management API.
        """
        # The version is also in the definitions, but only an administrator gets those: asking for the
        # overview first tells a wrong password from a missing tag.
        self._api.request("GET", "overview", params={"columns": "rabbitmq_version"})
        exported = self._api.request("GET", "definitions")
        try:
            resources = definitions.parse(self._completed(exported))
        except errors.MalformedDefinitions as error:
            raise self._api.not_the_api(str(error)) from error
        return Observation(resources=resources, version=definitions.version(exported))

    def _completed(self, exported: Any) -> Any:
        """Return the export with what RabbitMQ 3.10 leaves out: all about a vhost but its name."""
        if not isinstance(exported, Mapping) or not isinstance(exported.get("vhosts"), list):
            return exported
        if all(isinstance(row, Mapping) and "metadata" in row for row in exported["vhosts"]):
            return exported
        columns = {"columns": "name,description,tags,default_queue_type"}
        rows = {row["name"]: row for row in self._api.request("GET", "vhosts", params=columns)}
        return {**exported, "vhosts": [row | rows.get(row["name"], {}) for row in exported["vhosts"]]}

    def contents(self, resources: Sequence[Resource]) -> Mapping[Identity, Contents]:
        """Return what the queues among ``resources`` hold."""
        queues = (resource for resource in resources if isinstance(resource, Queue))
        return {queue.identity: self._contents_of(queue) for queue in queues}

    def _contents_of(self, queue: Queue) -> Contents:
        # A queue that cannot be asked for is one that this door refuses to delete; one that has expired
        # meanwhile is found out by who compares.
        reachable = NOT_IN_URLS.isdisjoint((queue.vhost, queue.name))
        path = _path("queues", queue.vhost, queue.name)
        return Contents.of(self._api.request("GET", path, missing_ok=True) or {} if reachable else {})

    def refusal(self, change: Change) -> str | None:
        """Return why this door cannot make ``change``, or None."""
        # Of a new vhost a permission must be taken back.
        asked = change.destroys or isinstance(change.after, Vhost)
        if asked and not NOT_IN_URLS.isdisjoint(change.identity):
            return "a name that is `.` or `..` cannot be part of a URL"
        return locks_out(change, self._user)

    def besides(self, change: Change) -> str | None:
        """Return what the broker does of itself along with ``change``, or None."""
        if not _creates_vhost(change):
            return None
        return f"RabbitMQ gives its creator, user {self._user}, the permission `.* .* .*`; it is taken back"

    def perform(self, batch: Sequence[Change]) -> None:
        """Make changes of one kind, in order.

        Raises ChangeRefused, AccessRefused or Unreachable.
        """
        for change in batch:
            if change.destroys and change.before is not None:
                self._delete(change.before)
            for limit in cleared_limits(change):
                self._api.request("DELETE", _limit_path(limit), missing_ok=True)
        made = document(batch, salt=lambda: os.urandom(SALT_BYTES))
        if made:
            self._api.request("POST", "definitions", json=made)
        for change in batch:
            if _creates_vhost(change):
                self._drop_creators_permission(change.identity[-1])

    def connections(self, holders: Collection[tuple[str, str]]) -> Sequence[Connection]:
        """Return the open connections of these pairs of user and vhost."""
        rows = [row for user in sorted({user for user, _ in holders}) for row in self._connections_of(user)]
        told = self._told() if rows else ()
        found = (connections.from_management(row, told) for row in self._living(rows, told))
        return [connection for connection in found if (connection.user, connection.vhost) in holders]

    def _told(self) -> Any:
        """Return what the statistics know of open connections."""
        return self._api.request("GET", "connections", params={"columns": "name,user_provided_name"})

    def _living(self, rows: Sequence[Any], told: Any) -> list[Any]:
        """Return ``rows`` without what is no connection any more.

        In the broker's own table, which does not lag behind, one that was opened and closed within moments
        may stay for ever (seen with 3.10). The statistics never come to know such a one.
        """
        now, known = time.monotonic(), {entry.get("name") for entry in told}
        unknown = {row["name"] for row in rows} - known
        self._unknown_since = {name: self._unknown_since.get(name, now) for name in unknown}
        late = {name for name, since in self._unknown_since.items() if now - since > self.staleness_seconds}
        if late and self._has_statistics():
            return [row for row in rows if row["name"] not in late]
        return list(rows)

    def _has_statistics(self) -> bool:
        overview = self._api.request("GET", "overview", params={"columns": "disable_stats"})
        return overview.get("disable_stats") is False

    def disconnect(self, connection: Connection) -> None:
        """End a connection; one that has ended meanwhile is fine.

        Raises ChangeRefused if it stays.
        """
        # A connection can be deleted once the statistics know it, which is some seconds after it was opened.
        deadline = time.monotonic() + self.staleness_seconds
        while True:
            self._api.request("DELETE", _path("connections", connection.handle), missing_ok=True)
            if not any(row["name"] == connection.handle for row in self._connections_of(connection.user)):
                return
            if time.monotonic() > deadline:
                if self._has_statistics() and all(e.get("name") != connection.handle for e in self._told()):
                    return
                raise errors.ChangeRefused(f"a connection of user {connection.user} could not be ended")
            time.sleep(connections.RETRY_SECONDS)

    def _connections_of(self, user: str) -> Any:
        """Return the connections of ``user`` from the broker's own table, which does not lag behind."""
        return self._api.request("GET", _path("connections", "username", user), missing_ok=True) or ()

    def _drop_creators_permission(self, vhost: str) -> None:
        """Take back the `.* .* .*` that the broker silently gives to whoever creates a vhost over HTTP."""
        self._api.request("DELETE", _path("permissions", vhost, self._user), missing_ok=True)

    def _delete(self, resource: Resource) -> None:
        if isinstance(resource, Binding):
            self._delete_binding(resource)
        else:
            self._api.request("DELETE", _path(*_address(resource)), missing_ok=True)

    def _delete_binding(self, binding: Binding) -> None:
        kind = "q" if binding.destination_type == Queue.KIND else "e"
        between = _path("bindings", binding.vhost, "e", binding.source, kind, binding.destination)
        for row in self._api.request("GET", between):
            if definitions.parse({"bindings": [row]}).bindings == (binding,):
                # The key is percent-encoded already, and the broker decodes it twice.
                self._api.request("DELETE", f"{between}/{_path(row['properties_key'])}", missing_ok=True)


def _creates_vhost(change: Change) -> bool:
    return change.action is Action.CREATE and isinstance(change.after, Vhost)


def _address(resource: Resource) -> tuple[str, ...]:
    match resource:
        case User():
            return ("users", resource.name)
        case TopicPermission():
            return ("topic-permissions", resource.vhost, resource.user, resource.exchange)
        case Permission():
            return ("permissions", resource.vhost, resource.user)
        case Policy():
            return ("policies", resource.vhost, resource.name)
        case OperatorPolicy():
            return ("operator-policies", resource.vhost, resource.name)
        case Parameter():
            return ("parameters", resource.component, resource.vhost, resource.name)
        case GlobalParameter():
            return ("global-parameters", resource.name)
        case Exchange():
            return ("exchanges", resource.vhost, resource.name)
        case Queue():
            return ("queues", resource.vhost, resource.name)
    raise errors.Unsupported(f"{resource.label} is never deleted")


def _limit_path(limit: ClearedLimit) -> str:
    if isinstance(limit.owner, User):
        return _path("user-limits", limit.owner.name, limit.name)
    return _path("parameters", VHOST_LIMITS, limit.owner.name, limit.name)


def _path(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)
