"""Small fleets for tests of the worker's room."""

from collections.abc import Mapping
from types import MappingProxyType

from fleet.model import (
    Broker,
    Fleet,
    Host,
    Kind,
    Node,
    Queue,
    SecretRef,
    UserTasks,
    Worker,
)
from fleet.worker.context import WorkerContext, worker_context

ENVIRON: Mapping[str, str] = MappingProxyType({"BROKER_PASSWORD": "hunter2"})

QUEUES = (
    Queue(
        name="backup",
        tasks=("fleet.backup", "fleet.restore"),
        long=True,
        per_host=True,
        max_runtime_seconds=18_000,
    ),
    Queue(name="email", tasks=("fleet.send_mail",), max_runtime_seconds=300),
    Queue(name="shop", tasks=("shop.*",), allow_callbacks=True, max_runtime_seconds=60),
)


def fleet(
    *,
    kind: Kind = Kind.RABBITMQ,
    nodes: tuple[Node, ...] = (Node(host="mq1", port=5672),),
    queues: tuple[Queue, ...] = QUEUES,
    visibility_timeout: int | None = None,
    imports: tuple[str, ...] = (),
    metrics_port: int = 0,
) -> Fleet:
    """Return a fleet of two hosts, each with a worker ``backup`` and a worker ``shared``."""
    short = tuple(queue.name for queue in queues if not queue.long)
    return Fleet(
        name="test",
        timezone="Europe/Lisbon",
        state_dir="/nonexistent",
        broker=Broker(
            nodes=nodes,
            kind=kind,
            vhost="0" if kind is Kind.REDIS else "celery",
            password=SecretRef(scheme="env", name="BROKER_PASSWORD"),
            visibility_timeout_seconds=visibility_timeout,
        ),
        hosts=(Host(name="alpha", address="alpha"), Host(name="beta", address="beta")),
        queues=queues,
        workers=(
            Worker(name="backup", hosts=("*",), queues=("backup",), concurrency=1, metrics_port=metrics_port),
            Worker(name="shared", hosts=("*",), queues=short),
        ),
        user_tasks=UserTasks(imports=imports),
    )


def context(worker: str = "shared", **options: object) -> WorkerContext:
    """Return the context of ``worker`` on host alpha."""
    return worker_context(fleet(**options), host="alpha", worker=worker, environ=ENVIRON)  # type: ignore[arg-type]  # options are fleet()'s own
