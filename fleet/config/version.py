"""Which form is a fleet file of, and can this release read it?

A release reads its own form and the one before. A file of a newer one is refused as a whole, for what else
seems wrong with it would only mislead.
"""

from collections.abc import Mapping

from fleet.config.locate import Path

#: the form that this release writes
VERSION = 1
PATH: Path = ("fleet", "version")


def newer_version(document: Mapping[str, object]) -> int | None:
    """Return the version that ``document`` says it has, if this release is too old for it."""
    table = document.get("fleet")
    version = table.get("version") if isinstance(table, Mapping) else None
    is_newer = isinstance(version, int) and not isinstance(version, bool) and version > VERSION
    return version if is_newer else None
