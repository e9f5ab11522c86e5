"""How does a host lose its access to the broker, alone?"""

from fleet.model import Fleet, Host, Profile
from provisioning.apply import Door
from provisioning.broker.objects import User
from provisioning.plan import Action, Change


def own_users(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """Return the broker users that are ``host``'s alone; none without the profile ``per-host``."""
    if fleet.broker.profile is not Profile.PER_HOST:
        return ()
    return (fleet.broker.host_user(host.name), fleet.broker.host_sender(host.name))


def revoke_host(fleet: Fleet, host: Host, door: Door) -> tuple[str, ...]:
    """Delete the broker users that are ``host``'s alone, and return those that were there.

    The broker closes their connections. Raises what ``door`` raises.
    """
    names = own_users(fleet, host)
    if not names:
        return ()
    seen = [each for each in door.observe().resources if isinstance(each, User) and each.name in names]
    if seen:
        door.perform([Change(action=Action.DELETE, before=user) for user in seen])
    return tuple(user.name for user in seen)
