"""How are the hosts of a fleet reached from where its operator sits?"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """What holds for every host unless its own table says otherwise; None: as `~/.ssh/config` says."""

    #: who logs in
    user: str | None = None
    port: int | None = None
    #: path of the private key; may begin with ``~``
    key: str | None = None
    #: hosts to go through, as for `ssh -J`; ``none`` for no host
    jump: str | None = None
    #: path of the fleet's own known_hosts file, beside the fleet file unless it says otherwise
    known_hosts: str = "known_hosts"
    connect_timeout_seconds: float = 10.0
    #: hosts that are dealt with at once
    parallel: int = 32
    #: longest that one host may take
    deadline_seconds: int = 600
