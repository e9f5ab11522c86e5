"""Do this machine and the broker agree on the time?"""

from collections.abc import Iterator

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, warn

#: the broker says whole seconds, and the answer travels, so less than this means nothing
NOTICEABLE_SECONDS = 2.0
#: waiting times, expiry and the moments of the schedule are wrong by this much
WRONG_SECONDS = 30.0


def _clock(facts: Facts) -> Iterator[Verdict]:
    offset = facts.clock_offset_seconds or 0.0
    side = "ahead of" if offset > 0 else "behind"
    said = f"the broker's clock is {abs(offset):.0f} s {side} this machine's"
    hint = "let both keep time: `timedatectl` shows whether NTP is active"
    if abs(offset) >= WRONG_SECONDS:
        yield fail(f"{said}: waiting times, expiry and schedules are wrong by as much", hint)
    elif abs(offset) >= NOTICEABLE_SECONDS:
        yield warn(said, hint)
    else:
        yield ok(f"within {NOTICEABLE_SECONDS:.0f} s of this machine's")


CLOCK = Check(
    name="clock", about="do the clocks here and there agree?", needs=("clock_offset_seconds",), run=_clock
)
