"""What can an image be made of? Words only."""

from dataclasses import dataclass

from tests.hosts.lab.system import SUITES, LabFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What is put on top of the layers below."""

    name: str
    #: Debian packages
    packages: tuple[str, ...] = ()
    #: whether these are laid on the disk for apt to install, and not installed
    is_offered: bool = False
    #: a pip requirements file with hashes, installed into a virtual environment at /opt/fleet
    requirements: str = ""


BASE = Layer(
    name="base",
    packages=(
        *("systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "python3-venv"),
        *("sudo", "iproute2", "rsync", "procps"),
    ),
)
RABBITMQ = Layer(name="rabbitmq", packages=("rabbitmq-server",))
#: what Ansible's module `apt` needs, as most machines have it
PYTHON_APT = Layer(name="python-apt", packages=("python3-apt",))
OFFERED_RABBITMQ = Layer(name="offered-rabbitmq", packages=RABBITMQ.packages, is_offered=True)
PROMETHEUS = Layer(name="prometheus", packages=("prometheus",))
POSTFIX = Layer(name="postfix", packages=("postfix",))
POSTGRES = Layer(name="postgres", packages=("postgresql",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A suite and the layers above its base, lowest first."""

    suite: str
    layers: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            raise LabFailed(f"no images of Debian `{self.suite}`", hint=f"one of: {', '.join(SUITES)}")
