"""How does a tree come from its archive to its place?"""

import hashlib
import lzma
import os
import posixpath
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterable
from typing import IO, Any

from provisioning.hosts.agent.files import beside
from provisioning.hosts.agent.places import Places, Refused, found_at
from provisioning.hosts.agent.stamps import stamp

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Hashed:
    """A stream that is hashed as it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        return data


def put_tree(places: Places, change: dict[str, Any], content: IO[bytes]) -> str:
    """Unpack a tree beside its place and move it there; returns its stamp."""
    with places.parent(change["path"]) as (directory, name):
        temporary = beside(name)
        remove(directory, temporary)
        os.mkdir(temporary, 0o700, dir_fd=directory)
        try:
            opened = os.open(temporary, _DIRECTORY, dir_fd=directory)
            try:
                _unpack(opened, content, change["sha256"])
                os.fchmod(opened, 0o755)
                made = stamp(opened)
                os.fsync(opened)
            finally:
                os.close(opened)
            _take_place(directory, temporary, name)
        except BaseException:
            remove(directory, temporary)
            raise
    return made


def remove(directory: int, name: str) -> None:
    """Remove a tree with all that is in it, following no link; one that is not there is fine."""
    found = found_at(directory, name)
    if found is None:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(name, dir_fd=directory)
    else:
        os.unlink(name, dir_fd=directory)


def delete_tree(places: Places, change: dict[str, Any]) -> None:
    """Take a tree from its place, then remove it: half a tree never stands there."""
    with places.parent(change["path"]) as (directory, name):
        if found_at(directory, name) is None:
            return
        old = _aside(name)
        remove(directory, old)
        os.rename(name, old, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
        remove(directory, old)


def clear_leftovers(places: Places, paths: Iterable[str]) -> None:
    """Remove what an apply left beside its places when it was cut off, trees and files."""
    for path in paths:
        try:
            with places.parent(path) as (directory, name):
                remove(directory, beside(name))
                remove(directory, _aside(name))
        except (FileNotFoundError, Refused):
            continue


def _aside(name: str) -> str:
    """Return the name under which a tree goes that has to go."""
    return f".{name}.fleet-old"


def _take_place(directory: int, temporary: str, name: str) -> None:
    old = _aside(name)
    remove(directory, old)
    if found_at(directory, name) is not None:
        os.rename(name, old, src_dir_fd=directory, dst_dir_fd=directory)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)
    remove(directory, old)


def _unpack(root: int, content: IO[bytes], wanted: str) -> None:
    hashed = _Hashed(content)
    made = {""}
    try:
        with tarfile.open(fileobj=hashed, mode="r|*") as archive:  # type: ignore[call-overload]
            for member in archive:
                _unpack_member(root, archive, member, made)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise Refused(f"the archive cannot be unpacked: {error}") from error
    while hashed.read(1 << 20):
        pass
    if hashed.digest.hexdigest() != wanted:
        raise Refused("the archive arrived damaged")
    # Only here, because it takes as long to load as a host takes to be looked at.
    import ctypes

    # One flush for the file system costs less than one for each of some thousand files.
    if ctypes.CDLL(None).syncfs(root):
        os.sync()


def _unpack_member(root: int, archive: tarfile.TarFile, member: tarfile.TarInfo, made: set[str]) -> None:
    path = posixpath.normpath(member.name)
    if path == ".":
        return
    if path.startswith(("/", "..")):
        raise Refused(f"the archive has a member outside its tree: `{member.name}`")
    _make_above(root, posixpath.dirname(path), made)
    if member.isdir():
        if path not in made:
            os.mkdir(path, 0o755, dir_fd=root)
            made.add(path)
    elif member.issym():
        os.symlink(member.linkname, path, dir_fd=root)
    elif member.isreg():
        _write_member(root, path, archive.extractfile(member), member)
    else:
        raise Refused(f"the archive has a member that is no file, directory or link: `{member.name}`")


def _make_above(root: int, path: str, made: set[str]) -> None:
    """Make the directories above a member; one that is a link of the archive's own is never entered."""
    if path in made:
        return
    _make_above(root, posixpath.dirname(path), made)
    try:
        os.mkdir(path, 0o755, dir_fd=root)
    except FileExistsError:
        raise Refused(f"the archive has a member below something that is no directory: `{path}`") from None
    made.add(path)


def _write_member(root: int, path: str, content: IO[bytes] | None, member: tarfile.TarInfo) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600, dir_fd=root)
    with os.fdopen(descriptor, "wb") as file:
        if content is not None:
            shutil.copyfileobj(content, file)
        file.flush()
        # Nobody but the owner writes in a release, whatever the archive says.
        os.fchmod(file.fileno(), member.mode & 0o755)
        # Python's caches know their source by its time.
        os.utime(file.fileno(), (member.mtime, member.mtime))
