"""Real machines on one machine: Debian hosts with systemd, SSH, an address and a cable to pull.

    with Lab.start("mine", (HostSpec(name="alpha", image=Image(suite="bookworm")),)) as lab:
        lab.boot()
        lab["alpha"].run("systemctl", "is-system-running")
        lab["alpha"].unplug()

A host is a systemd-nspawn container over a cached image. Everything a lab is made of hangs on its owner's
life: the hosts die with the process that started them, their mounts with the hosts; what remains after a
killed owner (a bridge, control groups, a directory) is swept away by the next start. See docs/how-to/lab.md.
"""

from tests.hosts.lab.host import Host, HostSpec
from tests.hosts.lab.lab import Lab
from tests.hosts.lab.layers import Image
from tests.hosts.lab.network import Network
from tests.hosts.lab.system import LabFailed, LabMissing

__all__ = ["Host", "HostSpec", "Image", "Lab", "LabFailed", "LabMissing", "Network"]
