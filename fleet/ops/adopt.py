"""How does a running broker, or what was exported from it, become a fleet file?"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fleet.adopt.adopt import Adoption, Wish, adopt
from fleet.errors import UsageError
from fleet.secrets import parse_reference, resolve
from provisioning.broker import definitions
from provisioning.broker.ctl import Rabbitmqctl
from provisioning.broker.management import ManagementDoor
from provisioning.broker.rabbitmqctl import RabbitmqctlDoor
from provisioning.broker.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the broker is looked at: a file that it exported, else rabbitmqctl, else its management API."""

    definitions: Path | None = None
    rabbitmqctl: Sequence[str] = ()
    management_url: str | None = None
    user: str | None = None
    #: reference to the password
    password: str | None = None
    ca: str | None = None

    @property
    def name(self) -> str:
        """What was looked at, for people."""
        if self.definitions:
            return f"behind {self.definitions.name}"
        return "seen by rabbitmqctl" if self.rabbitmqctl else f"at {self.management_url}"


def wish_of(
    source: Source, *, vhost: str, nodes: Sequence[str], user: str | None, hosts: Sequence[str], secrets: str
) -> Wish:
    """Return what the file is to be made of; without ``nodes``, the broker is where its management API is."""
    host = urlsplit(source.management_url or "").hostname or "127.0.0.1"
    address = f"[{host}]" if ":" in host else host
    return Wish(
        vhost=vhost,
        nodes=nodes or (f"amqp://{address}:5672",),
        source=source.name,
        secrets=secrets,
        user=user,
        hosts=hosts,
        management_url=source.management_url,
        management_user=source.user if source.management_url else None,
        management_ca=source.ca if source.management_url else None,
        rabbitmqctl=source.rabbitmqctl,
    )


def adopt_broker(source: Source, wish: Wish, environ: Mapping[str, str]) -> Adoption:
    """Look at the broker, changing nothing, and return the fleet file that describes ``wish.vhost``.

    Raises what ``adopt`` raises, UsageError for a definitions file that cannot be read, SecretMissing, and
    provisioning's own errors.
    """
    state, version = _observe(source, environ)
    return adopt(state, version, wish)


def _observe(source: Source, environ: Mapping[str, str]) -> tuple[State, tuple[int, ...]]:
    if source.definitions:
        document = _read(source.definitions)
        return definitions.parse(document), definitions.version(document)
    if source.rabbitmqctl:
        seen = RabbitmqctlDoor(Rabbitmqctl(source.rabbitmqctl, environ=environ)).observe()
    else:
        reference = parse_reference(source.password or "")
        if reference is None:
            raise UsageError(
                "the administrator's password must be a reference to where it is kept",
                hint="write --admin-password env:NAME or file:/path",
            )
        password = resolve(reference, environ=environ).reveal()
        url = source.management_url or ""
        seen = ManagementDoor(url, user=source.user or "", password=password, ca=source.ca).observe()
    return State.of(seen.resources), seen.version


def _read(path: Path) -> Mapping[str, object]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--definitions: `{path}` cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(
            f"--definitions: `{path}` is not JSON",
            hint="`rabbitmqctl export_definitions FILE` writes it, or GET /api/definitions",
        ) from error
    if not isinstance(document, dict) or "vhosts" not in document:
        raise UsageError(
            f"--definitions: `{path}` holds no definitions of a whole broker (`vhosts` is missing)",
            hint="`rabbitmqctl export_definitions FILE` writes them; the export of one vhost has no users",
        )
    return document
