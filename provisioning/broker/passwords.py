"""Does a stored hash belong to this password?

RabbitMQ stores ``base64(salt ‖ hash(salt ‖ password))`` with a salt of four bytes, so drift can be seen
without logging in as the user: https://www.rabbitmq.com/docs/passwords
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

SHA256 = "rabbit_password_hashing_sha256"
SALT_BYTES = 4

#: the broker's module → the hash that it computes
HASHING_ALGORITHMS: Mapping[str, str] = MappingProxyType(
    {
        SHA256: "sha256",
        "rabbit_password_hashing_sha512": "sha512",
        "rabbit_password_hashing_md5": "md5",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordHash:
    """A password as the broker stores it; as secret as the password, because the hash is a fast one."""

    #: base64 of salt and digest
    salted: str = field(repr=False)
    #: the broker's module name
    algorithm: str = SHA256


class Password:
    """A password in the clear, on its way to becoming a hash; never shown, never pickled."""

    __slots__ = ("_clear",)

    def __init__(self, clear: str) -> None:
        self._clear = clear

    def matches(self, stored: PasswordHash) -> bool:
        """Tell whether ``stored`` was made from this password; an unknown algorithm never matches."""
        name = HASHING_ALGORITHMS.get(stored.algorithm)
        try:
            raw = base64.b64decode(stored.salted, validate=True)
        except binascii.Error:
            return False
        if name is None:
            return False
        salt, digest = raw[:SALT_BYTES], raw[SALT_BYTES:]
        return hmac.compare_digest(digest, _digest(name, salt, self._clear))

    def hashed(self, *, salt: bytes) -> PasswordHash:
        """Return the SHA-256 hash to store; ``salt`` is four random bytes."""
        digest = _digest(HASHING_ALGORITHMS[SHA256], salt, self._clear)
        return PasswordHash(salted=base64.b64encode(salt + digest).decode())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Password):
            return NotImplemented
        return hmac.compare_digest(self._clear.encode(), other._clear.encode())

    def __hash__(self) -> int:
        return hash(Password)

    def __repr__(self) -> str:
        return "Password('***')"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Password is not pickled")


def _digest(name: str, salt: bytes, clear: str) -> bytes:
    # md5 only verifies users from before RabbitMQ 3.6; nothing is ever written with it.
    return hashlib.new(name, salt + clear.encode(), usedforsecurity=False).digest()
