"""Which client is behind an open connection, as each door tells it?"""

from collections.abc import Iterable, Mapping

from provisioning.plan import Connection

#: what `rabbitmqctl list_connections` is asked for
COLUMNS = ("pid", "user", "vhost", "name")
REASON = "permissions changed"
#: pause before a connection that the management API does not know yet is tried again
RETRY_SECONDS = 0.2


def from_management(row: Mapping[str, object], named: Iterable[Mapping[str, object]]) -> Connection:
    """Return a connection from the list of a user's connections, with the client's name where it gave one."""
    name = str(row["name"])
    given = next((entry.get("user_provided_name") for entry in named if entry.get("name") == name), None)
    return Connection(
        user=str(row["user"]),
        vhost=str(row["vhost"]),
        handle=name,
        client=str(given) if given else _host(name),
        address=_host(name),
    )


def from_rabbitmqctl(line: str) -> Connection | None:
    """Return a connection from a line with `COLUMNS`, or None for a line that has others."""
    columns = line.split("\t")
    if len(columns) != len(COLUMNS):
        return None
    pid, user, vhost, name = columns
    return Connection(user=user, vhost=vhost, handle=pid, client=_host(name), address=_host(name))


def _host(name: str) -> str:
    """Return the client's host from a connection's name: ``host:port -> host:port``."""
    return name.partition(" -> ")[0].rpartition(":")[0] or name
