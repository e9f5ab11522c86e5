"""Were passwords of users rotated, so that a file that goes by hashes cannot say who is who? Pure."""

from fleet.accounts import MARK, SUFFIX, declared_name
from fleet.errors import UsageError
from fleet.topology import mark_of
from provisioning.broker.state import State


def refuse_rotated(state: State, vhost: str) -> None:
    """Raise UsageError where a rotation is under way, or has left a user in its second slot."""
    ours = {user.name for user in state.users if mark_of(vhost) in user.tags}
    second = sorted(name for name in ours if name.endswith(SUFFIX))
    if not second:
        return
    both = [name for name in second if declared_name(name) in ours]
    again = " ".join(("fleet rotate password", *(f"--user {declared_name(name)}" for name in both or second)))
    if both:
        raise UsageError(
            f"a rotation of passwords is under way in vhost `{vhost}`: `{declared_name(both[0])}` and"
            f" `{both[0]}` are both there, and the broker does not tell which one stays",
            hint=f"finish it with the fleet file that it was begun with: `{again}`",
        )
    user = declared_name(second[0])
    raise UsageError(
        f"`{second[0]}` in vhost `{vhost}` is user `{user}` with a rotated password, and a file that goes by"
        " hashes cannot say so",
        hint=f"with its fleet file, rotate once more, which leads back to `{user}`: `{again}`; without one,"
        f' write the file by hand: user = "{user}", whose password is kept with `{MARK}` in front',
    )
