"""How does the control machine log in to the hosts of a lab, and know that it is them?

Every key is made with the lab and ends with it. The hosts' own keys are made here, too, so that known_hosts
is complete before the first host boots and nothing is ever accepted on first sight.
"""

from dataclasses import dataclass
from pathlib import Path

from tests.hosts.lab.disk import File
from tests.hosts.lab.system import call

CONFIGURATION = """\
Host {names}
  User root
  IdentityFile {directory}/id_ed25519
  IdentitiesOnly yes
  UserKnownHostsFile {directory}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 10
  ServerAliveInterval 5
  ServerAliveCountMax 3
  LogLevel ERROR

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The SSH files of a lab: ``id_ed25519``, ``known_hosts`` and ``config``, all below ``directory``."""

    directory: Path

    @property
    def config(self) -> Path:
        """What `ssh -F` takes; it knows the hosts by name."""
        return self.directory / "config"

    @property
    def identity(self) -> Path:
        """The control machine's private key."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The public keys of the hosts, by name and address."""
        return self.directory / "known_hosts"

    def create(self, addresses: dict[str, str]) -> None:
        """Make every key and file for the hosts in ``addresses`` (by name)."""
        self.directory.mkdir(mode=0o700)
        _make_key(self.identity, "control")
        known = []
        for name, address in addresses.items():
            _make_key(self.directory / f"host-{name}", name)
            public = (self.directory / f"host-{name}.pub").read_text(encoding="ascii").split()[:2]
            known.append(f"{name},{address} {' '.join(public)}\n")
        self.known_hosts.write_text("".join(known), encoding="ascii")
        common = CONFIGURATION.format(names=" ".join(addresses), directory=self.directory)
        each = [f"Host {name}\n  HostName {address}\n\n" for name, address in addresses.items()]
        self.config.write_text("".join((*each, common)), encoding="ascii")

    def files(self, name: str) -> tuple[File, ...]:
        """Return what host ``name`` needs to be logged in to: its own key, and whom to let in."""
        key = (self.directory / f"host-{name}").read_bytes()
        public = (self.directory / f"host-{name}.pub").read_bytes()
        ours = self.identity.with_suffix(".pub").read_bytes()
        return (
            File(path="/etc/ssh/ssh_host_ed25519_key", content=key, mode=0o600),
            File(path="/etc/ssh/ssh_host_ed25519_key.pub", content=public),
            File(path="/root/.ssh/authorized_keys", content=ours, mode=0o600),
        )


def _make_key(path: Path, comment: str) -> None:
    call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
