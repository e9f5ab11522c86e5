"""The command line door: ``rabbitmqctl``, for brokers without the management plugin.

Everything that is made travels as definitions on stdin, so no secret and no regular expression is ever in
argv. Debian's wrapper in ``/usr/sbin`` hands its arguments to a second shell when root calls it: names that
such a shell would change are refused, and ``/usr/lib/rabbitmq/bin/rabbitmqctl`` has no such trap.
"""

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from provisioning import errors
from provisioning.apply import Observation
from provisioning.broker import connections, definitions
from provisioning.broker.ctl import Rabbitmqctl, Said
from provisioning.broker.document import ClearedLimit, cleared_limits, document
from provisioning.broker.objects import (
    Binding,
    Exchange,
    OperatorPolicy,
    Permission,
    Policy,
    Queue,
    TopicPermission,
    User,
)
from provisioning.broker.parameters import Parameter
from provisioning.broker.passwords import SALT_BYTES
from provisioning.plan import Change, Connection, Contents, Identity, Resource

#: From this version on the start script gives the tool no standard input, and `import_definitions` without a
#: file waits for ever; a file that is the standard input is read as any other.
FIRST_WITHOUT_STDIN = 4
#: such a file can be opened by its owner and by root, so not by a user that a wrapper has changed to
OWN_INPUT = "name /usr/lib/rabbitmq/bin/rabbitmqctl itself, run as root or as the broker's user"
#: characters of names that pass unchanged through any shell; a second one splits at spaces
SAFE_NAME = re.compile(r"[\w.@:/+=%,-]+", re.ASCII)
_ONE = {Exchange.KIND: "an exchange", Binding.KIND: "a binding"}
UNSAFE = "needs the HTTP door (its name would not reach rabbitmqctl unchanged, through this shell or locale)"
DIRECT = "name /usr/lib/rabbitmq/bin/rabbitmqctl itself, or use the HTTP door"
#: a name that every shell would change, and that a locale without UTF-8 takes for other letters
PROBE = "provisioning-probe-→-  -$$-`:`-\\\"'-!"
#: how rabbitmqctl says back what has arrived as it is
PROBE_ARRIVED = PROBE.replace("\\", "\\\\").replace('"', '\\"')


class RabbitmqctlDoor:
    """``rabbitmqctl`` on the broker's machine, this one or another."""

    #: queues report their counts every 5 s
    staleness_seconds = 6.0

    def __init__(self, tool: Rabbitmqctl | None = None) -> None:
        self._tool = tool or Rabbitmqctl()
        self._imports_from: tuple[str, ...] | None = None
        self._takes_any_name: bool | None = None

    def __repr__(self) -> str:
        return f"RabbitmqctlDoor({self._tool!r})"

    def observe(self) -> Observation:
        """Return the actual state.

        Raises Unreachable when rabbitmqctl is missing or reaches no node.
        """
        # "-" is stdout: the export holds password hashes and never becomes a file.
        exported = self._json("export_definitions", "-", refused=errors.Unreachable)
        return Observation(resources=definitions.parse(exported), version=definitions.version(exported))

    def contents(self, resources: Sequence[Resource]) -> Mapping[Identity, Contents]:
        """Return what the queues among ``resources`` hold."""
        queues = [resource for resource in resources if isinstance(resource, Queue)]
        found = {}
        for vhost in sorted({queue.vhost for queue in queues}):
            if not self._arrives(vhost):
                raise errors.Unsupported(f"cannot look into vhost {vhost}: {UNSAFE}", hint=DIRECT)
            rows = self._json(
                "--formatter", "json", "list_queues", f"--vhost={vhost}", "name", "messages", "consumers"
            )
            counts = {row["name"]: Contents.of(row) for row in rows}
            for queue in queues:
                if queue.vhost == vhost:
                    found[queue.identity] = counts.get(queue.name, Contents(messages=None, consumers=None))
        return found

    def refusal(self, change: Change) -> str | None:
        """Return why this door cannot make ``change``, or None."""
        if lacking := no_command(change):
            return lacking
        if not all(self._arrives(word) for command in commands(change) for word in command):
            return UNSAFE
        return None

    def besides(self, _change: Change) -> str | None:
        """Return None: what is made through this door has no creator to be given anything."""
        return None

    def perform(self, batch: Sequence[Change]) -> None:
        """Make changes of one kind, in order.

        Raises ChangeRefused or Unreachable.
        """
        for change in batch:
            for command in commands(change):
                self._run(*command)
        made = document(batch, salt=lambda: os.urandom(SALT_BYTES))
        if made:
            source = self._stdin_argument()
            hint = OWN_INPUT if source else None
            self._run("import_definitions", *source, stdin=json.dumps(made), hint=hint)

    def connections(self, holders: Collection[tuple[str, str]]) -> Sequence[Connection]:
        """Return the open connections of these pairs of user and vhost."""
        # Not as JSON, in which a process id is not the one that `close_connection` takes.
        listed = self._run("--no-table-headers", "list_connections", *connections.COLUMNS)
        found = (connections.from_rabbitmqctl(line) for line in listed.splitlines())
        return [c for c in found if c is not None and (c.user, c.vhost) in holders]

    def disconnect(self, connection: Connection) -> None:
        """End a connection; one that has ended meanwhile is fine."""
        self._run("close_connection", connection.handle, connections.REASON)

    def _arrives(self, word: str) -> bool:
        """Tell whether an argument reaches rabbitmqctl unchanged, by asking for a user that cannot be."""
        if SAFE_NAME.fullmatch(word):
            return True
        if not word.isprintable():
            return False
        if self._takes_any_name is None:
            done = self._tool.call("list_user_permissions", "--", PROBE)
            self._takes_any_name = PROBE_ARRIVED in done.stdout + done.stderr
        return self._takes_any_name

    def _stdin_argument(self) -> tuple[str, ...]:
        """Return what makes `import_definitions` read its standard input, by the tool's own version."""
        if self._imports_from is None:
            said = self._run("version").strip()
            major = said.partition(".")[0]
            has_none = major.isdigit() and int(major) >= FIRST_WITHOUT_STDIN
            self._imports_from = ("/dev/stdin",) if has_none else ()
        return self._imports_from

    def _json(self, *arguments: str, refused: type[errors.ProvisioningError] = errors.ChangeRefused) -> Any:
        output = self._run(*arguments, refused=refused)
        try:
            return json.loads(output)
        except ValueError as error:
            raise errors.ChangeRefused(
                f"`{self._tool!r} {arguments[0]}` does not answer in JSON",
                hint="is it the rabbitmqctl of RabbitMQ 3.8 or later?",
            ) from error

    def _run(
        self,
        *arguments: str,
        stdin: str = "",
        refused: type[errors.ProvisioningError] = errors.ChangeRefused,
        hint: str | None = None,
    ) -> str:
        done = self._tool.call(*arguments, stdin=stdin)
        if done.exit_code:
            raise self._failure(arguments[0], done, refused, hint)
        return done.stdout

    def _failure(
        self, command: str, done: Said, refused: type[errors.ProvisioningError], hint: str | None
    ) -> errors.ProvisioningError:
        if refused is errors.Unreachable:
            hint = "run it as the broker's user, with the node's name and cookie"
        return refused(
            f"`{self._tool!r} {command}` failed with exit code {done.exit_code}: {done.reason}", hint=hint
        )


def no_command(change: Change) -> str | None:
    """Return why there is no command of rabbitmqctl for ``change``, or None."""
    if change.destroys and isinstance(change.before, Exchange | Binding):
        return f"needs the HTTP door (rabbitmqctl has no command that deletes {_ONE[change.before.KIND]})"
    return None


def commands(change: Change) -> tuple[tuple[str, ...], ...]:
    """Return the commands that must run for ``change`` before its import."""
    deleted = (deletion(change.before),) if change.destroys and change.before is not None else ()
    return (*deleted, *map(_clearing, cleared_limits(change)))


def _clearing(limit: ClearedLimit) -> tuple[str, ...]:
    if isinstance(limit.owner, User):
        return ("clear_user_limits", "--", limit.owner.name, limit.name)
    return ("clear_vhost_limits", f"--vhost={limit.owner.name}")


def deletion(resource: Resource) -> tuple[str, ...]:
    """Return the arguments that delete ``resource``; ``--`` keeps its names from being options."""
    match resource:
        case User():
            return ("delete_user", "--", resource.name)
        case TopicPermission():
            command = ("clear_topic_permissions", f"--vhost={resource.vhost}", "--", resource.user)
            return (*command, resource.exchange)
        case Permission():
            return ("clear_permissions", f"--vhost={resource.vhost}", "--", resource.user)
        case Policy():
            return ("clear_policy", f"--vhost={resource.vhost}", "--", resource.name)
        case OperatorPolicy():
            return ("clear_operator_policy", f"--vhost={resource.vhost}", "--", resource.name)
        case Parameter():
            command = ("clear_parameter", f"--vhost={resource.vhost}", "--", resource.component)
            return (*command, resource.name)
        case Queue():
            return ("delete_queue", f"--vhost={resource.vhost}", "--", resource.name)
    raise errors.Unsupported(f"{resource.label} is never deleted")
