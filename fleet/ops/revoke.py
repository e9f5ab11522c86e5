"""How does one host lose its access to the broker, while the others notice nothing?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.accounts import account
from fleet.errors import UsageError
from fleet.hosts.needs import beat_host, host_credentials, host_password
from fleet.model import SLOTS, BrokerUser, Fleet, Host, Profile
from fleet.ops.broker_users import our_users
from fleet.ops.provision import open_door
from provisioning.apply import Door
from provisioning.plan import Action, Change, Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What a host has lost, and what it still knows."""

    host: str
    #: broker users that were deleted
    users: tuple[str, ...]
    #: clients that were connected as them
    closed: tuple[str, ...]
    #: what else was on the host: credential → where it is kept
    also_had: Mapping[str, str]


def own_users(fleet: Fleet, host: Host, *, lost: bool = False) -> tuple[str, ...]:
    """Return the broker users that are ``host``'s alone, in both slots; none without ``per-host``.

    Of a ``lost`` host that runs beat the scheduler's user is one of them; in order, beat moves on with it.
    """
    return _lost_users(fleet, host.name) if lost else _users_of(fleet, host.name)


def revoke_host(fleet: Fleet, host: Host, door: Door, *, lost: bool = False) -> tuple[str, ...]:
    """Delete the ``own_users`` of ``host``, end their connections; return those that were there.

    Raises what ``door`` raises. Once more does no harm.
    """
    return _revoke(fleet, own_users(fleet, host, lost=lost), door)[0]


def scheduler_of(fleet: Fleet, host: str) -> BrokerUser | None:
    """Return the user of that role as whom beat logs in on ``host`` alone, or None."""
    broker = fleet.broker
    return broker.scheduler if broker.profile is Profile.PER_HOST and beat_host(fleet) == host else None


def revoke_lost_host(fleet: Fleet, environ: Mapping[str, str], host: str) -> Revoked:
    """Shut ``host`` out of the broker; it need not be in the fleet file any more.

    With it goes the scheduler's user where beat runs there: nobody else logs in as that.

    Raises UsageError where hosts have no users of their own, or nothing is known of the host, SecretMissing,
    and the door's errors.
    """
    broker = fleet.broker
    if broker.profile is not Profile.PER_HOST:
        raise UsageError(
            f'with `profile = "{broker.profile}"` every host logs in as `{broker.user}`, so `{host}` cannot'
            " be shut out alone",
            hint="change the password that it knows: `fleet rotate password --all`",
        )
    users, ended = _revoke(fleet, _lost_users(fleet, host), open_door(fleet, environ)[1])
    if not users and fleet.host(host) is None:
        raise UsageError(
            f"neither {fleet.source} nor the broker knows a host `{host}`", hint="see `fleet hosts list`"
        )
    return Revoked(
        host=host,
        users=users,
        closed=tuple(each.client for each in ended),
        also_had=_also_had(fleet, host),
    )


def _users_of(fleet: Fleet, host: str) -> tuple[str, ...]:
    broker = fleet.broker
    if broker.profile is not Profile.PER_HOST:
        return ()
    return _accounts(broker.host_user(host), broker.host_sender(host))


def _lost_users(fleet: Fleet, host: str) -> tuple[str, ...]:
    scheduler = scheduler_of(fleet, host)
    return (*_users_of(fleet, host), *(_accounts(scheduler.name) if scheduler else ()))


def _accounts(*users: str) -> tuple[str, ...]:
    return tuple(account(user, slot) for user in users for slot in SLOTS)


def _revoke(fleet: Fleet, names: Sequence[str], door: Door) -> tuple[tuple[str, ...], Sequence[Connection]]:
    ours = our_users(fleet, door.observe().resources) if names else {}
    there = tuple(name for name in names if name in ours)
    if not there:
        return (), ()
    connections = door.connections([(name, fleet.broker.vhost) for name in there])
    door.perform([Change(action=Action.DELETE, before=ours[name]) for name in there])
    # The broker ends them by itself, too, after a while.
    for connection in connections:
        door.disconnect(connection)
    return there, connections


def _also_had(fleet: Fleet, host: str) -> dict[str, str]:
    if fleet.host(host) is None:
        return {}
    had = host_credentials(fleet, host, beat=beat_host(fleet) == host)
    return {name: str(place) for name, place in had.items() if name != host_password(host)}
