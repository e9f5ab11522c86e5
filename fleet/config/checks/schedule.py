"""Can every entry of the schedule be sent: when, with which arguments, to which queue and hosts?"""

import json
from collections.abc import Iterator, Mapping

from fleet.config.checks.draft import Draft
from fleet.config.locate import Path
from fleet.config.problems import did_you_mean
from fleet.config.schema import ScheduleTable
from fleet.model import BACKUP_TASK, ScheduleEntry
from fleet.routes import broker_queue, queue_for_task, serving_hosts
from fleet.schedule import CrontabError, parse_crontab


def check_moments(draft: Draft) -> None:
    """Each has either ``task`` or ``backup``, either ``crontab`` or ``every``, and jitter below ``every``."""
    for name, table in draft.file.schedule.items():
        path = ("schedule", name)
        if (table.task is None) == (table.backup is None):
            draft.problems.add(path, "needs exactly one of `task` and `backup`")
        if (table.crontab is None) == (table.every is None):
            draft.problems.add(path, "needs exactly one of `crontab` and `every`")
        if table.crontab is not None:
            _check_crontab(draft, table.crontab, (*path, "crontab"))
        if table.every is not None and table.jitter >= table.every:
            draft.problems.add(
                (*path, "jitter"),
                f"must be shorter than `every`, {table.every} s, not {table.jitter} s: runs would overtake",
            )


def _check_crontab(draft: Draft, text: str, path: Path) -> None:
    try:
        parse_crontab(text)
    except CrontabError as error:
        draft.problems.add(path, str(error), hint='such as crontab = "30 7 * * mon"')


def check_arguments(draft: Draft) -> None:
    """``kwargs`` can be sent as JSON, which knows no dates."""
    for name, table in draft.file.schedule.items():
        for path in _not_json(table.kwargs, ("schedule", name, "kwargs")):
            draft.problems.add(path, "cannot be sent as JSON", hint="write it as text in quotes")
        if table.backup is not None and "backup" in table.kwargs:
            draft.problems.add(("schedule", name, "kwargs", "backup"), "is given by `backup` already")


def _not_json(value: object, path: Path) -> Iterator[Path]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_json(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _not_json(item, (*path, index))
    else:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            yield path


def check_backups(draft: Draft) -> None:
    """A backup is declared, and for the hosts that are named."""
    for name, table in draft.file.schedule.items():
        path, backup_name = _backup_name(name, table)
        if backup_name is None:
            continue
        backup = draft.fleet.backup(backup_name)
        if backup is None:
            hint = did_you_mean(backup_name, [known.name for known in draft.fleet.backups])
            draft.problems.add(path, f"unknown backup `{backup_name}`", hint=hint)
            continue
        wanted = draft.fleet.hosts_for(tuple(table.hosts))
        strange = [host.name for host in wanted if host not in draft.fleet.hosts_for(backup.hosts)]
        if strange:
            draft.problems.add(
                ("schedule", name, "hosts"),
                f"backup `{backup_name}` is not declared for {', '.join(strange)}",
                hint=f"see `hosts` of [backups.{backup_name}]",
            )


def _backup_name(name: str, table: ScheduleTable) -> tuple[Path, str | None]:
    if table.task == BACKUP_TASK:
        written = table.kwargs.get("backup")
        return ("schedule", name, "kwargs", "backup"), written if isinstance(written, str) else None
    return ("schedule", name, "backup"), table.backup


def check_hosts(draft: Draft) -> None:
    """Each host pattern means a host."""
    for name, table in draft.file.schedule.items():
        draft.check_patterns(table.hosts, ("schedule", name, "hosts"))


def check_tasks(draft: Draft) -> None:
    """Some queue takes the task; if it is per host, hosts are given and served, otherwise none are given."""
    for entry in draft.fleet.schedule:
        # Without a task, or with an unknown backup, another check has said so.
        if entry.task and not _is_backup_without_declaration(draft, entry):
            _check_queue(draft, entry)


def _is_backup_without_declaration(draft: Draft, entry: ScheduleEntry) -> bool:
    return entry.task == BACKUP_TASK and draft.fleet.backup(str(entry.kwargs.get("backup"))) is None


def _check_queue(draft: Draft, entry: ScheduleEntry) -> None:
    path = ("schedule", entry.name)
    backup = draft.fleet.backup(str(entry.kwargs.get("backup"))) if entry.task == BACKUP_TASK else None
    queue = draft.fleet.queue(backup.queue) if backup else queue_for_task(draft.fleet, entry.task)
    if queue is None:
        if backup is None:
            known = [task for queue in draft.fleet.queues for task in queue.tasks]
            hint = did_you_mean(entry.task, known)
            draft.problems.add((*path, "task"), f"no queue takes task `{entry.task}`", hint=hint)
    elif not queue.per_host:
        if entry.hosts and draft.file.schedule[entry.name].hosts:
            draft.problems.add((*path, "hosts"), f"has no effect: queue `{queue.name}` is not per_host")
        if queue.name not in draft.file.queues and not serving_hosts(draft.fleet, queue):
            draft.problems.add(path, f"no worker serves queue `{broker_queue(queue, None).queue}`")
    elif not entry.hosts:
        draft.problems.add(
            path, f"queue `{queue.name}` is per_host, so `hosts` is needed", hint='such as hosts = ["*"]'
        )
    elif draft.file.schedule[entry.name].hosts:
        draft.check_served(queue, entry.hosts, (*path, "hosts"))
