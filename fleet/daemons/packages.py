"""Where are the programs of a Debian package, when nothing may be installed on this machine?

Installed programs win. Otherwise the package and those of its dependencies that the machine lacks are
downloaded as an ordinary user (apt verifies them as always) and unpacked below a cache directory.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import FleetError

Report = Callable[[str], None]

TOOLS = ("apt-get", "apt-config", "dpkg")
LOCK_SECONDS = 600
COMMAND_SECONDS = 300


class PackagesMissing(FleetError):
    """A daemon's Debian packages are neither installed nor to be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """A directory tree that holds a package's programs: ``/`` when they are installed."""

    root: Path

    def path(self, relative: str) -> Path:
        """Return the file that would be installed as ``/relative``."""
        return self.root / relative

    def search_path(self) -> str:
        """Return the ``PATH`` under which these programs find each other and the system's."""
        system = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        return system if self.root == Path("/") else f"{self.root}/usr/bin:{system}"

    def library_environ(self) -> dict[str, str]:
        """Return the variables that make unpacked shared libraries visible; empty when installed."""
        if self.root == Path("/"):
            return {}
        found = sorted(self.root.glob("usr/lib/*-linux-gnu*")) + sorted(self.root.glob("lib/*-linux-gnu*"))
        return {"LD_LIBRARY_PATH": ":".join(map(str, found))} if found else {}


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return where unpacked packages are kept: ``$FLEET_CACHE``, else the user's cache directory."""
    if environ.get("FLEET_CACHE"):
        return Path(environ["FLEET_CACHE"], "packages")
    if environ.get("XDG_CACHE_HOME"):
        return Path(environ["XDG_CACHE_HOME"], "fleet", "packages")
    return Path.home() / ".cache" / "fleet" / "packages"


def provide(package: str, *, marker: str, environ: Mapping[str, str], report: Report) -> Programs:
    """Return the tree in which ``marker`` (a path without its leading slash) exists, fetching it if need be.

    ``report`` is told what takes time. Raises PackagesMissing when this is not Debian, no mirror answers, or
    the package does not hold ``marker``.
    """
    if Path("/", marker).exists():
        return Programs(root=Path("/"))
    cache = cache_directory(environ)
    target = cache / f"{package}-{_release()}"
    if not (target / marker).exists():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f".{target.name}.lock", report):
            if not (target / marker).exists():
                _fetch(package, target, environ, report)
    if not (target / marker).exists():
        raise PackagesMissing(f"Debian package `{package}` does not hold /{marker}", hint=f"rm -r {target}")
    return Programs(root=target)


def _release() -> str:
    """Return what a package's content depends on: distribution, release and architecture."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise PackagesMissing(
            f"private daemons come from Debian packages, and this machine has no `{missing[0]}`",
            hint="run it on Debian, or install RabbitMQ, Redis and Prometheus yourself",
        )
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    name = fields.get("VERSION_CODENAME") or fields.get("ID", "debian")
    return f"{name}-{os.uname().machine}".replace('"', "")


@contextmanager
def _locked(path: Path, report: Report) -> Iterator[None]:
    """Hold an exclusive lock, so that two processes never unpack the same package at once."""
    deadline = time.monotonic() + LOCK_SECONDS
    told = False
    with path.open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PackagesMissing(f"another process holds {path} for too long") from None
            if not told:
                report(f"waiting for another process that unpacks {path.name.strip('.')}")
                told = True
            time.sleep(0.1)
        yield


def _fetch(package: str, target: Path, environ: Mapping[str, str], report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{package}-", dir=target.parent) as name:
        work = Path(name)
        report(f"fetching Debian package `{package}` and what it needs (once, into {target})")
        _download(package, work, environ, report)
        tree = work / "tree"
        tree.mkdir()
        archives = sorted((work / "archives").glob("*.deb"))
        for archive in archives:
            _run(("dpkg", "-x", str(archive), str(tree)), cwd=work, environ=environ)
        _relocate_erlang(tree)
        (tree / "packages.txt").write_text("".join(f"{archive.name}\n" for archive in archives))
        if target.exists():
            shutil.rmtree(target)
        # Whoever sees the target sees all of it.
        tree.rename(target)
    report(f"unpacked {len(archives)} packages into {target}")


def _download(package: str, work: Path, environ: Mapping[str, str], report: Report) -> None:
    """Download into ``work/archives``: with the machine's package lists, or with lists of our own."""
    archives = work / "archives"
    archives.mkdir()
    try:
        _download_with(package, archives, environ)
    except PackagesMissing:
        report("the machine's package lists are missing or old: reading them again, privately")
        _download_afresh(package, work, environ)


def _download_afresh(package: str, work: Path, environ: Mapping[str, str]) -> None:
    private = dict(environ) | {"APT_CONFIG": str(_private_apt(work, environ))}
    # A mirror that does not answer is a warning to apt: its exit code stays 0.
    warned = _run(("apt-get", "-q", "update"), cwd=work, environ=private).stderr
    try:
        _download_with(package, work / "archives", private)
    except PackagesMissing as error:
        unreached = [line for line in warned.splitlines() if "Failed to fetch" in line]
        raise PackagesMissing("\n".join([error.message, *unreached[:1]]), hint=error.hint) from error


def _download_with(package: str, archives: Path, environ: Mapping[str, str]) -> None:
    simulate = ("apt-get", "install", "--simulate", "--no-install-recommends", package)
    wanted = missing_packages(_run(simulate, cwd=archives, environ=environ).stdout)
    # As root, apt drops to a user of its own that cannot write into a private directory.
    options = ("-q", "-o", "APT::Sandbox::User=root")
    _run(("apt-get", "download", *options, *(wanted or (package,))), cwd=archives, environ=environ)


def missing_packages(simulation: str) -> tuple[str, ...]:
    """Return ``name=version`` of each package that ``apt-get install --simulate`` would install.

    >>> missing_packages("Inst socat (1.7.4.4-2 Debian:12.15/oldstable [amd64])")
    ('socat=1.7.4.4-2',)
    """
    found = []
    for line in simulation.splitlines():
        words = line.split()
        if len(words) >= 3 and words[0] == "Inst":
            version = next(word for word in words[2:] if word.startswith("("))
            found.append(f"{words[1]}={version[1:]}")
    return tuple(found)


def _private_apt(work: Path, environ: Mapping[str, str]) -> Path:
    """Write an apt configuration with the machine's sources and keys, but with a state of its own.

    The machine's hooks are left out: they refresh system-wide caches after an update.
    """
    for part in ("lists/partial", "cache/archives/partial", "none"):
        (work / part).mkdir(parents=True)
    dump = _run(("apt-config", "dump"), cwd=work, environ=environ).stdout.splitlines()
    hooks = ("APT::Update::Post-Invoke", "APT::Update::Pre-Invoke", "DPkg::")
    kept = [line for line in dump if not line.startswith(hooks)]
    own = {
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work / "cache",
        "Dir::Cache::archives": work / "cache" / "archives",
        "Dir::Etc::main": work / "none" / "apt.conf",
        "Dir::Etc::parts": work / "none",
        "APT::Sandbox::User": "root",
    }
    path = work / "apt.conf"
    path.write_text("\n".join([*kept, *(f'{key} "{value}";' for key, value in own.items())]) + "\n")
    return path


def _run(argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a program of apt or dpkg to a good end; otherwise its own reason goes into the error."""
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env=dict(environ) | {"LC_ALL": "C", "PATH": environ.get("PATH", os.defpath)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PackagesMissing(f"`{' '.join(argv[:2])}` took longer than {COMMAND_SECONDS} s") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg"))]
        reason = " ".join(said) or done.stderr[-300:]
        raise PackagesMissing(
            f"`{' '.join((*argv[:2], argv[-1]))}` failed: {reason}",
            hint="check that this machine reaches its Debian mirror: `apt-get update`",
        )
    return done


def _relocate_erlang(tree: Path) -> None:
    """Make an unpacked Erlang find itself wherever it lies: its start script holds an absolute path."""
    script = tree / "usr/lib/erlang/bin/erl"
    if script.exists():
        here = '"$(dirname "$(dirname "$(readlink -f "$0")")")"'
        text = script.read_text(encoding="utf-8")
        script.write_text(text.replace("ROOTDIR=/usr/lib/erlang", f"ROOTDIR={here}"), encoding="utf-8")
