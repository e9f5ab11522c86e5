"""Where is a secret kept?"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRef:
    """Where a secret is kept; never the secret itself, unless ``scheme`` is ``plaintext``."""

    #: ``env``, ``file``, ``credential`` (systemd) or ``plaintext`` (only with --insecure-plaintext-secrets)
    scheme: str
    #: variable name, absolute path, credential name, or the value in the clear
    name: str = field(repr=False)

    def __str__(self) -> str:
        return "plaintext:***" if self.scheme == "plaintext" else f"{self.scheme}:{self.name}"
