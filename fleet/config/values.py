"""Which values may stand in a fleet file beside plain text and numbers?

Each type checks its values in an operator's words, and carries the equal rule for editors as JSON Schema.
"""

import re
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from provisioning.hosts.route import parse_jumps

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})\s*([smhd])")
_DURATION_SCHEMA = {"type": "string", "pattern": r"^[0-9]{1,9}\s*[smhd]$"}
#: ten years; a longer time is a typing error
_LONGEST_SECONDS = 3650 * 86_400

_SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_SIZE = re.compile(r"([0-9]{1,15})\s*([KMG]?)")

NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,62}$"
HOST_NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$"
_PATH = r"^/[^\x00-\x1f]*$"
_LINE = r"^[^\x00-\x1f]+$"
LOGIN_PATTERN = r"^[A-Za-z_][A-Za-z0-9._-]{0,31}$"
WORD_PATTERN = r"^[^\x00-\x20]+$"


def _not(value: object) -> str:
    # A table or list may be long, and may hold what must not be repeated.
    return f", not `{value}`" if isinstance(value, str | int | float) else ""


def _seconds(value: object, *, least: float) -> float:
    found: float | None = None
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        found = int(match[1]) * _UNITS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = value
    if found is None:
        raise ValueError(f"must be seconds or a text such as `30s`, `5m`, `26h`, `7d`{_not(value)}")
    # `nan` is neither.
    if not least <= found <= _LONGEST_SECONDS:
        raise ValueError(f"must be between {least} second(s) and ten years, not `{value}`")
    return found


def parse_duration(value: object, *, least: int = 0) -> int:
    """Return the whole seconds that ``value`` means: a number, or a text such as ``30s``, ``26h``, ``7d``.

    Raises ValueError for anything else, and for less than ``least`` seconds.
    """
    if isinstance(value, float):
        raise ValueError(f"must be whole seconds, not `{value}`")  # noqa: TRY004 - pydantic's protocol
    return int(_seconds(value, least=least))


def _timeout(value: object) -> float:
    return float(_seconds(value, least=0.001))


def parse_size(value: object) -> int:
    """Return the bytes that ``value`` means: a number, or a text such as ``512K``, ``10M``, ``1G``.

    Raises ValueError for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())) and int(match[1]) > 0:
        return int(match[1]) * _SIZES[match[2]]
    raise ValueError(f"must be bytes or a text such as `512K`, `10M`, `1G`{_not(value)}")


def _matching(pattern: str, words: str) -> Callable[[str], str]:
    rule = re.compile(pattern)

    def check(value: str) -> str:
        # `$` would also match before a newline at the end.
        if not rule.fullmatch(value):
            raise ValueError(f"must be {words}, not `{value}`")
        return value

    return check


def _address(value: str) -> str:
    try:
        ip_address(value)
    except ValueError:
        return _matching(HOST_NAME_PATTERN, "a DNS name or an IP address")(value)
    return value


def _jumps(value: str) -> str:
    parse_jumps(value)
    return value


def _one_host(value: str) -> str:
    if len(parse_jumps(value)) != 1:
        raise ValueError(f"must be one `[user@]host[:port]`, not `{value}`")
    return value


def _path(value: str) -> str:
    path = _matching(_PATH, "an absolute path")(value)
    if ".." in path.split("/"):
        raise ValueError(f"must be a path without `..`, not `{value}`")
    return path


def _text(pattern: str, *, kind: str = "text") -> WithJsonSchema:
    # `x-kind` is what the reference page calls such a value.
    return WithJsonSchema({"type": "string", "pattern": pattern, "x-kind": kind})


#: whole seconds, at least one
Duration = Annotated[
    int,
    BeforeValidator(partial(parse_duration, least=1)),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, _DURATION_SCHEMA], "x-kind": "duration"}),
]
#: whole seconds, and none at all is allowed
Window = Annotated[
    int,
    BeforeValidator(parse_duration),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, _DURATION_SCHEMA], "x-kind": "duration"}),
]
#: seconds, fractions allowed
Timeout = Annotated[
    float,
    BeforeValidator(_timeout),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _DURATION_SCHEMA], "x-kind": "duration"}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[0-9]+\s*[KMG]?$"}],
            "x-kind": "size",
        }
    ),
]
#: names become parts of queue names, unit names and routing keys
Name = Annotated[
    str,
    AfterValidator(
        _matching(
            NAME_PATTERN, "a name (a lower-case letter, then up to 62 lower-case letters, digits, `-`, `_`)"
        )
    ),
    _text(NAME_PATTERN, kind="name"),
]
#: host names may hold dots, as DNS names do
HostName = Annotated[
    str,
    AfterValidator(_matching(HOST_NAME_PATTERN, "a host name (letters, digits, `-` and `.`)")),
    _text(HOST_NAME_PATTERN),
]
#: where a host is reached
Address = Annotated[
    str,
    AfterValidator(_address),
    WithJsonSchema({"type": "string", "minLength": 1, "x-kind": "DNS name or IP address"}),
]
AbsolutePath = Annotated[str, AfterValidator(_path), _text(_PATH, kind="absolute path")]
#: text without line breaks, and not empty
Line = Annotated[str, AfterValidator(_matching(_LINE, "one line of text, not empty")), _text(_LINE)]
#: text without blanks, and not empty
Word = Annotated[str, AfterValidator(_matching(WORD_PATTERN, "text without blanks")), _text(WORD_PATTERN)]
#: where a secret is kept; the reference itself is read later, so that one in the clear is never repeated
Reference = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "x-kind": "secret reference"})]
#: a name, a glob or a label
HostPattern = Annotated[
    str,
    AfterValidator(_matching(WORD_PATTERN, "text without blanks")),
    _text(WORD_PATTERN, kind="host pattern"),
]
#: who logs in to a host
LoginName = Annotated[
    str,
    AfterValidator(_matching(LOGIN_PATTERN, "a user's name (letters, digits, `-`, `_` and `.`)")),
    _text(LOGIN_PATTERN, kind="user"),
]
Port = Annotated[int, Field(ge=1, le=65535)]
#: hosts to go through, as for `ssh -J`
HostOverSsh = Annotated[str, AfterValidator(_one_host), _text(WORD_PATTERN, kind="host over SSH")]
JumpHosts = Annotated[str, AfterValidator(_jumps), _text(WORD_PATTERN, kind="jump hosts")]
