"""Is a host drained: are its workers not to run, until an operator says so? A file there remembers. Pure."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """That a host was drained, by whom and why."""

    by: str
    #: RFC 3339
    since: str
    reason: str

    @property
    def told(self) -> str:
        """For people."""
        return f"drained by {self.by} at {self.since}" + (f": {self.reason}" if self.reason else "")


def mark(by: str, reason: str, *, now: datetime) -> bytes:
    """Return the file that says so."""
    drained = Drained(by=by, since=now.strftime("%Y-%m-%d %H:%M:%SZ"), reason=reason)
    return (json.dumps(asdict(drained)) + "\n").encode()


def read_mark(content: bytes) -> Drained:
    """Return what the file says; whatever it says, the host is drained."""
    try:
        found = json.loads(content)
        return Drained(by=str(found["by"]), since=str(found["since"]), reason=str(found["reason"]))
    except (ValueError, KeyError, TypeError):
        return Drained(by="?", since="?", reason="the file that says so cannot be read")
