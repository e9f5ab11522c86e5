"""How is the fleet file written that a broker shows, with what the broker cannot tell as comments?"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fleet.adopt.queues import FoundQueue
from fleet.adopt.users import FoundUser
from fleet.routes import default_tasks
from provisioning.render import printable

#: where the passwords are looked for that the broker cannot tell
MAIN_VARIABLE = "FLEET_BROKER_PASSWORD"
ADMIN_VARIABLE = "FLEET_ADMIN_PASSWORD"
SHARED_WORKER = "shared"
_HEAD = """\
# Written by `fleet provision adopt` from what the broker {source} holds.
#
# The broker does not know, so look through and complete: the addresses of the hosts, the tasks of each queue,
# which worker serves which queues and with how many processes, the time zone, backups, mail and the schedule.
# Passwords are not here and not in the broker: it keeps hashes, which stand in {secrets}.
# Workers need the passwords themselves.

[fleet]
name = "fleet"
timezone = "UTC"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything that goes into the file."""

    #: what was looked at, for the head of the file
    source: str
    #: name of the file with the hashes
    secrets: str
    #: AMQP addresses
    nodes: Sequence[str]
    vhost: str
    user: str
    is_open: bool = False
    management_url: str | None = None
    management_user: str | None = None
    management_ca: str | None = None
    rabbitmqctl: Sequence[str] = ()
    #: names of users that have a hash
    hashed: frozenset[str] = frozenset()
    users: Sequence[FoundUser] = ()
    hosts: Sequence[str] = ()
    queues: Sequence[FoundQueue] = ()
    #: lines about what the file leaves alone
    notes: Sequence[str] = ()
    #: what plain Celery has, as queues that may be declared
    suggested: Sequence[str] = ()

    def variable(self, user: str) -> str:
        """Return the environment variable of a user's password."""
        return MAIN_VARIABLE if user == self.user else _variables(self.users).get(user, MAIN_VARIABLE)


def hash_variable(password_variable: str) -> str:
    """Return the environment variable of a password's hash."""
    return f"{password_variable}_HASH"


def write_file(draft: Draft) -> str:
    """Return the text of the fleet file."""
    return "".join(_parts(draft))


def write_secrets(draft: Draft, hashes: Mapping[str, str]) -> str:
    """Return the text of the file with the hashes, which a shell and systemd's ``EnvironmentFile=`` read."""
    lines = [
        "# Hashes of the broker's passwords, as secret as the passwords. `set -a; . ./THIS_FILE; set +a`",
        *(f"{hash_variable(draft.variable(user))}={shlex.quote(value)}" for user, value in hashes.items()),
        "# To be supplied: the passwords themselves, for workers, senders and provisioning.",
        *(f"#{name}=" for name in to_supply(draft)),
    ]
    return "\n".join(lines) + "\n"


def to_supply(draft: Draft) -> tuple[str, ...]:
    """Return the environment variables of the passwords that somebody has to supply."""
    names = [draft.variable(user) for user in (draft.user, *(user.name for user in draft.users))]
    return (*names, ADMIN_VARIABLE) if draft.management_url else tuple(names)


def quoted(text: str) -> str:
    """Return ``text`` as a string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parts(draft: Draft) -> Iterator[str]:
    yield _HEAD.format(source=printable(draft.source), secrets=printable(draft.secrets))
    yield from _broker(draft)
    yield "\n# --- Hosts -------\n"
    for host in draft.hosts:
        yield f'[hosts.{quoted(host)}]\n# address = "…"   # where it is reached; its name when left out\n'
    if draft.queues:
        yield "\n# --- Queues ------\n"
        for queue in draft.queues:
            yield from _queue(queue)
        yield "\n# --- Workers -----\n"
        yield from _workers(draft.queues)
    if draft.suggested:
        yield "\n# --- Queues of plain Celery, which stay as they are. To move their tasks here: ---\n"
        for name in map(printable, draft.suggested):
            yield f'# [queues.{name}]\n# tasks = ["{name}.tasks.*"]   # what runs from `{name}` now\n'
    if draft.notes:
        yield "\n# --- Not managed by this file, and left alone ---\n"
        yield from (f"# {printable(note)}\n" for note in draft.notes)


def _broker(draft: Draft) -> Iterator[str]:
    yield "\n[broker]\n"
    if len(draft.nodes) == 1:
        yield f"url = {quoted(draft.nodes[0])}\n"
    else:
        yield f"nodes = {_list(draft.nodes)}\n"
    yield f"vhost = {quoted(draft.vhost)}\nuser = {quoted(draft.user)}\n"
    yield from _passwords(draft, draft.user)
    if draft.is_open:
        yield 'profile = "open"                # its user may do everything, as it may now\n'
    if draft.rabbitmqctl:
        yield f"rabbitmqctl = {_list(draft.rabbitmqctl)}\n"
    if draft.management_url:
        yield f"\n[broker.management]\nurl = {quoted(draft.management_url)}\n"
        yield f'user = {quoted(draft.management_user or "")}\npassword = "env:{ADMIN_VARIABLE}"\n'
        if draft.management_ca:
            yield f"ca = {quoted(draft.management_ca)}\n"
    for user in draft.users:
        yield f"\n[broker.users.{user.name}]\nrole = {quoted(user.role)}\n"
        yield from _passwords(draft, user.name)
        if user.queues:
            yield f"queues = {_list(user.queues)}\n"


def _passwords(draft: Draft, user: str) -> Iterator[str]:
    variable = draft.variable(user)
    yield f'password = "env:{variable}"\n'
    if user in draft.hashed:
        yield f'password_hash = "env:{hash_variable(variable)}"\n'


def _queue(queue: FoundQueue) -> Iterator[str]:
    yield f"\n[queues.{queue.name}]\n"
    if not default_tasks(queue.name):
        yield f"tasks = [{quoted(f'{queue.name}.tasks.*')}]   # a guess: the broker does not know them\n"
    yield f"long = {_boolean(queue.long)}\nper_host = {_boolean(queue.hosts is not None)}\n"
    if queue.max_runtime_seconds:
        yield f"max_runtime = {queue.max_runtime_seconds}\n"
    limits = {
        "delivery_limit": queue.delivery_limit,
        "max_length": queue.max_length,
        "max_dead_letters": queue.max_dead_letters,
    }
    yield from (f"{key} = {value}\n" for key, value in limits.items() if value is not None)


def _workers(queues: Sequence[FoundQueue]) -> Iterator[str]:
    """Yield a worker for each queue that is long or some hosts' own, and one for all the others."""
    shared = [queue.name for queue in queues if not queue.long and queue.hosts is None]
    taken = {SHARED_WORKER} if shared else set()
    for queue in queues:
        if queue.name in shared:
            continue
        name = f"{queue.name[:56]}-queue" if queue.name in taken else queue.name
        hosts = list(queue.hosts) if queue.hosts is not None else ["*"]
        yield f"\n[workers.{name}]\nhosts = {_list(hosts)}\nqueues = {_list([queue.name])}\n"
    if shared:
        yield f"\n[workers.{SHARED_WORKER}]\nqueues = {_list(shared)}\n"


def _variables(users: Iterable[FoundUser]) -> Mapping[str, str]:
    """Return an environment variable for each user's password; no two share one."""
    found: dict[str, str] = {}
    for user in users:
        name = f"FLEET_USER_{re.sub('[^A-Z0-9]', '_', user.name.upper())}_PASSWORD"
        taken = sum(1 for other in found.values() if re.sub("_[0-9]+$", "", other) == name)
        found[user.name] = f"{name}_{taken + 1}" if taken else name
    return MappingProxyType(found)


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(map(quoted, texts)) + "]"


def _boolean(value: bool) -> str:  # noqa: FBT001 - the value itself
    return "true" if value else "false"
