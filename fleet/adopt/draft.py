"""What goes into the fleet file, and under which names do its passwords and their hashes stand outside it?"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fleet.adopt.queues import FoundQueue
from fleet.adopt.users import FoundUser
from fleet.model import Broker, Profile

#: where the passwords are looked for that the broker cannot tell
MAIN_VARIABLE = "FLEET_BROKER_PASSWORD"
ADMIN_VARIABLE = "FLEET_ADMIN_PASSWORD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One password, and the broker users that have it."""

    #: environment variable of the password
    variable: str
    #: one user; of a host with users of its own, who consumes and who sends
    users: tuple[str, ...]

    def hash_variables(self) -> tuple[tuple[str, str], ...]:
        """Return each user, and the environment variable of its hash: a broker salts each on its own."""
        ends = ("HASH", "SENDER_HASH")
        return tuple((user, f"{self.variable}_{end}") for user, end in zip(self.users, ends, strict=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything that goes into the file."""

    #: what was looked at, for the head of the file
    source: str
    #: name of the file with the hashes
    secrets: str
    #: AMQP addresses
    nodes: Sequence[str]
    vhost: str
    user: str
    profile: Profile = Profile.LEAST_PRIVILEGE
    management_url: str | None = None
    management_user: str | None = None
    management_ca: str | None = None
    rabbitmqctl: Sequence[str] = ()
    #: names of users that have a hash
    hashed: frozenset[str] = frozenset()
    users: Sequence[FoundUser] = ()
    hosts: Sequence[str] = ()
    queues: Sequence[FoundQueue] = ()
    #: lines about what the file leaves alone
    notes: Sequence[str] = ()
    #: what plain Celery has, as queues that may be declared
    suggested: Sequence[str] = ()

    def accounts(self) -> tuple[Account, ...]:
        """Return every password of the file but the administrator's: the fleet's own, hosts', users'."""
        own = Account(variable=MAIN_VARIABLE, users=(self.user,))
        return (own, *self.accounts_of_hosts(), *self.accounts_of_users())

    def accounts_of_hosts(self) -> tuple[Account, ...]:
        """Return the password of each host that has one, in the order of ``hosts``."""
        if self.profile is not Profile.PER_HOST:
            return ()
        broker = Broker(nodes=(), user=self.user, profile=self.profile)
        pairs = ((broker.host_user(host), broker.host_sender(host)) for host in self.hosts)
        names = _variables("HOST", self.hosts)
        return tuple(Account(variable=name, users=pair) for name, pair in zip(names, pairs, strict=True))

    def accounts_of_users(self) -> tuple[Account, ...]:
        """Return the password of each further user, in the order of ``users``."""
        names = _variables("USER", [user.name for user in self.users])
        return tuple(
            Account(variable=name, users=(user.name,)) for name, user in zip(names, self.users, strict=True)
        )


def _variables(kind: str, owners: Sequence[str]) -> Iterator[str]:
    """Yield an environment variable for each owner's password; no two share one."""
    found: list[str] = []
    for owner in owners:
        name = f"FLEET_{kind}_{re.sub('[^A-Z0-9]', '_', owner.upper())}_PASSWORD"
        taken = sum(1 for other in found if re.sub("_[0-9]+$", "", other) == name)
        found.append(f"{name}_{taken + 1}" if taken else name)
    yield from found
