"""How is plain data written as YAML that people read and Prometheus parses? Only what its files need."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, Union

#: what a configuration file is made of
Plain: TypeAlias = Union[str, int, bool, Sequence["Plain"], Mapping[str, "Plain"], None]  # noqa: UP007 - quoted names cannot be joined by |

_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
_RESERVED = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def render(document: Mapping[str, Plain]) -> str:
    """Return ``document`` as block YAML; strings of several lines become literal blocks."""
    return "\n".join(_mapping(document, "")) + "\n"


def _mapping(mapping: Mapping[str, Plain], indent: str) -> Iterator[str]:
    for key, value in mapping.items():
        yield from _entry(f"{indent}{_scalar(key)}:", value, indent + "  ")


def _entry(head: str, value: Plain, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield head
        yield from _mapping(value, indent)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        yield head
        for item in value:
            yield from _item(item, indent)
    elif isinstance(value, str) and _is_block(value):
        yield f"{head} |-"
        yield from (f"{indent}{line}" for line in value.split("\n"))
    else:
        yield f"{head} {_scalar(value)}"


def _item(item: Plain, indent: str) -> Iterator[str]:
    if isinstance(item, Mapping) and item:
        first, *rest = _mapping(item, indent + "  ")
        yield f"{indent}- {first.removeprefix(indent + '  ')}"
        yield from rest
    else:
        yield from _entry(f"{indent}-", item, indent + "  ")


def _is_block(text: str) -> bool:
    """Tell whether a literal block keeps ``text`` as it is: no blank edges, nothing to escape."""
    lines = text.split("\n")
    return len(lines) > 1 and text == text.strip() and all(line.isprintable() for line in lines)


def _scalar(value: Plain) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    # JSON's scalars, its strings and its empty collections are YAML too.
    return json.dumps(value, ensure_ascii=False)
