"""How is a wheel installed once, so that a host has only to unpack it?

A part is what one wheel becomes, packed. Parts are kept, for from one release to the next few wheels change.
pip installs, for another Python and machine, too. Modules are compiled here where the host has this Python.
"""

import hashlib
import importlib.metadata
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename

from fleet.errors import FleetError
from fleet.hosts.cache import write_whole
from fleet.hosts.packed import MOMENT, Member, piece
from fleet.hosts.pip import run_pip
from fleet.hosts.record import at_home, bound, paths_at_home, paths_in, site_packages, unbound
from fleet.hosts.target import Target, pip_options

INSTALL_SECONDS = 300
#: of how a part is made; another number, and none that was made before is taken
FORMAT = 1
_DIGEST_LENGTH = 32
_OFFLINE = ("--isolated", "--no-index", "--no-deps", "--ignore-requires-python")
_STRICT = (*_OFFLINE, "--only-binary=:all:", "--require-hashes")
#: of a host's Python only two numbers are asked
_SOME_PATCH = 99
_CODE = "latin-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An installed wheel."""

    #: what is the same in every release, as a piece of an archive
    packed: bytes
    #: scripts that have no Python yet, by their path below the release's directory
    scripts: Mapping[str, bytes]
    #: where its RECORD lies there, and what pip has written into it
    record: tuple[str, str]

    def finished(self, python: str) -> Iterator[Member]:
        """Yield what depends on the release: it runs with ``python``."""
        scripts = {path: bound(content, python) for path, content in self.scripts.items()}
        path, record = self.record
        yield Member(path=path, content=at_home(record, scripts).encode())
        yield from (Member(path=path, content=content, executable=True) for path, content in scripts.items())


def is_compiled_here(target: Target) -> bool:
    """Tell whether modules that are compiled here are valid on ``target``."""
    return sys.implementation.name == "cpython" and sys.version_info[:2] == target.python


def requirement(file_name: str, content: bytes) -> str:
    """Return the line of a requirements file that means this very wheel."""
    name, version, _, _ = parse_wheel_filename(file_name)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(content).hexdigest()}"


def make_parts(wheels: Mapping[str, bytes], target: Target, *, cache: Path) -> dict[str, Part]:
    """Return what each of ``wheels`` (file name → content) becomes on ``target``, by its name in ``cache``.

    Raises FleetError when one does not fit there.
    """
    place = _place(target, cache)
    keys = {name: hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH] for name, content in wheels.items()}
    found = {key: part for key in keys.values() if (part := _load(place, key))}
    missing = {name: wheels[name] for name, key in keys.items() if key not in found}
    if missing:
        for name, part in _install(missing, target).items():
            _store(place, keys[name], part)
            found[keys[name]] = part
    return {keys[name]: found[keys[name]] for name in sorted(keys)}


def drop_parts(target: Target, *, cache: Path, keep: Iterable[str]) -> None:
    """Remove from ``cache`` what is not among ``keep``."""
    stay = frozenset(keep)
    for path in _place(target, cache).glob("*.*"):
        if path.name.partition(".")[0] not in stay:
            path.unlink(missing_ok=True)


def _place(target: Target, cache: Path) -> Path:
    compiled = "-compiled" if is_compiled_here(target) else ""
    return cache / "parts" / f"{FORMAT}-{target.exact}{compiled}"


def _load(place: Path, key: str) -> Part | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads((place / f"{key}.json").read_text(encoding="utf-8"))
        packed = (place / f"{key}.tar.gz").read_bytes()
        if hashlib.sha256(packed).hexdigest() == known["digest"]:
            scripts = {path: text.encode(_CODE) for path, text in known["scripts"].items()}
            path, record = known["record"]
            return Part(packed=packed, scripts=scripts, record=(path, record))
    return None


def _store(place: Path, key: str, part: Part) -> None:
    scripts = {path: content.decode(_CODE) for path, content in part.scripts.items()}
    digest = hashlib.sha256(part.packed).hexdigest()
    known = {"digest": digest, "scripts": scripts, "record": list(part.record)}
    write_whole(place / f"{key}.tar.gz", part.packed)
    write_whole(place / f"{key}.json", json.dumps(known).encode())


def _install(wheels: Mapping[str, bytes], target: Target) -> dict[str, Part]:
    with tempfile.TemporaryDirectory(prefix="fleet-release-") as work:
        tree = Path(work, "tree")
        _run_pip(wheels, target, Path(work), tree)
        if is_compiled_here(target):
            _compile(tree)
        infos = {canonicalize_name(path.name.split("-")[0]): path for path in tree.glob("*.dist-info")}
        _check_python(infos.values(), target)
        return {
            name: _part(tree, infos[parse_wheel_filename(name)[0]], content, site_packages(target.python))
            for name, content in wheels.items()
        }


def _run_pip(wheels: Mapping[str, bytes], target: Target, work: Path, tree: Path) -> None:
    for name, content in wheels.items():
        (work / name).write_bytes(content)
    listed = work / "requirements.txt"
    listed.write_text("".join(f"{requirement(*each)}\n" for each in wheels.items()), encoding="utf-8")
    where = (f"--target={tree}", f"--find-links={work}", f"--requirement={listed}", "--no-compile")
    done = run_pip("install", *_STRICT, *pip_options(target), *where, timeout_seconds=INSTALL_SECONDS)
    if done.returncode:
        raise FleetError(f"pip cannot install the release for {target.exact}: {done.stderr.strip()[-500:]}")


def _check_python(infos: Iterable[Path], target: Target) -> None:
    """Raise FleetError for a package that wants another Python than that of ``target``.

    pip would ask that of the Python that it runs with.
    """
    version = ".".join(map(str, (*target.python, _SOME_PATCH)))
    for info in infos:
        wanted = importlib.metadata.Distribution.at(info).metadata["Requires-Python"]
        if wanted and not SpecifierSet(wanted).contains(version):
            raise FleetError(f"{info.stem} is for Python {wanted}, which {target.exact} has not")


def _compile(tree: Path) -> None:
    """Compile all modules below ``tree``, valid while they have the time that they get in an archive.

    The path in compiled code is that of no host: Python puts the right one in as it loads a module.
    """
    for path in tree.rglob("*.py"):
        os.utime(path, (MOMENT, MOMENT))
    argv = (sys.executable, "-I", "-m", "compileall", "-q", "-j0", "-s", str(tree), str(tree))
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise FleetError(f"modules were not compiled within {INSTALL_SECONDS} s") from error
    if done.returncode:
        raise FleetError(f"a module cannot be compiled: {done.stdout.strip()[-500:]}")


def _part(tree: Path, info: Path, wheel: bytes, site: str) -> Part:
    record = (info / "RECORD").read_text(encoding="utf-8")
    scripts: dict[str, bytes] = {}
    members = []
    for path, at in zip(paths_in(record), paths_at_home(record, site=site), strict=True):
        file = tree / path
        if file == info / "RECORD":
            continue
        member = _member(file, at) if file.is_file() else _left_out(wheel, at)
        script = unbound(member.content, sys.executable) if at.startswith("bin/") else None
        if script is not None:
            scripts[at] = script
        else:
            members += [member, *_compiled(file, at)]
    return Part(packed=piece(members), scripts=scripts, record=(f"{site}/{info.name}/RECORD", record))


def _member(file: Path, at: str) -> Member:
    return Member(path=at, content=file.read_bytes(), executable=os.access(file, os.X_OK))


def _left_out(wheel: bytes, at: str) -> Member:
    """Return a file that pip has recorded and not put anywhere, which it does with data below `lib`."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for entry in archive.infolist():
            if re.fullmatch(rf"[^/]+\.data/data/{re.escape(at)}", entry.filename):
                is_executable = bool(entry.external_attr >> 16 & 0o111)
                return Member(path=at, content=archive.read(entry), executable=is_executable)
    raise FleetError(f"pip has not installed `{at}`", hint="two wheels are in each other's way")


def _compiled(file: Path, at: str) -> Iterator[Member]:
    name = f"{file.stem}.{sys.implementation.cache_tag}.pyc"
    made = file.parent / "__pycache__" / name
    if file.suffix == ".py" and made.is_file():
        yield _member(made, f"{at.rpartition('/')[0]}/__pycache__/{name}")
