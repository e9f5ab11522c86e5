"""Which rules does Prometheus get, and which series must exist for them to mean anything?"""

from fleet.metrics.alerts import (
    BROKER_ALERTS,
    JOB_ALERTS,
    OUTBOX_ALERTS,
    QUEUE_ALERTS,
    URL_ALERTS,
    WORKER_ALERTS,
)
from fleet.metrics.recordings import RECORDINGS
from fleet.metrics.rule import Alert, Group, Recording, series_in

GROUPS = (
    Group(name="fleet-recordings", rules=RECORDINGS),
    Group(name="fleet-queues", rules=QUEUE_ALERTS),
    Group(name="fleet-workers", rules=WORKER_ALERTS),
    Group(name="fleet-jobs", rules=JOB_ALERTS),
    Group(name="fleet-urls", rules=URL_ALERTS),
    Group(name="fleet-outbox", rules=OUTBOX_ALERTS),
    Group(name="fleet-broker", rules=BROKER_ALERTS),
)


def alerts() -> tuple[Alert, ...]:
    """Return every alert, in the order of the file."""
    return tuple(rule for group in GROUPS for rule in group.rules if isinstance(rule, Alert))


def recordings() -> tuple[Recording, ...]:
    """Return every recording rule, in the order of the file."""
    return tuple(rule for group in GROUPS for rule in group.rules if isinstance(rule, Recording))


def series_named_by_rules() -> frozenset[str]:
    """Return the scraped series that the rules name; on a live fleet each of them must exist."""
    named = {name for group in GROUPS for rule in group.rules for name in series_in(rule.expr)}
    return frozenset(named - {recording.record for recording in recordings()})
