"""Do all nodes run, hear each other, and take messages?"""

from collections.abc import Iterator

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, warn

#: the last of 3.10 whose nodes may hang as they come back, on Erlang 25.1 and later (rabbitmq-server#6034)
_LAST_TO_HANG = (3, 10, 8)
_ALARM_HINTS = {
    "memory": "find the queues that grow (`rabbitmqctl list_queues name messages memory`), start workers for"
    " them, or give the node more memory (`vm_memory_high_watermark`)",
    "disk": "free or add disk space where the node keeps its data (`disk_free_limit` is what it wants free)",
}


def _addresses(facts: Facts) -> Iterator[Verdict]:
    answering = [endpoint.address for endpoint in facts.endpoints if endpoint.error is None]
    for endpoint in facts.endpoints:
        if endpoint.error is not None:
            yield fail(
                f"`{endpoint.address}` does not answer: {endpoint.error}",
                "is the node up (`rabbitmq-diagnostics ping`), and does a firewall let this machine through?",
            )
    if answering:
        yield ok(f"answering: {', '.join(answering)}")


def _doors(facts: Facts) -> Iterator[Verdict]:
    for door in facts.doors:
        if door.error is None:
            yield ok(f"seen through {door.name}")
        else:
            yield fail(f"{door.name}: {door.error}", door.hint or "see [broker] in the fleet file")


def _nodes(facts: Facts) -> Iterator[Verdict]:
    seen = facts.nodes or ()
    for node in seen:
        if not node.is_running:
            yield fail(
                f"node {node.name} is down",
                "start it; if it is gone for good, `rabbitmqctl forget_cluster_node` takes it off the list",
            )
        if node.partitions:
            yield fail(
                f"node {node.name} has lost touch with {', '.join(node.partitions)}",
                "see to the network, then restart the smaller side; set `cluster_partition_handling ="
                " pause_minority`",
            )
    if not any(not node.is_running or node.partitions for node in seen):
        yield ok(f"{len(seen)} of {len(seen)} running")
    if len(seen) == 2:
        yield warn("two nodes: when one is lost, so is the majority", "add a third node, or use one alone")
    if len(seen) > 1 and facts.version and (3, 10) <= facts.version <= _LAST_TO_HANG:
        yield warn(
            f"RabbitMQ {'.'.join(map(str, facts.version))}: a node that was cut off or restarted may hang as"
            " it comes back",
            "if one does, it does not stop when asked either: kill it, then start it",
        )


def _alarms(facts: Facts) -> Iterator[Verdict]:
    raised = [(node.name, alarm) for node in facts.nodes or () for alarm in node.alarms]
    for name, alarm in raised:
        yield fail(
            f"{alarm} alarm on node {name}: nobody can publish to the whole cluster", _ALARM_HINTS[alarm]
        )
    if not raised:
        yield ok("none")


ADDRESSES = Check(
    name="addresses", about="does every address of the fleet file answer?", needs=(), run=_addresses
)
DOORS = Check(name="doors", about="can the broker be looked into?", needs=(), run=_doors)
NODES = Check(name="nodes", about="does every node run, and hear the others?", needs=("nodes",), run=_nodes)
ALARMS = Check(
    name="alarms", about="does a memory or disk alarm hold publishers back?", needs=("nodes",), run=_alarms
)
