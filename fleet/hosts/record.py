"""How does an installed wheel come to fit another directory than the one that pip has put it into?

Pure. pip's `--target` notes files beside the modules as in a home directory, which has its modules two levels
down, in `lib/python`; an environment has them three levels down.
https://packaging.python.org/specifications/recording-installed-packages
"""

import base64
import csv
import hashlib
import io
import posixpath
from collections.abc import Mapping

from fleet.errors import FleetError

#: stands in a script until the release has a name
_NOWHERE = b"#!python of the release\n"
#: where a home directory has its modules, and how a release's directory is reached from its own
_MODULES, _UP = "lib/python/", "../../../"


def site_packages(python: tuple[int, int]) -> str:
    """Return where an environment of this Python has its modules."""
    return f"lib/python{python[0]}.{python[1]}/site-packages"


def paths_in(record: str) -> tuple[str, ...]:
    """Return the paths of a RECORD that pip wrote, as they lie below its target.

    Raises FleetError for one that leads out of it.
    """
    return tuple(_from_home(row[0]).removeprefix(_MODULES) for row in _rows(record))


def paths_at_home(record: str, *, site: str) -> tuple[str, ...]:
    """Return where the paths of a RECORD lie below the directory of a release, in the same order."""
    found = (_from_home(row[0]) for row in _rows(record))
    return tuple(
        f"{site}/{path.removeprefix(_MODULES)}" if path.startswith(_MODULES) else path for path in found
    )


def at_home(record: str, scripts: Mapping[str, bytes]) -> str:
    """Return a RECORD as it stands in a release, where ``scripts`` (path there → content) are other ones."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for written, *rest in _rows(record):
        path = _from_home(written)
        if path.startswith(_MODULES):
            writer.writerow((written, *rest))
        elif path in scripts:
            content = scripts[path]
            writer.writerow((_UP + path, _digest(content), len(content)))
        else:
            writer.writerow((_UP + path, *rest))
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


def _from_home(path: str) -> str:
    """Return a path of a RECORD as it is from the home directory that pip writes for."""
    found = posixpath.normpath(posixpath.join(_MODULES, path))
    if found.startswith(("/", "../")):
        raise FleetError(f"a wheel has a file `{path}`, which would lie outside the release")
    return found


def _digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
