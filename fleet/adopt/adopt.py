"""Which fleet file describes this vhost, what would provisioning it change, and what does it leave alone?

Pure: what the broker holds goes in, texts come out. The file is checked as any other, and the plan is made
from it, not from what it was made of: what is told of it is what will happen.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fleet.adopt import celery, per_host
from fleet.adopt.draft import Draft
from fleet.adopt.file import to_supply, write_file, write_secrets
from fleet.adopt.hashes import read_hash, write_hash
from fleet.adopt.queues import find_queues
from fleet.adopt.rotated import refuse_rotated
from fleet.adopt.unmanaged import Unmanaged, unmanaged
from fleet.adopt.users import (
    candidates,
    find_hosts,
    find_role,
    is_administrator,
    is_worker,
    may_do_everything,
)
from fleet.config.parse import parse
from fleet.errors import ConfigError, UsageError
from fleet.model import Fleet, Profile
from fleet.routes import TASK_EXCHANGE
from fleet.topology import desired_state
from provisioning.broker.passwords import PasswordHash
from provisioning.broker.state import DEFAULT_VHOST, State
from provisioning.plan import Plan, plan

#: a file for questions about rights is made before the main user is known
_NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the operator says about the broker, because the broker does not."""

    vhost: str
    #: AMQP addresses
    nodes: Sequence[str]
    #: where it was looked at, for the head of the file
    source: str
    #: name of the file with the hashes
    secrets: str
    #: the fleet's own user; None to find it
    user: str | None = None
    #: hosts that run workers, where the broker does not show them
    hosts: Sequence[str] = ()
    management_url: str | None = None
    management_user: str | None = None
    management_ca: str | None = None
    rabbitmqctl: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A fleet file for a broker that is there, and what follows from it."""

    file: str
    #: the hashes, for a file that only its owner reads
    secrets: str
    #: what provisioning would change
    plan: Plan
    unmanaged: tuple[Unmanaged, ...]
    #: environment variables of the passwords that somebody has to supply
    to_supply: tuple[str, ...]
    #: False for a vhost of plain Celery, to which provisioning adds all of a fleet
    is_fleet: bool


def adopt(state: State, version: tuple[int, ...], wish: Wish) -> Adoption:
    """Return the fleet file that describes ``wish.vhost``.

    Raises UsageError where the vhost is missing or nothing like a fleet, where the broker does not tell who
    is who, where passwords were rotated, and where a name cannot stand in a fleet file.
    """
    is_fleet = _recognize(state, wish)
    refuse_rotated(state, wish.vhost)
    draft = _draft(state, version, wish) if is_fleet else _celery_draft(state, wish)
    hashes = _hashes(state, draft)
    draft = replace(draft, hashed=frozenset(hashes))
    fleet = _parse(write_file(draft), wish)
    desired = desired_state(fleet, hashes, broker_version=version)
    left = unmanaged(desired, state, wish.vhost)
    return Adoption(
        file=write_file(replace(draft, notes=tuple(map(str, left)))),
        secrets=write_secrets(draft, {user: write_hash(stored) for user, stored in hashes.items()}),
        plan=plan(desired, state),
        unmanaged=left,
        to_supply=to_supply(draft),
        is_fleet=is_fleet,
    )


def _recognize(state: State, wish: Wish) -> bool:
    """Return whether the vhost is a fleet's (else plain Celery's); raise where it is neither."""
    if wish.vhost == DEFAULT_VHOST:
        raise UsageError(
            f"vhost `{DEFAULT_VHOST}` is the broker's own, which no fleet ever touches",
            hint="a fleet needs a vhost of its own: `fleet init`, then `fleet provision broker`",
        )
    if all(vhost.name != wish.vhost for vhost in state.vhosts):
        known = ", ".join(f"`{vhost.name}`" for vhost in state.vhosts) or "none"
        raise UsageError(
            f"the broker has no vhost `{wish.vhost}`", hint=f"name one with --vhost; there are: {known}"
        )
    if any((e.vhost, e.name) == (wish.vhost, TASK_EXCHANGE) for e in state.exchanges):
        return True
    if celery.is_empty(state, wish.vhost) or celery.is_celerys(state, wish.vhost):
        return False
    raise UsageError(
        f"vhost `{wish.vhost}` is nothing like a fleet: it has neither the exchange {TASK_EXCHANGE},"
        " nor anything that Celery declares",
        hint="other vhosts: --vhost; for any broker, `python -m provisioning` works on its own exported"
        " definitions",
    )


def _draft(state: State, version: tuple[int, ...], wish: Wish) -> Draft:
    queues = find_queues(state, wish.vhost, version)
    hosts = dict.fromkeys(find_hosts(state, wish.vhost))
    hosts.update(dict.fromkeys(host for queue in queues for host in queue.hosts or ()))
    hosts.update(dict.fromkeys(wish.hosts))
    draft = _base(wish, user=wish.user or _NOBODY, hosts=tuple(hosts))
    draft = replace(draft, queues=queues)
    fleet = _parse(write_file(draft), wish)
    people = candidates(state, wish.vhost, provisioner=wish.management_user)
    owner = per_host.find_owner(state, wish.vhost, people=people, hosts=draft.hosts)
    # A fleet that has left the profile may have left its hosts' users behind.
    if owner is not None and not (is_worker(fleet, state, owner) or _is_open(fleet, state, owner)):
        draft = _per_host_draft(state, draft, wish, owner)
        fleet = _parse(write_file(draft), wish)
    else:
        user, profile = _main_user(fleet, state, people, wish)
        draft = replace(draft, user=user, profile=profile)
    taken = {user for account in draft.accounts() for user in account.users}
    others = (find_role(fleet, state, name) for name in people if name not in taken)
    return replace(draft, users=tuple(found for found in others if found))


def _per_host_draft(state: State, draft: Draft, wish: Wish, owner: str) -> Draft:
    if wish.user not in (None, owner):
        raise UsageError(
            f"the hosts of vhost `{wish.vhost}` have users of their own, and those are of the fleet of user"
            f" `{owner}`, not of `{wish.user}`",
            hint=f"leave out --user, or write --user {shlex.quote(owner)}",
        )
    found = per_host.find_served(
        state, wish.vhost, owner, queues=draft.queues, hosts=draft.hosts, idle=wish.hosts
    )
    return replace(draft, user=owner, profile=Profile.PER_HOST, hosts=found.hosts, queues=found.queues)


def _celery_draft(state: State, wish: Wish) -> Draft:
    people = candidates(state, wish.vhost, provisioner=wish.management_user)
    if wish.user is None and len(people) != 1:
        raise UsageError(
            f"the broker does not tell which user of vhost `{wish.vhost}` is Celery's",
            hint=f"name it with --user; there are: {', '.join(people) or 'none'}",
        )
    draft = _base(wish, user=wish.user or people[0], hosts=tuple(wish.hosts))
    fleet = _parse(write_file(draft), wish)
    return replace(
        draft,
        # Whoever works there goes on working: fewer rights would stop plain Celery's workers.
        profile=Profile.OPEN if may_do_everything(fleet, state, draft.user) else Profile.LEAST_PRIVILEGE,
        suggested=celery.plain_queues(state, wish.vhost),
    )


def _base(wish: Wish, *, user: str, hosts: tuple[str, ...]) -> Draft:
    if not hosts:
        raise UsageError(
            f"the broker does not tell which hosts run the workers of vhost `{wish.vhost}`",
            hint="name each with --host",
        )
    return Draft(
        source=wish.source,
        secrets=wish.secrets,
        nodes=wish.nodes,
        vhost=wish.vhost,
        user=user,
        hosts=hosts,
        management_url=wish.management_url,
        management_user=wish.management_user,
        management_ca=wish.management_ca,
        rabbitmqctl=wish.rabbitmqctl,
    )


def _is_open(fleet: Fleet, state: State, user: str) -> bool:
    return may_do_everything(fleet, state, user) and is_administrator(state, user)


def _main_user(fleet: Fleet, state: State, people: Sequence[str], wish: Wish) -> tuple[str, Profile]:
    """Return the fleet's own user, and whether it may do everything."""
    open_ones = [name for name in people if _is_open(fleet, state, name)]
    if wish.user is not None:
        return wish.user, Profile.OPEN if wish.user in open_ones else Profile.LEAST_PRIVILEGE
    workers = [name for name in people if is_worker(fleet, state, name)]
    if workers:
        return workers[0], Profile.LEAST_PRIVILEGE
    if open_ones:
        return open_ones[0], Profile.OPEN
    raise UsageError(
        f"none in vhost `{wish.vhost}` has a worker's rights, so the broker does not tell the fleet's user",
        hint=f"name it with --user; there are: {', '.join(people) or 'none'}",
    )


def _hashes(state: State, draft: Draft) -> Mapping[str, PasswordHash]:
    """Return the hashes that the broker keeps, by user; of a host's two users, both or none."""
    stored = {user.name: user.password for user in state.users}
    found: dict[str, PasswordHash] = {}
    for account in draft.accounts():
        kept = {user: stored.get(user) for user in account.users}
        hashes = {user: each for user, each in kept.items() if isinstance(each, PasswordHash)}
        if len(hashes) == len(kept):
            found |= hashes
    # The definitions may be a file that somebody else wrote, and a shell reads what is made of them.
    return {name: read_hash(write_hash(kept), user=name) for name, kept in found.items()}


def _parse(text: str, wish: Wish) -> Fleet:
    try:
        return parse(text, source="fleet.toml")
    except ConfigError as error:
        raise UsageError(
            f"this cannot stand in a fleet file for vhost `{wish.vhost}`:\n{error.message}",
            hint="give it in another form, or write the file by hand: `fleet init`",
        ) from error
