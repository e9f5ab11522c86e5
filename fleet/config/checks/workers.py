"""Can each worker run where it is declared, on what it is declared for?"""

from fleet.config.checks.draft import Draft
from fleet.model import SLOTS, Host, Pool, Worker


def check_hosts(draft: Draft) -> None:
    """Each host pattern means a host."""
    for name, table in draft.file.workers.items():
        draft.check_patterns(table.hosts, ("workers", name, "hosts"))


def check_queues(draft: Draft) -> None:
    """Each queue exists and stands there once, and a long one is alone in its worker."""
    for name, table in draft.file.workers.items():
        for index, queue_name in enumerate(table.queues):
            path = ("workers", name, "queues", index)
            queue = draft.queue(queue_name, path)
            if queue_name in table.queues[:index]:
                draft.problems.add(path, f"queue `{queue_name}` stands in the list already")
            elif queue and queue.long and len(set(table.queues)) > 1:
                draft.problems.add(
                    path,
                    f"queue `{queue_name}` is long, so it needs a worker of its own",
                    hint="a worker has one pool and one prefetch: a long task would hold the others back",
                )


def check_pools(draft: Draft) -> None:
    """The pool ``solo`` has a size of one and no long queue."""
    for name, table in draft.file.workers.items():
        if table.pool is not Pool.SOLO:
            continue
        if (table.concurrency or 1) > 1:
            draft.problems.add(
                ("workers", name, "concurrency"),
                f"the pool `solo` runs one task at a time, not {table.concurrency}",
                hint="use the pool `prefork` or `threads`",
            )
        long = [queue.name for queue in draft.fleet.queues if queue.long and queue.name in table.queues]
        if long:
            draft.problems.add(
                ("workers", name, "pool"),
                f"`solo` answers no heartbeat while a task runs, and queue `{long[0]}` is long",
                hint="use the pool `prefork`",
            )


def check_ports(draft: Draft) -> None:
    """No two workers share a metrics port of one address."""
    taken: dict[tuple[str, int], tuple[Host, Worker]] = {}
    for host in draft.fleet.hosts:
        for worker in draft.fleet.workers_on(host.name):
            for slot in SLOTS:
                port = worker.slot_port(slot)
                holder, holding = taken.setdefault((host.address, port), (host, worker))
                if holder is not host:
                    _note_shared_address(draft, host, holder)
                elif holding is not worker:
                    _note_shared_port(draft, worker, holding, port)


def _note_shared_address(draft: Draft, host: Host, holder: Host) -> None:
    draft.problems.add(
        ("hosts", host.name),
        f"has the address of host `{holder.name}`, {host.address}, and their workers the same metrics ports",
        hint="give each host an address of its own (on one machine: 127.0.0.2, 127.0.0.3, …)",
    )


def _note_shared_port(draft: Draft, worker: Worker, holding: Worker, port: int) -> None:
    draft.problems.add(
        ("workers", worker.name, "metrics_port"),
        f"port {port} is taken by worker `{holding.name}` on the same host",
        hint=f"worker `{holding.name}` uses {holding.slot_port('a')}, and {holding.slot_port('b')} "
        "for a second instance",
    )
