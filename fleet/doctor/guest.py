"""Can a stranger log in with a password that everybody knows?"""

from collections.abc import Iterator

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, warn
from provisioning.broker.objects import User
from provisioning.broker.passwords import Password, PasswordHash
from provisioning.broker.state import DEFAULT_USER, State

_REMOVE = "`rabbitmqctl delete_user guest`"
#: tried beside the user's own name
KNOWN_PASSWORDS = ("guest", "password", "rabbitmq", "admin", "celery", "changeme")


def _guest(facts: Facts) -> Iterator[Verdict]:
    state = facts.state or State()
    guest = next((user for user in state.users if user.name == DEFAULT_USER), None)
    if guest is None:
        yield ok("there is no user guest")
        return
    is_usual = known_password(guest) is not None
    told = (
        "user guest is there, with the password that everybody knows" if is_usual else "user guest is there"
    )
    if facts.settings is None:
        reason = facts.unseen.get("settings", "it was not looked at")
        yield warn(f"{told}; whether from other machines, too, is not seen ({reason})", _REMOVE)
    elif DEFAULT_USER not in facts.settings.loopback_users:
        yield (fail if is_usual else warn)(f"{told}, and may log in from every machine", _REMOVE)
    else:
        yield warn(f"{told}; it may log in from the broker's own machine only", _REMOVE)


def _passwords(facts: Facts) -> Iterator[Verdict]:
    state = facts.state or State()
    weak = [
        user.name for user in state.users if user.name != DEFAULT_USER and known_password(user) is not None
    ]
    for name in weak:
        yield fail(
            f"the password of user {name} can be guessed (its name, or one of the usual ones)",
            f"`rabbitmqctl change_password {name}`, or `fleet provision broker` for a user of the fleet file",
        )
    if not weak:
        yield ok("no password is the user's name or one of the usual ones")


def known_password(user: User) -> str | None:
    """Return the password of ``user`` if it is its name or one of the usual ones, else None."""
    stored = user.password
    if not isinstance(stored, PasswordHash):
        return None
    return next((word for word in (user.name, *KNOWN_PASSWORDS) if Password(word).matches(stored)), None)


GUEST = Check(name="guest", about="is the default user there?", needs=("state",), run=_guest)
PASSWORDS = Check(name="passwords", about="can a password be guessed?", needs=("state",), run=_passwords)
