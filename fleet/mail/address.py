"""Is this one mail address that can safely stand in a header and in an SMTP command?

Stricter than the standards: no comments, no quoted local parts, no lists, no control characters, so that
nothing that passes can end a header or a command early. Non-ASCII names and domains are fine.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from fleet.errors import UsageError

MAX_ADDRESS_LENGTH = 254
MAX_LOCAL_LENGTH = 64
MAX_NAME_LENGTH = 200

#: Unicode categories that must not appear in a header: controls, surrogates, line and paragraph separators
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")
_ASCII_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


class Unmailable(UsageError):
    """No mail can be made of this; ``reason`` says why without showing any address or content."""

    def __init__(self, message: str, *, reason: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason or message


class InvalidAddress(Unmailable):
    """This is not one mail address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One mailbox."""

    #: display name; empty where there is none
    name: str
    local: str
    #: ASCII form (``xn--…`` for international domains)
    domain: str

    @property
    def addr_spec(self) -> str:
        """Return ``local@domain``."""
        return f"{self.local}@{self.domain}"

    @property
    def is_ascii(self) -> bool:
        """Tell whether any server can take this address; otherwise it needs SMTPUTF8."""
        return self.local.isascii()


def has_forbidden_characters(text: str) -> bool:
    """Tell whether ``text`` holds a line break, another control character or half a surrogate pair."""
    return any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in text)


def parse_address(text: object, *, role: str = "recipient") -> Address:
    """Return the one address that ``text`` is: ``local@domain`` or ``Name <local@domain>``.

    Raises InvalidAddress with what is wrong; ``role`` says whose address it would have been.
    """
    try:
        return _parse(text)
    except _Wrong as wrong:
        raise InvalidAddress(
            f"{repr(text)[:120]} is not a mail address: {wrong}",
            reason=f"the {role} is not a mail address: {wrong}",
            hint="write it as `someone@example.org` or `Some One <someone@example.org>`",
        ) from None


class _Wrong(Exception):
    pass


def _parse(text: object) -> Address:
    if not isinstance(text, str):
        raise _Wrong("it is not a text; one task mails one recipient")
    if has_forbidden_characters(text):
        raise _Wrong("it has a line break or another control character")
    named = _NAMED.fullmatch(text.strip())
    name = named["name"].strip().removeprefix('"').removesuffix('"') if named else ""
    spec = named["address"] if named else text.strip()
    if len(name) > MAX_NAME_LENGTH:
        raise _Wrong(f"its name is longer than {MAX_NAME_LENGTH} characters")
    if "@" not in spec:
        raise _Wrong("it has no `@`")
    if "," in spec or ";" in spec:
        raise _Wrong("it is more than one address; one task mails one recipient")
    local, _, domain = spec.rpartition("@")
    _check_local(local)
    return Address(name=name, local=local, domain=_ascii_domain(local, domain))


def _check_local(local: str) -> None:
    if not local:
        raise _Wrong("nothing stands before the `@`")
    if len(local.encode()) > MAX_LOCAL_LENGTH:
        raise _Wrong(f"the part before the `@` is longer than {MAX_LOCAL_LENGTH} bytes")
    if not all(_is_atom(part) for part in local.split(".")):
        raise _Wrong("the part before the `@` has a character or a dot that may not stand there")


def _is_atom(part: str) -> bool:
    ascii_part = "".join(character for character in part if character.isascii())
    others = (character for character in part if not character.isascii())
    return bool(part) and (not ascii_part or bool(_ASCII_ATOM.fullmatch(ascii_part))) and _are_visible(others)


def _are_visible(characters: Iterable[str]) -> bool:
    return all(unicodedata.category(character)[0] in "LMNPS" for character in characters)


def _ascii_domain(local: str, domain: str) -> str:
    # The length comes first: the codec below is slow on very long input.
    if len(local) + 1 + len(domain) > MAX_ADDRESS_LENGTH:
        raise _Wrong(f"it is longer than {MAX_ADDRESS_LENGTH} characters")
    try:
        ascii_domain = domain.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise _Wrong("the domain after the `@` is not a host name") from error
    if not all(_LABEL.fullmatch(label) for label in ascii_domain.split(".")):
        raise _Wrong("the domain after the `@` is not a host name")
    if len(local.encode()) + 1 + len(ascii_domain) > MAX_ADDRESS_LENGTH:
        raise _Wrong(f"it is longer than {MAX_ADDRESS_LENGTH} bytes")
    return ascii_domain
