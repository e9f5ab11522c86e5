"""Which broker does the fleet file mean, by one URL or by several nodes?"""

from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from fleet.config.problems import Problems
from fleet.config.schema import BrokerTable
from fleet.config.secret import Secrets
from fleet.model import Broker, BrokerUser, Kind, Management, Node, SecretRef, Tls

_PORTS = {"amqp": 5672, "amqps": 5671, "redis": 6379}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    node: Node
    kind: Kind
    vhost: str | None
    user: str | None


def broker(table: BrokerTable, secrets: Secrets, problems: Problems) -> Broker:
    """Return the broker that ``table`` declares, noting what is wrong."""
    addresses = _addresses(table, problems)
    first = addresses[0] if addresses else None
    kind = first.kind if first else Kind.RABBITMQ
    if any(address.kind is not kind for address in addresses):
        problems.add(("broker", "nodes"), "RabbitMQ and Redis addresses are mixed")
    if kind is Kind.REDIS and len(addresses) > 1:
        problems.add(("broker", "nodes"), "several nodes need RabbitMQ; Redis takes one `url`")
    _check_redis_keys(table, kind, problems)
    _check_result_backend(table, problems)
    return Broker(
        nodes=tuple(address.node for address in addresses),
        kind=kind,
        vhost=table.vhost or (first and first.vhost) or ("0" if kind is Kind.REDIS else "celery"),
        user=table.user or (first and first.user) or ("" if kind is Kind.REDIS else "celery"),
        password=_password(table, kind, secrets, problems),
        profile=table.profile,
        tls=_tls(table, addresses, problems),
        management=_management(table, secrets, problems),
        rabbitmqctl=tuple(table.rabbitmqctl) if table.rabbitmqctl else None,
        users=_users(table, secrets),
        visibility_timeout_seconds=table.visibility_timeout,
        result_backend=table.result_backend,
        result_password=secrets.optional(table.result_password, ("broker", "result_password")),
    )


def _addresses(table: BrokerTable, problems: Problems) -> tuple[_Address, ...]:
    if (table.url is None) == (not table.nodes):
        problems.add(
            ("broker",),
            "needs either `url` or `nodes`" if table.url is None else "has both `url` and `nodes`",
            hint='such as url = "amqp://mq1:5672"',
        )
        return ()
    texts = [(("broker", "url"), table.url)] if table.url is not None else []
    texts += [(("broker", "nodes", index), text) for index, text in enumerate(table.nodes)]  # type: ignore[misc]
    found = (_address(text or "", path, problems) for path, text in texts)
    return tuple(address for address in found if address)


def _address(text: str, path: tuple[str | int, ...], problems: Problems) -> _Address | None:
    parts = _split(text)
    if parts is None or parts.scheme not in _PORTS or not parts.hostname:
        problems.add(
            path,
            "is not a broker address",
            hint="write amqp://host:5672, amqps://host:5671 or redis://host:6379/0",
        )
        return None
    if parts.password is not None:
        problems.add(
            path,
            "a password stands in the clear in the address",
            hint='take it out and write password = "env:FLEET_BROKER_PASSWORD"',
        )
        return None
    return _Address(
        node=Node(host=parts.hostname, port=parts.port or _PORTS[parts.scheme], tls=parts.scheme == "amqps"),
        kind=Kind.REDIS if parts.scheme == "redis" else Kind.RABBITMQ,
        vhost=unquote(parts.path[1:]) or None,
        user=unquote(parts.username) if parts.username else None,
    )


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises when the port is no number
    except ValueError:
        return None
    return parts


def _password(table: BrokerTable, kind: Kind, secrets: Secrets, problems: Problems) -> SecretRef | None:
    if table.password is None and kind is Kind.RABBITMQ:
        problems.add(
            ("broker",), "`password` is missing", hint='such as password = "env:FLEET_BROKER_PASSWORD"'
        )
    return secrets.optional(table.password, ("broker", "password"))


def _tls(table: BrokerTable, addresses: tuple[_Address, ...], problems: Problems) -> Tls | None:
    if table.tls is None:
        return None
    if addresses and not all(address.node.tls for address in addresses):
        problems.add(("broker", "tls"), "TLS files are given, but an address is not amqps://")
    if (table.tls.cert is None) != (table.tls.key is None):
        problems.add(("broker", "tls"), "`cert` and `key` go together")
    return Tls(ca=table.tls.ca, cert=table.tls.cert, key=table.tls.key)


def _management(table: BrokerTable, secrets: Secrets, problems: Problems) -> Management | None:
    declared = table.management
    if declared is None:
        return None
    path = ("broker", "management", "url")
    parts = _split(declared.url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        problems.add(path, f"`{declared.url}` is not an http or https URL", hint="such as https://mq1:15671")
    elif parts.password is not None or parts.username is not None:
        problems.add(
            path, "credentials stand in the URL", hint="use `user` and `password` of [broker.management]"
        )
    return Management(
        url=declared.url.rstrip("/"),
        user=declared.user,
        password=secrets.required(declared.password, ("broker", "management", "password")),
        ca=declared.ca,
    )


def _users(table: BrokerTable, secrets: Secrets) -> tuple[BrokerUser, ...]:
    return tuple(
        BrokerUser(
            name=name,
            role=user.role,
            password=secrets.required(user.password, ("broker", "users", name, "password")),
            queues=tuple(user.queues),
        )
        for name, user in table.users.items()
    )


def _check_redis_keys(table: BrokerTable, kind: Kind, problems: Problems) -> None:
    if kind is Kind.RABBITMQ:
        if table.visibility_timeout is not None:
            problems.add(("broker", "visibility_timeout"), "applies to Redis only")
        return
    for key in ("management", "rabbitmqctl", "users", "tls"):
        if getattr(table, key):
            problems.add(("broker", key), "applies to RabbitMQ only, and the broker is Redis")


def _check_result_backend(table: BrokerTable, problems: Problems) -> None:
    if table.result_backend is None:
        return
    parts = _split(table.result_backend)
    if parts is None or parts.scheme not in ("redis", "rediss") or not parts.hostname:
        problems.add(
            ("broker", "result_backend"), "is not a Redis URL", hint="such as redis://127.0.0.1:6379/1"
        )
    elif parts.password is not None:
        problems.add(
            ("broker", "result_backend"),
            "a password stands in the clear in the address",
            hint='take it out and write result_password = "env:NAME"',
        )
