from datetime import date

import pytest

from fleet.schedule import CrontabError, parse_crontab


def test_a_line_of_numbers_means_those_minutes() -> None:
    crontab = parse_crontab("30 7 * * 1")
    assert (crontab.minutes, crontab.hours) == ((30,), (7,))
    assert crontab.weekdays == {1}


@pytest.mark.parametrize(
    ("field", "minutes"),
    [
        ("*/15", (0, 15, 30, 45)),
        ("1-10/4", (1, 5, 9)),
        ("5,1,5", (1, 5)),
        ("50-52,0", (0, 50, 51, 52)),
    ],
)
def test_lists_ranges_and_steps_combine(field: str, minutes: tuple[int, ...]) -> None:
    assert parse_crontab(f"{field} * * * *").minutes == minutes


@pytest.mark.parametrize("field", ["mon-fri", "MON-FRI", "1-5", "mon,tue,wed,thu,fri"])
def test_names_and_numbers_mean_the_same_weekdays(field: str) -> None:
    assert parse_crontab(f"0 0 * * {field}").weekdays == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("field", ["0", "7", "sun"])
def test_sunday_has_two_numbers(field: str) -> None:
    assert parse_crontab(f"0 0 * * {field}").weekdays == {0}


def test_sunday_may_end_a_range() -> None:
    assert parse_crontab("0 0 * * fri-sun").weekdays == {5, 6, 0}


def test_months_have_names() -> None:
    assert parse_crontab("0 0 1 jan-mar *").months == {1, 2, 3}


def test_one_kind_of_day_is_enough_where_both_are_restricted() -> None:
    crontab = parse_crontab("0 0 13 * fri")
    assert crontab.matches_date(date(2026, 1, 13))  # a Tuesday
    assert crontab.matches_date(date(2026, 1, 16))  # a Friday
    assert not crontab.matches_date(date(2026, 1, 14))


def test_a_starred_day_restricts_together_with_the_other() -> None:
    crontab = parse_crontab("0 0 * * fri")
    assert not crontab.matches_date(date(2026, 1, 13))


def test_daily_is_midnight() -> None:
    assert parse_crontab("@daily") == parse_crontab("0 0 * * *")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "crontab `` has 0 fields, not 5"),
        ("* * * *", "has 4 fields, not 5"),
        ("0 0 0 * * *", "has 6 fields, not 5"),
        ("@reboot", "has 1 fields, not 5"),
        ("60 * * * *", "minute `60` is not within 0-59"),
        ("* 24 * * *", "hour `24` is not within 0-23"),
        ("* * 0 * *", "day of the month `0` is not within 1-31"),
        ("* * * 13 *", "month `13` is not within 1-12 or jan-dec"),
        ("* * * * 8", "weekday `8` is not within 0-7 or sun-sat"),
        ("* * * * montag", "weekday `montag`"),
        ("*/0 * * * *", "minute `*/0` has no whole step above 0"),
        ("*/x * * * *", "minute `*/x` has no whole step above 0"),
        ("5/15 * * * *", "write `5-59/15` or `*/15`"),
        ("* 22-4 * * *", "hour `22-4` runs backwards; write `22-23,0-4`"),
        ("1, * * * *", "minute `` is not within"),
        ("-1 * * * *", "minute `` is not within"),
        ("² * * * *", "minute `²` is not within"),
        ("0 0 31 2 *", "never runs"),
        ("0 0 31 4,6,9,11 *", "never runs"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(CrontabError) as caught:
        parse_crontab(text)
    assert message in str(caught.value)


def test_an_impossible_date_is_fine_beside_a_weekday() -> None:
    assert parse_crontab("0 0 31 2 mon").matches_date(date(2026, 2, 2))
