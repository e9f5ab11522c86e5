"""Which wheels does a release hold that no index has? fleet as it runs, and the operator's tasks."""

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import fleet
from fleet.errors import UsageError
from fleet.hosts.wheel import Wheel, pack
from fleet.model import Fleet

_PACKAGES = ("fleet", "provisioning")
_DIGEST_LENGTH = 12


def own_wheel() -> dict[str, bytes]:
    """Return fleet as it runs here, be it installed or a checkout: file name → content."""
    installed = importlib.metadata.distribution("fleet")
    root = Path(fleet.__file__).parents[1]
    files: dict[str, bytes] = {}
    for package in _PACKAGES:
        files |= _tree(root, root / package)
    made = Wheel(
        name="fleet",
        version=installed.version,
        files=files,
        metadata=installed.read_text("METADATA") or "",
        entry_points=installed.read_text("entry_points.txt") or "",
    )
    return {made.file_name: pack(made)}


def task_wheel(declared: Fleet, wheels: Sequence[Path]) -> dict[str, bytes]:
    """Return the operator's task modules that lie beside the fleet file; others must be in ``wheels``.

    Raises UsageError when a module is in neither.
    """
    beside = Path(declared.source).resolve().parent
    brought = {name.split("-")[0].lower() for name in (path.name for path in wheels)}
    files: dict[str, bytes] = {}
    for top in dict.fromkeys(module.partition(".")[0] for module in declared.user_tasks.imports):
        found = _tree(beside, beside / top) or _tree(beside, beside / f"{top}.py")
        if not found and top.lower() not in brought:
            raise UsageError(
                f"module `{top}` of [tasks] imports lies not beside {declared.source}",
                hint=f"put it there, or give its wheel: {top}-….whl",
            )
        files |= found
    if not files:
        return {}
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:_DIGEST_LENGTH]
    made = Wheel(name="fleet_user_tasks", version=f"0+{digest}", files=files)
    return {made.file_name: pack(made)}


def _tree(root: Path, place: Path) -> dict[str, bytes]:
    """Return the files of ``place`` (a file or a directory) by their path below ``root``."""
    paths = [place] if place.is_file() else sorted(place.rglob("*"))
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts
    }
