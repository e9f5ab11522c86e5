"""From where does this machine take its Debian packages, and how does a tree of another suite take its own?

The mirror is the one that apt uses here, with apt's own settings for reaching it (proxies, certificates).
"""

from pathlib import Path

from tests.hosts.lab.system import LabFailed, call, machine_suite


def mirror() -> str:
    """Return the address of the archive that this machine installs its own release from. Raises LabFailed."""
    own = machine_suite()
    listed = call("apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)")
    for line in listed.splitlines():
        codename, component, address = line.split(maxsplit=2)
        if (codename, component) == (own, "main"):
            return address
    raise LabFailed(
        f"apt has no source for Debian `{own or '?'}` main, from which images could be built",
        hint="labs are built on Debian 12 or 13, from the mirror in /etc/apt",
    )


def apt_options(tree: Path) -> tuple[str, ...]:
    """Return the options under which this machine's apt installs into ``tree``, running dpkg inside it."""
    return (
        "-q",
        *("-o", f"Dir={tree}"),
        *("-o", f"DPkg::Chroot-Directory={tree}"),
        *("-o", "APT::Sandbox::User=root"),
        *("-o", "APT::Install-Recommends=false"),
    )


def apt_configuration() -> str:
    """Return an apt.conf with how this machine fetches, and none of what its apt does besides (hooks)."""
    dump = call("apt-config", "dump").splitlines()
    kept = [line for line in dump if line.startswith("Acquire::")]
    # Named so, nothing is read from the machine's own directories.
    own = ('Dir::Etc::main "/dev/null";', 'Dir::Etc::parts "/dev/null";')
    return "\n".join((*kept, *own)) + "\n"
