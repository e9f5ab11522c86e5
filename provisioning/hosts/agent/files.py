"""How does a file, a directory or a link come to stand at a path, whole or not at all?

What is new is made under a name beside, with its owner and mode, is seen on the disk, and then takes its
place by a rename. A name beside is always the same one, so the next run clears what a crash left.
"""

import errno
import grp
import hashlib
import os
import pwd
import stat
from typing import IO, Any

from provisioning.hosts.agent.places import Places, Refused, found_at

CHUNK = 1 << 20


def beside(name: str) -> str:
    """Return the name under which something is made that will be ``name``."""
    return f".{name}.fleet-new"


def owner_ids(change: dict[str, Any]) -> tuple[int, int]:
    """Return user and group of a change as numbers; raises Refused for one that the host has not."""
    try:
        user = pwd.getpwnam(change["owner"]).pw_uid
    except KeyError:
        raise Refused(f"there is no user `{change['owner']}`") from None
    try:
        return user, grp.getgrnam(change["group"]).gr_gid
    except KeyError:
        raise Refused(f"there is no group `{change['group']}`") from None


def put_file(places: Places, change: dict[str, Any], content: IO[bytes] | None) -> None:
    """Write a file, or set only its owner and mode when no content comes along."""
    uid, gid = owner_ids(change)
    with places.parent(change["path"]) as (directory, name):
        if content is None:
            _set_rights(directory, name, uid, gid, change["mode"])
            return
        temporary = beside(name)
        _drop(directory, temporary)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _copy(content, file, change["sha256"])
                os.fchown(file.fileno(), uid, gid)
                os.fchmod(file.fileno(), change["mode"])
                os.fsync(file.fileno())
            _move_in(directory, temporary, name)
        except BaseException:
            _drop(directory, temporary)
            raise


def put_directory(places: Places, change: dict[str, Any]) -> None:
    """Make a directory, or set its owner and mode."""
    uid, gid = owner_ids(change)
    with places.parent(change["path"]) as (directory, name):
        found = found_at(directory, name)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=directory)
            found = None
        if found is None:
            os.mkdir(name, 0o700, dir_fd=directory)
        _set_rights(directory, name, uid, gid, change["mode"], os.O_DIRECTORY)
        os.fsync(directory)


def put_link(places: Places, change: dict[str, Any]) -> None:
    """Make a link, or turn it to another target in one step."""
    with places.parent(change["path"]) as (directory, name):
        temporary = beside(name)
        _drop(directory, temporary)
        os.symlink(change["target"], temporary, dir_fd=directory)
        try:
            _move_in(directory, temporary, name)
        except BaseException:
            _drop(directory, temporary)
            raise


def delete(places: Places, change: dict[str, Any]) -> str | None:
    """Delete what stands at a path; returns why it was kept. A directory that holds something is kept."""
    with places.parent(change["path"]) as (directory, name):
        found = found_at(directory, name)
        if found is None:
            return None
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=directory)
        else:
            try:
                os.rmdir(name, dir_fd=directory)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return "it holds something that is not ours"
        os.fsync(directory)
    return None


def _copy(content: IO[bytes], file: IO[bytes], wanted: str) -> None:
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK):
        digest.update(chunk)
        file.write(chunk)
    file.flush()
    if digest.hexdigest() != wanted:
        raise Refused("the content arrived damaged")


def _move_in(directory: int, temporary: str, name: str) -> None:
    found = found_at(directory, name)
    if found is not None and stat.S_ISDIR(found.st_mode):
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError as error:
            raise Refused(f"a directory stands there: {error.strerror}") from error
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)


def _set_rights(directory: int, name: str, uid: int, gid: int, mode: int, flags: int = 0) -> None:
    opened = os.open(
        name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, dir_fd=directory
    )
    try:
        # In this order, because a change of owner takes the set-user-id bit away.
        os.fchown(opened, uid, gid)
        os.fchmod(opened, mode)
        os.fsync(opened)
    finally:
        os.close(opened)


def _drop(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return
