"""Was a tree touched since it was put in its place?"""

import hashlib
import os
import stat

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Python writes its caches here when root runs something; they are no change of the tree
CACHES = "__pycache__"


def is_untouched(directory: int, name: str, known: str | None) -> bool:
    """Tell whether nothing was added, removed or written in a tree since it got its stamp."""
    opened = os.open(name, _DIRECTORY, dir_fd=directory)
    try:
        return stamp(opened) == known
    finally:
        os.close(opened)


def stamp(directory: int) -> str:
    """Return a digest of what every entry of a tree is: no content is read, so it costs little."""
    digest = hashlib.sha256()
    for path, names, files, opened in os.fwalk(".", dir_fd=directory, follow_symlinks=False):
        names[:] = sorted(name for name in names if name != CACHES)
        for name in sorted((*names, *files)):
            found = os.stat(name, dir_fd=opened, follow_symlinks=False)
            size = 0 if stat.S_ISDIR(found.st_mode) else (found.st_size, found.st_mtime_ns)
            facts = (path, name, found.st_mode, found.st_uid, found.st_gid, size)
            digest.update(repr(facts).encode())
    return digest.hexdigest()
