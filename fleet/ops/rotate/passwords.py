"""Which passwords can be rotated, whose are they, and which hosts have them?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import UsageError
from fleet.hosts.needs import beat_host, host_credentials
from fleet.model import Fleet, Kind, SecretRef
from fleet.ops.broker_users import hash_places, password_places


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPassword:
    """One password, wherever it is used."""

    place: SecretRef
    #: users of the fleet file that have it
    users: tuple[str, ...]
    #: hosts that have it
    hosts: tuple[str, ...]

    @property
    def name(self) -> str:
        """What to call it: its users."""
        return " and ".join(self.users)

    @property
    def next_place(self) -> SecretRef:
        """Where the password is kept that takes its place, for as long as that has not happened."""
        place = self.place
        if place.scheme == "env":
            return SecretRef(scheme="env", name=f"{place.name}_NEXT")
        if place.scheme == "file":
            return SecretRef(scheme="file", name=f"{Path(place.name).resolve()}.next")
        return SecretRef(scheme=place.scheme, name=f"{place.name}.next")


def choose_passwords(fleet: Fleet, users: Sequence[str]) -> tuple[KeptPassword, ...]:
    """Return the passwords of ``users``, or all without any; users who share one come along.

    Raises UsageError for a user that is not there, and for a password that cannot be rotated.
    """
    if fleet.broker.kind is not Kind.RABBITMQ:
        raise UsageError(f"{fleet.source}: Redis has no users whose passwords could be rotated")
    places = password_places(fleet)
    for user in users:
        if user not in places:
            raise UsageError(
                f"{fleet.source} declares no user `{user}`", hint=f"users: {', '.join(sorted(places))}"
            )
    chosen = dict.fromkeys(places[user] for user in users or places)
    found = tuple(_kept(fleet, place) for place in chosen)
    for each in found:
        for reason, hint in _reasons_against(fleet, each):
            raise UsageError(f"the password of {each.name} cannot be rotated: {reason}", hint=hint)
    return found


def _kept(fleet: Fleet, place: SecretRef) -> KeptPassword:
    beat = beat_host(fleet)
    return KeptPassword(
        place=place,
        users=tuple(user for user, each in password_places(fleet).items() if each == place),
        hosts=tuple(
            host.name
            for host in fleet.hosts
            if place in host_credentials(fleet, host.name, beat=host.name == beat).values()
        ),
    )


def _reasons_against(fleet: Fleet, kept: KeptPassword) -> Iterator[tuple[str, str]]:
    management = fleet.broker.management
    if kept.place.scheme == "plaintext":
        yield "it stands in the fleet file in the clear", 'put it into a file: password = "file:/…"'
    for user in kept.users:
        if user in hash_places(fleet):
            yield (
                f"user `{user}` is provisioned by the hash of its password",
                "remove its `password_hash`, so that provisioning goes by `password`",
            )
        if management is not None and management.user == user:
            yield (
                f"the management API is used as `{user}`, who would be deleted",
                "name an administrator of its own in [broker.management]",
            )
    for what, place in _other_uses(fleet):
        if place == kept.place:
            yield f"`{place}` is also {what}", "keep the two in different places"


def _other_uses(fleet: Fleet) -> Iterator[tuple[str, SecretRef | None]]:
    broker, mail = fleet.broker, fleet.mail
    yield "the password for the management API", broker.management.password if broker.management else None
    yield "the password of the result backend", broker.result_password
    if mail is not None:
        yield "the password for SMTP", mail.smtp.password if mail.smtp else None
        yield "the key for SendGrid", mail.sendgrid.api_key if mail.sendgrid else None
