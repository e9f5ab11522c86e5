"""Can each backup run on its hosts, keep clear of its own copies, and be restored without harm?"""

from posixpath import normpath

from fleet.backup.excludes import is_excluded, is_inside
from fleet.config.checks.draft import Draft
from fleet.config.schema import BackupTable
from fleet.model import BACKUP_TASK
from fleet.routes import allows


def check_hosts(draft: Draft) -> None:
    """Each host pattern means a host."""
    for name, table in draft.file.backups.items():
        draft.check_patterns(table.hosts, ("backups", name, "hosts"))


def check_queues(draft: Draft) -> None:
    """The queue is per host, lets ``fleet.backup`` run and is served on each of the hosts."""
    for backup in draft.fleet.backups:
        path = ("backups", backup.name, "queue")
        queue = draft.queue(backup.queue, path)
        if queue is None:
            continue
        if not queue.per_host:
            draft.problems.add(path, f"queue `{queue.name}` must be per_host: a backup runs on its host")
        if not allows(queue, BACKUP_TASK):
            draft.problems.add(path, f"queue `{queue.name}` does not allow task `{BACKUP_TASK}`")
        draft.check_served(queue, backup.hosts, ("backups", backup.name, "hosts"))


def check_paths(draft: Draft) -> None:
    """No source is inside the destination or ``restore_dir``, no destination unexcluded inside a source."""
    for name, table in draft.file.backups.items():
        for index, source in enumerate(table.sources):
            _check_source(draft, name, table, index)
            if table.restore_dir is not None and is_inside(source, table.restore_dir):
                draft.problems.add(
                    ("backups", name, "restore_dir"),
                    f"the source `{source}` is inside it, so a message could overwrite what is backed up",
                    hint="name an empty directory, such as /srv/restore",
                )
        if table.restore_dir is not None and is_inside(table.restore_dir, table.destination):
            draft.problems.add(
                ("backups", name, "restore_dir"),
                f"is inside the destination `{table.destination}`, among the copies",
                hint="name a directory elsewhere, such as /srv/restore",
            )


def _check_source(draft: Draft, name: str, table: BackupTable, index: int) -> None:
    source, destination = table.sources[index], normpath(table.destination)
    path = ("backups", name, "sources", index)
    if normpath(source) in map(normpath, table.sources[:index]):
        draft.problems.add(path, f"source `{source}` stands in the list already")
    if is_inside(source, destination):
        draft.problems.add(path, f"source `{source}` is inside the destination `{destination}`")
    elif is_inside(destination, source) and not is_excluded(destination, table.excludes):
        draft.problems.add(
            ("backups", name, "destination"),
            f"`{destination}` is inside the source `{source}`",
            hint=f'exclude it: excludes = ["{destination}"]',
        )


def check_kinds(draft: Draft) -> None:
    """``retention`` is for snapshots, ``max_delete`` for mirrors."""
    for name, table in draft.file.backups.items():
        key, other = ("max_delete", "mirror") if table.kind == "snapshot" else ("retention", "snapshot")
        if key in table.model_fields_set:
            draft.problems.add(
                ("backups", name, key),
                f'has no effect: it needs kind = "{other}", and this is a {table.kind}',
            )
