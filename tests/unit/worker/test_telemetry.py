from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from fleet.backup.failure import BackupRefused
from fleet.errors import BrokerRefused
from fleet.journal import Outcome
from fleet.metrics.tasks import TaskMetrics
from fleet.worker.gate import Admit, Reason, Refuse
from fleet.worker.telemetry import Telemetry

DELAY = "0." * 27 + "1."


class Journal:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def put_nowait(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def telemetry(registry: CollectorRegistry, journal: Journal) -> Telemetry:
    tasks = TaskMetrics(registry)
    return Telemetry(
        host="alpha",
        worker="shared-a@alpha",
        metrics=lambda: tasks,
        journal=journal,
        clock=lambda: 110.0,
    )


def request(*, sent: object = 95.0, routing_key: str = "fleet.email", eta: Any = None) -> Any:
    return SimpleNamespace(
        id="1",
        task=SimpleNamespace(name="fleet.send_mail"),
        queue="fleet.email",
        request_dict={"fleet_sent": sent, "fleet_first": 90.0, "retries": 1},
        delivery_info={"routing_key": routing_key},
        time_start=100.0,
        eta=eta,
    )


def sample(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


LABELS = {"task": "fleet.send_mail", "queue": "fleet.email"}


def test_a_run_waits_from_its_publish_to_its_start(telemetry: Telemetry, registry: CollectorRegistry) -> None:
    telemetry.started(request())
    assert sample(registry, "fleet_task_queue_wait_seconds_sum", **LABELS) == 5.0


def test_a_delay_that_was_asked_for_is_no_wait(telemetry: Telemetry, registry: CollectorRegistry) -> None:
    telemetry.started(request(routing_key=f"{DELAY}fleet.email"))
    assert sample(registry, "fleet_task_queue_wait_seconds_sum", **LABELS) == 4.0


@pytest.mark.parametrize("sent", [None, "95", True, float("nan"), float("inf"), [95.0]])
def test_a_stamp_that_cannot_be_reckoned_with_is_ignored(
    telemetry: Telemetry, registry: CollectorRegistry, sent: object
) -> None:
    telemetry.started(request(sent=sent))
    assert sample(registry, "fleet_tasks_started_total", **LABELS) == 1
    assert sample(registry, "fleet_task_queue_wait_seconds_count", **LABELS) == 0


def test_an_end_is_counted_and_journaled(
    telemetry: Telemetry, registry: CollectorRegistry, journal: Journal
) -> None:
    ended = request()
    telemetry.started(ended)
    telemetry.finished(ended, "failed", error=ValueError("ann@example.org"))
    assert sample(registry, "fleet_tasks_finished_total", outcome="failed", **LABELS) == 1
    assert sample(registry, "fleet_task_end_to_end_seconds_sum", **LABELS) == 20.0
    (outcome,) = journal.outcomes
    assert (outcome.outcome, outcome.attempt, outcome.error) == ("failed", 2, "ValueError")
    assert (outcome.started, outcome.runtime_seconds, outcome.wait_seconds) == (100.0, 10.0, 5.0)
    assert outcome.message is None


def test_metrics_that_cannot_be_made_cost_neither_the_task_nor_its_record(journal: Journal) -> None:
    def broken() -> TaskMetrics:
        raise ImportError("prometheus_client")

    telemetry = Telemetry(host="alpha", worker="shared-a@alpha", metrics=broken, journal=journal)
    telemetry.started(request())
    telemetry.finished(request(), "succeeded", error=None)
    assert [each.outcome for each in journal.outcomes] == ["succeeded"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BackupRefused("source `/srv` is empty"), "source `/srv` is empty"),
        (BrokerRefused("ada@example.org was refused"), None),
        (ValueError("ada@example.org"), None),
        (None, None),
    ],
)
def test_the_journal_keeps_only_messages_that_their_class_vouches_for(
    telemetry: Telemetry, journal: Journal, error: BaseException | None, told: str | None
) -> None:
    telemetry.finished(request(), "failed", error=error)
    assert journal.outcomes[0].message == told


def test_a_run_that_never_began_has_no_runtime(telemetry: Telemetry, journal: Journal) -> None:
    revoked = request()
    revoked.time_start = None
    telemetry.finished(revoked, "revoked", error=None)
    assert journal.outcomes[0].runtime_seconds is None


def message(**headers: object) -> Any:
    return SimpleNamespace(headers=headers, delivery_info={"redelivered": True})


def test_a_refused_message_is_counted_without_its_name_and_journaled_with_its_reason(
    telemetry: Telemetry, registry: CollectorRegistry, journal: Journal
) -> None:
    refusal = Refuse(reason=Reason.CALLBACKS, detail="no callbacks here")
    telemetry.received(message(task="evil", id="1"), "fleet.email", refusal)
    assert sample(registry, "fleet_tasks_refused_total", queue="fleet.email", reason="callbacks") == 1
    assert sample(registry, "fleet_tasks_received_total", task="other", queue="fleet.email") == 1
    assert sample(registry, "fleet_tasks_received_total", task="evil", queue="fleet.email") is None
    assert [(outcome.outcome, outcome.error) for outcome in journal.outcomes] == [("refused", "callbacks")]


def test_a_message_that_cannot_be_understood_is_counted_apart(
    telemetry: Telemetry, registry: CollectorRegistry
) -> None:
    refusal = Refuse(reason=Reason.UNDECODABLE, detail="")
    telemetry.received(message(), "fleet.email", refusal)
    assert sample(registry, "fleet_tasks_unknown_total", queue="fleet.email") == 1


def test_a_redelivery_is_counted(telemetry: Telemetry, registry: CollectorRegistry) -> None:
    telemetry.received(message(task="fleet.send_mail", id="1"), "fleet.email", Admit())
    assert sample(registry, "fleet_tasks_redelivered_total", **LABELS) == 1


def test_whatever_goes_wrong_in_a_hook_is_counted_and_not_raised(
    telemetry: Telemetry, registry: CollectorRegistry
) -> None:
    telemetry.started(object())
    assert sample(registry, "fleet_metrics_errors_total", where="started") == 1


@pytest.mark.parametrize("name", ["", "x" * 256, "ü" * 128, "\ud800", "a\nb", 7])
@pytest.mark.parametrize("header", ["id", "task"])
def test_a_refused_message_whose_names_fit_nowhere_is_not_journaled(
    telemetry: Telemetry, journal: Journal, header: str, name: object
) -> None:
    headers = {"id": "1", "task": "fleet.send_mail"} | {header: name}
    message = SimpleNamespace(headers=headers, delivery_info={})
    telemetry.received(message, "fleet.email", Refuse(reason=Reason.MALFORMED, detail="x"))
    assert journal.outcomes == []
