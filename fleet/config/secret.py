"""Is this text a reference to a secret, or a secret in the clear?"""

import re

from fleet.config.locate import Path
from fleet.config.problems import Problems
from fleet.model import SecretRef
from fleet.secrets import parse_reference

_FORMS = "env:NAME, file:/path or credential:NAME"
#: what may stand after the scheme; a credential is a file name, never a path
_NAMES = {
    "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    "file": re.compile(r"/[^\x00-\x1f]+"),
    "credential": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*"),
}


class Secrets:
    """Turns texts into references; in the clear only where the operator insists. No value is repeated."""

    def __init__(self, *, accept_plaintext: bool, problems: Problems) -> None:
        self._accept_plaintext = accept_plaintext
        self._problems = problems

    def required(self, text: str, path: Path) -> SecretRef:
        """Return the reference in ``text``; one in the clear is a problem."""
        reference = parse_reference(text)
        if reference is None:
            return self.in_the_clear(text, path, f"is not a reference to a secret: write {_FORMS}")
        if not _NAMES[reference.scheme].fullmatch(reference.name):
            self._problems.add(
                path, f"`{reference.scheme}:` is not followed by a name", hint=f"write {_FORMS}"
            )
        return reference

    def optional(self, text: str | None, path: Path) -> SecretRef | None:
        """Return the reference in ``text``, or None where there is none."""
        return None if text is None else self.required(text, path)

    def in_the_clear(self, text: str, path: Path, message: str) -> SecretRef:
        """Return the secret ``text`` itself; ``message`` is the problem unless the operator insists."""
        if not text:
            self._problems.add(path, "is empty", hint=f"write {_FORMS}")
        elif not self._accept_plaintext:
            self._problems.add(path, message, hint="or, for a trial, use --insecure-plaintext-secrets")
        return SecretRef(scheme="plaintext", name=text)
