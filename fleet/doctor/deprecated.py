"""What is in use that a later RabbitMQ no longer has?

https://www.rabbitmq.com/release-information/deprecated-features-list: mirrored classic queues are gone since
4.0; transient queues that are not exclusive, a prefetch shared by a channel's consumers, RAM nodes and the
locator of queue masters are still permitted there, and refused by default in later releases.
"""

from collections.abc import Iterator

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, unknown, warn
from provisioning.broker.state import State

#: first version without mirrored classic queues
MIRRORING_GONE_SINCE = (4, 0)
#: first version that lists itself what is in use
LISTED_SINCE = (3, 13)
_MIRRORING = "ha-mode"
_LOCATOR = "queue-master-locator"
#: features that come from a plugin of the broker itself and that nobody here can do without
_UNAVOIDABLE = ("management_metrics_collection",)
#: features that the checks below name more exactly
_SEEN_HERE = (
    "transient_nonexcl_queues",
    "global_qos",
    "classic_queue_mirroring",
    "ram_node_type",
    "queue_master_locator",
)
#: what is asked for beside what the check needs in any case
_ASKED = {
    "global_prefetch_channels": "channels",
    "nodes": "nodes",
    "deprecated_in_use": "the broker's own list",
}


def _deprecated(facts: Facts) -> Iterator[Verdict]:
    found = [*_queues(facts), *_policies(facts), *_channels(facts), *_nodes(facts), *_named(facts)]
    yield from found
    missing = [field for field in _ASKED if getattr(facts, field) is None]
    if "deprecated_in_use" in missing and (facts.version or ()) < LISTED_SINCE:
        missing.remove("deprecated_in_use")
    for field in missing:
        yield unknown(
            f"{_ASKED[field]} could not be looked at: {facts.unseen.get(field, 'it was not looked at')}",
            "on a broker host: `rabbitmqctl list_deprecated_features --used`, from RabbitMQ 3.13 on",
        )
    if not found and not missing:
        yield ok("nothing in use")


def _queues(facts: Facts) -> Iterator[Verdict]:
    transient = [q.name for q in facts.queues or () if not q.durable and not q.exclusive]
    if transient:
        yield warn(
            f"transient queues that are not exclusive: {_some(transient)}",
            "they are gone after a restart, and later releases refuse them: make them durable or exclusive"
            " (Celery: `control_queue_exclusive`, `event_queue_exclusive`)",
        )


def _policies(facts: Facts) -> Iterator[Verdict]:
    state = facts.state or State()
    mirroring = [p.label for p in state.policies if _MIRRORING in p.definition]
    located = [p.label for p in state.policies if _LOCATOR in p.definition]
    if mirroring and (facts.version or ()) >= MIRRORING_GONE_SINCE:
        yield fail(
            f"mirroring does nothing in this version, there is one copy only: {_some(mirroring)}",
            "use quorum queues, and delete the policy",
        )
    elif mirroring:
        yield warn(f"mirrored classic queues: {_some(mirroring)}", "RabbitMQ 4 has none: use quorum queues")
    if located:
        yield warn(f"{_LOCATOR} in {_some(located)}", "use `queue-leader-locator`")


def _channels(facts: Facts) -> Iterator[Verdict]:
    if facts.global_prefetch_channels:
        yield warn(
            f"{facts.global_prefetch_channels} channels share a prefetch among their consumers (global QoS)",
            "later releases refuse it: use the current Celery, which asks per consumer on RabbitMQ 4",
        )


def _nodes(facts: Facts) -> Iterator[Verdict]:
    in_memory = [node.name for node in facts.nodes or () if not node.keeps_on_disk]
    if in_memory:
        yield warn(
            f"RAM nodes: {_some(in_memory)}", "`rabbitmqctl change_cluster_node_type disc` on a stopped node"
        )


def _named(facts: Facts) -> Iterator[Verdict]:
    named = [name for name in facts.deprecated_in_use or () if name not in (*_UNAVOIDABLE, *_SEEN_HERE)]
    if named:
        yield warn(
            f"the broker says that these are in use: {_some(named)}", "`rabbitmqctl list_deprecated_features`"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


DEPRECATED = Check(
    name="deprecated",
    about="is anything in use that later releases refuse?",
    needs=("state", "queues"),
    run=_deprecated,
)
