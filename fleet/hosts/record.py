"""How does an installed wheel come to fit another directory than the one that pip has put it into?

Pure. pip's `--target` notes files beside the modules as in a home directory, which has its modules two levels
down, in `lib/python`; an environment has them three levels down.
https://packaging.python.org/specifications/recording-installed-packages
"""

import base64
import csv
import hashlib
import io
from collections.abc import Mapping
from pathlib import PurePosixPath

from fleet.errors import FleetError

#: stands in a script until the release has a name
_NOWHERE = b"#!python of the release\n"
_TARGET_UP, _HOME_UP = "../../", "../../../"


def site_packages(python: tuple[int, int]) -> str:
    """Return where an environment of this Python has its modules."""
    return f"lib/python{python[0]}.{python[1]}/site-packages"


def paths_in(record: str) -> tuple[str, ...]:
    """Return the paths of a RECORD that pip wrote, as they lie below its target.

    Raises FleetError for one that leads out of it.
    """
    return tuple(_inside(row[0].removeprefix(_TARGET_UP)) for row in _rows(record))


def paths_at_home(record: str, *, site: str) -> tuple[str, ...]:
    """Return where the paths of a RECORD lie below the directory of a release, in the same order."""
    return tuple(
        path if row[0].startswith(_TARGET_UP) else f"{site}/{path}"
        for row, path in zip(_rows(record), paths_in(record), strict=True)
    )


def at_home(record: str, scripts: Mapping[str, bytes]) -> str:
    """Return a RECORD as it stands in a release, where ``scripts`` (path there → content) are other ones."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for path, *rest in _rows(record):
        outside = path.removeprefix(_TARGET_UP)
        if outside == path:
            writer.writerow((path, *rest))
        elif outside in scripts:
            content = scripts[outside]
            writer.writerow((_HOME_UP + outside, _digest(content), len(content)))
        else:
            writer.writerow((_HOME_UP + outside, *rest))
    return out.getvalue()


def unbound(script: bytes, python: str) -> bytes | None:
    """Return ``script`` of no Python yet; None where ``python`` is not what runs it."""
    name = python.encode()
    # The last two are what pip writes when a path is too long for the kernel, or has a blank.
    heads = (
        b"#!%s\n" % name,
        b"#!/bin/sh\n'''exec' %s \"$0\" \"$@\"\n' '''\n" % name,
        b"#!/bin/sh\n'''exec' \"%s\" \"$0\" \"$@\"\n' '''\n" % name,
    )
    for head in heads:
        if script.startswith(head):
            return _NOWHERE + script.removeprefix(head)
    return None


def bound(script: bytes, python: str) -> bytes:
    """Return ``script``, which is ``unbound``, as ``python`` runs it."""
    return b"#!%s\n" % python.encode() + script.removeprefix(_NOWHERE)


def _rows(record: str) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(record, newline="")) if row]


def _inside(path: str) -> str:
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise FleetError(f"a wheel has a file `{path}`, which would lie outside the release")
    return path


def _digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
