"""What is wrong with a fleet whose every key is well-formed: names that lead nowhere, rules across tables?"""

from collections.abc import Callable
from dataclasses import dataclass

from fleet.config.checks import backups, broker, hosts, mail, queues, schedule, workers
from fleet.config.checks.draft import Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One kind of thing that can be wrong."""

    note: Callable[[Draft], None]
    #: other tables that it goes by; where one of them is faulty, its findings would mislead
    reads: frozenset[str] = frozenset()


def _reads(*tables: str) -> frozenset[str]:
    return frozenset(tables)


CHECKS = (
    Check(note=hosts.check_time_zone),
    Check(note=hosts.check_names),
    Check(note=queues.check_names),
    Check(note=queues.check_task_patterns),
    Check(note=queues.check_served, reads=_reads("hosts", "workers")),
    Check(note=queues.check_used, reads=_reads("tasks")),
    Check(note=queues.check_routes, reads=_reads("queues")),
    Check(note=queues.check_suffixes),
    Check(note=workers.check_hosts, reads=_reads("hosts")),
    Check(note=workers.check_queues, reads=_reads("queues")),
    Check(note=workers.check_pools, reads=_reads("queues")),
    Check(note=workers.check_ports),
    Check(note=backups.check_hosts, reads=_reads("hosts")),
    Check(note=backups.check_queues, reads=_reads("hosts", "queues", "workers", "tasks")),
    Check(note=backups.check_paths),
    Check(note=backups.check_kinds),
    Check(note=mail.check_carrier),
    Check(note=mail.check_sender),
    Check(note=mail.check_queue, reads=_reads("hosts", "queues", "workers", "tasks")),
    Check(note=mail.check_urls),
    Check(note=schedule.check_moments),
    Check(note=schedule.check_arguments),
    Check(note=schedule.check_backups, reads=_reads("backups", "hosts")),
    Check(note=schedule.check_hosts, reads=_reads("hosts")),
    Check(note=schedule.check_tasks, reads=_reads("backups", "hosts", "queues", "workers", "tasks")),
    Check(note=broker.check_names),
    Check(note=broker.check_users, reads=_reads("queues")),
    Check(note=broker.check_host_users, reads=_reads("hosts")),
    Check(note=broker.check_redis_keys),
    Check(note=broker.check_rabbitmqctl),
    Check(note=broker.check_visibility_timeout, reads=_reads("queues", "mail")),
)


def check(draft: Draft, *, faulty: frozenset[str]) -> None:
    """Note everything that is wrong across the tables; ``faulty`` ones are not as the operator wrote them."""
    for rule in CHECKS:
        if not rule.reads & faulty:
            rule.note(draft)
