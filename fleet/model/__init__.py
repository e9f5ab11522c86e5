"""Which words does everything else speak? The fleet as its operator declared it, frozen.

Nothing here reads a file, a clock or an environment. Durations are seconds, sizes are bytes.
"""

from fleet.model.broker import (
    CONSUMER_TIMEOUT_SINCE,
    SCHEDULER,
    SHARED_TRANSIENT_UNTIL,
    Broker,
    BrokerUser,
    Kind,
    Management,
    Node,
    Profile,
    Tls,
)
from fleet.model.fleet import (
    Fleet,
)
from fleet.model.placement import (
    SLOT_PORT_STEP,
    SLOTS,
    Host,
    Pool,
    Queue,
    Worker,
)
from fleet.model.secret import (
    SecretRef,
)
from fleet.model.ssh import (
    Ssh,
)
from fleet.model.work import (
    BACKUP_TASK,
    BUILT_IN_TASKS,
    CHECK_URLS_TASK,
    RESTORE_TASK,
    SEND_MAIL_TASK,
    Backup,
    Mail,
    Retention,
    ScheduleEntry,
    SendGrid,
    Smtp,
    UrlCheck,
    UserTasks,
)

__all__ = [
    "BACKUP_TASK",
    "BUILT_IN_TASKS",
    "CHECK_URLS_TASK",
    "CONSUMER_TIMEOUT_SINCE",
    "RESTORE_TASK",
    "SCHEDULER",
    "SEND_MAIL_TASK",
    "SHARED_TRANSIENT_UNTIL",
    "SLOTS",
    "SLOT_PORT_STEP",
    "Backup",
    "Broker",
    "BrokerUser",
    "Fleet",
    "Host",
    "Kind",
    "Mail",
    "Management",
    "Node",
    "Pool",
    "Profile",
    "Queue",
    "Retention",
    "ScheduleEntry",
    "SecretRef",
    "SendGrid",
    "Smtp",
    "Ssh",
    "Tls",
    "UrlCheck",
    "UserTasks",
    "Worker",
]
