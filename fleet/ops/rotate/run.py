"""How does a rotation come to its end, from wherever it stands?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fleet.errors import FleetError
from fleet.rotation import Standing, Step, next_step, under_way

#: how long nobody may be connected before a user is deleted: one who is cut off for a moment comes back
QUIET_SECONDS = 5.0
LOOK_SECONDS = 1.0
#: more steps than any rotation has
_MOST_STEPS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """Who keeps a user from being deleted."""

    #: the broker user that is to be deleted; empty where a host has not got the new password
    user: str
    #: a client by the name it gave, or a host
    who: str
    #: the client's address, or what is wrong with the host
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited until nobody uses a user any more, by a monotonic clock."""

    wait_seconds: float
    quiet_seconds: float = QUIET_SECONDS
    clock: Callable[[], float]
    pause: Callable[[float], None]
    #: told whenever others are waited for than before
    tell: Callable[[Sequence[Still]], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """How far a rotation came."""

    #: passwords that a rotation is over for
    done: tuple[str, ...] = ()
    #: who still uses a user that is to be deleted
    left: tuple[Still, ...] = ()
    #: deleting was left for later
    kept: bool = False
    #: passwords of which no rotation was begun, because one was under way for others
    not_begun: tuple[str, ...] = ()


class Site(Protocol):
    """Secrets, broker and hosts, as a rotation sees and changes them; passwords are named by their users."""

    def look(self) -> Mapping[str, Standing]:
        """Return how far each password has come."""

    def prepare(self, names: Sequence[str]) -> None:
        """Write a new password beside each present one."""

    def create(self, names: Sequence[str]) -> None:
        """Make the users that the new passwords belong to."""

    def prove(self, names: Sequence[str]) -> None:
        """Return when the broker lets the new users in, on each of its nodes; raise where it does not."""

    def switch(self, names: Sequence[str]) -> None:
        """Let each new password take the place of the present one."""

    def roll(self, names: Sequence[str]) -> tuple[Still, ...]:
        """Give the hosts the present passwords; return the hosts where that failed."""

    def connected(self, names: Sequence[str]) -> tuple[Still, ...]:
        """Return who is connected as a user in the other slot."""

    def settle(self, names: Sequence[str]) -> tuple[Still, ...]:
        """Take away what ended instances leave on the hosts.

        Return the hosts on which something still runs, or would start, with another password.
        """

    def delete(self, names: Sequence[str]) -> None:
        """Delete the users in the other slot."""


def rotate(site: Site, *, patience: Patience, keep: bool = False) -> Rotated:
    """Finish the rotation that is under way, or else rotate each password of ``site`` once.

    With ``keep`` the users that were replaced stay. Raises what ``site`` does; whatever it was, and if the
    process is killed, the next call goes on from what it finds.
    """
    standings = site.look()
    going_on = under_way(standings)
    begin = not going_on
    not_begun = tuple(name for name in standings if going_on and name not in going_on)
    for _ in range(_MOST_STEPS):
        step, names = next_step(standings, begin=begin)
        match step:
            case Step.PREPARE:
                site.prepare(names)
                begin = False
            case Step.CREATE:
                site.create(names)
            case Step.SWITCH:
                # What is switched is used at once, here and soon on every host.
                site.prove(names)
                site.switch(names)
            case Step.FINISH:
                return _finish(site, names, patience=patience, keep=keep, not_begun=not_begun)
            case Step.REST:
                return Rotated(not_begun=not_begun)
        standings = site.look()
    raise FleetError("the rotation does not get on: somebody else changes the same users, or their secrets")


def _finish(
    site: Site, names: tuple[str, ...], *, patience: Patience, keep: bool, not_begun: tuple[str, ...]
) -> Rotated:
    if failed := site.roll(names):
        return Rotated(left=(*failed, *site.connected(names)), not_begun=not_begun)
    if keep:
        return Rotated(left=site.connected(names), kept=True, not_begun=not_begun)
    if left := _await_unused(site, names, patience):
        return Rotated(left=left, not_begun=not_begun)
    site.delete(names)
    return Rotated(done=names, not_begun=not_begun)


def _await_unused(site: Site, names: Sequence[str], patience: Patience) -> tuple[Still, ...]:
    """Return when nobody uses the users in the other slot, or, when time is up, who does."""
    deadline = patience.clock() + patience.wait_seconds
    quiet_since, told = None, None
    while True:
        left, now = site.connected(names), patience.clock()
        quiet_since = None if left else (now if quiet_since is None else quiet_since)
        if quiet_since is not None and now - quiet_since >= patience.quiet_seconds:
            left = site.settle(names)
            if not left:
                return ()
        if left and left != told:
            patience.tell(left)
            told = left
        if now >= deadline and (left or quiet_since is None):
            return left
        patience.pause(LOOK_SECONDS)
