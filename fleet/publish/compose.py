"""Which messages does a wish become: this backup on those hosts, that mail, any task?

Everything that can be known from the fleet file is checked here, before anything is sent.
"""

from collections.abc import Mapping, Sequence

from fleet.config.problems import did_you_mean
from fleet.errors import UsageError
from fleet.mail.address import parse_address
from fleet.mail.names import check_template_name
from fleet.model import BACKUP_TASK, SEND_MAIL_TASK, Backup, Fleet
from fleet.publish.message import TaskMessage, is_traceparent, new_task_id, task_id_for_key
from fleet.routes import BrokerQueue, route
from fleet.worker.message import LONGEST_NAME_BYTES, digest, is_name

#: destinations that are kept, at most; a pattern of the fleet file may stand for any number of tasks
_KEPT = 4096


class Destinations:
    """Where the tasks of one fleet go; each is looked up once, for whoever sends many asks as often."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._known: dict[tuple[str, str | None, str | None], BrokerQueue] = {}

    def of(self, task: str, *, host: str | None = None, queue: str | None = None) -> BrokerQueue:
        """Return the broker queue for ``task``.

        Raises UsageError when no queue of the fleet takes it, or not on that host.
        """
        asked = (task, host, queue)
        known = self._known.get(asked)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[asked] = _destination(self.fleet, task, host=host, queue=queue)
        return known


def task_message(
    destinations: Destinations,
    task: str,
    *,
    args: Sequence[object] = (),
    kwargs: Mapping[str, object],
    host: str | None = None,
    queue: str | None = None,
    delay_seconds: float = 0,
    key: str | None = None,
    traceparent: str | None = None,
) -> TaskMessage:
    """Return the message for ``task``, under an id of its own or the one that ``key`` stands for.

    Raises UsageError when no queue of the fleet takes it, or not on that host, ``kwargs`` is no mapping or
    ``args`` no sequence of values, or ``key`` or ``traceparent`` is none.
    """
    _require_traceparent(traceparent)
    _require_key(key)
    _require_arguments(task, args, kwargs)
    target = destinations.of(task, host=host, queue=queue)
    # The same key on two hosts is two pieces of work.
    scope = key if key is None or target.host is None else f"{key}\0{target.host}"
    return TaskMessage(
        task=task,
        queue=target,
        task_id=new_task_id() if scope is None else task_id_for_key(destinations.fleet.name, task, scope),
        args=tuple(args),
        kwargs=dict(kwargs),
        delay_seconds=delay_seconds,
        key=key,
        traceparent=traceparent,
    )


def backup_messages(
    fleet: Fleet, name: str, *, hosts: Sequence[str] = (), key: str | None = None
) -> tuple[TaskMessage, ...]:
    """Return one message for each host of backup ``name``, or for those of them that ``hosts`` means.

    Raises UsageError for an unknown backup, or a host pattern that means none of its hosts.
    """
    backup = fleet.backup(name)
    if backup is None:
        raise UsageError(
            f"{fleet.source} has no backup `{name}`",
            hint=did_you_mean(name, [declared.name for declared in fleet.backups]),
        )
    destinations = Destinations(fleet)
    return tuple(
        task_message(
            destinations, BACKUP_TASK, kwargs={"backup": name}, host=host, queue=backup.queue, key=key
        )
        for host in _hosts_of(fleet, backup, hosts)
    )


def mail_message(
    fleet: Fleet, *, to: str, template: str, context: Mapping[str, object], key: str | None = None
) -> TaskMessage:
    """Return the message that sends one mail to one recipient.

    Raises UsageError when the fleet sends no mail, or ``to`` or ``template`` cannot be one.
    """
    if fleet.mail is None:
        raise UsageError(f"{fleet.source} has no `[mail]`, so there is nothing to send it with")
    check_template_name(template)
    parse_address(to)
    kwargs = {"to": to, "template": template, "context": dict(context)}
    return task_message(Destinations(fleet), SEND_MAIL_TASK, kwargs=kwargs, queue=fleet.mail.queue, key=key)


def _destination(fleet: Fleet, task: str, *, host: str | None, queue: str | None) -> BrokerQueue:
    if not is_name(task):
        raise UsageError(
            f"`{digest(task)}` cannot be the name of a task",
            hint=f"a name is printable text of at most {LONGEST_NAME_BYTES} bytes, such as shop.charge",
        )
    if host is not None and fleet.host(host) is None:
        raise UsageError(
            f"{fleet.source} has no host `{host}`",
            hint=did_you_mean(host, [declared.name for declared in fleet.hosts]),
        )
    target = route(fleet, task, host=host, queue=queue)
    if host is not None and target.host is None:
        raise UsageError(
            f"queue `{target.queue}` is shared by its hosts, so task `{task}` cannot be sent to one of them",
            hint="send it without a host, or set `per_host = true` for the queue",
        )
    return target


def _hosts_of(fleet: Fleet, backup: Backup, patterns: Sequence[str]) -> tuple[str, ...]:
    declared = fleet.hosts_for(backup.hosts)
    if not patterns:
        return tuple(host.name for host in declared)
    for pattern in patterns:
        if not any(host.matches(pattern) for host in declared):
            raise UsageError(
                f"backup `{backup.name}` has no host `{pattern}`",
                hint=f"its hosts: {', '.join(host.name for host in declared)}",
            )
    return tuple(host.name for host in declared if any(host.matches(pattern) for pattern in patterns))


def _require_key(key: str | None) -> None:
    if key is None:
        return
    # An empty one is what a shell makes of a variable that is not set: all work would be one piece of work.
    if isinstance(key, str) and key and key == key.encode("utf-8", "replace").decode():
        return
    raise UsageError(
        "the idempotency key is empty, or no text in UTF-8",
        hint="name this one piece of work, such as order-7, or give no key",
    )


def _require_arguments(task: str, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    # Programs without type checks pass what they like.
    if not isinstance(kwargs, Mapping):
        raise UsageError(
            f"the arguments of task `{task}` are of type {type(kwargs).__name__}, not names with values",
            hint='such as client.send("shop.charge", {"order": 7})',
        )
    # A text is a sequence, too: of its characters. What nearly all pass is told first, for many are sent.
    if type(args) not in (tuple, list) and (
        isinstance(args, str | bytes | Mapping) or not isinstance(args, Sequence)
    ):
        raise UsageError(
            f"the positional arguments of `{task}` are of type {type(args).__name__}, not a list of values",
            hint='such as client.send("shop.report", args=["2026-01"])',
        )


def _require_traceparent(traceparent: str | None) -> None:
    if traceparent is not None and not is_traceparent(traceparent):
        raise UsageError(
            f"`{traceparent[:100]}` is no W3C trace context",
            hint="such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
