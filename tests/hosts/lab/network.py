"""How are the hosts of a lab wired, and how is a cable pulled?

One bridge per lab, with an address for the control side; hosts have no route to anywhere else. Addresses
come from 198.18.0.0/15, which RFC 2544 sets aside for test networks, so that no real network is ever
shadowed.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.hosts.lab.system import LabFailed, await_that, call

SLOTS = range(200)
FIRST_HOST = 11
LINK_SECONDS = 20


class Network:
    """The bridge of the lab in ``slot``, and one cable for each of its hosts."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.bridge = f"flab{slot}"
        #: this machine's own address on the bridge
        self.control_address = f"198.18.{slot}.1"

    def address(self, index: int) -> str:
        """Return the address of the lab's host number ``index`` (0, 1, …)."""
        return f"198.18.{self.slot}.{FIRST_HOST + index}"

    def machine(self, index: int) -> str:
        """Return what nspawn calls the lab's host number ``index``: short, for it names the cable, too."""
        return f"{self.bridge}-{FIRST_HOST + index}"

    def cable(self, index: int) -> str:
        """Return the interface of this machine that ends in the lab's host number ``index``."""
        return f"vb-{self.machine(index)}"

    def create(self, owner: Path) -> None:
        """Make the bridge, marked as that of ``owner``. Raises LabFailed when there is one of that name."""
        call("ip", "link", "add", "name", self.bridge, "address", mark(owner), "type", "bridge")
        call("ip", "address", "add", f"{self.control_address}/24", "dev", self.bridge)
        call("ip", "link", "set", "dev", self.bridge, "up")

    def is_owned_by(self, owner: Path) -> bool:
        """Tell whether there is a bridge, and it is marked as that of ``owner``."""
        return hardware_address(self.bridge) == mark(owner)

    def delete(self) -> None:
        """Remove the bridge and whatever cables are left."""
        for name in interfaces():
            if name == self.bridge or name.startswith(f"vb-{self.bridge}-"):
                _delete(name)

    def unplug(self, index: int) -> None:
        """Pull the cable: the host sees its carrier go."""
        call("ip", "link", "set", "dev", self.cable(index), "down")

    def silence(self, index: int) -> None:
        """Lose every packet beyond the cable, as behind a dead switch: the host sees nothing but silence."""
        call("ip", "link", "set", "dev", self.cable(index), "nomaster")

    def plug(self, index: int) -> None:
        """Undo ``unplug`` and ``silence``."""
        call("ip", "link", "set", "dev", self.cable(index), "up", "master", self.bridge)

    def is_plugged(self, index: int) -> bool:
        """Tell whether packets pass the cable."""
        states = {str(row["ifname"]): row for row in _links() if row.get("master") == self.bridge}
        return self.cable(index) in states and "UP" in states[self.cable(index)]["flags"]

    def drop_cable(self, index: int) -> None:
        """Remove the cable of a host that is off; the kernel would do it, some seconds later."""
        _delete(self.cable(index))
        await_that(
            lambda: self.cable(index) not in interfaces(),
            f"cable {self.cable(index)} should go",
            timeout_seconds=LINK_SECONDS,
        )


def mark(owner: Path) -> str:
    """Return the hardware address for the bridge of the lab in ``owner``: a mark made with it at once."""
    digest = hashlib.sha256(str(owner).encode()).hexdigest()
    # The second bit of the first byte says that nobody assigned it.
    return ":".join(("02", *(digest[at : at + 2] for at in range(0, 10, 2))))


def hardware_address(interface: str) -> str | None:
    """Return the hardware address of ``interface``, if there is one of that name."""
    try:
        return Path("/sys/class/net", interface, "address").read_text(encoding="ascii").strip()
    except OSError:
        return None


def interfaces() -> frozenset[str]:
    """Return the names of this machine's network interfaces."""
    return frozenset(path.name for path in Path("/sys/class/net").iterdir())


def subnet_is_free(slot: int, addresses: str) -> bool:
    """Tell whether ``addresses`` (what `ip -o -4 address` prints) has none in the network of ``slot``."""
    return f" 198.18.{slot}." not in addresses


def _links() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(call("ip", "-json", "link"))
    return rows


def _delete(name: str) -> None:
    try:
        call("ip", "link", "delete", "dev", name)
    except LabFailed:
        # Gone between the look and the call: the kernel removes a dead host's cable by itself.
        if name in interfaces():
            raise
