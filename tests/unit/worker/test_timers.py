from kombu.asynchronous.timer import Timer

from fleet.worker.timers import FEW, forget_cancelled


def due(timer: Timer) -> list[str]:
    """Return what rings now, in its order."""
    rung: list[str] = []
    for _, entry in timer:
        if entry is None:
            return rung
        rung.append(entry.args[0])
    return rung


def test_what_was_cancelled_is_forgotten_and_the_rest_rings_in_its_order() -> None:
    timer = Timer()
    ringing = iter(timer)
    cancelled = [timer.call_at(3600.0 * number, print, ("never",)) for number in range(1, 2 * FEW)]
    for name, at in (("third", 0.3), ("first", 0.1), ("second", 0.2)):
        timer.call_at(at, print, (name,))
    for entry in cancelled:
        timer.cancel(entry)
    forget_cancelled(timer)
    assert len(timer) == 3
    # The event loop's own iterator goes on with what is left.
    assert next(ringing)[1].args == ("first",)
    assert due(timer) == ["second", "third"]


def test_timers_that_still_wait_stay_however_many_they_are() -> None:
    timer = Timer()
    entries = [timer.call_after(3600, print, ("later",)) for _ in range(2 * FEW)]
    timer.cancel(entries[0])
    forget_cancelled(timer)
    assert len(timer) == 2 * FEW
    for entry in entries[: FEW + 1]:
        timer.cancel(entry)
    forget_cancelled(timer)
    assert len(timer) == FEW - 1
