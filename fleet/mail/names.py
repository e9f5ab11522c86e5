"""May this name a template, or a file beside one? Never a path."""

import re
from enum import StrEnum

from fleet.errors import UsageError

_TEMPLATE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}")


class Part(StrEnum):
    """The parts of a mail, each a file; the value is what follows the template's name."""

    SUBJECT = ".subject.txt"
    TEXT = ".txt"
    HTML = ".html"
    UNSUBSCRIBE = ".unsubscribe.txt"


def is_file_name(name: str) -> bool:
    """Tell whether ``name`` is a plain file name, which cannot lead out of a directory."""
    return _FILE.fullmatch(name) is not None


def check_template_name(name: object) -> str:
    """Return ``name`` when it can name a template.

    Raises UsageError for anything else, a path above all.
    """
    if isinstance(name, str) and _TEMPLATE.fullmatch(name):
        return name
    raise UsageError(
        f"{str(name)[:100]!r} is not the name of a mail template",
        hint="use letters, digits, `-` and `_`; see `fleet mail check`",
    )
