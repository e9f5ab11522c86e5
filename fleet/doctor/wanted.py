"""What shall this broker hold, given that the password of a user may be half-way through a rotation?"""

from fleet.accounts import accounts_there
from fleet.doctor.facts import Facts
from fleet.topology import declared_users, desired_state
from provisioning.broker.state import State


def wanted(facts: Facts) -> State:
    """Return the desired state, passwords aside, with each user under the names that the broker has it by."""
    there = {user.name for user in (facts.state or State()).users}
    found = accounts_there(declared_users(facts.fleet), there)
    return desired_state(
        facts.fleet,
        {},
        broker_version=facts.version or (),
        accounts={user: accounts for user, accounts in found.items() if accounts},
    )
