"""What may stand in the table that says how hosts are reached?"""

from typing import Annotated

from pydantic import Field

from fleet.config.schema.table import Table
from fleet.config.values import Duration, JumpHosts, Line, LoginName, Port, Timeout


class SshTable(Table):
    """How `fleet hosts` and `fleet provision` reach the hosts; what is left out is as in `~/.ssh/config`."""

    user: LoginName | None = None
    """Who logs in: root, or a user who may become root with `sudo`."""
    port: Port | None = None
    """TCP port of sshd."""
    key: Line | None = None
    """Path of the private key, such as `~/.ssh/fleet`; relative: beside the fleet file. No other is tried."""
    jump: JumpHosts | None = None
    """Hosts to go through, as for `ssh -J`: `[user@]host[:port]`, several with commas, or `none`."""
    known_hosts: Line = "known_hosts"
    """The fleet's own known_hosts file, which `fleet hosts trust` writes; beside the fleet file."""
    connect_timeout: Timeout = 10.0
    """How long a host may take to answer."""
    parallel: Annotated[int, Field(ge=1, le=256)] = 32
    """Hosts that are dealt with at once."""
    deadline: Duration = 600
    """Longest that one host may take, before it is given up."""
