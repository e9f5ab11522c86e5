from hypothesis import given
from hypothesis import strategies as st

from fleet.publish.message import LONGEST_DELAY_SECONDS, delayed_routing_key
from fleet.worker.delay import delay_of, undelayed_key


@given(st.integers(0, LONGEST_DELAY_SECONDS))
def test_a_delayed_key_tells_its_queue_and_its_delay(seconds: int) -> None:
    key = delayed_routing_key(seconds, "fleet.backup.alpha")
    assert undelayed_key(key) == "fleet.backup.alpha"
    assert delay_of(key) == seconds


def test_a_key_without_a_delay_is_itself() -> None:
    assert undelayed_key("fleet.email") == "fleet.email"
    assert delay_of("fleet.email") == 0
