"""Fleets for the tests of this room."""

from fleet.model import Backup, Broker, Fleet, Host, Node, Queue, ScheduleEntry, UrlCheck, Worker

ALPHA = Host(name="alpha", address="10.0.0.1")
BETA = Host(name="beta", address="beta.example.org")

WALK = Fleet(
    name="shop",
    timezone="UTC",
    state_dir="/var/lib/fleet",
    broker=Broker(nodes=(Node(host="mq1", port=5672), Node(host="mq2", port=5671, tls=True))),
    hosts=(ALPHA, BETA),
    queues=(
        Queue(name="backup", tasks=("fleet.backup",), long=True, per_host=True, max_wait_seconds=7200),
        Queue(name="email", tasks=("fleet.send_mail",), max_runtime_seconds=120),
    ),
    workers=(
        Worker(name="backup", hosts=("*",), queues=("backup",), concurrency=1, metrics_port=9540),
        Worker(name="shared", hosts=("*",), queues=("email",), metrics_port=9541),
    ),
    backups=(
        Backup(name="etc", hosts=("*",), sources=("/etc",), destination="/backup", max_age_seconds=3600),
        Backup(name="www", hosts=("beta",), sources=("/srv",), destination="/backup", kind="mirror"),
    ),
    url_checks=(UrlCheck(name="shop", url="https://shop.example.org", timeout_seconds=7.0),),
    schedule=(ScheduleEntry(name="nightly", task="fleet.backup", crontab="0 3 * * *", hosts=("*",)),),
)
