"""The HTTP door: RabbitMQ's management API, seen and changed with as few requests as possible.

Objects are made by importing partial definitions: an import passes by the permissions in the vhost, so the
provisioner needs none for it. Deleting exchanges, queues and bindings does need a permission there.
"""

import os
import ssl
import time
from collections.abc import Collection, Mapping, Sequence
from html import unescape
from typing import Any
from urllib.parse import quote

import requests
from requests.auth import HTTPBasicAuth

from provisioning import errors
from provisioning.apply import Observation
from provisioning.broker import connections, definitions
from provisioning.broker.document import Document, document
from provisioning.broker.losses import locks_out
from provisioning.broker.objects import (
    Binding,
    Exchange,
    Permission,
    Policy,
    Queue,
    TopicPermission,
    User,
    Vhost,
)
from provisioning.broker.passwords import SALT_BYTES
from provisioning.plan import Action, Change, Connection, Contents, Identity, Resource

CONNECT_TIMEOUT_SECONDS = 5.0


class ManagementDoor:
    """RabbitMQ's management HTTP API, as a user with the tag ``administrator``."""

    #: queue statistics are collected every 5 s in the queue and every 5 s in the plugin
    staleness_seconds = 11.0

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: str,
        ca: str | None = None,
        timeout_seconds: float = 60.0,
    ) -> None:
        self._url = url.rstrip("/")
        self._user = user
        self._timeout = (CONNECT_TIMEOUT_SECONDS, timeout_seconds)
        self._session = requests.Session()
        # What the caller says is all: no proxy, no .netrc, no CA bundle from the environment.
        self._session.trust_env = False
        self._session.auth = HTTPBasicAuth(user.encode(), password.encode())
        self._session.verify = ca or True

    def __repr__(self) -> str:
        return f"ManagementDoor({self._url!r}, user={self._user!r})"

    def observe(self) -> Observation:
        """Return the actual state.

        Raises Unreachable or AccessRefused.
        """
        # The version is also in the definitions, but only an administrator gets those: asking for the
        # overview first tells a wrong password from a missing tag.
        self._request("GET", "overview", params={"columns": "rabbitmq_version"})
        exported = self._request("GET", "definitions")
        return Observation(resources=definitions.parse(exported), version=definitions.version(exported))

    def contents(self, resources: Sequence[Resource]) -> Mapping[Identity, Contents]:
        """Return what the queues among ``resources`` hold."""
        found = {}
        for queue in resources:
            if isinstance(queue, Queue):
                answer = self._request("GET", _path("queues", queue.vhost, queue.name))
                found[queue.identity] = Contents(
                    messages=int(answer.get("messages", 0)), consumers=int(answer.get("consumers", 0))
                )
        return found

    def refusal(self, change: Change) -> str | None:
        """Return why this door cannot make ``change``, or None."""
        if change.destroys and {".", ".."} & set(change.identity):
            return "a name that is `.` or `..` cannot be part of a URL"
        return locks_out(change, self._user)

    def perform(self, batch: Sequence[Change]) -> None:
        """Make changes of one kind, in order.

        Raises ChangeRefused, AccessRefused or Unreachable.
        """
        for change in batch:
            if change.destroys and change.before is not None:
                self._delete(change.before)
        made = document(batch, salt=lambda: os.urandom(SALT_BYTES))
        if made:
            self._import(made)
        for change in batch:
            if change.action is Action.CREATE and isinstance(change.after, Vhost):
                self._drop_creators_permission(change.after)

    def connections(self, holders: Collection[tuple[str, str]]) -> Sequence[Connection]:
        """Return the open connections of these pairs of user and vhost."""
        rows = [row for user in sorted({user for user, _ in holders}) for row in self._connections_of(user)]
        columns = {"columns": "name,user_provided_name"}
        told = self._request("GET", "connections", params=columns) if rows else ()
        found = (connections.from_management(row, told) for row in rows)
        return [connection for connection in found if (connection.user, connection.vhost) in holders]

    def disconnect(self, connection: Connection) -> None:
        """End a connection; one that has ended meanwhile is fine.

        Raises ChangeRefused if it stays.
        """
        # A connection can be deleted once the statistics know it, which is some seconds after it was opened.
        deadline = time.monotonic() + self.staleness_seconds
        while True:
            self._request("DELETE", _path("connections", connection.handle), missing_ok=True)
            if not any(row["name"] == connection.handle for row in self._connections_of(connection.user)):
                return
            if time.monotonic() > deadline:
                raise errors.ChangeRefused(f"a connection of user {connection.user} could not be ended")
            time.sleep(connections.RETRY_SECONDS)

    def _connections_of(self, user: str) -> Any:
        """Return the connections of ``user`` from the broker's own table, which does not lag behind."""
        return self._request("GET", _path("connections", "username", user), missing_ok=True) or ()

    def _import(self, made: Document) -> None:
        self._request("POST", "definitions", json=made)

    def _drop_creators_permission(self, vhost: Vhost) -> None:
        """Take back the `.* .* .*` that the broker silently gives to whoever creates a vhost over HTTP."""
        self._request("DELETE", _path("permissions", vhost.name, self._user), missing_ok=True)

    def _delete(self, resource: Resource) -> None:
        if isinstance(resource, Binding):
            self._delete_binding(resource)
        else:
            self._request("DELETE", _path(*_address(resource)), missing_ok=True)

    def _delete_binding(self, binding: Binding) -> None:
        kind = "q" if binding.destination_type == Queue.KIND else "e"
        between = _path("bindings", binding.vhost, "e", binding.source, kind, binding.destination)
        for row in self._request("GET", between):
            if definitions.parse({"bindings": [row]}).bindings == (binding,):
                # The key is percent-encoded already, and the broker decodes it twice.
                self._request("DELETE", f"{between}/{_path(row['properties_key'])}", missing_ok=True)

    def _request(self, method: str, path: str, *, missing_ok: bool = False, **body: Any) -> Any:
        try:
            response = self._session.request(
                method, f"{self._url}/api/{path}", timeout=self._timeout, allow_redirects=False, **body
            )
            if response.status_code == 404 and missing_ok:
                return None
            if not response.ok or response.is_redirect:
                raise self._refused(response)
            return response.json() if response.content else None
        except requests.exceptions.JSONDecodeError as error:
            raise self._not_the_api("it does not answer in JSON") from error
        except (requests.exceptions.RequestException, OSError) as error:
            # OSError: the CA bundle is not there.
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> errors.Unreachable:
        root = _root(error)
        reason = getattr(root, "strerror", None) or str(root)
        if isinstance(root, ssl.SSLCertVerificationError):
            return errors.Unreachable(
                f"the certificate of {self._url} is not trusted: {reason}",
                hint="name the CA that signed it (`ca`), and use a host name that it bears",
            )
        return errors.Unreachable(
            f"no management API answers at {self._url}: {reason}",
            hint="is RabbitMQ running there, with `rabbitmq-plugins enable rabbitmq_management`?",
        )

    def _refused(self, response: requests.Response) -> errors.ProvisioningError:
        reason = _reason(response)
        what = f"{response.request.method} {response.request.path_url}"
        if response.status_code in (401, 403):
            return errors.AccessRefused(
                f"{self._url} refuses user `{self._user}` ({what}): {reason}",
                hint="the provisioner needs its right password, the tag `administrator` and, to delete,"
                " a permission in the vhost",
            )
        if response.status_code == 404 and response.request.method == "GET":
            return self._not_the_api(reason)
        if response.status_code >= 500:
            return errors.Unreachable(f"{self._url} failed ({what}): {reason}", hint="see the broker's log")
        return errors.ChangeRefused(f"{self._url} refuses a change ({what}): {reason}")

    def _not_the_api(self, reason: str) -> errors.ProvisioningError:
        return errors.ChangeRefused(
            f"{self._url} answers, but not as RabbitMQ's management API: {reason}",
            hint="give the base URL of the management plugin, such as http://127.0.0.1:15672",
        )


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
        case Exchange():
            return ("exchanges", resource.vhost, resource.name)
        case Queue():
            return ("queues", resource.vhost, resource.name)
    raise errors.Unsupported(f"{resource.label} is never deleted")


def _path(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)


def _reason(response: requests.Response) -> str:
    """Return the broker's own reason: sometimes HTML, sometimes an Erlang term with text as characters."""
    try:
        reason = response.json()["reason"]
    except (requests.exceptions.JSONDecodeError, KeyError, TypeError):
        return f"{response.status_code} {response.reason}"
    return " ".join(unescape(_term_text(reason)).split())


def _term_text(term: object) -> str:
    if not isinstance(term, list):
        return str(term)
    if term and all(isinstance(item, int) for item in term):
        return "".join(map(chr, term))
    return " ".join(_term_text(item) for item in term)


def _root(error: BaseException) -> BaseException:
    """Return the innermost of a chain of wrapped connection errors."""
    inner = error.__cause__ or error.__context__
    return _root(inner) if inner else error
