"""What must Prometheus scrape to see this fleet? Pure: the fleet in, plain data out.

Targets come from the declared inventory and not from what answers, so that a host that never came up is seen.
"""

from dataclasses import dataclass

from fleet.metrics.rule import duration
from fleet.metrics.yaml import Plain
from fleet.model import SLOTS, Fleet, Kind

WORKER_JOB = "fleet-worker"
BEAT_JOB = "fleet-beat"
BROKER_JOB = "fleet-rabbitmq"
QUEUES_JOB = "fleet-rabbitmq-queues"

#: port of RabbitMQ's rabbitmq_prometheus plugin
BROKER_METRICS_PORT = 15_692
#: a scrape with more samples fails as a whole, so that a mistake cannot fill Prometheus
WORKER_SAMPLE_LIMIT = 20_000
BROKER_SAMPLE_LIMIT = 50_000
#: queues that come and go with each client: their names would pile up for ever
TRANSIENT_QUEUES = r"celeryev\..*|.*\.celery\.pidbox|.*\.reply\.celery\.pidbox|amq\.gen.*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One instance of a worker that Prometheus should find."""

    #: ``host:port``
    address: str
    fleet: str
    host: str
    worker: str
    slot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapePlan:
    """What stands in the configuration beyond the fleet file."""

    #: file that ``fleet prometheus targets`` writes
    targets_file: str
    #: file that ``fleet prometheus rules`` writes
    rules_file: str
    #: addresses (``host:port``) of beats
    beats: tuple[str, ...] = ()
    #: addresses (``host:port``) of the broker's metrics; empty means the plugin's port on each broker node
    brokers: tuple[str, ...] = ()
    interval_seconds: int = 15


def targets(fleet: Fleet) -> tuple[Target, ...]:
    """Return both slots of every worker on each of its hosts, except workers without a metrics port."""
    return tuple(
        Target(
            address=_address(host.address, worker.slot_port(slot)),
            fleet=fleet.name,
            host=host.name,
            worker=worker.name,
            slot=slot,
        )
        for host in fleet.hosts
        for worker in fleet.workers_on(host.name)
        for slot in SLOTS
        if worker.metrics_port
    )


def target_file(found: tuple[Target, ...]) -> list[Plain]:
    """Return the content of a file_sd file."""
    return [
        {
            "targets": [target.address],
            "labels": {
                "fleet": target.fleet,
                "host": target.host,
                "worker": target.worker,
                "slot": target.slot,
            },
        }
        for target in found
    ]


def scrape_file(fleet: Fleet, plan: ScrapePlan) -> dict[str, Plain]:
    """Return the content of a Prometheus configuration file."""
    jobs: list[Plain] = [_worker_job(plan)]
    if plan.beats:
        jobs.append(_beat_job(fleet, plan))
    if fleet.broker.kind is Kind.RABBITMQ:
        jobs.extend(_broker_jobs(fleet, plan))
    every = duration(plan.interval_seconds)
    return {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": [plan.rules_file],
        "scrape_configs": jobs,
    }


def _worker_job(plan: ScrapePlan) -> Plain:
    return {
        "job_name": WORKER_JOB,
        # The label `host` of a limit names the host that is meant, not the one that exports it.
        "honor_labels": True,
        "sample_limit": WORKER_SAMPLE_LIMIT,
        "file_sd_configs": [{"files": [plan.targets_file]}],
    }


def _beat_job(fleet: Fleet, plan: ScrapePlan) -> Plain:
    return {
        "job_name": BEAT_JOB,
        "honor_labels": True,
        "sample_limit": WORKER_SAMPLE_LIMIT,
        "static_configs": _static(fleet, plan.beats),
    }


def _broker_jobs(fleet: Fleet, plan: ScrapePlan) -> list[Plain]:
    nodes = fleet.broker.nodes
    addresses = plan.brokers or tuple(_address(node.host, BROKER_METRICS_PORT) for node in nodes)
    return [
        {
            "job_name": BROKER_JOB,
            "sample_limit": BROKER_SAMPLE_LIMIT,
            "static_configs": _static(fleet, addresses),
        },
        {
            "job_name": QUEUES_JOB,
            "metrics_path": "/metrics/detailed",
            "params": {
                "family": ["queue_coarse_metrics", "queue_consumer_count"],
                "vhost": [fleet.broker.vhost],
            },
            "sample_limit": BROKER_SAMPLE_LIMIT,
            "static_configs": _static(fleet, addresses),
            "metric_relabel_configs": [
                {"source_labels": ["queue"], "regex": TRANSIENT_QUEUES, "action": "drop"}
            ],
        },
    ]


def _static(fleet: Fleet, addresses: tuple[str, ...]) -> Plain:
    return [{"targets": list(addresses), "labels": {"fleet": fleet.name}}]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
