"""How does a release come onto a host, become the current one, and go again? Commands first, then their run.

A release is complete or is not there: its mark is written last, so an installation that was cut off is made
anew. Nothing is fetched from anywhere, and nothing is resolved or built: the archive holds what was installed
where it was made, and is unpacked when its hash is right.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fleet.hosts.cache import Held
from fleet.hosts.paths import CURRENT, INCOMING, OPT, RELEASES, release_directory
from fleet.hosts.performing import QUICK_SECONDS, Step, perform
from fleet.hosts.record import site_packages
from fleet.hosts.target import Target
from provisioning.hosts.runner import Runner

#: file of a release that is there when all of it is
MARK = ".complete"
#: releases that stay, the current one included
KEEP = 3
UPLOAD_SECONDS = 600.0
INSTALL_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A built release."""

    #: ``VERSION-DIGEST``
    name: str
    #: SHA-256 of the archive
    digest: str
    #: where the archive lies on the control machine
    archive: Path
    target: Target
    #: its modules are compiled; where not, the host does that
    is_compiled: bool = True
    #: keeps the archive from being dropped by another run
    held: Held | None = field(default=None, repr=False, compare=False)


def install_steps(release: Release) -> tuple[Step, ...]:
    """Return what installs ``release`` on a host that has none of it, or a part of it."""
    home, archive = release_directory(release.name), _incoming(release)
    sent, checked = _receive_steps(release, archive)
    return (
        Step(argv=("install", "-d", "-m", "0755", "--", RELEASES, INCOMING)),
        # Others do not wait for a connection that may hang, only for what is done here.
        sent,
        replace(_remove_step(home), alone_in=RELEASES),
        checked,
        *_unpack_steps(release, home, archive),
        Step(argv=(f"{home}/bin/fleet", "--version")),
        Step(argv=("rm", "-f", "--", archive)),
        # What was written is on the disk before the mark is: a power cut leaves a release or none.
        Step(argv=("sync", "--file-system", home), timeout_seconds=INSTALL_SECONDS),
        Step(argv=("touch", "--", f"{home}/{MARK}")),
    )


def undo_step(release: Release) -> Step:
    """Return what removes ``release`` where it could not be finished, and what was sent."""
    return _remove_step(release_directory(release.name), _incoming(release))


def _incoming(release: Release) -> str:
    return f"{INCOMING}/{release.name}.tar.gz"


def _remove_step(*paths: str) -> Step:
    return Step(argv=("rm", "-rf", "--", *paths), timeout_seconds=INSTALL_SECONDS)


def _receive_steps(release: Release, archive: str) -> tuple[Step, Step]:
    return (
        Step(
            # Not emptied first: whoever sends the same at once leaves it whole for who reads it already.
            argv=("dd", f"of={archive}", "bs=1M", "iflag=fullblock", "conv=notrunc", "status=none"),
            takes_archive=True,
            timeout_seconds=UPLOAD_SECONDS,
            # A full disk is not to stay so for what did not fit; unless somebody is at it, who may read it.
            undo=Step(argv=("flock", "--nonblock", RELEASES, "rm", "-f", "--", archive)),
        ),
        Step(
            argv=("sha256sum", "--check", "--strict", "--quiet", "-"),
            stdin=f"{release.digest}  {archive}\n".encode(),
        ),
    )


def _unpack_steps(release: Release, home: str, archive: str) -> tuple[Step, ...]:
    python, site = f"{home}/bin/python", f"{home}/{site_packages(release.target.python)}"
    unpack = ("tar", "--extract", "--gzip", "--no-same-owner", f"--file={archive}", f"--directory={home}")
    compiling = (python, "-I", "-m", "compileall", "-qq", "-j0", site)
    return (
        # What it makes depends on where the host has its Python.
        Step(
            argv=("python3", "-I", "-m", "venv", "--without-pip", "--", home), timeout_seconds=INSTALL_SECONDS
        ),
        Step(argv=unpack, timeout_seconds=INSTALL_SECONDS),
        *(() if release.is_compiled else (Step(argv=compiling, timeout_seconds=INSTALL_SECONDS),)),
    )


def switch_steps(release: str) -> tuple[Step, ...]:
    """Return what makes ``release`` the current one, at one moment."""
    new = f"{OPT}/.current.new"
    return (
        Step(argv=("test", "-f", f"{release_directory(release)}/{MARK}")),
        Step(argv=("ln", "-sfn", "--", release_directory(release), new)),
        Step(argv=("mv", "-T", "--", new, CURRENT)),
    )


def list_argv() -> tuple[str, ...]:
    """Return the command that names the complete releases, the one that was completed last first."""
    mark = f"{RELEASES}/*/{MARK}"
    return ("sh", "-c", f"ls -t -- {mark} 2>/dev/null || true")


def releases_of(listing: str) -> tuple[str, ...]:
    """Return the names in what ``list_argv`` printed, newest first."""
    return tuple(line.split("/")[-2] for line in listing.splitlines() if line.endswith(f"/{MARK}"))


def to_prune(found: Sequence[str], in_use: Iterable[str], *, keep: int = KEEP) -> tuple[str, ...]:
    """Return which of the releases ``found``, newest first, may go: all but ``keep`` and those in use."""
    stay = frozenset(in_use) | frozenset(found[:keep])
    return tuple(name for name in found if name not in stay)


def prune_steps(releases: Iterable[str]) -> tuple[Step, ...]:
    """Return what removes ``releases``; the mark goes first, so that none is ever half there."""
    return tuple(
        step
        for name in releases
        for step in (
            Step(argv=("rm", "-f", "--", f"{release_directory(name)}/{MARK}")),
            Step(argv=("rm", "-rf", "--", release_directory(name)), timeout_seconds=INSTALL_SECONDS),
        )
    )


def install(runner: Runner, release: Release) -> bool:
    """Install ``release`` on a host unless it is there; return whether it was not.

    Two who do this at once do not harm each other, and half a release that could not be finished is removed.
    Raises FleetError with the host's own words when a step fails, and what ``runner`` raises.
    """
    mark = f"{release_directory(release.name)}/{MARK}"
    steps, undo = install_steps(release), undo_step(release)
    return perform(runner, steps, archive=release.archive, unless=mark, undo=undo)


def switch(runner: Runner, release: str) -> None:
    """Make ``release`` the current one of a host. Raises FleetError when it is not complete there."""
    perform(runner, switch_steps(release))


def prune(runner: Runner, *, in_use: Iterable[str], keep: int = KEEP) -> tuple[str, ...]:
    """Remove old releases of a host, and return which; ``in_use`` names those that run or are current."""
    listed = runner.run(list_argv(), as_root=True, timeout_seconds=QUICK_SECONDS)
    found = releases_of(listed.stdout.decode())
    gone = to_prune(found, in_use, keep=keep)
    perform(runner, prune_steps(gone))
    return gone
