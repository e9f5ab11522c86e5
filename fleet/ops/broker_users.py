"""Which users must the broker have: for which passwords that are kept, and for whom besides?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fleet.accounts import Slotted, account, accounts_there, accounts_wanted, declared_name, other
from fleet.adopt.hashes import read_hash
from fleet.errors import UsageError
from fleet.model import Fleet, SecretRef
from fleet.roles import hosts_with_users
from fleet.secrets import Secret, resolve
from fleet.topology import ownership_mark
from provisioning.broker.objects import User
from provisioning.broker.passwords import PasswordHash
from provisioning.plan import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept as the password of a user of the fleet file."""

    #: where
    place: SecretRef
    #: of the user that it belongs to
    slot: str
    secret: Secret | PasswordHash = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersWanted:
    """The users that the broker shall have."""

    #: their names there, by user of the fleet file
    accounts: Mapping[str, tuple[str, ...]]
    #: by name there; a user without one keeps what it has
    passwords: Mapping[str, Secret | PasswordHash]
    #: what an operator should know
    notes: tuple[str, ...]


def password_places(fleet: Fleet) -> dict[str, SecretRef]:
    """Return where the password of each declared user is kept; a host's two users have one."""
    broker = fleet.broker
    places = {broker.user: broker.password} | {user.name: user.password for user in broker.users}
    for host in hosts_with_users(fleet):
        places |= dict.fromkeys((broker.host_user(host.name), broker.host_sender(host.name)), host.password)
    return {user: place for user, place in places.items() if place is not None}


def hash_places(fleet: Fleet) -> dict[str, SecretRef]:
    """Return where the hash of a user's password is kept, for those whose password is not needed."""
    broker = fleet.broker
    places = {broker.user: broker.password_hash} | {user.name: user.password_hash for user in broker.users}
    for host in hosts_with_users(fleet):
        places[broker.host_user(host.name)] = host.password_hash
        places[broker.host_sender(host.name)] = host.sender_password_hash or host.password_hash
    return {user: place for user, place in places.items() if place is not None}


def kept_passwords(fleet: Fleet, environ: Mapping[str, str]) -> dict[str, Kept]:
    """Return what is kept as the password of each declared user. Raises UsageError, SecretMissing."""
    if fleet.broker.password is None:
        raise UsageError(
            f"user `{fleet.broker.user}` has no password to be provisioned with",
            hint='set `password = "env:FLEET_BROKER_PASSWORD"` in [broker]',
        )
    hashes = hash_places(fleet)
    found: dict[str, Kept] = {}
    for user, place in password_places(fleet).items():
        kept = Slotted.read(resolve(hashes.get(user, place), environ=environ))
        secret = read_hash(kept.secret.reveal(), user=user) if user in hashes else kept.secret
        found[user] = Kept(place=hashes.get(user, place), slot=kept.slot, secret=secret)
    return found


def our_users(fleet: Fleet, seen: Iterable[Resource]) -> dict[str, User]:
    """Return the users that carry the mark of this fleet."""
    mark = ownership_mark(fleet)
    return {thing.name: thing for thing in seen if isinstance(thing, User) and mark in thing.tags}


def users_wanted(fleet: Fleet, kept: Mapping[str, Kept], seen: Iterable[Resource]) -> UsersWanted:
    """Return which users there shall be, given those that there are.

    Raises UsageError for a password that a rotation has replaced: with it, the user that was deleted would
    come back, and hosts would get it.
    """
    seen = tuple(seen)
    there, names = our_users(fleet, seen), {thing.name for thing in seen if isinstance(thing, User)}
    for user, each in kept.items():
        if account(user, each.slot) not in names and account(user, other(each.slot)) in there:
            raise UsageError(
                f"what `{each.place}` has is the password of broker user `{account(user, each.slot)}`, which"
                f" is not there; user `{account(user, other(each.slot))}` has taken its place",
                hint="it was rotated: fetch the present password from where your secrets are kept",
            )
    slots = {user: each.slot for user, each in kept.items()}
    return UsersWanted(
        accounts=accounts_wanted(slots, there.keys()),
        passwords={account(user, each.slot): each.secret for user, each in kept.items()},
        notes=tuple(_half_rotated(slots, there.keys())),
    )


def _half_rotated(slots: Mapping[str, str], there: Iterable[str]) -> Iterable[str]:
    for user, accounts in accounts_there(slots, set(there)).items():
        if len(accounts) > 1:
            (left,) = (each for each in accounts if each != account(user, slots[user]))
            yield (
                f"user {left} is there for whoever has not got the new password of {declared_name(left)}"
                f" yet: `fleet rotate password --user {user}` goes on with that"
            )
