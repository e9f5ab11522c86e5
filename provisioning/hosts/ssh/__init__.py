"""How is a host reached over SSH? The only room that knows Fabric, and Paramiko below it.

Fabric opens connections, also through other hosts. It accepts every host key and waits without end in some
places, so what a connection trusts, how long it waits and how bytes flow is decided here.
"""

from provisioning.hosts.ssh.door import SshDoor, SshRunner
from provisioning.hosts.ssh.settings import SshSettings

__all__ = ["SshDoor", "SshRunner", "SshSettings"]
