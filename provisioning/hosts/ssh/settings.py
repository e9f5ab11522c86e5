"""What holds for every connection: which files say whom to trust, and how long is too long?"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSettings:
    """What all connections of a run have in common; paths may begin with ``~``."""

    #: the fleet's own known_hosts file; where it knows a host, no other file is asked
    known_hosts: str | None = None
    #: OpenSSH's configuration; the first that says something counts
    config_files: tuple[str, ...] = ("~/.ssh/config", "/etc/ssh/ssh_config")
    #: further known_hosts files, where the configuration names none
    user_known_hosts: tuple[str, ...] = (
        "~/.ssh/known_hosts",
        "~/.ssh/known_hosts2",
        "/etc/ssh/ssh_known_hosts",
    )
    #: for the connection, for the host's greeting and for the exchange of keys (s each)
    connect_timeout_seconds: float = 10.0
    #: for the login, which may wait for other services of the host (s)
    login_timeout_seconds: float = 30.0
    #: for a further program on an open connection to begin (s)
    begin_timeout_seconds: float = 30.0
    #: without other traffic a question is asked this often (s)
    keepalive_seconds: float = 5.0
    #: a host that said nothing for so long, though asked, is gone (s)
    silence_seconds: float = 20.0
    #: most that a program may print on each of its streams (bytes)
    most_output_bytes: int = 64 * 1024 * 1024
