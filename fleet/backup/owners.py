"""May this process give files to others? Then rsync, which looks at the user only, must be told.

A worker need not be root to keep the owners of what it copies: its unit may give it what that takes.
"""

import os
from pathlib import Path

#: of CAP_CHOWN and CAP_FOWNER, https://man7.org/linux/man-pages/man7/capabilities.7.html
_NEEDED = 1 << 0 | 1 << 3


def keeps_owners(status: str) -> bool:
    """Tell whether a process with this /proc/PID/status may give files away and then still change them."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return int(value, 16) & _NEEDED == _NEEDED
    return False


def must_say_so() -> bool:
    """Tell whether this process may, though it is not root."""
    return os.geteuid() != 0 and keeps_owners(Path("/proc/self/status").read_text(encoding="ascii"))
