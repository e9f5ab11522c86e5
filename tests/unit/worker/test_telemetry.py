from types import SimpleNamespace

import pytest

from fleet.backup.failure import BackupRefused
from fleet.errors import BrokerRefused
from fleet.journal.record import Outcome
from fleet.worker.telemetry import Telemetry


class Notebook:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def put_nowait(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def request() -> SimpleNamespace:
    return SimpleNamespace(
        id="1",
        task=SimpleNamespace(name="fleet.backup"),
        queue="fleet.backup.alpha",
        time_start=90.0,
        request_dict={},
    )


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
    error: BaseException | None, told: str | None
) -> None:
    notebook = Notebook()
    Telemetry(journal=notebook, clock=lambda: 100.0).finished(request(), "failed", error=error)
    (outcome,) = notebook.outcomes
    assert outcome.message == told
    assert outcome.runtime_seconds == 10.0
