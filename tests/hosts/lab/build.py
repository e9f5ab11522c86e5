"""How is a layer of an image made?

Every step runs in namespaces of its own: its mounts, and whatever a package's scripts started, end with it,
however it ends. Nothing is started on this machine, and nothing of this machine is changed.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.hosts.lab.mirror import apt_configuration, apt_options, mirror
from tests.hosts.lab.namespaces import ALONE, MORTAL, Overlay
from tests.hosts.lab.system import LabFailed, call, program_environ
from tests.hosts.lab.wheels import download_wheels

BUILD_SECONDS = 900
#: what a package's scripts ask before they start a daemon
POLICY = "#!/bin/sh\nexit 101\n"
VENV = "/opt/fleet"
ARCHIVE = "/srv/packages"
#: a host is not expected to outlive a real loss of power, so dpkg need not wait for its disk
HASTE = "force-unsafe-io\n"
#: all that a host's apt knows of
SOURCES = f"deb [trusted=yes] file:{ARCHIVE} ./\n"


def build_base(suite: str, packages: tuple[str, ...], work: Path) -> None:
    """Make ``work/tree`` a minimal Debian of ``suite`` that boots."""
    tree = work / "tree"
    include = f"--include={','.join(packages)}"
    argv = ("debootstrap", "--variant=minbase", include, suite, str(tree), mirror())
    _run((*MORTAL, *ALONE, *argv), work)
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    # Each host has an identity of its own.
    (tree / "etc/machine-id").unlink()
    (tree / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    (tree / "var/log/journal").mkdir(exist_ok=True)
    _forget_downloads(tree)
    _run((*MORTAL, *ALONE, "chroot", str(tree), "systemctl", "enable", "systemd-networkd.service"), work)


def build_packages(packages: tuple[str, ...], lowers: tuple[Path, ...], work: Path) -> None:
    """Make ``work/tree`` what installing ``packages`` adds to the layers ``lowers`` (topmost first)."""
    tree = work / "tree"
    overlay = _overlay(lowers, work)
    policy = tree / "usr/sbin/policy-rc.d"
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.write_text(POLICY, encoding="utf-8")
    policy.chmod(0o755)
    _apt_install(packages, overlay, work)
    policy.unlink()
    _forget_downloads(tree)


def offer_packages(packages: tuple[str, ...], lowers: tuple[Path, ...], work: Path) -> None:
    """Make ``work/tree`` all that ``packages`` need, as the only archive that apt knows."""
    tree = work / "tree"
    overlay = _overlay(lowers, work)
    _apt_install(packages, overlay, work, "--download-only")
    archive = tree / ARCHIVE.lstrip("/")
    archive.mkdir(parents=True)
    found = sorted((tree / "var/cache/apt/archives").glob("*.deb"))
    index = "\n".join(_entry(package.rename(archive / package.name)) for package in found)
    (archive / "Packages").write_text(index, encoding="utf-8")
    for path, text in (("etc/apt/sources.list", SOURCES), ("etc/dpkg/dpkg.cfg.d/haste", HASTE)):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text, encoding="utf-8")
    _forget_downloads(tree)


def build_python(requirements: str, lowers: tuple[Path, ...], work: Path) -> None:
    """Make ``work/tree`` a virtual environment at /opt/fleet with ``requirements``, installed from wheels."""
    overlay = _overlay(lowers, work)
    wheels = work / "wheels"
    download_wheels(requirements, wheels)
    shipped = work / "tree/opt/wheels"
    shipped.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(wheels, shipped)
    offline = ("--no-index", "--find-links", "/opt/wheels", "--require-hashes")
    pip = (f"{VENV}/bin/pip", "install", "--no-cache-dir", "--no-deps", "--quiet", *offline)
    _run(overlay.within("python3", "-m", "venv", VENV), work)
    _run(overlay.within(*pip, "--requirement", "/opt/wheels/requirements.txt"), work)
    shutil.rmtree(shipped)
    shutil.rmtree(wheels)


def _apt_install(packages: tuple[str, ...], overlay: Overlay, work: Path, *options: str) -> None:
    configuration = work / "apt.conf"
    configuration.write_text(apt_configuration(), encoding="utf-8")
    apt = ("env", f"APT_CONFIG={configuration}", "apt-get", *apt_options(overlay.mounted))
    _run(overlay.beside(*apt, "update"), work)
    _run(overlay.beside(*apt, "install", "-y", *options, "--", *packages), work)


def _entry(package: Path) -> str:
    """Return what an archive's index says of one package."""
    fields = call("dpkg-deb", "--field", str(package))
    content = package.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return f"{fields}Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {digest}\n"


def _overlay(lowers: tuple[Path, ...], work: Path) -> Overlay:
    made = Overlay(lowers=lowers, upper=work / "tree", work=work / "overlay", mounted=work / "mounted")
    made.create()
    return made


def _run(argv: tuple[str, ...], work: Path) -> None:
    log = work / "build.log"
    with log.open("ab") as output:
        try:
            subprocess.run(
                argv,
                env=program_environ(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                timeout=BUILD_SECONDS,
                check=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            words = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
            raise LabFailed(f"an image could not be built:\n{words}", hint=f"the whole log: {log}") from error


def _forget_downloads(tree: Path) -> None:
    for path in (tree / "var/cache/apt", tree / "var/lib/apt/lists"):
        shutil.rmtree(path, ignore_errors=True)
