"""Which files and variables make a RabbitMQ node private to one directory?

Pure: ports and paths in, text out. Everything listens on loopback, Erlang's port mapper and distribution too.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.daemons.packages import Programs

NODE_NAME = "fleet@localhost"
ADMIN_USER = "fleet-admin"
PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")
#: Erlang's own listeners (distribution) are not covered by rabbitmq.conf
LOOPBACK_DISTRIBUTION = "-kernel inet_dist_use_interface {127,0,0,1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePorts:
    """The TCP ports of a node, all on loopback."""

    amqp: int
    management: int
    prometheus: int
    #: Erlang distribution, which rabbitmqctl talks to
    distribution: int
    #: the node's own Erlang port mapper
    epmd: int


def configuration(ports: NodePorts, *, admin_password: str, settings: Mapping[str, str]) -> str:
    """Return the text of rabbitmq.conf; ``settings`` are further lines and win."""
    lines = {
        "listeners.tcp.default": f"127.0.0.1:{ports.amqp}",
        "management.tcp.ip": "127.0.0.1",
        "management.tcp.port": str(ports.management),
        "prometheus.tcp.ip": "127.0.0.1",
        "prometheus.tcp.port": str(ports.prometheus),
        # The first boot makes this user instead of guest.
        "default_user": ADMIN_USER,
        "default_pass": admin_password,
        "default_user_tags.administrator": "true",
        # Several nodes may share a small machine; an alarm should mean this node, not its neighbours.
        "vm_memory_high_watermark.absolute": "1GB",
        "disk_free_limit.absolute": "50MB",
        # The write-ahead log is half a gigabyte by default.
        "raft.wal_max_size_bytes": str(32 * 1024 * 1024),
        # Queue depths on the management page are a second old at most, instead of five.
        "collect_statistics_interval": "1000",
        "log.console": "false",
        "log.file.level": "info",
    } | dict(settings)
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def enabled_plugins() -> str:
    """Return the text of the enabled-plugins file."""
    return f"[{','.join(PLUGINS)}].\n"


def environment(directory: Path, ports: NodePorts, programs: Programs) -> dict[str, str]:
    """Return the whole environment of the node and of its command line tools; it holds no secret."""
    data = directory / "data"
    return programs.library_environ() | {
        "PATH": programs.search_path(),
        "HOME": str(directory / "home"),
        "LANG": "C.UTF-8",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(ports.epmd),
        "RABBITMQ_NODENAME": NODE_NAME,
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(ports.amqp),
        "RABBITMQ_DIST_PORT": str(ports.distribution),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(data),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(data / "config"),
        "RABBITMQ_PID_FILE": str(directory / "node.pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{LOOPBACK_DISTRIBUTION} +S 2:2 +A 16",
        "RABBITMQ_CTL_ERL_ARGS": f"{LOOPBACK_DISTRIBUTION} +S 1:1",
        # The start script then becomes the node itself instead of waiting for it with a handler of its own.
        "RUNNING_UNDER_SYSTEMD": "true",
    }


def ctl_script(environ: Mapping[str, str], program: Path) -> str:
    """Return a script that runs ``program`` against the node, whatever environment it is called from."""
    variables = " ".join(f"{key}={shlex.quote(value)}" for key, value in environ.items())
    return f'#!/bin/sh\nexec env {variables} {shlex.quote(str(program))} "$@"\n'
