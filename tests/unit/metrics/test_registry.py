from prometheus_client import generate_latest

from fleet.metrics.registry import counter, gauge_family, histogram, new_registry


def test_each_registry_is_its_own() -> None:
    first, second = new_registry(), new_registry()
    counter("fleet_metrics_errors_total", first)
    counter("fleet_metrics_errors_total", second)


def test_no_creation_times_are_exported() -> None:
    registry = new_registry()
    counter("fleet_metrics_errors_total", registry).labels("scrape").inc()
    histogram("fleet_task_runtime_seconds", registry).labels("t", "q").observe(1)
    assert b"_created" not in generate_latest(registry)


def test_a_family_carries_the_labels_of_the_catalogue() -> None:
    family = gauge_family("fleet_url_up")
    family.add_metric(["shop", "alpha"], 1)
    assert family.samples[0].labels == {"job_name": "shop", "host": "alpha"}


def test_the_process_metrics_of_every_prometheus_client_are_there() -> None:
    assert b"process_resident_memory_bytes" in generate_latest(new_registry())
