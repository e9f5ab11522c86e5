"""Which changes take away data, or somebody's access?

Told before anything is changed, and made only when the operator allows it. What cannot be proved to be
harmless counts as a loss: a false alarm costs one more option on a command line.
"""

from collections.abc import Mapping, Sequence

from provisioning.broker.drops import dropping
from provisioning.broker.narrowing import EVERYTHING, may_narrow
from provisioning.broker.objects import (
    Binding,
    Exchange,
    Permission,
    Queue,
    TopicPermission,
    User,
    Vhost,
)
from provisioning.broker.parameters import Parameter
from provisioning.plan import Action, Change, Identity, Loss, Lost, Resource


def losses(changes: Sequence[Change], actual: Mapping[Identity, Resource]) -> dict[Identity, Loss]:
    """Return what each of ``changes`` takes away, made in this order, given what is there."""
    each = ((change.identity, loss(change, actual)) for change in changes)
    return {identity: lost for identity, lost in each if lost} | dropping(changes, actual)


def loss(change: Change, actual: Mapping[Identity, Resource]) -> Loss | None:
    """Return what ``change`` takes away by itself, given what is there, or None; of policies, see `drops`."""
    if change.action is Action.DELETE and change.implied_by:
        return None
    match change.resource:
        case Vhost() | Queue() | Exchange() | Binding() | Parameter() if change.destroys:
            return _lost_data(change.resource)
        case User() as user:
            return _lost_login(user, change)
        case Permission() as permission if isinstance(change.before, Permission):
            return _lost_rights(permission, change.before, change)
        case TopicPermission() as limit if change.action is not Action.DELETE:
            before = change.before or _unlimited(limit, actual)
            return _lost_rights(limit, before, change) if isinstance(before, TopicPermission) else None
    return None


def locks_out(change: Change, account: str) -> str | None:
    """Return how ``change`` would keep ``account`` from working on the broker, or None."""
    mine = change.resource
    if isinstance(mine, User) and mine.name == account and isinstance(change.before, User):
        if change.action is Action.DELETE:
            return _own(account, "would be deleted")
        if dropped := set(change.before.tags) - set(mine.tags):
            return _own(account, f"would lose the tag {', '.join(sorted(dropped))}")
        if any(field.name == "password" for field in change.fields):
            return _own(account, "would get another password")
    if isinstance(mine, Permission) and mine.user == account and isinstance(change.before, Permission):
        return _own(account, "would lose rights") if loss(change, {}) else None
    return None


def _own(account: str, what: str) -> str:
    return f"{account} {what}, and it is the account that is logged in here"


def _lost_data(resource: Resource) -> Loss:
    reasons = {
        Vhost.KIND: "everything in it is lost",
        Queue.KIND: "what it holds is lost",
        Exchange.KIND: "what is sent to it while it is gone is lost or refused",
        Binding.KIND: "what it routes is lost or refused from then on",
        Parameter.KIND: "what its plugin does by it ends",
    }
    return Loss(what=Lost.DATA, reason=reasons[resource.KIND])


def _lost_login(user: User, change: Change) -> Loss | None:
    if change.action is Action.DELETE:
        return Loss(what=Lost.ACCESS, reason="nobody can log in as it, and its connections are closed")
    dropped = set(change.before.tags) - set(user.tags) if isinstance(change.before, User) else set()
    if not dropped:
        return None
    return Loss(what=Lost.ACCESS, reason=f"it loses the tag {', '.join(sorted(dropped))}")


def _lost_rights(
    after: Permission | TopicPermission, before: Permission | TopicPermission, change: Change
) -> Loss | None:
    if change.action is Action.DELETE:
        lost = ["every right"]
    else:
        kinds = ("configure", "write", "read")
        pairs = {kind: (getattr(before, kind, ""), getattr(after, kind, "")) for kind in kinds}
        lost = [kind for kind, (old, new) in pairs.items() if may_narrow(old, new)]
    if not lost:
        return None
    reason = f"user {after.user} may lose rights ({', '.join(lost)})"
    return Loss(what=Lost.ACCESS, reason=reason, holder=(after.user, after.vhost))


def _unlimited(limit: TopicPermission, actual: Mapping[Identity, Resource]) -> TopicPermission | None:
    """Return what a new limit takes the place of: every key, if the user can reach the exchange today."""
    exchange = (Exchange.KIND, limit.vhost, limit.exchange)
    right = (Permission.KIND, limit.vhost, limit.user)
    if exchange not in actual or right not in actual:
        return None
    return TopicPermission(
        vhost=limit.vhost, user=limit.user, exchange=limit.exchange, write=EVERYTHING, read=EVERYTHING
    )
