"""A directory tree of real files, and how to tell that a restored one is the same."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import fleet


def plant(directory: Path) -> int:
    """Fill ``directory`` with real files (fleet's own source) and awkward ones; return how many files."""
    shutil.copytree(
        Path(fleet.__file__).parent, directory / "source", ignore=shutil.ignore_patterns("__pycache__")
    )
    awkward = directory / "awkward names"
    awkward.mkdir()
    for name in ("Größe ☃.txt", "-rf", "new\nline", "$(id)", "quote'\""):
        (awkward / name).write_text(f"the content of {name!r}\n", encoding="utf-8")
    (awkward / "empty").touch()
    (awkward / "link").symlink_to("-rf")
    os.link(awkward / "-rf", awkward / "hard link")
    return sum(1 for path in directory.rglob("*") if path.is_file())


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprints(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of every regular file below ``directory``, and where each symbolic link leads."""
    found: dict[str, str] = {}
    for path in directory.rglob("*"):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = fingerprint(path)
    return found


def differing(wanted: Mapping[str, str], found: Mapping[str, str]) -> int:
    """Return how many files are missing, too many, or not the same."""
    return sum(wanted.get(name) != found.get(name) for name in wanted.keys() | found.keys())


def restored_root(target: Path, source: Path) -> Path:
    """Return where ``source`` lies below ``target``: a restore keeps the path that it had on its host."""
    return target / source.relative_to("/")
