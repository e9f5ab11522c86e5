"""What does OpenSSH's configuration add to what the operator said of a host?"""

import getpass
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import paramiko

from provisioning.errors import HostAccessRefused
from provisioning.hosts.known_hosts import SSH_PORT, known_as
from provisioning.hosts.route import DIRECT, Destination, Hop, parse_jumps

#: more hosts in a row are a loop
_MOST_JUMPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A host on the way, with everything that is needed to connect to it."""

    name: str
    host: str
    port: int
    user: str
    #: paths of private keys, to be tried before others
    keys: tuple[str, ...]
    #: whether keys of the agent and `~/.ssh/id_*` are tried, too
    other_keys: bool
    #: its name in known_hosts files
    known_as: str
    #: known_hosts files of the user's; None: the usual ones
    known_hosts: tuple[str, ...] | None
    proxy_command: str | None

    def __str__(self) -> str:
        shown = self.host if self.port == SSH_PORT else known_as(self.host, self.port)
        return f"host `{self.name}`" if shown == self.name else f"host `{self.name}` ({shown})"


def load_config(files: Sequence[str]) -> paramiko.SSHConfig:
    """Return the configuration in ``files``, of which the first that says something counts."""
    config = paramiko.SSHConfig()
    for name in files:
        path = Path(name).expanduser()
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                config.parse(file)
        except FileNotFoundError:
            continue
        except (OSError, paramiko.ConfigParseError) as error:
            raise HostAccessRefused(f"cannot read the SSH configuration {path}: {error}") from error
    return config


def route(destination: Destination, config: paramiko.SSHConfig) -> tuple[Endpoint, ...]:
    """Return every host on the way to ``destination``, nearest first, itself last."""
    found = config.lookup(destination.host.address)
    jumps = destination.jumps
    if jumps is None:
        jumps = _jumps(found.get("proxyjump", DIRECT), destination.host)
    end = _endpoint(destination.host, found)
    # A pattern such as `Host *` makes a jump host jump through itself.
    hops = [hop for hop in jumps if hop.address.lower() not in (destination.host.address, end.host)]
    before = _before_first(hops[0], config) if hops and destination.jumps is None else ()
    way = [*before, *(_endpoint(hop, config.lookup(hop.address)) for hop in hops)]
    if destination.jumps is not None or way:
        end = replace(end, proxy_command=None)
    return (*way, end)


def _before_first(hop: Hop, config: paramiko.SSHConfig) -> tuple[Endpoint, ...]:
    """Return the hosts that `~/.ssh/config` puts before the first jump host."""
    found: list[Endpoint] = []
    seen = {hop.address}
    while len(found) < _MOST_JUMPS:
        hops = _jumps(config.lookup(hop.address).get("proxyjump", DIRECT), hop)
        if not hops or hops[0].address in seen:
            break
        found = [*(_endpoint(each, config.lookup(each.address)) for each in hops), *found]
        hop = hops[0]
        seen.add(hop.address)
    return tuple(found)


def _jumps(text: str, hop: Hop) -> tuple[Hop, ...]:
    try:
        return parse_jumps(text)
    except ValueError as error:
        raise HostAccessRefused(
            f"ProxyJump for host `{hop.name}` in the SSH configuration {error}"
        ) from error


def _endpoint(hop: Hop, found: paramiko.SSHConfigDict) -> Endpoint:
    host = found.get("hostname", hop.address)
    port = hop.port or int(found.get("port", SSH_PORT))
    alias = found.get("hostkeyalias")
    files = found.get("userknownhostsfile")
    return Endpoint(
        name=hop.name,
        host=host,
        port=port,
        user=hop.user or found.get("user") or getpass.getuser(),
        keys=(hop.key,) if hop.key else tuple(found.get("identityfile", ())),
        other_keys=hop.key is None and found.get("identitiesonly", "no") != "yes",
        known_as=alias.lower() if alias else known_as(host, port),
        known_hosts=tuple(files.split()) if files else None,
        proxy_command=found.get("proxycommand"),
    )
