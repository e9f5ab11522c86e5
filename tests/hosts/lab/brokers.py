"""How are RabbitMQ nodes run on lab hosts, one alone or several as a cluster, and how are they hurt?

release = RELEASES["4.0"]
with Lab.start("mine", broker_specs(("mq1", "mq2", "mq3"), release)) as lab:
    cluster = Cluster(lab, ("mq1", "mq2", "mq3"), directory)
    cluster.boot()
    cluster["mq2"].kill()
"""

import secrets as random
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from fleet.daemons.files import write_private
from fleet.secrets import Secret
from tests import broker_limits
from tests.certificates import Authority
from tests.hosts.lab.broker_files import (
    ADMIN_USER,
    AMQP,
    AMQPS,
    MANAGEMENT,
    MANAGEMENT_TLS,
    UNIT,
    NodeIdentity,
    node_files,
)
from tests.hosts.lab.host import Host, HostSpec
from tests.hosts.lab.lab import Lab
from tests.hosts.lab.layers import RABBITMQ, Image
from tests.hosts.lab.system import LabFailed, await_that

HEALTH_SECONDS = 90.0
BOOT_SECONDS = 150.0
#: nodes that can reach each other again come together in 3 to 7 s; one that has not by now hangs
TOGETHER_SECONDS = 40.0
#: until a silent node is given up (net_ticktime, and a quarter more) and looked for once more
PAUSE_SECONDS = 60.0
#: rabbitmqctl as the broker's own user: root's wrapper would pass every argument through a shell
CTL = (
    *("runuser", "-u", "rabbitmq", "--", "env", "--chdir=/var/lib/rabbitmq", "HOME=/var/lib/rabbitmq"),
    "LC_ALL=C.UTF-8",
    "/usr/lib/rabbitmq/bin/rabbitmqctl",
)
#: a file that is the standard input can be opened by its owner only, so it becomes the broker's own
CTL_SCRIPT = """\
#!{python}
import os, shlex, sys
*user, tool = {ctl!r}
there = shlex.join([*user, "sh", "-c", 'cat | "$@"', "sh", tool, *sys.argv[1:]])
os.execv("/usr/bin/ssh", ["ssh", "-F", {config!r}, "--", {name!r}, there])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A version of RabbitMQ, and the Debian suite that has it."""

    version: str
    suite: str


RELEASES = {
    "3.10": Release(version="3.10.8", suite="bookworm"),
    "4.0": Release(version="4.0.5", suite="trixie"),
}


def broker_specs(names: Sequence[str], release: Release) -> tuple[HostSpec, ...]:
    """Return the hosts on which a ``Cluster`` of these names can be made."""
    image = Image(suite=release.suite, layers=(RABBITMQ,))
    return tuple(HostSpec(name=name, image=image) for name in names)


class Broker:
    """One RabbitMQ node on a lab host, with TLS and plain listeners, the HTTP API and its own metrics."""

    def __init__(self, host: Host, keyring_config: Path, directory: Path, password: Secret) -> None:
        self.host = host
        self.name = f"rabbit@{host.name}"
        self.admin_user = ADMIN_USER
        self.admin_password = password
        self.admin_password_file = directory / "admin.password"
        self.port = AMQP
        script = CTL_SCRIPT.format(python=sys.executable, ctl=CTL, config=str(keyring_config), name=host.name)
        write_private(directory / f"rabbitmqctl-{host.name}", script, mode=0o700)
        #: the argv that starts rabbitmqctl on the host, over SSH
        self.rabbitmqctl = (str(directory / f"rabbitmqctl-{host.name}"),)

    @property
    def url(self) -> str:
        """The AMQP URL, without user or password."""
        return f"amqp://{self.host.address}:{AMQP}"

    @property
    def tls_url(self) -> str:
        """The AMQP URL over TLS; the certificate is for the host's name and address."""
        return f"amqps://{self.host.address}:{AMQPS}"

    @property
    def management_url(self) -> str:
        """The HTTP API's URL, without user or password."""
        return f"http://{self.host.address}:{MANAGEMENT}"

    @property
    def management_tls_url(self) -> str:
        """The HTTP API's URL over TLS."""
        return f"https://{self.host.address}:{MANAGEMENT_TLS}"

    def ctl(self, *arguments: str, timeout_seconds: float = 60) -> str:
        """Run rabbitmqctl at the host's console and return its stdout. Raises LabFailed."""
        return self.host.console(*CTL, *arguments, timeout_seconds=timeout_seconds)

    def api(self, path: str) -> Any:
        """Return the decoded answer to a GET of the HTTP API; None when there is none."""
        login = (self.admin_user, self.admin_password.reveal())
        try:
            answer = requests.get(f"{self.management_url}/api/{path}", auth=login, timeout=5)
        except requests.RequestException:
            return None
        return answer.json() if answer.ok else None

    def running_nodes(self) -> frozenset[str]:
        """Return the nodes that this one sees running; none when it does not answer."""
        rows = self.api("nodes") or []
        return frozenset(row["name"] for row in rows if row.get("running"))

    def kill(self) -> None:
        """Kill the broker at once; its host goes on, and the broker stays dead until ``restart``."""
        self.host.console("systemctl", "kill", "--signal=KILL", UNIT)
        await_that(lambda: not self.is_active, f"{self.name} should be dead", timeout_seconds=30)

    def restart(self) -> None:
        """Start the broker, stopping it first where it runs, and return when it serves clients."""
        self.host.console("systemctl", "reset-failed", UNIT, check=False)
        try:
            self.host.console("systemctl", "restart", UNIT, timeout_seconds=TOGETHER_SECONDS)
        except LabFailed:
            self.revive()
        self.await_serving()

    def revive(self) -> None:
        """Kill the broker and start it: one that hangs (see ``come_together``) does not stop when asked."""
        self.host.console("systemctl", "kill", "--signal=KILL", UNIT, check=False)
        self.host.console("systemctl", "stop", UNIT, timeout_seconds=HEALTH_SECONDS)
        self.host.console("systemctl", "reset-failed", UNIT, check=False)
        self.host.console("systemctl", "start", UNIT, timeout_seconds=HEALTH_SECONDS)
        self.await_serving()

    def await_serving(self) -> None:
        """Return once the HTTP API says that this node runs. Raises LabFailed."""
        await_that(
            lambda: self.name in self.running_nodes(),
            f"{self.name} should serve",
            timeout_seconds=HEALTH_SECONDS,
        )

    def memory_alarm(self) -> AbstractContextManager[None]:
        """Raise the memory alarm: the broker reads nothing more from publishers."""
        return broker_limits.memory_alarm(self)

    def disk_alarm(self) -> AbstractContextManager[None]:
        """Raise the disk alarm, as when the disk is nearly full."""
        return broker_limits.disk_alarm(self)

    def consumer_timeout(self, seconds: float) -> AbstractContextManager[None]:
        """Close channels that keep a message unacknowledged for longer."""
        return broker_limits.consumer_timeout(self, seconds)

    @property
    def has_paused(self) -> bool:
        """Tell whether the node waits, with its listeners closed, for a majority of its cluster.

        An HTTP API without an answer says less: it has none while the node still looks who is there, for as
        long as 14 s. If the network heals in that time, the node neither pauses nor comes together with the
        others again.
        """
        return not self.host.console("ss", "-Hltn", f"sport = :{AMQP}").strip()

    def await_paused(self) -> None:
        """Return once the node has found itself in a minority and paused. Raises LabFailed."""
        await_that(lambda: self.has_paused, f"{self.name} should pause", timeout_seconds=PAUSE_SECONDS)

    @property
    def is_active(self) -> bool:
        """Tell whether systemd thinks that the broker runs, or is about to."""
        state = self.host.console("systemctl", "is-active", UNIT, check=False).strip()
        return state not in {"failed", "inactive"}


class Cluster:
    """One node or several that form a cluster, with a certificate authority of their own."""

    def __init__(self, lab: Lab, names: Sequence[str], directory: Path) -> None:
        """Declare the nodes' files on the hosts ``names``, which are off; ``directory`` keeps secrets."""
        self.names = tuple(names)
        self.authority = Authority.create(directory)
        self._lab = lab
        password = Secret(random.token_urlsafe(18))
        cookie = random.token_hex(20)
        write_private(directory / "admin.password", password.reveal() + "\n")
        self._nodes: dict[str, Broker] = {}
        for name in self.names:
            host = lab[name]
            issued = self.authority.issue(name, host.address)
            identity = NodeIdentity(
                cluster=self.names,
                cookie=cookie,
                admin_password=password.reveal(),
                authority=self.authority.cert.read_bytes(),
                certificate=issued.cert.read_bytes(),
                key=issued.key.read_bytes(),
            )
            host.declare(*node_files(identity))
            self._nodes[name] = Broker(host, lab.keyring.config, directory, password)

    def __getitem__(self, name: str) -> Broker:
        """Return the node on host ``name``."""
        return self._nodes[name]

    @property
    def nodes(self) -> tuple[Broker, ...]:
        """Every node, running or not."""
        return tuple(self._nodes.values())

    def boot(self) -> None:
        """Switch on the hosts that are off and return once all nodes see each other. Raises LabFailed."""
        self._lab.boot(*self.names, timeout_seconds=BOOT_SECONDS)
        self.await_healthy()

    @property
    def is_healthy(self) -> bool:
        """Tell whether every node sees every node running."""
        wanted = frozenset(node.name for node in self.nodes)
        return all(node.running_nodes() == wanted for node in self.nodes)

    def await_healthy(self, *, timeout_seconds: float = HEALTH_SECONDS) -> None:
        """Return once every node sees every node running. Raises LabFailed with what each one sees."""
        try:
            await_that(
                lambda: self.is_healthy, "the cluster should be whole", timeout_seconds=timeout_seconds
            )
        except LabFailed as error:
            seen = "; ".join(
                f"{node.name} sees {', '.join(sorted(node.running_nodes())) or 'nothing'}"
                for node in self.nodes
            )
            raise LabFailed(f"{error.message}: {seen}") from error

    def mend(self) -> None:
        """Undo whatever was done to the nodes and their hosts, and return once the cluster is whole."""
        self._lab.boot(*self.names, timeout_seconds=BOOT_SECONDS)
        if not self.is_healthy:
            self._lab.heal(*self.names)
            for node in self.nodes:
                if not node.is_active:
                    node.restart()
        self.come_together()

    def come_together(self) -> None:
        """Return once nodes that can reach each other again are one cluster.

        Not every node that was cut off comes back by itself, and such a one is killed and started, as its
        operator would have to. RabbitMQ 3.10.8 hangs for ever now and then on Erlang 25.1 and later, as in
        Debian 12 (rabbitmq-server#6034); and any release stays on its own when it is reached again before it
        has paused.
        """
        try:
            self.await_healthy(timeout_seconds=TOGETHER_SECONDS)
        except LabFailed:
            for node in self._apart():
                node.revive()
            self.await_healthy()

    def _apart(self) -> tuple[Broker, ...]:
        """Return the nodes that see fewer than half of the cluster, themselves counted."""
        return tuple(node for node in self.nodes if len(node.running_nodes()) <= len(self.nodes) // 2)

    def partition(self, minority: Sequence[str], *with_minority: str) -> None:
        """Cut ``minority`` (and the hosts ``with_minority``) off from the other nodes only."""
        majority = [name for name in self.names if name not in minority]
        self._lab.partition((*minority, *with_minority), majority)

    def heal(self, *with_minority: str) -> None:
        """Undo ``partition`` and return once the cluster is whole."""
        self._lab.heal(*self.names, *with_minority)
        self.come_together()
