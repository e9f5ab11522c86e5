"""Which file or tree of which copy is meant, and is it really there?"""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fleet.backup import store
from fleet.backup.layout import Layout, host_path, layout, path_parts
from fleet.backup.manifest import Manifest
from fleet.backup.snapshots import LATEST, choose
from fleet.errors import UsageError
from fleet.model import Backup


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file or tree of one copy, found to be there."""

    places: Layout
    manifest: Manifest
    #: names that lead to it from the copy's tree
    parts: tuple[str, ...]

    @property
    def tree(self) -> Path:
        """The directory of the copy that stands for the host's root."""
        return store.tree_of(self.places, self.manifest)

    @property
    def roots(self) -> tuple[tuple[str, ...], ...]:
        """What rsync is told to bring: the part, or where it is the whole copy, each of its sources.

        The copy's own top directory is left out: its mode is ours, not the host's.
        """
        if self.parts:
            return (self.parts,)
        return tuple(path_parts(source.path) for source in self.manifest.sources)

    @property
    def path(self) -> str:
        """Its path on the host."""
        return host_path(self.parts)


def find_part(
    backup: Backup, *, host: str, path: str, snapshot: str = LATEST, at: datetime | None = None
) -> Part:
    """Return what ``path`` means in the copy that is asked for.

    Raises UsageError when there is no such copy, or no such path in it.
    """
    parts = path_parts(path)
    places = layout(destination=backup.destination, host=host, backup=backup.name)
    manifest = _choose(places, kind=backup.kind, snapshot=snapshot, at=at)
    part = Part(places=places, manifest=manifest, parts=parts)
    _check_present(part)
    return part


def _choose(places: Layout, *, kind: str, snapshot: str, at: datetime | None) -> Manifest:
    try:
        return choose(store.copies(places, kind=kind), wanted=snapshot, at=at)
    except UsageError as error:
        raise UsageError(f"{error.message} in `{places.root}`", hint=error.hint) from error


def _check_present(part: Part) -> None:
    """Walk to the part one name at a time: a link in a snapshot, made by any user, may lead anywhere."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    opened: list[int] = []
    try:
        opened.append(os.open(part.tree, flags))
        for name in part.parts[:-1]:
            opened.append(os.open(name, flags, dir_fd=opened[-1]))
        if part.parts:
            os.stat(part.parts[-1], dir_fd=opened[-1], follow_symlinks=False)
    except OSError as error:
        raise UsageError(
            f"`{part.path}` is not in snapshot `{part.manifest.snapshot}` of backup "
            f"`{part.manifest.backup}`: {error.strerror}",
            hint=f"its sources are {', '.join(source.path for source in part.manifest.sources)}",
        ) from error
    finally:
        for descriptor in opened:
            os.close(descriptor)
