"""How is a password's hash written where secrets are kept?

As ``ALGORITHM:HASH``, both as RabbitMQ names and exports them; without the algorithm it is SHA-256.
"""

import base64
import binascii
import re

from fleet.errors import UsageError
from provisioning.broker.passwords import SALT_BYTES, SHA256, PasswordHash

_WRITTEN = re.compile(r"(?:(rabbit_password_hashing_[a-z0-9]+):)?([A-Za-z0-9+/]+=*)")


def write_hash(stored: PasswordHash) -> str:
    """Return ``stored`` as one word."""
    return f"{stored.algorithm}:{stored.salted}"


def read_hash(text: str, *, user: str) -> PasswordHash:
    """Return the hash that ``text`` is. Raises UsageError, which does not repeat the text."""
    found = _WRITTEN.fullmatch(text)
    if found is None or not _is_base64(found[2]):
        raise UsageError(
            f"`password_hash` of user `{user}` leads to something that is no hash of RabbitMQ's",
            hint="`python -m provisioning hash-password` makes one",
        )
    return PasswordHash(salted=found[2], algorithm=found[1] or SHA256)


def _is_base64(text: str) -> bool:
    try:
        # Python forgives superfluous padding, the broker does not.
        return len(text) % 4 == 0 and len(base64.b64decode(text, validate=True)) > SALT_BYTES
    except binascii.Error:
        return False
