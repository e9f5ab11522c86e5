"""What is wrong with a fleet whose every key is well-formed: names that lead nowhere, rules across tables?"""

from collections.abc import Iterable
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fleet.backup.excludes import is_excluded, is_inside
from fleet.config.locate import Path
from fleet.config.problems import Problems, did_you_mean
from fleet.config.schema import FleetFile
from fleet.model import Fleet, Kind
from fleet.routes import allows, broker_queues, queue_for_task, serving_hosts
from fleet.schedule import CrontabError, parse_crontab

#: a host of this name would give a per-host queue the name of its dead-letter queue
RESERVED_HOSTS = ("dlq",)
#: worker instance b listens this far above instance a
SLOT_PORT_OFFSET = 100


def check(fleet: Fleet, file: FleetFile, problems: Problems) -> None:
    """Note everything that is wrong across the tables of ``file``, which ``fleet`` was made from."""
    _check_time_zone(fleet, problems)
    _check_hosts(fleet, problems)
    _check_queues(fleet, file, problems)
    _check_workers(fleet, file, problems)
    _check_routes(fleet, problems)
    _check_backups(fleet, file, problems)
    _check_mail(fleet, problems)
    _check_urls(fleet, problems)
    _check_schedule(fleet, file, problems)
    _check_broker_users(fleet, problems)
    _check_redis(fleet, problems)


def _check_time_zone(fleet: Fleet, problems: Problems) -> None:
    try:
        ZoneInfo(fleet.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problems.add(
            ("fleet", "timezone"),
            f"`{fleet.timezone}` is not an IANA time zone",
            hint="such as Europe/Berlin",
        )


def _check_hosts(fleet: Fleet, problems: Problems) -> None:
    for host in fleet.hosts:
        if host.name in RESERVED_HOSTS:
            problems.add(("hosts", host.name), f"`{host.name}` is reserved for dead-letter queues")


def _check_patterns(fleet: Fleet, patterns: Iterable[str], path: Path, problems: Problems) -> None:
    known = [host.name for host in fleet.hosts]
    known += [f"@{label}" for label in dict.fromkeys(label for host in fleet.hosts for label in host.labels)]
    for index, pattern in enumerate(patterns):
        if not fleet.hosts_for((pattern,)):
            problems.add((*path, index), f"`{pattern}` matches no host", hint=did_you_mean(pattern, known))


def _check_queues(fleet: Fleet, file: FleetFile, problems: Problems) -> None:
    for queue in fleet.queues:
        path = ("queues", queue.name)
        if not serving_hosts(fleet, queue):
            problems.add(
                path,
                f"no worker serves queue `{queue.name}`",
                hint=f"add it to `queues` of a worker, or remove [queues.{queue.name}]",
            )
        if not queue.tasks and queue.name in file.queues:
            problems.add(
                path,
                f"no task may run from queue `{queue.name}`",
                hint=f'route one: [tasks.routes] "shop.*" = "{queue.name}"',
            )
    # Native delayed delivery binds `#.<key>`, a suffix match: a delayed message for one would reach both.
    keys = broker_queues(fleet)
    for one in keys:
        for other in keys:
            if other.name.endswith("." + one.name):
                problems.add(
                    ("queues", one.queue),
                    f"routing key `{one.name}` is a suffix of `{other.name}`; rename one",
                )


def _check_workers(fleet: Fleet, file: FleetFile, problems: Problems) -> None:
    names = [queue.name for queue in fleet.queues]
    for worker in fleet.workers:
        path = ("workers", worker.name)
        _check_patterns(fleet, worker.hosts, (*path, "hosts"), problems)
        for index, name in enumerate(worker.queues):
            queue = fleet.queue(name)
            if queue is None:
                problems.add(
                    (*path, "queues", index), f"unknown queue `{name}`", hint=did_you_mean(name, names)
                )
            elif queue.long and len(worker.queues) > 1:
                problems.add(
                    (*path, "queues", index),
                    f"queue `{name}` is long, so it needs a worker of its own",
                    hint="one process has one prefetch and one pool: a long task would hold the others back",
                )
    if file.workers:
        _check_ports(fleet, problems)


def _check_ports(fleet: Fleet, problems: Problems) -> None:
    for host in fleet.hosts:
        taken: dict[int, str] = {}
        for worker in fleet.workers_on(host.name):
            for port in (worker.metrics_port, worker.metrics_port + SLOT_PORT_OFFSET):
                if port in taken and taken[port] != worker.name:
                    problems.add(
                        ("workers", worker.name, "metrics_port"),
                        f"port {port} on host `{host.name}` is taken by worker `{taken[port]}`",
                        hint=f"a worker uses its port and its port + {SLOT_PORT_OFFSET} (second instance)",
                    )
                taken[port] = worker.name


def _check_routes(fleet: Fleet, problems: Problems) -> None:
    names = [queue.name for queue in fleet.queues]
    for task, name in fleet.user_tasks.routes:
        if name not in names:
            problems.add(
                ("tasks", "routes", task), f"route to unknown queue `{name}`", hint=did_you_mean(name, names)
            )


def _check_backups(fleet: Fleet, file: FleetFile, problems: Problems) -> None:
    for backup in fleet.backups:
        path = ("backups", backup.name)
        _check_patterns(fleet, backup.hosts, (*path, "hosts"), problems)
        _check_backup_queue(fleet, backup.name, problems)
        _check_nesting(file, backup.name, problems)


def _check_backup_queue(fleet: Fleet, name: str, problems: Problems) -> None:
    backup = fleet.backup(name)
    assert backup is not None
    path = ("backups", name)
    queue = fleet.queue(backup.queue)
    if queue is None:
        hint = did_you_mean(backup.queue, [known.name for known in fleet.queues])
        problems.add((*path, "queue"), f"unknown queue `{backup.queue}`", hint=hint)
        return
    if not queue.per_host:
        problems.add((*path, "queue"), f"queue `{queue.name}` must be per_host: a backup runs on its host")
    if not allows(queue, "fleet.backup"):
        problems.add((*path, "queue"), f"queue `{queue.name}` does not allow task `fleet.backup`")
    served = serving_hosts(fleet, queue)
    unserved = [host.name for host in fleet.hosts_for(backup.hosts) if host.name not in served]
    if unserved:
        problems.add(
            (*path, "hosts"),
            f"no worker serves queue `{queue.name}` on {', '.join(unserved)}",
            hint="see [workers]",
        )


def _check_nesting(file: FleetFile, name: str, problems: Problems) -> None:
    table = file.backups[name]
    destination = table.destination.rstrip("/") or "/"
    for index, source in enumerate(table.sources):
        place = ("backups", name, "sources", index)
        if is_inside(source, destination):
            problems.add(place, f"source `{source}` is inside the destination `{destination}`")
        elif is_inside(destination, source) and not is_excluded(destination, table.excludes):
            problems.add(
                ("backups", name, "destination"),
                f"`{destination}` is inside the source `{source}`",
                hint=f'exclude it: excludes = ["{destination}"]',
            )


def _check_mail(fleet: Fleet, problems: Problems) -> None:
    mail = fleet.mail
    if mail is None:
        return
    if (mail.smtp is None) == (mail.sendgrid is None):
        problems.add(("mail",), "needs exactly one of [mail.smtp] and [mail.sendgrid]")
    queue = fleet.queue(mail.queue)
    if queue is None:
        hint = did_you_mean(mail.queue, [known.name for known in fleet.queues])
        problems.add(("mail", "queue"), f"unknown queue `{mail.queue}`", hint=hint)
    elif not allows(queue, "fleet.send_mail"):
        problems.add(("mail", "queue"), f"queue `{queue.name}` does not allow task `fleet.send_mail`")
    if mail.smtp and mail.smtp.security == "none" and mail.smtp.host not in ("127.0.0.1", "::1", "localhost"):
        problems.add(
            ("mail", "smtp", "security"),
            f"`none` sends mail to {mail.smtp.host} in the clear",
            hint="use starttls or tls",
        )
    if mail.smtp and (mail.smtp.user is None) != (mail.smtp.password is None):
        problems.add(("mail", "smtp"), "`user` and `password` go together")
    if mail.sendgrid and not _is_url(mail.sendgrid.url):
        problems.add(("mail", "sendgrid", "url"), f"`{mail.sendgrid.url}` is not an http or https URL")


def _check_urls(fleet: Fleet, problems: Problems) -> None:
    for check_ in fleet.url_checks:
        if not _is_url(check_.url):
            problems.add(("urls", check_.name, "url"), f"`{check_.url}` is not an http or https URL")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _check_schedule(fleet: Fleet, file: FleetFile, problems: Problems) -> None:
    for name, table in file.schedule.items():
        path = ("schedule", name)
        if (table.task is None) == (table.backup is None):
            problems.add(path, "needs exactly one of `task` and `backup`")
        if (table.crontab is None) == (table.every is None):
            problems.add(path, "needs exactly one of `crontab` and `every`")
        elif table.every == 0:
            problems.add((*path, "every"), "must be at least one second")
        if table.crontab is not None:
            try:
                parse_crontab(table.crontab)
            except CrontabError as error:
                problems.add((*path, "crontab"), str(error), hint='such as crontab = "30 7 * * mon"')
        if table.backup is not None and fleet.backup(table.backup) is None:
            known = [backup.name for backup in fleet.backups]
            problems.add(
                (*path, "backup"), f"unknown backup `{table.backup}`", hint=did_you_mean(table.backup, known)
            )
        _check_patterns(fleet, table.hosts, (*path, "hosts"), problems)
    _check_scheduled_tasks(fleet, problems)


def _check_scheduled_tasks(fleet: Fleet, problems: Problems) -> None:
    for entry in fleet.schedule:
        if not entry.task:
            continue
        path = ("schedule", entry.name)
        queue = queue_for_task(fleet, entry.task)
        if queue is None:
            known = [task for queue in fleet.queues for task in queue.tasks]
            problems.add(
                (*path, "task"), f"no queue takes task `{entry.task}`", hint=did_you_mean(entry.task, known)
            )
        elif queue.per_host and not entry.hosts:
            problems.add(
                path, f"queue `{queue.name}` is per host, so `hosts` is needed", hint='such as hosts = ["*"]'
            )


def _check_broker_users(fleet: Fleet, problems: Problems) -> None:
    names = [queue.name for queue in fleet.queues]
    for user in fleet.broker.users:
        path = ("broker", "users", user.name)
        if user.name == fleet.broker.user:
            problems.add(path, f"`{user.name}` is the fleet's own user already")
        if user.queues and user.role != "publisher":
            problems.add((*path, "queues"), f"applies to publishers only, and the role is {user.role}")
        for index, name in enumerate(user.queues):
            if name not in names:
                problems.add(
                    (*path, "queues", index), f"unknown queue `{name}`", hint=did_you_mean(name, names)
                )


def _check_redis(fleet: Fleet, problems: Problems) -> None:
    if fleet.broker.kind is not Kind.REDIS:
        return
    longest = max((queue.max_runtime_seconds for queue in fleet.queues), default=0)
    limit = fleet.broker.visibility_timeout_seconds
    if limit is None or limit <= longest:
        problems.add(
            ("broker", "visibility_timeout") if limit is not None else ("broker",),
            f"Redis hands out a task again after visibility_timeout ({limit or 'not set'}), "
            f"and a task here may run {longest} s: it would run beside itself",
            hint=f"write visibility_timeout above {longest}, or lower `max_runtime` of the queues",
        )
