"""Where does a secret's value come from, at the last moment before it is used?"""

import hmac
from collections.abc import Mapping
from pathlib import Path

from fleet.errors import SecretMissing
from fleet.model import SecretRef

SCHEMES = ("env", "file", "credential")


class Secret:
    """A value that shows itself only when asked: ``repr``, ``str`` and pickling never carry it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value in the clear."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled")


def parse_reference(text: str) -> SecretRef | None:
    """Return the reference that ``text`` is (``env:NAME``, ``file:/path``, ``credential:name``), or None."""
    scheme, separator, name = text.partition(":")
    if not separator or scheme not in SCHEMES or not name or (scheme == "file" and not name.startswith("/")):
        return None
    return SecretRef(scheme=scheme, name=name)


def resolve(reference: SecretRef, *, environ: Mapping[str, str]) -> Secret:
    """Return the secret that ``reference`` points to; a file's one trailing newline is not part of it.

    Raises SecretMissing with the variable, path or credential that is missing.
    """
    if reference.scheme == "plaintext":
        return Secret(reference.name)
    if reference.scheme == "env":
        value = environ.get(reference.name)
        if not value:
            raise SecretMissing(
                f"environment variable `{reference.name}` is not set", hint=f"export {reference.name}=…"
            )
        return Secret(value)
    return Secret(_read(_path(reference, environ), reference))


def _path(reference: SecretRef, environ: Mapping[str, str]) -> Path:
    if reference.scheme == "file":
        return Path(reference.name)
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SecretMissing(
            f"secret `{reference}` needs systemd's credentials directory, which this process has not",
            hint=f"start it from a unit with `LoadCredential={reference.name}:…`",
        )
    return Path(directory, reference.name)


def _read(path: Path, reference: SecretRef) -> str:
    try:
        value = path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise SecretMissing(
            f"secret `{reference}` cannot be read: {reason}", hint=f"check `ls -l -- {path}`"
        ) from error
    if not value:
        raise SecretMissing(f"secret `{reference}` is empty", hint=f"write the secret into {path}")
    return value
