"""How does one host lose its access to the broker, while the others notice nothing?"""

from collections.abc import Mapping
from dataclasses import dataclass

from fleet.accounts import account
from fleet.errors import UsageError
from fleet.hosts.needs import beat_host, host_credentials, host_password
from fleet.model import SLOTS, Fleet, Profile
from fleet.ops.broker_users import our_users
from fleet.ops.provision import open_door
from provisioning.plan import Action, Change


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


def revoke_host(fleet: Fleet, environ: Mapping[str, str], host: str) -> Revoked:
    """Delete the broker users of ``host`` and close their connections; once more does no harm.

    The host need not be in the fleet file any more. Raises UsageError where hosts have no users of their own,
    or nothing is known of the host, and the door's errors.
    """
    broker = fleet.broker
    if broker.profile is not Profile.PER_HOST:
        raise UsageError(
            f'with `profile = "{broker.profile}"` every host logs in as `{broker.user}`, so `{host}` cannot'
            " be shut out alone",
            hint="change the password that it knows: `fleet rotate password --all`",
        )
    door = open_door(fleet, environ)[1]
    ours = our_users(fleet, door.observe().resources)
    names = [
        name
        for user in (broker.host_user(host), broker.host_sender(host))
        for slot in SLOTS
        if (name := account(user, slot)) in ours
    ]
    if not names and fleet.host(host) is None:
        raise UsageError(
            f"neither {fleet.source} nor the broker knows a host `{host}`", hint="see `fleet hosts list`"
        )
    connections = door.connections([(name, broker.vhost) for name in names]) if names else ()
    door.perform([Change(action=Action.DELETE, before=ours[name]) for name in names])
    # The broker closes them by itself, after a while.
    for connection in connections:
        door.disconnect(connection)
    return Revoked(
        host=host,
        users=tuple(names),
        closed=tuple(each.client for each in connections),
        also_had=_also_had(fleet, host),
    )


def _also_had(fleet: Fleet, host: str) -> dict[str, str]:
    if fleet.host(host) is None:
        return {}
    had = host_credentials(fleet, host, beat=beat_host(fleet) == host)
    return {name: str(place) for name, place in had.items() if name != host_password(host)}
