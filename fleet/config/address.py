"""What does a URL of the fleet file address, and does it carry what a URL must not: a secret?

Nothing of a URL that may hold a password is ever repeated in a message.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, unquote, urlsplit

from fleet.config.locate import Path
from fleet.config.problems import Problems
from fleet.config.secret import Secrets
from fleet.model import Kind, Node, SecretRef

_PORTS = {"amqp": 5672, "amqps": 5671, "redis": 6379}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """What one broker address says."""

    path: Path
    node: Node
    kind: Kind
    #: None where the address leaves it open
    vhost: str | None
    user: str | None
    #: only from an operator who insists on secrets in the clear
    password: SecretRef | None


def broker_address(text: str, path: Path, secrets: Secrets, problems: Problems) -> BrokerAddress | None:
    """Return what ``text`` addresses, noting what is wrong; None where it is no broker's address."""
    parts = split(text)
    if parts is None or parts.scheme not in _PORTS or not parts.hostname:
        problems.add(
            path,
            "is not a broker's address",
            hint="write amqp://host:5672, amqps://host:5671 or redis://host:6379/0",
        )
        return None
    if parts.query or parts.fragment:
        problems.add(path, "options after `?` or `#` are not supported", hint="take them out")
    return BrokerAddress(
        path=path,
        node=Node(host=parts.hostname, port=parts.port or _PORTS[parts.scheme], tls=parts.scheme == "amqps"),
        kind=Kind.REDIS if parts.scheme == "redis" else Kind.RABBITMQ,
        vhost=unquote(parts.path[1:]) or None,
        user=unquote(parts.username) if parts.username else None,
        password=url_password(parts, path, "password", secrets),
    )


def url_password(parts: SplitResult, path: Path, key: str, secrets: Secrets) -> SecretRef | None:
    """Return the password that stands in a URL, which is a problem unless the operator insists."""
    if parts.password is None:
        return None
    return secrets.in_the_clear(
        unquote(parts.password),
        path,
        f'a password stands in the clear in the URL: take it out and write {key} = "env:NAME"',
    )


def check_http_url(text: str, path: Path, problems: Problems, *, example: str) -> None:
    """Note it when ``text`` is not an http or https URL, or carries credentials."""
    parts = split(text)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        problems.add(path, "is not an http or https URL", hint=f"such as {example}")
    elif parts.username is not None or parts.password is not None:
        problems.add(path, "credentials stand in the URL", hint="take them out")


def split(text: str) -> SplitResult | None:
    """Return the parts of the URL ``text``, or None where it is none."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where the port is no number
    except ValueError:
        return None
    # urlsplit takes line breaks and tabs out silently.
    return parts if text.isprintable() and " " not in text else None


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this machine, going by its name or address alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
