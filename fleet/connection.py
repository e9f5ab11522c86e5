"""How is a connection to one of the fleet's broker nodes opened, and what does its failure mean?

The password goes into the connection's handshake and nowhere else: no URL is ever built, so none can show up
in an error, a log line or a process list.
"""

import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import amqp
from amqp.exceptions import AMQPError, ConnectionForced
from amqp.method_framing import frame_handler

from fleet.certificates import certificates
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError, UsageError
from fleet.login import Login
from fleet.model import Broker, Node, Tls

#: makes, for a connection, what is called with each frame that arrives
FrameHandler = Callable[..., Callable[[Any], bool]]

#: replies with which a broker refuses the login or the vhost
ACCESS_REFUSED = 403
NOT_ALLOWED = 530
#: in front of the reasons of an error that says so
NOBODY_ANSWERED = "no broker node answered: "
#: what a node says of the client's certificate → what that means
_CLIENT_CERTIFICATE_ALERTS: Mapping[str | None, str] = MappingProxyType(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a client certificate (`broker.tls.cert` and `key`)",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that the client certificate has expired",
        "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority that signed the client certificate",
        "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refused the TLS handshake; it may ask for a client certificate",
        "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept the client certificate",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept the client certificate",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the client certificate is not made for clients",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long each step may take; every read and write is bounded, so no broker state can hang a caller."""

    #: TCP, TLS and each step of the handshake, for one node
    connect_seconds: float = 5.0
    #: silence while an answer is awaited
    read_seconds: float = 5.0
    #: one write into a full socket
    write_seconds: float = 5.0
    #: a peer of which nothing is heard, not even that what was sent has reached its machine
    silence_seconds: float = 7.0


DEFAULT_TIMEOUTS = Timeouts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A vhost of a broker, as one user, under the name that the broker shows for the connection."""

    broker: Broker
    login: Login
    #: shown in the broker's list of connections
    name: str
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    #: the broker drops a client that is silent for this long; 0 switches the check off
    heartbeat_seconds: int = 60

    @property
    def vhost(self) -> str:
        """Return a short description for messages, such as ``vhost `celery` as user `celery```."""
        return f"vhost `{self.broker.vhost}` as user `{self.login.user}`"


def connect(
    target: Target,
    *,
    first_node: int = 0,
    timeout_seconds: float | None = None,
    on_blocked: Callable[[str], None] | None = None,
    on_unblocked: Callable[[], None] | None = None,
    frames: FrameHandler = frame_handler,
) -> amqp.Connection:
    """Return an open connection to the first node that answers, beginning with number ``first_node``.

    ``timeout_seconds`` bounds the attempts at all nodes together. ``on_blocked`` is called when the broker
    holds publishers back (memory or disk alarm), ``on_unblocked`` when it does so no longer; ``frames`` makes
    what reads the frames that arrive.
    Raises BrokerUnreachable with every node's reason, or BrokerRefused as soon as one node says no.
    """
    require_tls_files(target.broker.tls)
    nodes = target.broker.nodes
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    hooks = {"on_blocked": on_blocked, "on_unblocked": on_unblocked, "frame_handler": frames}
    reasons: list[str] = []
    for node in (*nodes[first_node % len(nodes) :], *nodes[: first_node % len(nodes)]):
        try:
            return _open(_hurried(target, deadline), node, hooks)
        except (OSError, ConnectionForced) as error:
            reasons.append(f"{address(node)}: {_reason(error, node, target.broker.tls)}")
        except AMQPError as error:
            raise login_refused(target, node, error) from error
    raise unreachable(reasons)


def _hurried(target: Target, deadline: float | None) -> Target:
    """Return ``target`` with no more time to connect than is left."""
    if deadline is None:
        return target
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    timeouts = target.timeouts
    return replace(target, timeouts=replace(timeouts, connect_seconds=min(timeouts.connect_seconds, left)))


def address(node: Node) -> str:
    """Return ``host:port``, with an IPv6 address in brackets."""
    return f"[{node.host}]:{node.port}" if ":" in node.host else f"{node.host}:{node.port}"


def unreachable(reasons: Sequence[str]) -> BrokerUnreachable:
    """Return the error for a broker of which no node answered, with each node's reason."""
    return BrokerUnreachable(
        f"{NOBODY_ANSWERED}{'; '.join(reasons)}",
        hint="check `[broker]` in the fleet file, and that the broker runs: `rabbitmq-diagnostics ping`",
    )


def login_refused(target: Target, node: Node, error: AMQPError) -> FleetError:
    """Return what a refused handshake means: a wrong password, a missing vhost, or no right to it."""
    hints = {
        ACCESS_REFUSED: "run `fleet provision broker --check` to see whether user and password differ",
        NOT_ALLOWED: "run `fleet provision broker` to create the vhost and its permissions",
    }
    return BrokerRefused(
        f"{address(node)} refused {target.vhost}: {error.reply_text}",
        hint=hints.get(error.reply_code, "see the broker's log"),
    )


def require_tls_files(tls: Tls | None) -> None:
    """Raise UsageError when a file that TLS needs cannot be read."""
    for path in (tls.ca, tls.cert, tls.key) if tls else ():
        try:
            if path is not None:
                with Path(path).open("rb"):
                    pass
        except OSError as error:
            raise UsageError(
                f"TLS file `{path}` cannot be read: {error.strerror}", hint=f"check `ls -l -- {path}`"
            ) from error


def tls_options(node: Node, tls: Tls | None) -> dict[str, object] | bool:
    """Return py-amqp's TLS options: certificate and host name are always verified."""
    if not node.tls:
        return False
    return {
        # Without a name to compare, py-amqp would not check whose certificate it is.
        "server_hostname": node.host,
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": tls.ca if tls else None,
        "certfile": tls.cert if tls else None,
        "keyfile": tls.key if tls else None,
    }


def tcp_settings(silence_seconds: float) -> dict[int, int]:
    """Return the TCP options with which a connection outlives a cut of up to ``silence_seconds``.

    Without them py-amqp has the kernel end a connection once sent data was on its way for one second, so that
    each small trouble of the network costs a reconnect, and what ran meanwhile may run again.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux only
    return {} if option is None else {option: round(silence_seconds * 1000)}


def _open(target: Target, node: Node, hooks: Mapping[str, Callable[..., Any] | None]) -> amqp.Connection:
    timeouts, password = target.timeouts, target.login.password
    connection = amqp.Connection(
        host=address(node),
        userid=target.login.user,
        password=password.reveal() if password else "",
        # Named, so that a plugin's further mechanisms do not change what is tried.
        login_method="PLAIN",
        virtual_host=target.broker.vhost,
        ssl=tls_options(node, target.broker.tls),
        connect_timeout=timeouts.connect_seconds,
        read_timeout=timeouts.read_seconds,
        write_timeout=timeouts.write_seconds,
        socket_settings=tcp_settings(timeouts.silence_seconds),
        heartbeat=target.heartbeat_seconds,
        client_properties={"connection_name": target.name},
        **hooks,
    )
    try:
        connection.connect()
    except BaseException:
        # py-amqp closes the socket itself for some errors only.
        connection.collect()
        raise
    return connection


def _reason(error: OSError | AMQPError, node: Node, tls: Tls | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if node.tls and isinstance(error, ssl.SSLError | ConnectionResetError | BrokenPipeError):
        return "; ".join((_broken_off(error, tls), *_ended(tls)))
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, AMQPError):
        return str(error.reply_text)
    return error.strerror or str(error)


def _broken_off(error: OSError, tls: Tls | None) -> str:
    """Return why a node has ended a TLS handshake; some close the connection before they are heard."""
    said = error.strerror or str(error)
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return _CLIENT_CERTIFICATE_ALERTS.get(error.reason, said)
    has_certificate = tls is not None and tls.cert is not None
    guess = "not accept the client certificate" if has_certificate else "ask for a client certificate"
    return f"{said}; it may {guess}"


def _ended(tls: Tls | None) -> tuple[str, ...]:
    now = datetime.now(UTC)
    try:
        return tuple(each.warning(now) or "" for each in certificates(tls) if each.end < now)
    except UsageError as error:
        return (error.message,)
