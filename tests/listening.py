"""Who listens on which address? Read from the kernel, so that no program has to be installed."""

import ipaddress
from pathlib import Path

LISTEN = "0A"


def listening_addresses() -> set[tuple[str, int]]:
    """Return (address, port) of every listening TCP socket of this machine."""
    found: set[tuple[str, int]] = set()
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN:
                found.add(_address(fields[1]))
    return found


def _address(text: str) -> tuple[str, int]:
    # The kernel prints each 32-bit word of an address in the machine's byte order.
    digits, port = text.split(":")
    words = [bytes.fromhex(digits[start : start + 8])[::-1] for start in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(b"".join(words))), int(port, 16)
