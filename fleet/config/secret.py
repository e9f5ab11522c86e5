"""Is this text a reference to a secret, or a secret in the clear?"""

from fleet.config.locate import Path
from fleet.config.problems import Problems
from fleet.model import SecretRef
from fleet.secrets import parse_reference


class Secrets:
    """Turns texts into references; in the clear only where the operator insists."""

    def __init__(self, *, accept_plaintext: bool, problems: Problems) -> None:
        self._accept_plaintext = accept_plaintext
        self._problems = problems

    def required(self, text: str, path: Path) -> SecretRef:
        """Return the reference in ``text``; one in the clear is a problem; its value is not repeated."""
        reference = parse_reference(text)
        if reference is None and not self._accept_plaintext:
            self._problems.add(
                path,
                "is not a reference to a secret",
                hint="write env:NAME, file:/path or credential:name (or use --insecure-plaintext-secrets)",
            )
        return reference or SecretRef(scheme="plaintext", name=text)

    def optional(self, text: str | None, path: Path) -> SecretRef | None:
        """Return the reference in ``text``, or None where there is none."""
        return None if text is None else self.required(text, path)
