"""Where does a rotation stand in the secrets, the broker and on the hosts, and how is each step made?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleet.accounts import account, other
from fleet.errors import FleetError, UsageError
from fleet.hosts.batches import BatchSize, batches
from fleet.login import Login
from fleet.model import Fleet, Host
from fleet.ops.broker_users import kept_passwords, our_users, users_wanted
from fleet.ops.host_change import HostChange
from fleet.ops.hosts import SudoPassword
from fleet.ops.provision_hosts import Releases, plan_hosts
from fleet.ops.rollout import is_good, roll_out
from fleet.ops.rotate import keeping
from fleet.ops.rotate.passwords import KeptPassword
from fleet.ops.rotate.proof import prove
from fleet.ops.rotate.run import Still
from fleet.ops.witness import Witness
from fleet.rotation import Standing
from fleet.topology import desired_state
from provisioning.apply import Door, Observation, Report, apply, plan_against
from provisioning.broker.objects import User
from provisioning.broker.passwords import Password, PasswordHash
from provisioning.broker.state import State, refuse_foreign
from provisioning.hosts.door import Operator
from provisioning.hosts.many import Done
from provisioning.plan import Action, Change

#: hosts change as in a rollout: one first, then a quarter of them at a time
CANARY, BATCH = 1, BatchSize(percent=25)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsWay:
    """How hosts get a new password; see ``fleet.ops.rollout``."""

    releases: Releases
    by: Operator
    sudo_password: SudoPassword | None = None
    witness: Witness | None = None
    on_batch: Callable[[Sequence[str]], None] = lambda _: None
    on_done: Callable[[Done[Report]], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSite:
    """A fleet whose passwords are rotated. Every look is a new one."""

    fleet: Fleet
    environ: Mapping[str, str] = field(repr=False)
    door: Door
    passwords: tuple[KeptPassword, ...]
    #: None: something else gives the hosts their passwords
    hosts: HostsWay | None
    #: whether the nodes of the broker are asked if they let new users in
    proves: bool = True
    tell: Callable[[str], None] = lambda _: None

    def look(self) -> Mapping[str, Standing]:
        """Return how far each password has come.

        Raises UsageError where secrets and broker do not go together, SecretMissing, and the door's errors.
        """
        seen = self._observe()
        return {each.name: self._standing(each, seen) for each in self.passwords}

    def prepare(self, names: Sequence[str]) -> None:
        """Write a new password beside each present one.

        Raises UsageError, before anything is written, when broker or hosts are not ready for a rotation.
        """
        chosen = self._chosen(names)
        for each in chosen:
            keeping.require_writable(each, self.environ)
        self._require_users(chosen)
        self._require_settled_hosts(chosen)
        for each in chosen:
            keeping.prepare(each, self.environ)

    def create(self, names: Sequence[str]) -> None:
        """Make the users of the new passwords, with tags, rights and limits of the present ones."""
        for each in self._chosen(names):
            # Each changes what the next one is planned against.
            seen = self._observe()
            second = self._second(each, seen)
            refuse_foreign(second, seen.resources)
            report = apply(plan_against(second, seen, self.door), self.door)
            if report.error is not None:
                raise report.error
            if not report.converged:
                raise FleetError(f"the second user of {each.name} is not as desired; run it again")

    def prove(self, names: Sequence[str]) -> None:
        """Log in as each new user at each node of the fleet file. Raises what ``proof.prove`` does."""
        if not self.proves:
            return
        logins = [
            Login(user=account(user, new.slot), password=new.secret)
            for each in self._chosen(names)
            if (new := keeping.prepared(each, self.environ)) is not None
            for user in each.users
        ]
        for silent in prove(self.fleet.broker, logins):
            self.tell(f"not asked whether it lets the new users in: {silent}")

    def switch(self, names: Sequence[str]) -> None:
        """Let each new password take the place of the present one, where it is kept."""
        for each in self._chosen(names):
            keeping.switch(each, self.environ)

    def roll(self, names: Sequence[str]) -> tuple[Still, ...]:
        """Give the hosts the present passwords, batch by batch; return the hosts where that failed."""
        if self.hosts is None:
            return ()
        looked = self._plan_hosts(self._chosen(names))
        failed = [_failure(each) for each in looked if each.error is not None]
        changes = {each.name: each.value for each in looked if each.value and not each.value.is_empty}
        rolled = roll_out(
            self.fleet,
            changes,
            batches(tuple(changes), canary=CANARY, size=BATCH),
            by=self.hosts.by,
            witness=self.hosts.witness,
            sudo_password=self.hosts.sudo_password,
            on_batch=self.hosts.on_batch,
            on_done=self.hosts.on_done,
        )
        failed += [_failure(each) for each in rolled.done if not is_good(each)]
        failed += [Still(user="", who=f"host {name}", where="not begun") for name in rolled.not_begun]
        return tuple(failed)

    def connected(self, names: Sequence[str]) -> tuple[Still, ...]:
        """Return who is connected as a user in the other slot."""
        holders = [(user, self.fleet.broker.vhost) for user in self._others(names)]
        found = {
            Still(user=each.user, who=each.client, where=each.address)
            for each in self.door.connections(holders)
        }
        return tuple(sorted(found, key=lambda still: (still.user, still.who, still.where)))

    def settle(self, names: Sequence[str]) -> tuple[Still, ...]:
        """Take away what ended instances leave on the hosts; return the hosts that are not at rest."""
        if self.hosts is None:
            return ()
        chosen = self._chosen(names)
        looked = self._plan_hosts(chosen)
        if any(each.value is not None and not each.value.is_empty for each in looked):
            if failed := self.roll(names):
                return failed
            looked = self._plan_hosts(chosen)
        return tuple(still for each in looked if (still := _behind(each)) is not None)

    def delete(self, names: Sequence[str]) -> None:
        """Delete the users in the other slot; the broker closes what is connected as them."""
        ours = our_users(self.fleet, self._observe().resources)
        gone = [
            Change(action=Action.DELETE, before=ours[name]) for name in self._others(names) if name in ours
        ]
        self.door.perform(gone)

    def _chosen(self, names: Sequence[str]) -> tuple[KeptPassword, ...]:
        return tuple(each for each in self.passwords if each.name in names)

    def _observe(self) -> Observation:
        """Return what the broker has, when that and the secrets go together."""
        seen = self.door.observe()
        seen = replace(seen, resources=tuple(seen.resources))
        users_wanted(self.fleet, kept_passwords(self.fleet, self.environ), seen.resources)
        return seen

    def _others(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the broker users in the slots that the present passwords do not belong to."""
        return tuple(
            account(user, other(keeping.present(each, self.environ).slot))
            for each in self._chosen(names)
            for user in each.users
        )

    def _standing(self, kept: KeptPassword, seen: Observation) -> Standing:
        ours = our_users(self.fleet, seen.resources)
        new = keeping.prepared(kept, self.environ)
        there = [ours[name] for name in self._others((kept.name,)) if name in ours]
        if new is None:
            return Standing(is_there=bool(there))
        for user in there:
            if isinstance(user.password, PasswordHash) and not Password(new.secret.reveal()).matches(
                user.password
            ):
                raise UsageError(
                    f"user {user.name} is still there from the rotation before, with another password than"
                    f" `{kept.next_place}` has",
                    hint=f"end that one first: put `{kept.next_place}` aside, and run this again",
                )
        missing = plan_against(self._second(kept, seen), seen, self.door).changes
        return Standing(is_prepared=True, is_there=bool(there), is_complete=not missing)

    def _second(self, kept: KeptPassword, seen: Observation) -> State:
        """Return the state in which the users in the other slot have the prepared password."""
        new = keeping.prepared(kept, self.environ)
        if new is None:
            raise FleetError(f"`{kept.next_place}` was there a moment ago, and is not any more")
        ours = our_users(self.fleet, seen.resources)
        names = {user: account(user, new.slot) for user in kept.users}
        limits = {
            name: ours[first].limits
            for user, name in names.items()
            if (first := account(user, other(new.slot))) in ours
        }
        desired = desired_state(
            self.fleet,
            dict.fromkeys(names.values(), new.secret),
            broker_version=seen.version,
            accounts={user: (name,) for user, name in names.items()},
        )
        wanted = set(names.values())
        return State(
            users=tuple(
                replace(user, limits=limits.get(user.name)) for user in desired.users if user.name in wanted
            ),
            permissions=tuple(row for row in desired.permissions if row.user in wanted),
            topic_permissions=tuple(row for row in desired.topic_permissions if row.user in wanted),
            mark=desired.mark,
        )

    def _require_users(self, chosen: Sequence[KeptPassword]) -> None:
        ours = our_users(self.fleet, self._observe().resources)
        for each in chosen:
            slot = keeping.present(each, self.environ).slot
            for user in each.users:
                found = ours.get(account(user, slot))
                if found is None or not _has(found, keeping.present(each, self.environ).secret.reveal()):
                    raise UsageError(
                        f"broker user `{account(user, slot)}` is not there with the password that"
                        f" `{each.place}` has",
                        hint="run `fleet provision broker` first",
                    )

    def _require_settled_hosts(self, chosen: Sequence[KeptPassword]) -> None:
        """Raise UsageError where hosts would get more than a password.

        What the last rollout's old instances have left when they ended goes on the way.
        """
        if self.hosts is None:
            return
        unsettled = [
            each.name
            for each in self._plan_hosts(chosen)
            if each.value is not None and not each.value.only_clears
        ]
        if unsettled:
            raise UsageError(
                f"not as the fleet file wants them, so that more than a password would change: host"
                f" {', '.join(unsettled)}; nothing was changed",
                hint="`fleet provision hosts` first, or `--without-hosts` where another tool sees to them",
            )

    def _plan_hosts(self, chosen: Sequence[KeptPassword]) -> tuple[Done[HostChange], ...]:
        assert self.hosts is not None
        having = {name for each in chosen for name in each.hosts}
        hosts: tuple[Host, ...] = tuple(host for host in self.fleet.hosts if host.name in having)
        if not hosts:
            return ()
        return plan_hosts(
            self.fleet,
            hosts,
            self.environ,
            releases=self.hosts.releases,
            sudo_password=self.hosts.sudo_password,
        )


def _has(user: User, password: str) -> bool:
    return isinstance(user.password, PasswordHash) and Password(password).matches(user.password)


def _failure(done: Done[HostChange] | Done[Report]) -> Still:
    error = done.error or (done.value.error if isinstance(done.value, Report) else None)
    return Still(user="", who=f"host {done.name}", where=error.message if error else "not as desired")


def _behind(done: Done[HostChange]) -> Still | None:
    if done.value is None:
        return _failure(done)
    if done.value.ending:
        return Still(
            user="", who=f"host {done.name}", where=f"{', '.join(done.value.ending)} is still ending"
        )
    if not done.value.is_empty:
        return Still(user="", who=f"host {done.name}", where="has not got the new password")
    return None
