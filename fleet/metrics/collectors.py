"""How do states become metrics at the moment of a scrape? Collectors that ask, translate and forget."""

import logging
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fleet.certificates import certificates
from fleet.errors import LedgerUnreadable, OutboxUnusable, UsageError
from fleet.ledger import Ledger
from fleet.metrics.catalogue import CATALOGUE
from fleet.metrics.metric import MetricType
from fleet.metrics.registry import counter_family, gauge_family
from fleet.metrics.samples import (
    Sample,
    declared_samples,
    ledger_samples,
    outbox_samples,
    schedule_samples,
    worker_samples,
)
from fleet.metrics.state import ScheduleState, WorkerState
from fleet.model import Fleet, Tls
from fleet.outbox import Outbox
from fleet.routes import broker_queues

logger = logging.getLogger(__name__)

Family = GaugeMetricFamily | CounterMetricFamily


class SampleCollector(Collector):
    """Asks ``source`` for samples at each scrape; when it raises, the scrape fails and says so."""

    def __init__(self, source: Callable[[], Iterable[Sample]]) -> None:
        self._source = source

    def describe(self) -> list[Family]:
        """Return nothing: without this, registration would ask ``source`` under the registry's lock."""
        return []

    def collect(self) -> Iterator[Family]:
        """Yield the samples of this moment, by metric."""
        families: dict[str, Family] = {}
        for sample in self._source():
            if sample.metric not in families:
                families[sample.metric] = _family(sample.metric)
            families[sample.metric].add_metric(sample.labels, sample.value)
        yield from families.values()


def register_declared(registry: CollectorRegistry, fleet: Fleet) -> None:
    """Export the limits that the fleet file declares."""
    samples = declared_samples(fleet)
    registry.register(SampleCollector(lambda: samples))


def register_worker(registry: CollectorRegistry, snapshot: Callable[[], WorkerState]) -> None:
    """Export what ``snapshot`` says about this worker; it runs in a scrape's thread and must not block."""
    registry.register(SampleCollector(lambda: worker_samples(snapshot())))


def register_schedule(registry: CollectorRegistry, snapshot: Callable[[], ScheduleState]) -> None:
    """Export what ``snapshot`` says about beat; it runs in a scrape's thread and must not block."""
    registry.register(SampleCollector(lambda: schedule_samples(snapshot())))


def register_certificates(registry: CollectorRegistry, tls: Tls | None) -> None:
    """Export when the certificates of ``tls`` end; read at each scrape, because they are renewed in place."""

    def samples() -> tuple[Sample, ...]:
        try:
            found = certificates(tls)
        except UsageError as error:
            logger.warning("%s", error, extra={"event": "certificate_unreadable"})
            return ()
        return tuple(
            Sample(
                metric="fleet_tls_certificate_end_timestamp_seconds",
                labels=(certificate.kind,),
                value=certificate.end.timestamp(),
            )
            for certificate in found
        )

    if tls is not None:
        registry.register(SampleCollector(samples))


def register_ledger(registry: CollectorRegistry, state_dir: str, *, host: str) -> None:
    """Export what ``host`` did according to the ledger below ``state_dir``.

    A ledger that cannot be read costs its own series only: the rules remember the last values, and
    ``fleet_ledger_readable`` tells why nothing new comes.
    """
    ledger = Ledger.in_state_dir(state_dir)

    def samples() -> tuple[Sample, ...]:
        try:
            found = ledger_samples(newest=ledger.latest(), newest_good=ledger.latest_good(), host=host)
        except LedgerUnreadable as error:
            logger.warning("%s", error, extra={"event": "ledger_unreadable", "host": host})
            return (Sample(metric="fleet_ledger_readable", value=0),)
        return (*found, Sample(metric="fleet_ledger_readable", value=1))

    registry.register(SampleCollector(samples))


def register_outbox(registry: CollectorRegistry, fleet: Fleet, *, host: str) -> None:
    """Export what waits in the usual outbox of ``host``; an unreadable one costs its own series only."""
    outbox = Outbox.in_state_dir(fleet.state_dir, fleet=fleet.name)
    queues = tuple(queue.name for queue in broker_queues(fleet))

    def samples() -> tuple[Sample, ...]:
        try:
            found = outbox_samples(outbox.backlog(), queues=queues, host=host)
        except OutboxUnusable as error:
            logger.warning("%s", error, extra={"event": "outbox_unreadable", "host": host})
            return (Sample(metric="fleet_outbox_readable", value=0),)
        return (*found, Sample(metric="fleet_outbox_readable", value=1))

    registry.register(SampleCollector(samples))


def _family(name: str) -> Family:
    return counter_family(name) if CATALOGUE[name].type is MetricType.COUNTER else gauge_family(name)
