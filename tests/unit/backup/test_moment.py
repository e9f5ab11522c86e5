import pytest

from fleet.errors import UsageError
from fleet.ops.restores import parse_moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-07-01T14:30", "2026-07-01T14:30:00+01:00"),
        ("2026-07-01", "2026-07-01T00:00:00+01:00"),
        ("2026-07-01T14:30+05:00", "2026-07-01T14:30:00+05:00"),
        ("2026-07-01T14:30Z", "2026-07-01T14:30:00+00:00"),
    ],
)
def test_a_time_is_the_fleets_unless_it_names_a_zone(text: str, moment: str) -> None:
    assert parse_moment(text, timezone="Europe/Lisbon").isoformat() == moment


def test_a_time_that_is_none_is_refused_with_an_example() -> None:
    with pytest.raises(UsageError, match="`noon` is not understood") as error:
        parse_moment("noon", timezone="UTC")
    assert error.value.hint == "write it as 2026-11-21 or 2026-11-21T14:30"
