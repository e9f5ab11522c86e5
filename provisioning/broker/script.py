"""How is a plan carried out by hand: as a shell script of ``rabbitmqctl`` lines and definitions?

For sites where no program may change a broker. The script holds no secret: it reads passwords from its
standard input, all of them before it changes anything, and hands them on in a pipe, never in an argument.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote

from provisioning import render
from provisioning.apply import batches, is_work, refuse_destructive
from provisioning.broker.document import document
from provisioning.broker.objects import Queue, User
from provisioning.broker.passwords import PasswordHash
from provisioning.broker.rabbitmqctl import FIRST_WITHOUT_STDIN, SAFE_NAME, commands, no_command
from provisioning.errors import Unsupported
from provisioning.plan import Action, Change, Plan

#: kinds whose definitions hold no secret
PLAIN_KINDS = frozenset(
    {
        "vhost",
        "topic permission",
        "permission",
        "policy",
        "operator policy",
        "exchange",
        "queue",
        "binding",
    }
)
BY_ITSELF = "let provisioning carry the plan out"
HEAD = """\
#!/bin/sh
# Makes a broker match {source}.
# {summary}
# Written for RabbitMQ {version}, for plan {fingerprint}. Run it where rabbitmqctl works, soon: it does not
# look whether the broker is still as it was, apart from queues that must be empty. It stops at the first
# failure; make a new script then. RABBITMQCTL names the command if it is not `rabbitmqctl`; on Debian, as
# root, that is /usr/lib/rabbitmq/bin/rabbitmqctl.
#
{secrets}
set -efu
ctl() {{ ${{RABBITMQCTL:-rabbitmqctl}} --silent "$@"; }}
import() {{ ctl import_definitions{source_argument}; }}
step() {{ printf '%s\\n' "$1" >&2; }}
"""
ASKING = """\
ask() {
    if [ -t 0 ]; then
        printf '%s: ' "$1" >&2
        trap 'stty echo' EXIT
        stty -echo
    fi
    answer=
    IFS= read -r answer || [ -n "$answer" ] || answer=
    if [ -t 0 ]; then stty echo; printf '\\n' >&2; fi
    [ -n "$answer" ] || { printf 'no line with the %s; nothing was changed\\n' "$1" >&2; exit 2; }
}
json() { printf '%s' "$1" | LC_ALL=C sed -e 's/[\\\\"]/\\\\&/g' -e 's/\t/\\\\t/g'; }
"""
EMPTYING = """\
must_be_empty() {
    ctl --no-table-headers list_queues --vhost="$1" messages consumers name </dev/null >"$listed"
    held=$(awk -F '\\t' -v name="$2" '$3 == name { print $1 " messages, " $2 " consumers" }' "$listed")
    case $held in
        '0 messages, 0 consumers') return ;;
        [0-9]*' messages, '[0-9]*) printf 'queue %s holds %s; nothing was changed\\n' "$2" "$held" >&2 ;;
        *) printf 'how much queue %s holds is not known; nothing was changed\\n' "$2" >&2 ;;
    esac
    exit 1
}
listed=$(mktemp)
trap 'rm -f "$listed"' EXIT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secret:
    """A line that the script reads."""

    variable: str
    #: what the line holds
    label: str


def script(plan: Plan, *, version: tuple[int, ...], source: str, allow_destructive: bool = False) -> str:
    """Return a POSIX shell script that makes the changes of ``plan`` with ``rabbitmqctl``.

    Raises Unsupported for what rabbitmqctl cannot do or a script must not hold, and DestructionRefused.
    """
    for change in filter(is_work, plan.changes):
        _refuse_unscriptable(change)
    if not allow_destructive:
        refuse_destructive(plan)
    secrets = _secrets(plan)
    lines = [_head(plan, secrets=tuple(secrets.values()), version=version, source=source)]
    if secrets:
        lines.append(ASKING.rstrip())
        lines += [f"ask {quote(s.label)}; {s.variable}=$answer" for s in secrets.values()]
    lines += _checks(plan)
    for batch in batches(plan.changes):
        lines += _batch_lines([change for change in batch if is_work(change)], secrets)
    return "\n".join(lines) + "\n"


def _refuse_unscriptable(change: Change) -> None:
    """Refuse what no script can do; nobody is asked, for it is made to run on another machine than this."""
    resource = change.resource
    if reason := no_command(change) or _unsafe(change):
        raise Unsupported(f"a script cannot {change.action} {resource.label}: {reason}", hint=BY_ITSELF)
    if change.action is Action.DELETE or resource.KIND in PLAIN_KINDS:
        return
    if not isinstance(resource, User):
        raise Unsupported(
            f"a script could not {change.action} {resource.label} without holding its secrets",
            hint=BY_ITSELF,
        )
    if not _sets_password(change) and not all(map(SAFE_NAME.fullmatch, (resource.name, *resource.tags))):
        raise Unsupported(f"the tags of {resource.label} would not pass through a shell unchanged")


def _unsafe(change: Change) -> str | None:
    if all(SAFE_NAME.fullmatch(word) for command in commands(change) for word in command):
        return None
    return "its name might not pass through the shells of that machine unchanged"


def _head(plan: Plan, *, secrets: Sequence[_Secret], version: tuple[int, ...], source: str) -> str:
    told = [f"#   {render.printable(secret.label)}" for secret in secrets]
    asked = "# It reads from standard input, one line each, in this order:"
    # From this version on the tool has no standard input of its own, but can read the file of that name.
    argument = " /dev/stdin" if version and version[0] >= FIRST_WITHOUT_STDIN else ""
    return HEAD.format(
        source=render.printable(source),
        summary=render.summary(plan),
        version=".".join(map(str, version)) or "(unknown)",
        fingerprint=plan.fingerprint[:12],
        secrets="\n".join([asked, *told] if told else ["# It needs no password."]),
        source_argument=argument,
    ).rstrip()


def _secrets(plan: Plan) -> dict[str, _Secret]:
    """Return, by user, what the script must be told."""
    users = [c.resource for c in plan.changes if isinstance(c.resource, User) and _sets_password(c)]
    return {
        user.name: _Secret(
            variable=f"secret_{number}",
            label=("password hash" if isinstance(user.password, PasswordHash) else "password")
            + f" of user {user.name}",
        )
        for number, user in enumerate(users, start=1)
    }


def _sets_password(change: Change) -> bool:
    user = change.after
    if not isinstance(user, User) or user.password is None:
        return False
    return not isinstance(change.before, User) or user.password_differs(change.before)


def _checks(plan: Plan) -> list[str]:
    """Return lines that look at all queues to be deleted before anything is changed."""
    queues = [c.before for c in plan.changes if c.destroys and isinstance(c.before, Queue)]
    if not queues:
        return []
    return [EMPTYING.rstrip(), *(f"must_be_empty {quote(q.vhost)} {quote(q.name)}" for q in queues)]


def _batch_lines(batch: Sequence[Change], secrets: dict[str, _Secret]) -> Iterator[str]:
    """Yield the lines for changes of one kind: what goes first, then one import of what is made."""
    if not batch:
        return
    yield ""
    for change in batch:
        yield f"step {quote(render.printable(f'{change.action} {change.resource.label}'))}"
    for change in batch:
        yield from map(_command, commands(change))
    users = [c for c in batch if isinstance(c.after, User) and (_sets_password(c) or c.before)]
    for change in users:
        yield from _user_lines(change, secrets)
    made = document((c for c in batch if c not in users), salt=bytes)
    if made:
        yield "import <<'DEFINITIONS'"
        yield json.dumps(made, indent=1, sort_keys=True)
        yield "DEFINITIONS"


def _user_lines(change: Change, secrets: dict[str, _Secret]) -> Iterator[str]:
    user = change.after
    assert isinstance(user, User)
    if not _sets_password(change):
        # An import would need the stored hash again, which is a secret.
        yield _command(("set_user_tags", "--", user.name, *user.tags))
        if user.limits:
            yield _command(("set_user_limits", "--", user.name, json.dumps(dict(user.limits))))
        return
    name, tags = quote(json.dumps(user.name)), quote(json.dumps(list(user.tags)))
    given = f'"$(json "${secrets[user.name].variable}")"'
    if isinstance(user.password, PasswordHash):
        key = f'"hashing_algorithm":{json.dumps(user.password.algorithm)},"password_hash"'
    else:
        key = '"password"'
    limits = f'"limits":{json.dumps(dict(user.limits))},' if user.limits else ""
    form = '{"users":[{"name":%s,"tags":%s,' + limits + key + ':"%s"}]}\\n'
    yield f"printf {quote(form)} {name} {tags} {given} | import"


def _command(arguments: Sequence[str]) -> str:
    return " ".join(["ctl", *map(quote, arguments), "</dev/null"])
