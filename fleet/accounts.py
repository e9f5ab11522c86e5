"""Which broker user is meant by a user of the fleet file, whose password may have been rotated?

A broker user has one password, so while a password changes hands there are two users with the same rights: a
user has two slots, as a worker has. What is kept as the password says which of them it belongs to; in slot
``b`` it has a mark in front. Name and password so change in one place and at once. Pure.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from fleet.model import SLOTS
from fleet.secrets import Secret

#: in front of a password of slot b, wherever it is kept
MARK = "fleet-slot-b:"
#: at the end of the name of a user in slot b; no name that a fleet file may give ends like it
SUFFIX = "+b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slotted:
    """A password, or a password's hash, and the slot of the user that it belongs to."""

    slot: str
    secret: Secret

    @classmethod
    def read(cls, kept: Secret) -> "Slotted":
        """Return what is kept somewhere as a password."""
        text = kept.reveal()
        if not text.startswith(MARK):
            return cls(slot=SLOTS[0], secret=kept)
        return cls(slot=SLOTS[1], secret=Secret(text.removeprefix(MARK)))

    def kept(self) -> Secret:
        """Return what is to be kept."""
        return self.secret if self.slot == SLOTS[0] else Secret(f"{MARK}{self.secret.reveal()}")


def other(slot: str) -> str:
    """Return the slot that is not this one."""
    return SLOTS[1 - SLOTS.index(slot)]


def account(user: str, slot: str) -> str:
    """Return the broker's name for ``user`` of the fleet file in this slot."""
    return user if slot == SLOTS[0] else f"{user}{SUFFIX}"


def declared_name(account: str) -> str:
    """Return the fleet file's name for a broker user."""
    return account.removesuffix(SUFFIX)


def accounts_there(users: Iterable[str], there: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return, by user of the fleet file, its accounts among those that are ``there``: none, one or two."""
    return {user: tuple(name for slot in SLOTS if (name := account(user, slot)) in there) for user in users}


def accounts_wanted(slots: Mapping[str, str], there: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return, by user of the fleet file, the accounts that a broker with those that are ``there`` shall have.

    That is the one whose password is kept (``slots``), and the other one for as long as it is there: whoever
    still logs in as it keeps its rights until the rotation is over.
    """
    found = accounts_there(slots, there)
    return {user: tuple(dict.fromkeys((account(user, slot), *found[user]))) for user, slot in slots.items()}
