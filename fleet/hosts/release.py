"""How is a release built on the control machine, so that a host needs no index and no compiler?

One archive holds wheels and the list of them by hash: fleet itself as it runs here, what it needs as
constraints.txt has locked it, and the operator's own task modules. The same inputs give the same bytes.
"""

import fcntl
import hashlib
import importlib.metadata
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

import fleet
from fleet.errors import FleetError, UsageError
from fleet.hosts.built import recall, remember, stamp
from fleet.hosts.install import Release
from fleet.hosts.own import own_wheel, pip_wheel, task_wheel
from fleet.hosts.requirements import closure, locked_part, pins
from fleet.hosts.target import Target, marker_environment, pip_options
from fleet.model import Fleet, Kind

DOWNLOAD_SECONDS = 600
_LOCK = Path(__file__).with_name("constraints.txt")
_DIGEST_LENGTH = 12
_NO_WHEEL = re.compile(r"No matching distribution found for ([^\s;]+)")


def build_release(declared: Fleet, target: Target, *, cache: Path, wheels: Sequence[Path] = ()) -> Release:
    """Build the release of the fleet ``declared`` for ``target``, or find it in ``cache``.

    ``wheels`` ride along, such as what the operator's task modules need.
    Raises UsageError when a task module is not found, FleetError when pip cannot fetch what is locked.
    """
    extras = _extras(declared)
    before = stamp(declared, target, cache=cache, wheels=wheels, extras=extras)
    if known := recall(before, target, cache=cache):
        return known
    built = _build(declared, target, cache=cache, wheels=wheels, extras=extras)
    # What was fetched or written meanwhile counts, so nothing is noted where that happened.
    if stamp(declared, target, cache=cache, wheels=wheels, extras=extras) == before:
        remember(before, built, cache=cache)
    return built


def _build(
    declared: Fleet, target: Target, *, cache: Path, wheels: Sequence[Path], extras: Iterable[str]
) -> Release:
    contents = {
        **task_wheel(declared, wheels),
        **own_wheel(),
        **_locked_wheels(target, cache, extras=extras),
        **{path.name: path.read_bytes() for path in wheels},
    }
    archive = _archive(contents, tools=pip_wheel())
    digest = hashlib.sha256(archive).hexdigest()
    name = f"{fleet.__version__}-{digest[:_DIGEST_LENGTH]}"
    place = cache / "releases" / f"{name}.tar"
    if not place.exists():
        _write(place, archive)
    return Release(name=name, digest=digest, archive=place, target=target)


def requirements_of(target: Target, *, extras: Iterable[str] = ()) -> str:
    """Return what fleet needs on ``target``, as a requirements file with hashes."""
    environment = marker_environment(target)
    needed = closure("fleet", _requires, environment, extras=extras)
    return locked_part(_LOCK.read_text(encoding="utf-8"), needed, environment)


def _extras(declared: Fleet) -> tuple[str, ...]:
    uses_redis = declared.broker.kind is Kind.REDIS or declared.broker.result_backend is not None
    return ("redis",) if uses_redis else ()


def _requires(package: str) -> Iterable[str]:
    try:
        return importlib.metadata.requires(package) or ()
    except importlib.metadata.PackageNotFoundError:
        # Locked for another platform than ours; what it needs is then in the lock under a name of its own.
        return ()


def _locked_wheels(target: Target, cache: Path, *, extras: Iterable[str]) -> dict[str, bytes]:
    requirements = requirements_of(target, extras=extras)
    key = hashlib.sha256(f"{target}\n{requirements}".encode()).hexdigest()[:_DIGEST_LENGTH]
    place = cache / "wheels" / f"{target.name}-{key}"
    if not place.is_dir():
        with _alone(cache):
            if not place.is_dir():
                _download(requirements, target, place)
    found = {path.name: path.read_bytes() for path in sorted(place.glob("*.whl"))}
    allowed = pins(requirements)
    for name, content in found.items():
        package = str(parse_wheel_filename(name)[0])
        if hashlib.sha256(content).hexdigest() not in allowed.get(package, ()):
            raise FleetError(f"`{place / name}` is not what is locked", hint=f"remove `{place}`")
    return found


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Let several runs, such as those of Ansible's forks, fetch the same wheels once."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(requirements: str, target: Target, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".part-") as work:
        listed = Path(work, "requirements.txt")
        listed.write_text(requirements, encoding="utf-8")
        pip = (
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        )
        strict = ("--require-hashes", "--no-deps", "--only-binary=:all:")
        files = (f"--requirement={listed}", f"--dest={work}/wheels")
        try:
            done = subprocess.run(
                (*pip, *strict, *pip_options(target), *files),
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise FleetError(f"pip did not fetch the wheels within {DOWNLOAD_SECONDS} s") from error
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


def _archive(wheels: Mapping[str, bytes], *, tools: Mapping[str, bytes]) -> bytes:
    lines = []
    for file_name, content in sorted(wheels.items()):
        try:
            name, version, _, _ = parse_wheel_filename(file_name)
        except InvalidWheelFilename as error:
            raise UsageError(
                f"`{file_name}` is not the name of a wheel", hint="give files NAME-….whl"
            ) from error
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(content).hexdigest()}\n")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, content in _members("".join(lines).encode(), wheels, tools):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _members(
    requirements: bytes, wheels: Mapping[str, bytes], tools: Mapping[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    yield "requirements.txt", requirements
    yield from sorted(tools.items())
    for name, content in sorted(wheels.items()):
        yield f"wheels/{name}", content


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=place.parent, prefix=".part-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        shutil.move(part, place)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
