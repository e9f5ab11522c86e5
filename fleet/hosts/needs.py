"""Which secrets does each program on a host need? Those, and no others, come to the host."""

from collections.abc import Mapping
from types import MappingProxyType

from fleet.model import (
    BACKUP_TASK,
    RESTORE_TASK,
    SEND_MAIL_TASK,
    Backup,
    Fleet,
    Mail,
    Profile,
    SecretRef,
    Worker,
)
from fleet.routes import allows

BROKER_PASSWORD = "broker-password"  # noqa: S105 - a name
SCHEDULER_PASSWORD = "scheduler-password"  # noqa: S105 - a name
RESULT_PASSWORD = "result-password"  # noqa: S105 - a name
SMTP_PASSWORD = "smtp-password"  # noqa: S105 - a name
SENDGRID_KEY = "sendgrid-key"

#: credential name → where the control machine finds its value
Credentials = Mapping[str, SecretRef]


def host_password(host: str) -> str:
    """Return the credential's name of the password that the broker users of ``host`` have."""
    return f"host-password-{host}"


def worker_credentials(fleet: Fleet, host: str, worker: Worker) -> Credentials:
    """Return what ``worker`` needs on ``host``: its login, and what its tasks log in with elsewhere."""
    found = {**_login(fleet, host)}
    if fleet.broker.result_password is not None:
        found[RESULT_PASSWORD] = fleet.broker.result_password
    if fleet.mail is not None and carries(fleet, worker, SEND_MAIL_TASK):
        found |= _mail(fleet.mail)
    return MappingProxyType(found)


def beat_credentials(fleet: Fleet) -> Credentials:
    """Return what beat needs: the scheduler's password if the fleet has one, else that of its own user.

    No host's own user may do, for beat sends to the queues of every host.
    """
    broker = fleet.broker
    if broker.scheduler is not None:
        return MappingProxyType({SCHEDULER_PASSWORD: broker.scheduler.password})
    return MappingProxyType({BROKER_PASSWORD: broker.password} if broker.password is not None else {})


def host_credentials(fleet: Fleet, host: str, *, beat: bool) -> Credentials:
    """Return all that ``host`` needs, with ``beat`` or without."""
    found: dict[str, SecretRef] = {}
    for worker in fleet.workers_on(host):
        found.update(worker_credentials(fleet, host, worker))
    if beat:
        found.update(beat_credentials(fleet))
    return MappingProxyType(found)


def carries(fleet: Fleet, worker: Worker, task: str) -> bool:
    """Tell whether ``worker`` may have to run ``task``."""
    return any(queue.name in worker.queues and allows(queue, task) for queue in fleet.queues)


def worker_backups(fleet: Fleet, host: str, worker: Worker) -> tuple[Backup, ...]:
    """Return the backups that ``worker`` makes or brings back on ``host``."""
    if not (carries(fleet, worker, BACKUP_TASK) or carries(fleet, worker, RESTORE_TASK)):
        return ()
    return tuple(
        backup
        for backup in fleet.backups
        if backup.queue in worker.queues and any(each.name == host for each in fleet.hosts_for(backup.hosts))
    )


def beat_host(fleet: Fleet) -> str | None:
    """Return the host that runs beat unless another is chosen: the first; None without a schedule."""
    return fleet.hosts[0].name if fleet.schedule and fleet.hosts else None


def _login(fleet: Fleet, host: str) -> dict[str, SecretRef]:
    declared, broker = fleet.host(host), fleet.broker
    if broker.profile is Profile.PER_HOST and declared is not None and declared.password is not None:
        return {host_password(host): declared.password}
    return {BROKER_PASSWORD: broker.password} if broker.password is not None else {}


def _mail(mail: Mail) -> dict[str, SecretRef]:
    found: dict[str, SecretRef] = {}
    if mail.smtp is not None and mail.smtp.password is not None:
        found[SMTP_PASSWORD] = mail.smtp.password
    if mail.sendgrid is not None:
        found[SENDGRID_KEY] = mail.sendgrid.api_key
    return found
