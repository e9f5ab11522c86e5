"""Which values may stand in a fleet file beside plain text and numbers?"""

import re
from typing import Annotated

from pydantic import BeforeValidator, StringConstraints, WithJsonSchema

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+)\s*([smhd])")

_SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_SIZE = re.compile(r"(\d+)\s*([KMG]?)")


def parse_duration(value: object) -> int:
    """Return the seconds that ``value`` means: a number, or a text such as ``30s``, ``5m``, ``26h``, ``7d``.

    Raises ValueError for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return int(match[1]) * _UNITS[match[2]]
    raise ValueError(f"`{value}` is not a duration; write seconds or a text such as `30s`, `5m`, `26h`, `7d`")


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _SIZES[match[2]]
    raise ValueError(f"`{value}` is not a size; write bytes or a text such as `512K`, `10M`")


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+\s*[smhd]$"}]}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^\d+\s*[KMG]?$"}]}
    ),
]
#: names become parts of queue names, unit names and routing keys
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
#: host names may hold dots, as DNS names do
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00\n]*$")]
Port = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 65535})]
