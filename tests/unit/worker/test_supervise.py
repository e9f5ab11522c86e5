import pytest

from fleet.worker.supervise import GiveUp, Restart, after_exit


@pytest.mark.parametrize("code", [0, 2])
def test_what_a_restart_does_not_mend_is_not_restarted(code: int) -> None:
    assert after_exit(code, ran_seconds=1, restarts=0) == GiveUp()


@pytest.mark.parametrize(
    ("restarts", "pause"), [(0, 1.0), (1, 2.0), (2, 4.0), (4, 16.0), (5, 30.0), (99, 30.0)]
)
def test_a_worker_that_fails_again_and_again_waits_longer_and_longer(restarts: int, pause: float) -> None:
    assert after_exit(1, ran_seconds=1, restarts=restarts) == Restart(pause_seconds=pause)


def test_a_worker_that_ran_well_for_a_while_starts_again_soon() -> None:
    assert after_exit(137, ran_seconds=3600, restarts=9) == Restart(pause_seconds=1.0)
