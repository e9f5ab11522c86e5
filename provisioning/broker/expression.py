"""Does a permission's regular expression match a name, as the broker itself would say?

RabbitMQ asks Erlang's ``re``: Perl's syntax over bytes, searched for anywhere in the name, with the letters
of ISO Latin-1. Python's ``re`` reads most of that alike. What it would read differently is translated here,
and what cannot be is refused: a simulator that guesses is worse than one that says it does not know.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from provisioning.errors import UnreadableExpression

#: Erlang's ``\\w``, measured over all bytes: its tables know the letters of Latin-1
_WORD = r"0-9A-Za-z_\xaa\xb5\xba\xc0-\xd6\xd8-\xf6\xf8-\xff"
_OUTSIDE = {"w": f"[{_WORD}]", "W": f"[^{_WORD}]"} | {letter: f"\\{letter}" for letter in "dDsSnrtf"}
_INSIDE = {"w": _WORD} | {letter: f"\\{letter}" for letter in "dDsSnrtf"}
_QUANTIFIER = re.compile(r"\{[0-9]+(,[0-9]*)?\}")
_GROUP = re.compile(r"\(\?(?::|=|!|<=|<!|>)")
_IGNORING_CASE = "(?i)"


def matches(expression: str, text: str) -> bool:
    """Tell whether a permission's ``expression`` allows ``text``; an empty one means ``^$``.

    Raises UnreadableExpression for what RabbitMQ would refuse or read in a way that is not known here.
    """
    return finds(expression or "^$", text)


def finds(expression: str, text: str) -> bool:
    """Tell whether ``expression``, such as a policy's pattern, is found in ``text``.

    Raises UnreadableExpression, as ``matches`` does.
    """
    if not text.isascii() and expression.startswith(_IGNORING_CASE):
        raise _unreadable(expression, "it ignores case, and the name is not plain ASCII")
    return _compiled(expression).search(_as_bytes(text)) is not None


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> re.Pattern[str]:
    translated = "".join(_translated(expression))
    try:
        return re.compile(translated, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise _unreadable(expression, str(error)) from error


def _as_bytes(text: str) -> str:
    """Return a character for each byte of ``text``, because Erlang counts bytes."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _translated(expression: str) -> Iterator[str]:
    text, at = _as_bytes(expression), 0
    if text.startswith(_IGNORING_CASE):
        yield _IGNORING_CASE
        at = len(_IGNORING_CASE)
    while at < len(text):
        if text[at] == "[":
            part, length = _character_class(expression, text[at:])
        else:
            part, length = _outside(expression, text[at:])
        yield part
        at += length


def _outside(expression: str, rest: str) -> tuple[str, int]:
    """Return what the first item of ``rest`` is in Python, and its length; it is not in brackets."""
    first = rest[0]
    if first == "\\":
        return _escape(expression, rest, _OUTSIDE), 2
    if first == "{":
        found = _QUANTIFIER.match(rest)
        return (found[0], len(found[0])) if found else (r"\{", 1)
    if first == "}":
        return r"\}", 1
    if rest.startswith("(*"):
        raise _unreadable(expression, "it begins a verb, `(*`")
    if rest.startswith("(?"):
        group = _GROUP.match(rest)
        if group is None:
            raise _unreadable(expression, f"`{rest[:4]}` is not simulated")
        return group[0], len(group[0])
    return first, 1


def _character_class(expression: str, rest: str) -> tuple[str, int]:
    """Return a class such as ``[^a-z]`` in Python, and its length."""
    at = 2 if rest.startswith("[^") else 1
    parts = [rest[:at]]
    while at < len(rest):
        one = rest[at]
        if one == "]" and len(parts) > 1:
            return "".join(parts) + "]", at + 1
        if rest[at : at + 2] in ("[:", "[.", "[=", "--"):
            raise _unreadable(expression, f"`{rest[at : at + 2]}` in brackets is not simulated")
        if one == "\\":
            parts.append(_escape(expression, rest[at:], _INSIDE))
            at += 1
        else:
            parts.append(f"\\{one}" if one in "[]&~|" else one)
        at += 1
    raise _unreadable(expression, "a bracket is not closed")


def _escape(expression: str, rest: str, known: dict[str, str]) -> str:
    letter = rest[1:2]
    if letter in known:
        return known[letter]
    if not letter or (letter.isascii() and letter.isalnum()):
        raise _unreadable(expression, f"`\\{letter}` is not simulated")
    return re.escape(letter)


def _unreadable(expression: str, reason: str) -> UnreadableExpression:
    return UnreadableExpression(
        f"what `{expression}` matches is not known here: {reason}",
        hint="write the expression with names, brackets and `|`, such as `^(fleet[.]tasks|fleet[.]dead)$`",
    )
