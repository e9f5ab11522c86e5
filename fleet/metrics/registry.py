"""How do the catalogue's entries become prometheus_client's objects? No other names are accepted."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    make_wsgi_app,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from fleet.metrics.catalogue import CATALOGUE
from fleet.metrics.http import Exposition


def new_registry() -> CollectorRegistry:
    """Return a registry of this process alone, with the ``process_…`` metrics of Prometheus's clients."""
    # Without this each counter and histogram would store a second series, its creation time.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> Exposition:
    """Return what answers scrapes of ``registry``."""
    answer: Exposition = make_wsgi_app(registry)
    return answer


def counter(name: str, registry: CollectorRegistry) -> Counter:
    """Register the catalogue's counter ``name``."""
    metric = CATALOGUE[name]
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


def gauge(name: str, registry: CollectorRegistry) -> Gauge:
    """Register the catalogue's gauge ``name``."""
    metric = CATALOGUE[name]
    return Gauge(metric.name, metric.help, metric.labels, registry=registry)


def histogram(name: str, registry: CollectorRegistry) -> Histogram:
    """Register the catalogue's histogram ``name`` with its buckets."""
    metric = CATALOGUE[name]
    return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)


def gauge_family(name: str) -> GaugeMetricFamily:
    """Return an empty family of the catalogue's gauge ``name`` for a scrape-time collector."""
    metric = CATALOGUE[name]
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)


def counter_family(name: str) -> CounterMetricFamily:
    """Return an empty family of the catalogue's counter ``name`` for a scrape-time collector."""
    metric = CATALOGUE[name]
    return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
