"""Which broker does the fleet file mean, by one URL or by several nodes?"""

from urllib.parse import SplitResult

from fleet.config.address import BrokerAddress, broker_address, check_http_url, split, url_password
from fleet.config.locate import Path
from fleet.config.problems import Problems
from fleet.config.schema import BrokerTable
from fleet.config.secret import Secrets
from fleet.model import Broker, BrokerUser, Kind, Management, SecretRef, Tls


def broker(table: BrokerTable, secrets: Secrets, problems: Problems) -> Broker:
    """Return the broker that ``table`` declares, noting what is wrong."""
    addresses = _addresses(table, secrets, problems)
    kind = addresses[0].kind if addresses else Kind.RABBITMQ
    redis = kind is Kind.REDIS
    _check_alike(addresses, problems)
    result_url, result_password = _result_backend(table, secrets, problems)
    return Broker(
        nodes=tuple(address.node for address in addresses),
        kind=kind,
        vhost=_one_of("vhost", table.vhost, addresses, problems) or ("0" if redis else "celery"),
        user=_one_of("user", table.user, addresses, problems) or ("" if redis else "celery"),
        password=_password(table, addresses, secrets, problems),
        password_hash=secrets.optional(table.password_hash, ("broker", "password_hash")),
        profile=table.profile,
        tls=_tls(table, addresses, problems),
        management=_management(table, secrets, problems),
        rabbitmqctl=tuple(table.rabbitmqctl) if table.rabbitmqctl else None,
        rabbitmqctl_host=table.rabbitmqctl_host,
        users=_users(table, secrets),
        visibility_timeout_seconds=table.visibility_timeout,
        result_backend=result_url,
        result_password=result_password,
    )


def _addresses(table: BrokerTable, secrets: Secrets, problems: Problems) -> tuple[BrokerAddress, ...]:
    if (table.url is None) == (not table.nodes):
        message = "needs either `url` or `nodes`" if table.url is None else "has both `url` and `nodes`"
        problems.add(("broker",), message, hint='such as url = "amqp://mq1:5672"')
        return ()
    texts: list[tuple[Path, str]] = [(("broker", "nodes", at), text) for at, text in enumerate(table.nodes)]
    if table.url is not None:
        texts = [(("broker", "url"), table.url)]
    found = (broker_address(text, path, secrets, problems) for path, text in texts)
    return tuple(address for address in found if address)


def _check_alike(addresses: tuple[BrokerAddress, ...], problems: Problems) -> None:
    """Note where the addresses of several nodes do not go together."""
    for position, address in enumerate(addresses):
        first = addresses[0]
        if address.kind is not first.kind:
            problems.add(address.path, "RabbitMQ and Redis addresses are mixed")
        elif position and address.kind is Kind.REDIS:
            problems.add(address.path, "several nodes need RabbitMQ", hint="give Redis as one `url`")
        elif address.node in [other.node for other in addresses[:position]]:
            problems.add(address.path, "this node stands in the list already")


def _one_of(
    key: str, written: str | None, addresses: tuple[BrokerAddress, ...], problems: Problems
) -> str | None:
    """Return what ``[broker]`` and the addresses say about ``key``, noting where they disagree."""
    chosen = written
    for address in addresses:
        value = getattr(address, key)
        if chosen is not None and value is not None and value != chosen:
            problems.add(
                address.path,
                f"gives {key} `{value}`, and elsewhere it is `{chosen}`",
                hint=f'write it once: {key} = "{chosen}" in [broker]',
            )
        chosen = chosen or value
    return chosen


def _password(
    table: BrokerTable, addresses: tuple[BrokerAddress, ...], secrets: Secrets, problems: Problems
) -> SecretRef | None:
    inside = next((address.password for address in addresses if address.password), None)
    if table.password is not None:
        return secrets.required(table.password, ("broker", "password"))
    if inside is None and addresses and addresses[0].kind is Kind.RABBITMQ:
        hint = 'such as password = "env:FLEET_BROKER_PASSWORD"'
        problems.add(("broker",), "`password` is missing", hint=hint)
    return inside


def _tls(table: BrokerTable, addresses: tuple[BrokerAddress, ...], problems: Problems) -> Tls | None:
    if table.tls is None:
        return None
    if not all(address.node.tls for address in addresses):
        problems.add(("broker", "tls"), "TLS files are given, but not every address begins with amqps://")
    if (table.tls.cert is None) != (table.tls.key is None):
        problems.add(("broker", "tls"), "`cert` and `key` go together")
    return Tls(ca=table.tls.ca, cert=table.tls.cert, key=table.tls.key)


def _management(table: BrokerTable, secrets: Secrets, problems: Problems) -> Management | None:
    declared = table.management
    if declared is None:
        return None
    at: Path = ("broker", "management")
    if (declared.cert is None) != (declared.key is None):
        problems.add(at, "`cert` and `key` go together")
    if (declared.url is None) == (not declared.urls):
        message = "needs either `url` or `urls`" if declared.url is None else "has both `url` and `urls`"
        problems.add(at, message, hint='such as url = "https://mq1:15671"')
        return None
    texts: list[tuple[Path, str]] = [((*at, "urls", each), text) for each, text in enumerate(declared.urls)]
    if declared.url is not None:
        texts = [((*at, "url"), declared.url)]
    for path, text in texts:
        check_http_url(text, path, problems, example="https://mq1:15671")
    return Management(
        urls=tuple(text.rstrip("/") for _, text in texts),
        user=declared.user,
        password=secrets.required(declared.password, ("broker", "management", "password")),
        ca=declared.ca,
        cert=declared.cert,
        key=declared.key,
    )


def _users(table: BrokerTable, secrets: Secrets) -> tuple[BrokerUser, ...]:
    return tuple(
        BrokerUser(
            name=name,
            role=user.role,
            password=secrets.required(user.password, ("broker", "users", name, "password")),
            password_hash=secrets.optional(user.password_hash, ("broker", "users", name, "password_hash")),
            queues=tuple(user.queues),
        )
        for name, user in table.users.items()
    )


def _result_backend(
    table: BrokerTable, secrets: Secrets, problems: Problems
) -> tuple[str | None, SecretRef | None]:
    """Return the URL of the result backend without its password, and the password."""
    path = ("broker", "result_backend")
    password = secrets.optional(table.result_password, ("broker", "result_password"))
    if table.result_backend is None:
        if password is not None:
            problems.add(("broker", "result_password"), "has no effect without `result_backend`")
        return None, password
    parts = split(table.result_backend)
    if parts is None or parts.scheme not in ("redis", "rediss") or not parts.hostname:
        problems.add(path, "is not a Redis URL", hint="such as redis://127.0.0.1:6379/1")
        return None, password
    inside = url_password(parts, path, "result_password", secrets)
    return _without_password(parts), password or inside


def _without_password(parts: SplitResult) -> str:
    user, _, place = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return parts._replace(netloc=f"{name}@{place}" if name else place).geturl()
