"""The fleet that these tests schedule: three hosts, one backup queue per host, one shared queue."""

from fleet.model import Backup, Broker, Fleet, Host, Node, Queue, ScheduleEntry, Worker


def fleet_with(*entries: ScheduleEntry) -> Fleet:
    return Fleet(
        name="test",
        timezone="UTC",
        state_dir="/var/lib/fleet",
        broker=Broker(nodes=(Node(host="127.0.0.1", port=5672),)),
        hosts=tuple(
            Host(name=name, address=name, labels=labels)
            for name, labels in (("alpha", ("db",)), ("beta", ("db",)), ("gamma", ()))
        ),
        queues=(
            Queue(name="backup", tasks=("fleet.backup",), long=True, per_host=True),
            Queue(name="default", tasks=("fleet.check_urls",)),
        ),
        workers=(
            Worker(name="backup", hosts=("alpha", "beta"), queues=("backup",), concurrency=1),
            Worker(name="shared", hosts=("*",), queues=("default",)),
        ),
        backups=(Backup(name="etc", hosts=("@db",), sources=("/etc",), destination="/backups"),),
        schedule=entries,
    )
