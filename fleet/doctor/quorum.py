"""Would the queues outlive the loss of a node, and do they have a majority now?"""

from collections.abc import Iterator, Sequence

from fleet.doctor.facts import Facts, QueueFact
from fleet.doctor.finding import Check, Verdict, fail, ok, warn

REPLICATED = ("quorum", "stream")
#: copies that outlive the loss of one node
ENOUGH = 3


def _quorum(facts: Facts) -> Iterator[Verdict]:
    # A queue that was made a moment ago does not show its members yet.
    queues = [queue for queue in facts.queues or () if queue.type in REPLICATED and queue.members]
    size = len(facts.nodes or ())
    stuck = [queue for queue in queues if len(queue.online) * 2 <= len(queue.members)]
    short = [queue for queue in queues if queue not in stuck and len(queue.online) < len(queue.members)]
    few = [queue for queue in queues if len(queue.members) < min(ENOUGH, size)]
    if stuck:
        yield fail(
            f"no majority: {_named(stuck)}; they take and give nothing",
            "start the nodes that are down; `rabbitmqctl cluster_status` names them",
        )
    if short:
        yield warn(
            f"a member is offline: {_named(short)}", "start the node that is down, before another one goes"
        )
    if few:
        yield warn(
            f"fewer than {min(ENOUGH, size)} members on {size} nodes: {_named(few)}",
            "`rabbitmq-queues grow NODE all` adds members; streams: `rabbitmq-streams add_replica`",
        )
    if not (stuck or short or few):
        yield ok(
            f"{len(queues)} replicated queues have all their members" + (" (one node)" if size == 1 else "")
        )


def _named(queues: Sequence[QueueFact]) -> str:
    shown = ", ".join(f"{queue.name} ({len(queue.online)} of {len(queue.members)})" for queue in queues[:3])
    return shown + (f" and {len(queues) - 3} more" if len(queues) > 3 else "")


QUORUM = Check(
    name="quorum",
    about="have quorum queues and streams their majority, and enough members?",
    needs=("queues", "nodes"),
    run=_quorum,
)
