"""Where is the fleet file, and can it be read?"""

from pathlib import Path

from fleet.config.parse import parse
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
    return parse(read_text(path), source=path, plaintext_secrets=plaintext_secrets)
