"""What does an operator need to use a private broker: which lines of the fleet file, which passwords?"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from fleet.daemons.files import write_private
from fleet.daemons.rabbitmq import RabbitNode

VHOST = "celery"
USER = "celery"
#: may read outcomes, which `--wait` does
OBSERVER = "observer"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateBroker:
    """A running private broker, as its user addresses it; passwords stay in their files."""

    directory: Path
    url: str
    vhost: str
    user: str
    #: mode 0600; the password that provisioning gives to ``user``
    password_file: Path
    #: a further user, which only reads the journal
    observer: str
    #: mode 0600
    observer_password_file: Path
    management_url: str
    admin_user: str
    #: mode 0600
    admin_password_file: Path
    rabbitmqctl: tuple[str, ...]
    #: the broker's own metrics
    metrics_url: str


def describe(node: RabbitNode) -> PrivateBroker:
    """Return what a fleet file needs to use ``node``; passwords for the fleet's users are made once."""
    return PrivateBroker(
        directory=node.directory,
        url=node.url,
        vhost=VHOST,
        user=USER,
        password_file=_password_file(node.directory, USER),
        observer=OBSERVER,
        observer_password_file=_password_file(node.directory, OBSERVER),
        management_url=node.management_url,
        admin_user=node.admin_user,
        admin_password_file=node.admin_password_file,
        rabbitmqctl=node.rabbitmqctl,
        metrics_url=f"http://127.0.0.1:{node.prometheus_port}/metrics",
    )


def _password_file(directory: Path, user: str) -> Path:
    path = directory / f"{user}.password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24) + "\n")
    return path


def fleet_lines(broker: PrivateBroker) -> str:
    """Return the table ``[broker]`` of a fleet file, with all that belongs to it."""
    return f"""\
[broker]
url = {_string(broker.url)}
vhost = {_string(broker.vhost)}
user = {_string(broker.user)}
password = {_string(f"file:{broker.password_file}")}
rabbitmqctl = [{", ".join(map(_string, broker.rabbitmqctl))}]

[broker.management]
url = {_string(broker.management_url)}
user = {_string(broker.admin_user)}
password = {_string(f"file:{broker.admin_password_file}")}

[broker.users.{broker.observer}]
role = "observer"
password = {_string(f"file:{broker.observer_password_file}")}
"""


def _string(text: str) -> str:
    # JSON's strings are TOML's basic strings, quotes and backslashes included.
    return json.dumps(text, ensure_ascii=False)
