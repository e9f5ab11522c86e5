"""How do bytes, names and deletions reach the disk for good?"""

import os
import shutil
import stat
import subprocess
from pathlib import Path

from fleet.backup.failure import BackupPostponed
from fleet.backup.rsync import ENVIRON


def write_durably(path: Path, text: str) -> None:
    """Replace the content of ``path``: a reader, now or after a crash, finds the old text or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    flush_directory(path.parent)


def flush_directory(directory: Path) -> None:
    """Bring the names in ``directory`` to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_file_system(directory: Path) -> None:
    """Bring everything on the file system of ``directory`` to the disk.

    Raises BackupPostponed when the kernel reports that something could not be written.
    """
    # One syncfs costs less than rsync's --fsync of each file; Python has no call for it, coreutils has.
    result = subprocess.run(
        ("/usr/bin/env", "sync", "--file-system", "--", str(directory)),
        env=ENVIRON,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if result.returncode != 0:
        reason = result.stderr.decode("utf-8", "replace").strip()
        raise BackupPostponed(f"`{directory}` could not be written to the disk: {reason}")


def delete_tree(directory: Path) -> None:
    """Delete ``directory``; read-only directories in it are no obstacle, symbolic links are not followed."""
    try:
        shutil.rmtree(directory)
    except PermissionError:
        _open_directories(directory)
        shutil.rmtree(directory)


def _open_directories(directory: Path) -> None:
    directory.chmod(stat.S_IRWXU)
    # Directories are never hard-linked, so this changes no other snapshot.
    for parent, names, _ in os.walk(directory):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                path.chmod(stat.S_IRWXU)
