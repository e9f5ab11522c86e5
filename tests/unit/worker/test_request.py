import pytest

from fleet.worker.request import strictest


@pytest.mark.parametrize(
    ("hard", "soft", "expected"),
    [
        ((60, None, None), (None, None), (60, None)),
        ((60, 30, None), (None, None), (30, None)),
        ((60, None, 9999), (None, None), (60, None)),
        ((60, None, 0), (None, 0), (60, None)),
        ((60, None, None), (50, None), (60, 50)),
        ((60, None, None), (50, 40), (60, 40)),
    ],
)
def test_the_strictest_limit_counts(
    hard: tuple[float | None, ...], soft: tuple[float | None, ...], expected: tuple[float | None, ...]
) -> None:
    assert strictest(hard=hard, soft=soft) == expected


@pytest.mark.parametrize("soft", [60, 9999])
def test_a_soft_limit_that_comes_too_late_does_not_put_off_the_hard_one(soft: float) -> None:
    assert strictest(hard=(60,), soft=(soft,)) == (60, None)
