"""As which broker user does a program log in, and with which password?"""

from collections.abc import Mapping
from dataclasses import dataclass

from fleet.accounts import Slotted, account
from fleet.errors import UsageError
from fleet.model import Broker, Fleet, SecretRef
from fleet.secrets import Secret, resolve

OBSERVER = "observer"
OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A broker user and its password."""

    #: as the broker knows it
    user: str
    #: None where the broker asks for none (a Redis on loopback)
    password: Secret | None = None


def login_of(broker: Broker, user: str | None = None, *, environ: Mapping[str, str]) -> Login:
    """Return the login of ``user``, or of the fleet's main user.

    Raises UsageError when the fleet file has no such user, SecretMissing when its password is not there.
    """
    if user is None or user == broker.user:
        return _login(broker.user, broker.password, environ)
    for declared in broker.users:
        if declared.name == user:
            return _login(user, declared.password, environ)
    known = ", ".join([broker.user, *(declared.name for declared in broker.users)])
    raise UsageError(f"the fleet file has no broker user `{user}`", hint=f"broker users: {known}")


def host_login(fleet: Fleet, host: str, *, sends: bool = False, environ: Mapping[str, str]) -> Login:
    """Return the login of the workers of ``host``: one of the host's own if it has any, else the main user's.

    A host has two users with one password: ``sends`` means the one that sends, else the one that consumes.
    Raises SecretMissing when the password is not there.
    """
    user, declared = fleet.broker.host_user(host), fleet.host(host)
    if user == fleet.broker.user or declared is None or declared.password is None:
        return login_of(fleet.broker, environ=environ)
    user = fleet.broker.host_sender(host) if sends else user
    return _login(user, declared.password, environ)


def beat_login(broker: Broker, *, environ: Mapping[str, str]) -> Login:
    """Return the login that sends the schedule: the first with the role scheduler, else the main user."""
    scheduler = broker.scheduler
    return login_of(broker, scheduler.name if scheduler else None, environ=environ)


def observer_login(broker: Broker, *, environ: Mapping[str, str]) -> Login:
    """Return the login that reads the journal: the first user with the role observer, else the main user."""
    observer = next((user.name for user in broker.users if user.role == OBSERVER), None)
    return login_of(broker, observer, environ=environ)


def operator_login(broker: Broker, user: str | None = None, *, environ: Mapping[str, str]) -> Login:
    """Return the login that deals with dead letters: ``user``, the first operator, or the main user."""
    operator = next((declared.name for declared in broker.users if declared.role == OPERATOR), None)
    return login_of(broker, user or operator, environ=environ)


def _login(user: str, reference: SecretRef | None, environ: Mapping[str, str]) -> Login:
    if reference is None:
        return Login(user=user)
    kept = Slotted.read(resolve(reference, environ=environ))
    return Login(user=account(user, kept.slot), password=kept.secret)
