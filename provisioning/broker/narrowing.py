"""Does another regular expression allow less than the one before?

Whether one expression contains another is hard in general. Permissions are nearly always lists of names, so
the lists are compared; everything else counts as narrower, because that is the safe answer.
"""

from itertools import product

#: expressions that match every name
EVERYTHING = ".*"
_EVERYTHING = frozenset({EVERYTHING, "^.*$", "^.*", ".*$", "^"})
#: expressions that match no name that an object can have
_NOTHING = frozenset({"", "^$"})
#: lists longer than this are not compared
_LONGEST_LIST = 20_000
_REPEATS = "*+?{"


def may_narrow(before: str, after: str) -> bool:
    """Tell whether ``after`` may match less than ``before``; False only where it certainly does not.

    >>> may_narrow("^(a|b)$", "^(a|b|c)$"), may_narrow("^(a|b)$", "^a$")
    (False, True)
    """
    if before == after or before in _NOTHING or after in _EVERYTHING:
        return False
    old, new = _alternatives(before), _alternatives(after)
    return old is None or new is None or not old <= new


def _alternatives(expression: str) -> frozenset[str] | None:
    """Return the texts that an anchored expression lists, or None if it is no such list.

    A text is a piece of expression, such as ``[^@]+@alpha``: equal texts match the same names.
    """
    if not (expression.startswith("^") and expression.endswith("$")) or expression.endswith("\\$"):
        return None
    try:
        # A bar outside a group would part the anchors, too.
        texts, rest = _sequence(expression[1:-1], 0)
    except _NotAList:
        return None
    return frozenset(texts) if rest == len(expression) - 2 else None


class _NotAList(Exception):
    """The expression is more than names, groups and bars."""


def _choice(text: str, at: int) -> tuple[list[str], int]:
    """Return what ``a|b|…`` lists from ``at`` on, and where that ends."""
    found: list[str] = []
    while True:
        sequence, at = _sequence(text, at)
        found.extend(sequence)
        if at == len(text) or text[at] != "|":
            return found, at
        at += 1


def _sequence(text: str, at: int) -> tuple[list[str], int]:
    parts: list[list[str]] = []
    while at < len(text) and text[at] not in "|)":
        if text[at] == "(":
            if text[at + 1 : at + 2] in ("?", "*"):
                raise _NotAList
            begin = at
            options, at = _choice(text, at + 1)
            if text[at : at + 1] != ")":
                raise _NotAList
            at += 1
            # What a group that is repeated lists is endless; as a piece it equals itself.
            is_repeated = text[at : at + 1] in tuple(_REPEATS)
            parts.append([text[begin:at]] if is_repeated else options)
        else:
            atom, at = _atom(text, at)
            parts.append([atom])
    if _size(parts) > _LONGEST_LIST:
        raise _NotAList
    return ["".join(chosen) for chosen in product(*parts)], at


def _atom(text: str, at: int) -> tuple[str, int]:
    """Return one character, class or escape, and where it ends; anchors in the middle are no list."""
    if text[at] in "^$":
        raise _NotAList
    if text[at] == "\\":
        # An escaped letter or digit may refer to a group or begin a quotation.
        if at + 1 == len(text) or text[at + 1].isalnum():
            raise _NotAList
        return text[at : at + 2], at + 2
    if text[at] == "[":
        end = text.find("]", at + 2)
        if end < 0 or "\\" in text[at:end] or "[" in text[at + 1 : end]:
            raise _NotAList
        return text[at : end + 1], end + 1
    return text[at], at + 1


def _size(parts: list[list[str]]) -> int:
    size = 1
    for part in parts:
        size *= len(part)
    return size
