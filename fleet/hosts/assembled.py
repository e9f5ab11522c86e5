"""What is a release made of?

One archive holds what stands in a host's environment: fleet itself as it runs here, what it needs as
constraints.txt has locked it, and the operator's own task modules, all of it installed. A release is named
after the wheels that it is made of and its target, for its scripts begin with the place where it will lie.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

import fleet
from fleet.errors import UsageError
from fleet.hosts.archives import find, put
from fleet.hosts.fetched import locked_wheels
from fleet.hosts.install import Release
from fleet.hosts.own import own_wheel, task_wheel
from fleet.hosts.packed import END, piece
from fleet.hosts.parts import FORMAT, Part, is_compiled_here, make_parts, requirement
from fleet.hosts.paths import release_directory
from fleet.hosts.target import Target
from fleet.model import Fleet

_DIGEST_LENGTH = 12


def find_or_build(
    declared: Fleet,
    target: Target,
    *,
    cache: Path,
    wheels: Sequence[Path],
    extras: Iterable[str],
    on_build: Callable[[], None] = lambda: None,
) -> Release:
    """Return the release of the fleet ``declared`` for ``target``, from ``cache`` where it is there.

    The caller is alone in ``cache``. Calls ``on_build`` before packages are fetched and before it is built.
    Raises UsageError when a task module is not found, FleetError when pip cannot fetch what is locked, or
    cannot install it for ``target``.
    """
    contents = {
        **task_wheel(declared, wheels),
        **own_wheel(),
        **locked_wheels(target, cache, extras=extras, on_fetch=on_build),
        **{path.name: path.read_bytes() for path in wheels},
    }
    name = release_name(contents, target)
    if known := find(name, target, cache=cache):
        return known
    on_build()
    parts = make_parts(contents, target, cache=cache)
    archive = assemble(parts.values(), python=f"{release_directory(name)}/bin/python")
    return put(name, target, archive, cache=cache, is_compiled=is_compiled_here(target), parts=parts)


def release_name(wheels: Mapping[str, bytes], target: Target) -> str:
    """Return the name of the release that is made of ``wheels``, file name → content.

    Raises UsageError for what is not named as a wheel, or where two are of one package.
    """
    packages: dict[str, str] = {}
    for file_name in sorted(wheels):
        try:
            package = str(parse_wheel_filename(file_name)[0])
        except InvalidWheelFilename as error:
            raise UsageError(
                f"`{file_name}` is not the name of a wheel", hint="give files NAME-….whl"
            ) from error
        if other := packages.get(package):
            raise UsageError(f"`{other}` and `{file_name}` are of one package", hint="give one of them")
        packages[package] = file_name
    lines = [requirement(file_name, wheels[file_name]) for file_name in sorted(wheels)]
    facts = "\n".join((str(FORMAT), target.exact, *lines))
    return f"{fleet.__version__}-{hashlib.sha256(facts.encode()).hexdigest()[:_DIGEST_LENGTH]}"


def assemble(parts: Iterable[Part], *, python: str) -> bytes:
    """Return the archive that is made of ``parts``; its scripts run with ``python``."""
    made = tuple(parts)
    finished = piece(member for part in made for member in part.finished(python))
    return b"".join((*(part.packed for part in made), finished, END))
