"""Where is the fleet file, and can it be read?

Checking it needs pydantic, whose import takes long: it is imported with the first file that is read.
"""

import os
import pickle
import threading
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from fleet.errors import ConfigError, Problem
from fleet.model import Fleet


def read_text(path: str) -> str:
    """Return the text of the fleet file at ``path``.

    Raises ConfigError when there is no such file, or it is not UTF-8 text.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        problem = Problem(file=path, key="", message=f"cannot be read: {reason}")
        hint = "write one with `fleet init`, or name yours with `--file`"
        raise ConfigError([problem], hint=hint) from error


def read(path: str, *, plaintext_secrets: bool = False) -> Fleet:
    """Return the fleet that the file at ``path`` declares.

    Raises ConfigError with every problem that can be seen at once.
    """
    from fleet.config.parse import parse

    return parse(read_text(path), source=path, plaintext_secrets=plaintext_secrets)


def read_meanwhile(path: str, *, plaintext_secrets: bool = False) -> Callable[[], Fleet]:
    """Begin to read the fleet file in a process of its own; return what awaits and returns the fleet.

    For a program that has other things to import meanwhile, and needs neither the time nor the memory of
    pydantic itself. What is returned raises ConfigError as ``read`` does; call it once.
    """
    here = partial(read, path, plaintext_secrets=plaintext_secrets)
    if threading.active_count() > 1:
        # A fork would copy their locks, held for ever.
        return here
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _tell(here, writer)
    os.close(writer)
    return partial(_told, child, reader, here)


def _tell(read_it: Callable[[], Fleet], writer: int) -> NoReturn:
    failed = True
    # It would look through all that is installed for plugins of its own, which have no say here.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    try:
        with open(writer, "wb") as out:
            out.write(_pickled(read_it()))
        failed = False
    finally:
        # Whatever is wrong with the file, or cannot be pickled, the parent finds by reading it itself.
        os._exit(failed)


def _told(child: int, reader: int, otherwise: Callable[[], Fleet]) -> Fleet:
    with open(reader, "rb") as given:
        pickled = given.read()
    _, status = os.waitpid(child, 0)
    if status:
        return otherwise()
    fleet = pickle.loads(pickled)  # noqa: S301 - our own child's, through a pipe that nobody else has
    assert isinstance(fleet, Fleet)
    return fleet


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        if isinstance(value, MappingProxyType):
            return _read_only, (dict(value),)
        return NotImplemented


def _read_only(mapping: dict[str, object]) -> MappingProxyType[str, object]:
    return MappingProxyType(mapping)


def _pickled(fleet: Fleet) -> bytes:
    out = BytesIO()
    _Pickler(out, pickle.HIGHEST_PROTOCOL).dump(fleet)
    return out.getvalue()
