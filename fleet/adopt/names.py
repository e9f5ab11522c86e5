"""Which names does a permission's expression list? The way back from ``names`` of provisioning."""

import re

from provisioning.broker.permissions import NOTHING, names

_LIST = re.compile(r"\^\((.*)\)\$", re.DOTALL)
#: one character as ``literal`` writes it: in brackets, behind a backslash, or plain
_CHARACTER = re.compile(r"\[(.)\]|\\([\^\[\\])|(.)", re.DOTALL)


def listed(expression: str) -> tuple[str, ...] | None:
    """Return the names that ``expression`` lists, or None when it is not such a list."""
    if expression == NOTHING:
        return ()
    body = _LIST.fullmatch(expression)
    if body is None:
        return None
    found = tuple(_plain(part) for part in _parts(body[1]))
    # Whatever else stands there (a class, a repetition) would not be written like this.
    return found if names(found) == expression else None


def _parts(body: str) -> list[str]:
    return body.replace("[|]", "\0").split("|")


def _plain(part: str) -> str:
    restored = part.replace("\0", "[|]")
    return "".join(
        bracketed or escaped or plain for bracketed, escaped, plain in _CHARACTER.findall(restored)
    )
