"""How is a host reached: at which address, as whom, through which others?"""

import re
from dataclasses import dataclass

#: what an operator writes for "through no other host"
DIRECT = "none"
_JUMP = re.compile(
    r"(?:(?P<user>[^@\s,\[\]:]+)@)?"
    r"(?:\[(?P<bracketed>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One host on the way; what is None is as `~/.ssh/config` says, else as OpenSSH does by default."""

    #: what messages call it
    name: str
    #: DNS name, IP address or a name of `~/.ssh/config`
    address: str
    user: str | None = None
    port: int | None = None
    #: path of the private key; `~` is this user's home
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A host and the way to it."""

    host: Hop
    #: the hosts in between, nearest first; None: as `~/.ssh/config` says
    jumps: tuple[Hop, ...] | None = None


def parse_jumps(text: str) -> tuple[Hop, ...]:
    """Return the hosts in ``[user@]host[:port][,…]``, as for `ssh -J`; none for ``none``.

    Raises ValueError for anything else.
    """
    if text.strip().lower() == DIRECT:
        return ()
    return tuple(_jump(part.strip()) for part in text.split(","))


def _jump(text: str) -> Hop:
    found = _JUMP.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port is not None and not 0 < port < 65536):
        raise ValueError(
            f"must be `[user@]host[:port]`, several with commas between, or `none`, not `{text}`"
        )
    address = found["bracketed"] or found["host"]
    return Hop(name=address, address=address, user=found["user"], port=port)
