"""What holds for any broker: every check answers."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleet.doctor.diagnose import CHECKS, diagnose
from fleet.doctor.finding import Level
from fleet.doctor.render import text
from provisioning.broker.state import State
from tests.unit.doctor.sound import FILE, sound
from tests.unit.provisioning.states import states

SOUND = sound(FILE.replace("url =", 'vhost = "v"\nurl =', 1))
OBJECTS = tuple(SOUND.state or ())


def spoiled() -> st.SearchStrategy[State]:
    """Return the sound broker's state with some objects gone and some strange ones there."""
    gone = st.sets(st.integers(0, len(OBJECTS) - 1), max_size=40)
    return st.builds(
        lambda lost, more: State.of([*(o for at, o in enumerate(OBJECTS) if at not in lost), *more]),
        gone,
        states(),
    )


@given(state=spoiled())
def test_every_check_answers_for_any_broker_and_says_it_on_one_line(state: State) -> None:
    findings = diagnose(replace(SOUND, state=state))
    assert {finding.check for finding in findings} == {check.name for check in CHECKS}
    assert all(finding.hint for finding in findings if finding.level in (Level.WARN, Level.FAIL))
    lines = text(findings).splitlines()
    assert len(lines) == len(findings) + sum(1 for finding in findings if finding.hint)


@given(state=spoiled(), missing=st.sets(st.sampled_from(["state", "version", "nodes", "queues", "settings"])))
def test_what_was_not_seen_is_never_ok_where_it_is_needed(state: State, missing: set[str]) -> None:
    gone: dict[str, Any] = dict.fromkeys(missing)
    facts = replace(SOUND, **{"state": state, **gone})
    findings = diagnose(facts)
    for check in CHECKS:
        levels = {finding.level for finding in findings if finding.check == check.name}
        if missing & set(check.needs):
            assert levels == {Level.UNKNOWN}
