"""Does each queue have a usable name, tasks that may run from it, and a worker?"""

from fnmatch import fnmatchcase

from fleet.config.checks.draft import Draft
from fleet.config.locate import Path
from fleet.model import BUILT_IN_TASKS
from fleet.routes import broker_queues, serving_hosts

#: kept free for queues of fleet's own, of which ``fleet.journal`` is one
RESERVED = ("control", "journal", "lease")
#: tasks that ship with fleet or Celery, which a wider pattern would let in unintended
_FOREIGN = (*BUILT_IN_TASKS, "celery.starmap")


def check_names(draft: Draft) -> None:
    """No name is one of fleet's own queues: ``control``, ``journal``, ``lease``."""
    for name in draft.file.queues:
        if name in RESERVED:
            draft.problems.add(("queues", name), f"`{name}` is reserved for a queue of fleet's own")


def check_task_patterns(draft: Draft) -> None:
    """No pattern of tasks lets in fleet's or Celery's own tasks without naming them."""
    found: list[tuple[Path, str]] = [
        (("queues", name, "tasks", index), pattern)
        for name, table in draft.file.queues.items()
        for index, pattern in enumerate(table.tasks or ())
    ]
    found += [(("tasks", "routes", pattern), pattern) for pattern, _ in draft.fleet.user_tasks.routes]
    for path, pattern in found:
        caught = [task for task in _FOREIGN if fnmatchcase(task, pattern)]
        if caught and not pattern.startswith(("fleet.", "celery.")):
            draft.problems.add(
                path,
                f"`{pattern}` also matches {' and '.join(f'`{task}`' for task in caught[:2])}",
                hint="name your own tasks, such as `shop.*`",
            )


def check_served(draft: Draft) -> None:
    """Some worker serves the queue."""
    for queue in draft.fleet.queues:
        if queue.name in draft.file.queues and not serving_hosts(draft.fleet, queue):
            draft.problems.add(
                ("queues", queue.name),
                f"no worker serves queue `{queue.name}`",
                hint=f"add it to `queues` of a worker, or remove [queues.{queue.name}]",
            )


def check_used(draft: Draft) -> None:
    """Some task may run from the queue."""
    for queue in draft.fleet.queues:
        if not queue.tasks and queue.name in draft.file.queues:
            draft.problems.add(
                ("queues", queue.name),
                f"no task may run from queue `{queue.name}`",
                hint=f'route one: [tasks.routes] "shop.*" = "{queue.name}"',
            )


def check_routes(draft: Draft) -> None:
    """Every route leads to a queue."""
    for task, name in draft.fleet.user_tasks.routes:
        draft.queue(name, ("tasks", "routes", task), what="route to unknown queue")


def check_suffixes(draft: Draft) -> None:
    """No per-host queue's name in the broker ends in the name of another queue.

    Native delayed delivery binds ``#.KEY``, which matches suffixes, so a delayed message would reach both.
    """
    keys = broker_queues(draft.fleet)
    names = {key.name for key in keys}
    for key in keys:
        parts = key.name.split(".")
        twins = names.intersection(".".join(parts[start:]) for start in range(1, len(parts)))
        if twins and key.host is not None:
            draft.problems.add(
                ("hosts", key.host),
                f"its queue `{key.name}` ends in the name of queue `{min(twins)}`, "
                "which would receive its delayed messages, too",
                hint="rename the host",
            )
