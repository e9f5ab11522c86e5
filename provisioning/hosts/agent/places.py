"""How is a path reached without ever following a link, or trusting what another user may change?"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

#: how a directory is opened: it must be one, and no link to one
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """Something that is not done, in the operator's words."""

    def __init__(self, reason: str, **details: object) -> None:
        super().__init__(reason)
        self.details = details


class Places:
    """The file system below a root; paths are absolute there."""

    def __init__(self, root: str) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._trusted = {0, os.geteuid()}

    @property
    def root(self) -> int:
        """The root directory, open."""
        return self._root

    @contextmanager
    def parent(self, path: str, *, writing: bool = True) -> Iterator[tuple[int, str]]:
        """Open the directory that holds ``path`` and give it with the last name.

        Raises FileNotFoundError, or Refused for a link on the way; when ``writing`` also where another user
        could put something in the way between a look and a change.
        """
        *above, name = path.strip("/").split("/")
        directory, reached = os.dup(self._root), ""
        try:
            for part in above:
                reached += f"/{part}"
                inner = _enter(directory, part, reached)
                os.close(directory)
                directory = inner
                if writing:
                    self._refuse_foreign(directory, reached, is_last=len(reached) == path.rindex("/"))
            yield directory, name
        finally:
            os.close(directory)

    def ensure_above(self, path: str) -> None:
        """Make the directories above a file of our own."""
        steps = path.strip("/").split("/")
        for count in range(1, len(steps)):
            with self.parent("/" + "/".join(steps[:count])) as (directory, name):
                try:
                    os.mkdir(name, 0o755, dir_fd=directory)
                except FileExistsError:
                    continue

    def _refuse_foreign(self, directory: int, path: str, *, is_last: bool) -> None:
        found = os.fstat(directory)
        if found.st_uid not in self._trusted:
            raise Refused(f"directory `{path}` belongs to user {found.st_uid}, who could put a link there")
        sticky = found.st_mode & stat.S_ISVTX
        if found.st_mode & 0o002 and (is_last or not sticky):
            raise Refused(f"directory `{path}` is open to everybody, who could put a link there")
        if is_last and found.st_mode & 0o020 and found.st_gid not in {0, os.getegid()}:
            raise Refused(f"directory `{path}` is open to group {found.st_gid}, who could put a link there")


def found_at(directory: int, name: str) -> os.stat_result | None:
    """Return what stands at a name, not what a link leads to; None when nothing does."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def told(error: OSError) -> str:
    """Return an operating system's refusal in words."""
    return f"{error.strerror or error}" + (f": `{error.filename}`" if error.filename else "")


def _enter(directory: int, part: str, path: str) -> int:
    try:
        return os.open(part, _DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError as error:
        found = found_at(directory, part)
        if found is not None and stat.S_ISLNK(found.st_mode):
            raise Refused(f"`{path}` is a link, and nothing is done through links") from error
        if found is not None and not stat.S_ISDIR(found.st_mode):
            raise Refused(f"`{path}` is no directory") from error
        raise
