"""How does a host of the lab become a worker host of a fleet, step by step, as an operator would type it?"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.hosts.lab import Host
from tests.hosts.lab.broker_files import ADMIN_USER, AMQPS
from tests.hosts.lab.brokers import Cluster

ETC, STATE = "/etc/fleet", "/var/lib/fleet"
FLEET = "/opt/fleet/bin/fleet"
SERVICE = "fleet-workers.service"
UNIT = f"""\
[Unit]
After=network.target
StartLimitIntervalSec=0

[Service]
User=fleet
StateDirectory=fleet
Environment=FLEET_FILE={ETC}/fleet.toml {{environ}}
ExecStart={FLEET} worker --host %H
KillMode=mixed
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""
BROKER = """\
[broker]
nodes = [{nodes}]
vhost = "{vhost}"
user = "{user}"
password = "file:{etc}/celery.password"
[broker.tls]
ca = "{etc}/ca.pem"
[broker.management]
url = "{management}"
user = "{admin}"
password = "file:{etc}/admin.password"
ca = "{etc}/ca.pem"
"""


def broker_tables(cluster: Cluster, *, vhost: str, user: str, etc: str) -> str:
    """Return the tables of a fleet file that say where the broker is; ``etc`` holds its secrets."""
    return BROKER.format(
        nodes=", ".join(f'"amqps://{node.host.address}:{AMQPS}"' for node in cluster.nodes),
        vhost=vhost,
        user=user,
        etc=etc,
        management=cluster.nodes[0].management_tls_url,
        admin=ADMIN_USER,
    )


def install(
    host: Host,
    *,
    wheel: Path,
    fleet_toml: str,
    secrets: Path,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Put the fleet and the unit of its workers onto ``host``; no worker runs yet.

    ``secrets`` has `ca.pem` and `celery.password`; ``environ`` is given to the workers, too.
    """
    host.console("useradd", "--system", "--home-dir", STATE, "--shell", "/usr/sbin/nologin", "fleet")
    host.put(f"/srv/{wheel.name}", wheel)
    host.run("/opt/fleet/bin/pip", "install", "--quiet", "--no-index", "--no-deps", f"/srv/{wheel.name}")
    host.put(f"{ETC}/fleet.toml", fleet_toml)
    host.put(f"{ETC}/ca.pem", secrets / "ca.pem")
    host.put(f"{ETC}/celery.password", secrets / "celery.password", mode=0o400, owner="fleet")
    given = " ".join(f"{name}={value}" for name, value in environ.items())
    host.put(f"/etc/systemd/system/{SERVICE}", UNIT.format(environ=given))
