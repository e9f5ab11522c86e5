"""Which wheels are locked for a target, and how do they come into the cache?"""

import hashlib
import importlib.metadata
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from packaging.utils import parse_wheel_filename

from fleet.errors import FleetError
from fleet.hosts.pip import run_pip
from fleet.hosts.requirements import closure, locked_part, pins
from fleet.hosts.target import Target, marker_environment, pip_options

DOWNLOAD_SECONDS = 600
#: what nothing on a host needs: what reaches other hosts, and with what Rich would show code and Markdown.
#: With what they alone need that is half of all.
NOT_ON_HOSTS = frozenset({"fabric", "pygments", "markdown-it-py"})
_LOCK = Path(__file__).with_name("constraints.txt")
_DIGEST_LENGTH = 12
_NO_WHEEL = re.compile(r"No matching distribution found for ([^\s;]+)")


def requirements_of(target: Target, *, extras: Iterable[str] = (), without: Collection[str] = ()) -> str:
    """Return what fleet needs on ``target``, but for ``without``, as a requirements file with hashes."""
    environment = marker_environment(target)
    needed = closure("fleet", _requires, environment, extras=extras, without=without)
    return locked_part(_LOCK.read_text(encoding="utf-8"), needed, environment)


def locked_wheels(
    target: Target, cache: Path, *, extras: Iterable[str], on_fetch: Callable[[], None] = lambda: None
) -> dict[str, bytes]:
    """Return the wheels that fleet needs on a host, from ``cache`` or the index: file name → content.

    The caller is alone in ``cache``; ``on_fetch`` is called before the index is asked. Raises FleetError
    where pip cannot fetch them, or one is not what is locked.
    """
    requirements = requirements_of(target, extras=extras, without=NOT_ON_HOSTS)
    key = hashlib.sha256(f"{target}\n{requirements}".encode()).hexdigest()[:_DIGEST_LENGTH]
    place = cache / "wheels" / f"{target.name}-{key}"
    if not place.is_dir():
        on_fetch()
        _download(requirements, target, place)
    found = {path.name: path.read_bytes() for path in sorted(place.glob("*.whl"))}
    verify(found, pins(requirements), place)
    return found


def verify(found: Mapping[str, bytes], allowed: Mapping[str, frozenset[str]], place: Path) -> None:
    """Raise FleetError unless ``found`` (file name → content) is what ``allowed`` says, and all of it."""
    packages = {name: str(parse_wheel_filename(name)[0]) for name in found}
    for name, content in found.items():
        if hashlib.sha256(content).hexdigest() not in allowed.get(packages[name], ()):
            raise FleetError(f"`{place / name}` is not what is locked", hint=f"remove `{place}`")
    if missing := allowed.keys() - set(packages.values()):
        raise FleetError(f"`{place}` lacks {', '.join(sorted(missing))}", hint=f"remove `{place}`")


def _download(requirements: str, target: Target, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".part-") as work:
        listed = Path(work, "requirements.txt")
        listed.write_text(requirements, encoding="utf-8")
        strict = ("--require-hashes", "--no-deps", "--only-binary=:all:")
        files = (f"--requirement={listed}", f"--dest={work}/wheels")
        done = run_pip("download", *strict, *pip_options(target), *files, timeout_seconds=DOWNLOAD_SECONDS)
        if done.returncode:
            raise _not_fetched(done.stderr, target)
        # On another machine that shares the cache a run may have been faster; its directory is as good.
        with suppress(OSError):
            Path(work, "wheels").rename(place)


def _not_fetched(said: str, target: Target) -> FleetError:
    """Return what to tell an operator when pip has ``said`` this and failed."""
    reach = "check that pip reaches its index: `python3 -m pip download pip`"
    missing = _NO_WHEEL.search(said)
    if missing is None:
        return FleetError(f"pip cannot fetch the wheels for {target.name}: {said.strip()[-500:]}", hint=reach)
    return FleetError(
        f"pip finds no wheel of {missing[1]} for {target.name} (glibc 2.{target.glibc_minor})",
        hint=f"most packages have wheels for x86_64 and aarch64 only; if it is one of these, {reach}",
    )


def _requires(package: str) -> Iterable[str]:
    try:
        return importlib.metadata.requires(package) or ()
    except importlib.metadata.PackageNotFoundError:
        # Locked for another platform than ours; what it needs is then in the lock under a name of its own.
        return ()
