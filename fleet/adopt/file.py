"""How is the fleet file written that a broker shows, with what the broker cannot tell as comments?"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping

from fleet.adopt.draft import ADMIN_VARIABLE, Account, Draft
from fleet.adopt.queues import FoundQueue
from fleet.adopt.workers import workers
from fleet.model import Profile
from fleet.routes import default_tasks
from provisioning.render import printable

_PROFILES = {
    Profile.OPEN: 'profile = "open"                # its user may do everything, as it may now\n',
    Profile.PER_HOST: 'profile = "per-host"            # each host has users of its own, see [hosts]\n',
}
#: of a host that has two users, the second is the one that sends
_HASH_KEYS = ("password_hash", "sender_password_hash")
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


def write_file(draft: Draft) -> str:
    """Return the text of the fleet file."""
    return "".join(_parts(draft))


def write_secrets(draft: Draft, hashes: Mapping[str, str]) -> str:
    """Return the text of the file with the hashes, which a shell and systemd's ``EnvironmentFile=`` read."""
    kept = (row for account in draft.accounts() for row in account.hash_variables() if row[0] in hashes)
    lines = [
        "# Hashes of the broker's passwords, as secret as the passwords. `set -a; . ./THIS_FILE; set +a`",
        *(f"{variable}={shlex.quote(hashes[user])}" for user, variable in kept),
        "# To be supplied: the passwords themselves, for workers, senders and provisioning.",
        *(f"#{name}=" for name in to_supply(draft)),
    ]
    return "\n".join(lines) + "\n"


def to_supply(draft: Draft) -> tuple[str, ...]:
    """Return the environment variables of the passwords that somebody has to supply."""
    names = [account.variable for account in draft.accounts()]
    return (*names, ADMIN_VARIABLE) if draft.management_url else tuple(names)


def quoted(text: str) -> str:
    """Return ``text`` as a string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parts(draft: Draft) -> Iterator[str]:
    yield _HEAD.format(source=printable(draft.source), secrets=printable(draft.secrets))
    yield from _broker(draft)
    yield "\n# --- Hosts -------\n"
    yield from _hosts(draft)
    if draft.queues:
        yield "\n# --- Queues ------\n"
        for queue in draft.queues:
            yield from _queue(queue)
        yield "\n# --- Workers -----\n"
        for worker in workers(draft.queues):
            yield f"\n[workers.{worker.name}]\n"
            if worker.hosts is not None:
                yield f"hosts = {_list(worker.hosts)}\n"
            yield f"queues = {_list(worker.queues)}\n"
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
    own, *_ = draft.accounts()
    yield from _passwords(draft, own)
    yield _PROFILES.get(draft.profile, "")
    if draft.rabbitmqctl:
        yield f"rabbitmqctl = {_list(draft.rabbitmqctl)}\n"
    if draft.management_url:
        yield f"\n[broker.management]\nurl = {quoted(draft.management_url)}\n"
        yield f'user = {quoted(draft.management_user or "")}\npassword = "env:{ADMIN_VARIABLE}"\n'
        if draft.management_ca:
            yield f"ca = {quoted(draft.management_ca)}\n"
    for user, account in zip(draft.users, draft.accounts_of_users(), strict=True):
        yield f"\n[broker.users.{user.name}]\nrole = {quoted(user.role)}\n"
        yield from _passwords(draft, account)
        if user.queues:
            yield f"queues = {_list(user.queues)}\n"


def _hosts(draft: Draft) -> Iterator[str]:
    accounts = draft.accounts_of_hosts()
    for index, host in enumerate(draft.hosts):
        yield f'[hosts.{quoted(host)}]\n# address = "…"   # where it is reached; its name when left out\n'
        if accounts:
            yield from _passwords(draft, accounts[index])


def _passwords(draft: Draft, account: Account) -> Iterator[str]:
    yield f'password = "env:{account.variable}"\n'
    for key, (user, variable) in zip(_HASH_KEYS, account.hash_variables(), strict=False):
        if user in draft.hashed:
            yield f'{key} = "env:{variable}"\n'


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


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(map(quoted, texts)) + "]"


def _boolean(value: bool) -> str:  # noqa: FBT001 - the value itself
    return "true" if value else "false"
