"""Which frozen fleet does a well-formed file mean, defaults filled in?"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from types import MappingProxyType

from fleet.config.broker import broker
from fleet.config.locate import Path
from fleet.config.problems import Problems
from fleet.config.schema import (
    BackupTable,
    FleetFile,
    HostTable,
    QueueTable,
    ScheduleTable,
    SshTable,
    WorkerTable,
)
from fleet.config.secret import Secrets
from fleet.model import (
    BACKUP_TASK,
    SLOT_PORT_STEP,
    Backup,
    Fleet,
    Host,
    Mail,
    Pool,
    Queue,
    Retention,
    ScheduleEntry,
    SendGrid,
    Smtp,
    Ssh,
    UrlCheck,
    UserTasks,
    Worker,
)
from fleet.routes import default_tasks

#: queues that every fleet has unless it redefines them
BUILT_IN_QUEUES = ("backup", "email", "default")
FIRST_METRICS_PORT = 9540
#: stands for the host's name in `host_password`
HOST_VARIABLE = "{host}"
#: by kind of security
_SMTP_PORTS = {"starttls": 587, "tls": 465, "none": 25}


def convert(file: FleetFile, *, source: str, secrets: Secrets, problems: Problems) -> Fleet:
    """Return the fleet that ``file`` declares, noting what cannot be turned into it."""
    queues = _queues(file)
    return Fleet(
        name=file.fleet.name,
        timezone=file.fleet.timezone,
        state_dir=file.fleet.state_dir,
        broker=broker(file.broker, secrets, problems),
        hosts=tuple(_host(name, table, file, secrets) for name, table in file.hosts.items()),
        queues=queues,
        workers=_workers(file, queues),
        backups=tuple(_backup(name, table) for name, table in file.backups.items()),
        mail=_mail(file, secrets, source),
        url_checks=tuple(
            UrlCheck(name=name, url=url.url, timeout_seconds=url.timeout, expect_status=url.expect_status)
            for name, url in file.urls.items()
        ),
        schedule=tuple(_entry(name, table, file) for name, table in file.schedule.items()),
        user_tasks=UserTasks(imports=tuple(file.tasks.imports), routes=tuple(file.tasks.routes.items())),
        ssh=_ssh(file.ssh, source),
        source=source,
    )


def _host(name: str, table: HostTable, file: FleetFile, secrets: Secrets) -> Host:
    path: Path = ("hosts", name, "password")
    password = table.password
    if password is None and file.broker.host_password is not None:
        path = ("broker", "host_password")
        password = file.broker.host_password.replace(HOST_VARIABLE, name)
    return Host(
        name=name,
        address=table.address or name,
        labels=tuple(table.labels),
        password=secrets.optional(password, path),
        password_hash=secrets.optional(table.password_hash, ("hosts", name, "password_hash")),
        sender_password_hash=secrets.optional(
            table.sender_password_hash, ("hosts", name, "sender_password_hash")
        ),
        ssh_user=table.ssh_user,
        ssh_port=table.ssh_port,
        jump=table.jump,
    )


def _ssh(table: SshTable, source: str) -> Ssh:
    return Ssh(
        user=table.user,
        port=table.port,
        key=_beside(source, table.key) if table.key else None,
        jump=table.jump,
        known_hosts=_beside(source, table.known_hosts),
        connect_timeout_seconds=table.connect_timeout,
        parallel=table.parallel,
        deadline_seconds=table.deadline,
    )


def _beside(source: str, path: str) -> str:
    """Return ``path``; a relative one means one beside the fleet file."""
    return path if path.startswith("~") else str(PurePosixPath(source).parent / path)


def _queues(file: FleetFile) -> tuple[Queue, ...]:
    names = [name for name in BUILT_IN_QUEUES if name not in file.queues] + list(file.queues)
    # Default workers serve every queue; with [workers], a built-in queue that nothing uses is left out.
    if file.workers:
        used = _used_queues(file)
        names = [name for name in names if name in file.queues or name in used]
    return tuple(_queue(name, file.queues.get(name, QueueTable()), file) for name in names)


def _used_queues(file: FleetFile) -> frozenset[str]:
    """Return the names of the queues that some other table goes by."""
    served = {queue for worker in file.workers.values() for queue in worker.queues}
    mail = {file.mail.queue} if file.mail else set()
    return frozenset(
        served | mail | {backup.queue for backup in file.backups.values()} | {*file.tasks.routes.values()}
    )


def _queue(name: str, table: QueueTable, file: FleetFile) -> Queue:
    long = table.long if table.long is not None else name == "backup"
    routed = tuple(task for task, queue in file.tasks.routes.items() if queue == name)
    tasks = (*default_tasks(name), *routed) if table.tasks is None else (*table.tasks, *routed)
    return Queue(
        name=name,
        tasks=tuple(dict.fromkeys(tasks)),
        long=long,
        per_host=table.per_host if table.per_host is not None else name == "backup",
        allow_callbacks=table.allow_callbacks,
        max_runtime_seconds=table.max_runtime or (86_400 if long else 3600),
        max_wait_seconds=table.max_wait or (21_600 if long else 300),
        delivery_limit=table.delivery_limit or (200 if long else 20),
        max_length=table.max_length,
        max_dead_letters=table.max_dead_letters,
    )


def _workers(file: FleetFile, queues: tuple[Queue, ...]) -> tuple[Worker, ...]:
    long = {queue.name for queue in queues if queue.long}
    if not file.workers:
        return _default_workers(queues)
    ports = _free_ports(file)
    return tuple(
        Worker(
            name=name,
            hosts=tuple(table.hosts),
            queues=tuple(table.queues),
            pool=table.pool,
            concurrency=table.concurrency or _pool_size(table, is_long=bool(long.intersection(table.queues))),
            metrics_port=table.metrics_port or next(ports),
            stop_timeout_seconds=table.stop_timeout,
        )
        for name, table in file.workers.items()
    )


def _pool_size(table: WorkerTable, *, is_long: bool) -> int:
    return 1 if is_long or table.pool is Pool.SOLO else 2


def _free_ports(file: FleetFile) -> Iterator[int]:
    """Yield ports whose second instance's port is free, too."""
    taken = {worker.metrics_port for worker in file.workers.values() if worker.metrics_port}
    for port in range(FIRST_METRICS_PORT, 65535 - SLOT_PORT_STEP):
        if taken.isdisjoint((port, port + SLOT_PORT_STEP, port - SLOT_PORT_STEP)):
            taken.add(port)
            yield port


def _default_workers(queues: tuple[Queue, ...]) -> tuple[Worker, ...]:
    """One worker for each long queue, and ``shared`` for all the others."""
    alone = [(queue.name, (queue.name,), 1) for queue in queues if queue.long]
    others = tuple(queue.name for queue in queues if not queue.long)
    wanted = [*alone, ("shared", others, 2)] if others else alone
    return tuple(
        Worker(
            name=name, hosts=("*",), queues=served, concurrency=size, metrics_port=FIRST_METRICS_PORT + index
        )
        for index, (name, served, size) in enumerate(wanted)
    )


def _backup(name: str, table: BackupTable) -> Backup:
    return Backup(
        name=name,
        hosts=tuple(table.hosts),
        sources=tuple(table.sources),
        destination=table.destination,
        kind=table.kind,
        queue=table.queue,
        excludes=tuple(table.excludes),
        one_file_system=table.one_file_system,
        bandwidth_limit_bytes_per_second=table.bandwidth_limit,
        restore_dir=table.restore_dir,
        retention=Retention(
            last=table.retention.last,
            daily=table.retention.daily,
            weekly=table.retention.weekly,
            monthly=table.retention.monthly,
        ),
        max_age_seconds=table.max_age,
        min_files=table.min_files,
        max_delete=table.max_delete,
    )


def _mail(file: FleetFile, secrets: Secrets, source: str) -> Mail | None:
    table = file.mail
    if table is None:
        return None
    smtp, grid = table.smtp, table.sendgrid
    return Mail(
        sender=table.sender,
        # A relative directory means one beside the fleet file.
        templates=str(PurePosixPath(source).parent / table.templates),
        smtp=None
        if smtp is None
        else Smtp(
            host=smtp.host,
            port=smtp.port or _SMTP_PORTS[smtp.security],
            security=smtp.security,
            user=smtp.user,
            password=secrets.optional(smtp.password, ("mail", "smtp", "password")),
            ca=smtp.ca,
            timeout_seconds=smtp.timeout,
        ),
        sendgrid=None
        if grid is None
        else SendGrid(
            api_key=secrets.required(grid.api_key, ("mail", "sendgrid", "api_key")),
            url=grid.url.rstrip("/"),
            timeout_seconds=grid.timeout,
        ),
        queue=table.queue,
        max_attempts=table.max_attempts,
        retry_base_seconds=float(table.retry_base),
        retry_max_seconds=float(table.retry_max),
        on_unknown=table.on_unknown,
    )


def _entry(name: str, table: ScheduleTable, file: FleetFile) -> ScheduleEntry:
    kwargs, hosts = dict(table.kwargs), tuple(table.hosts)
    if table.backup is not None:
        kwargs["backup"] = table.backup
        declared = file.backups.get(table.backup)
        hosts = hosts or tuple(declared.hosts if declared else ())
    return ScheduleEntry(
        name=name,
        task=BACKUP_TASK if table.backup is not None else (table.task or ""),
        crontab=table.crontab,
        every_seconds=table.every,
        kwargs=MappingProxyType(kwargs),
        hosts=hosts,
        jitter_seconds=table.jitter,
        grace_seconds=table.grace,
    )
