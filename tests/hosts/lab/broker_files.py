"""Which files make a host a RabbitMQ node, alone or in a cluster? Pure: names and keys in, files out."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.hosts.lab.disk import File

AMQP, AMQPS = 5672, 5671
MANAGEMENT, MANAGEMENT_TLS = 15672, 15671
ADMIN_USER = "lab-admin"
PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")
UNIT = "rabbitmq-server.service"
TLS_DIRECTORY = "/etc/rabbitmq/tls"
#: a killed broker stays dead until the test says otherwise
DROP_IN = """\
[Service]
Restart=no
"""
ENVIRONMENT = 'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +A 16"\nRABBITMQ_CTL_ERL_ARGS="+S 1:1"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIdentity:
    """What the nodes of a cluster share, and what is one node's own."""

    #: hosts of the whole cluster
    cluster: tuple[str, ...]
    cookie: str
    admin_password: str
    #: PEM texts
    authority: bytes
    certificate: bytes
    key: bytes


def node_files(identity: NodeIdentity) -> tuple[File, ...]:
    """Return the files of one node: configuration, plugins, cookie, certificate."""
    return (
        File(
            path="/etc/rabbitmq/rabbitmq.conf",
            content=configuration(identity.cluster, identity.admin_password).encode(),
            owner="rabbitmq",
            mode=0o600,
        ),
        File(path="/etc/rabbitmq/rabbitmq-env.conf", content=ENVIRONMENT.encode()),
        File(path="/etc/rabbitmq/enabled_plugins", content=f"[{','.join(PLUGINS)}].\n".encode()),
        File(path=f"/etc/systemd/system/{UNIT}.d/lab.conf", content=DROP_IN.encode()),
        _private("/var/lib/rabbitmq/.erlang.cookie", identity.cookie.encode()),
        _private(f"{TLS_DIRECTORY}/ca.pem", identity.authority),
        _private(f"{TLS_DIRECTORY}/node.crt", identity.certificate),
        _private(f"{TLS_DIRECTORY}/node.key", identity.key),
    )


def configuration(cluster: Sequence[str], admin_password: str) -> str:
    """Return the text of rabbitmq.conf for each node of ``cluster``."""
    lines = {
        "listeners.tcp.default": str(AMQP),
        "listeners.ssl.default": str(AMQPS),
        **_tls("ssl_options"),
        # A client may show a certificate; one that does is checked.
        "ssl_options.verify": "verify_peer",
        "ssl_options.fail_if_no_peer_cert": "false",
        "management.tcp.port": str(MANAGEMENT),
        "management.ssl.port": str(MANAGEMENT_TLS),
        **_tls("management.ssl"),
        "default_user": ADMIN_USER,
        "default_pass": admin_password,
        "default_user_tags.administrator": "true",
        "loopback_users.guest": "true",
        # Several nodes share a small machine; an alarm should mean what a test does to this one.
        "vm_memory_high_watermark.absolute": "1GB",
        "disk_free_limit.absolute": "50MB",
        "raft.wal_max_size_bytes": str(32 * 1024 * 1024),
        "collect_statistics_interval": "1000",
    }
    if len(cluster) > 1:
        lines |= {
            "cluster_formation.peer_discovery_backend": "classic_config",
            "cluster_partition_handling": "pause_minority",
            # An absent node is given up after 10 s instead of 60.
            "net_ticktime": "10",
        }
        for number, name in enumerate(cluster, start=1):
            lines[f"cluster_formation.classic_config.nodes.{number}"] = f"rabbit@{name}"
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def _tls(prefix: str) -> dict[str, str]:
    names = {"cacertfile": "ca.pem", "certfile": "node.crt", "keyfile": "node.key"}
    return {f"{prefix}.{key}": f"{TLS_DIRECTORY}/{name}" for key, name in names.items()}


def _private(path: str, content: bytes) -> File:
    return File(path=path, content=content, mode=0o400, owner="rabbitmq")
