"""How is a new password kept beside the present one, and how does it take its place?"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from fleet.accounts import MARK, Slotted, account, other
from fleet.errors import FleetError, PartlyDone, UsageError
from fleet.model import SLOTS, SecretRef
from fleet.ops.rotate.passwords import KeptPassword
from fleet.secrets import Secret, resolve
from provisioning.private_file import write_private

#: random bytes of a new password
PASSWORD_BYTES = 32


def present(kept: KeptPassword, environ: Mapping[str, str]) -> Slotted:
    """Return the present password. Raises SecretMissing."""
    return Slotted.read(resolve(kept.place, environ=environ))


def prepared(kept: KeptPassword, environ: Mapping[str, str]) -> Slotted | None:
    """Return the password that is to take its place, or None.

    Raises SecretMissing where it cannot be read, and UsageError where it is not one of the other slot.
    """
    place, now = kept.next_place, present(kept, environ)
    if not _is_there(place, environ):
        return None
    found = Slotted.read(resolve(place, environ=environ))
    if found == now:
        # It has taken its place already, and is not yet removed from where it was.
        return None
    if found.slot == now.slot:
        raise UsageError(
            f"what `{place}` has is not for the other user of {kept.name}", hint=_form(kept, now)
        )
    if found.secret == now.secret:
        raise UsageError(f"what `{place}` has is the present password of {kept.name}", hint=_form(kept, now))
    return found


def can_write(kept: KeptPassword) -> bool:
    """Tell whether a new password can be kept there by us."""
    return kept.place.scheme == "file"


def require_writable(kept: KeptPassword, environ: Mapping[str, str]) -> None:
    """Raise UsageError when the operator has to supply the new password, or its file cannot be written."""
    now = present(kept, environ)
    if not can_write(kept):
        raise UsageError(
            f"`{kept.place}` is not written by fleet: give it the new password of {kept.name}"
            f" as `{kept.next_place}`",
            hint=_form(kept, now),
        )
    directory = Path(kept.next_place.name).parent
    if not os.access(directory, os.W_OK):
        raise UsageError(f"no file can be made in `{directory}`, where the password of {kept.name} is kept")


def prepare(kept: KeptPassword, environ: Mapping[str, str]) -> None:
    """Write a new password beside the present one, with the same owner and rights; it lasts."""
    new = Slotted(
        slot=other(present(kept, environ).slot), secret=Secret(secrets.token_urlsafe(PASSWORD_BYTES))
    )
    path = Path(kept.next_place.name)
    like = Path(kept.place.name).stat()
    try:
        write_private(path, new.kept().reveal() + "\n")
        if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(path, like.st_uid, like.st_gid)
        # Never more than for the present one, and never for everybody.
        path.chmod(like.st_mode & 0o660)
        _flush(path)
    except OSError as error:
        raise FleetError(f"`{path}` cannot be written: {error.strerror}; nothing was changed") from error


def switch(kept: KeptPassword, environ: Mapping[str, str]) -> None:
    """Let the prepared password take the place of the present one, at once.

    Raises PartlyDone where the operator has to do it.
    """
    if not can_write(kept):
        raise PartlyDone(
            f"user {', '.join(account(user, _next_slot(kept, environ)) for user in kept.users)} is there;"
            f" now let `{kept.place}` be what `{kept.next_place}` is, for everybody who uses it",
            hint=f"then remove `{kept.next_place}`, and run this again",
        )
    source, target = Path(kept.next_place.name), Path(kept.place.name).resolve()
    try:
        source.rename(target)
        _flush(target)
    except OSError as error:
        raise FleetError(f"`{source}` cannot be renamed to `{target}`: {error.strerror}") from error


def _next_slot(kept: KeptPassword, environ: Mapping[str, str]) -> str:
    return other(present(kept, environ).slot)


def _is_there(place: SecretRef, environ: Mapping[str, str]) -> bool:
    if place.scheme == "env":
        return bool(environ.get(place.name))
    directory = environ.get("CREDENTIALS_DIRECTORY", "") if place.scheme == "credential" else "/"
    return bool(directory) and Path(directory, place.name).exists()


def _form(kept: KeptPassword, now: Slotted) -> str:
    mark = MARK if other(now.slot) == SLOTS[1] else ""
    return (
        f"`{kept.next_place}` is to be `{mark}` and a new password"
        if mark
        else (f"`{kept.next_place}` is to be a new password, without `{MARK}` in front")
    )


def _flush(path: Path) -> None:
    """Return when a file and its name are on the disk: a password that is lost locks everybody out."""
    for place in (path, path.parent):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
