"""Which files of a source stay out of its copy?

rsync anchors a pattern at the root of the transfer. Copies are made with ``--relative``, so that root is the
host's, and a pattern that begins with ``/`` means that path of the host.
"""

import posixpath
from collections.abc import Iterable

#: what a copy of ``/`` never holds, even where it is not a file system of its own
NEVER_IN_ROOT = (
    "/proc/*",
    "/sys/*",
    "/dev/*",
    "/run/*",
    "/tmp/*",  # noqa: S108 - a pattern, not a file that we create
    "/mnt/*",
    "/media/*",
    "/lost+found",
)


def patterns_for(
    source: str, *, sources: Iterable[str], excludes: Iterable[str], destination: str
) -> tuple[str, ...]:
    """Return what stays out of the copy of ``source``: also other sources below it, and the destination."""
    nested = [other for other in sources if other != source and is_inside(other, source)]
    own = [destination] if is_inside(destination, source) else []
    root = NEVER_IN_ROOT if source == "/" else ()
    return (*excludes, *(_literal(path) for path in (*nested, *own)), *root)


def exclude_file(patterns: Iterable[str]) -> str:
    """Return the content of an exclude file; ``- `` makes ``#`` and ``+`` at a pattern's start harmless."""
    return "".join(f"- {pattern}\0" for pattern in patterns)


def is_inside(path: str, directory: str) -> bool:
    """Tell whether absolute ``path`` is ``directory`` or lies below it, by its words alone."""
    path, directory = posixpath.normpath(path), posixpath.normpath(directory)
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def is_excluded(path: str, excludes: Iterable[str]) -> bool:
    """Tell whether an exclude names ``path`` or a directory above it, with no wildcard but a final ``/*``."""
    named = [pattern.rstrip("*").rstrip("/") for pattern in excludes if pattern.startswith("/")]
    return any(name and not _has_wildcard(name) and is_inside(path, name) for name in named)


def _has_wildcard(path: str) -> bool:
    return any(character in path for character in "*?[")


def _literal(path: str) -> str:
    # A backslash escapes only in a pattern that has a wildcard; elsewhere it is itself.
    if not _has_wildcard(path):
        return path
    return "".join(f"\\{character}" if character in "*?[\\" else character for character in path)
