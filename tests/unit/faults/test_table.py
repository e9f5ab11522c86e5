"""The table of the guarantees page is measured, the words around it are written: neither harms the other."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.table import BEGIN, END, HEADINGS, Row, page_with, row
from tests.faults.tally import Tally

CELL = st.text("abc ,-*", min_size=1).map(lambda text: f"x{text.strip()}x")


def measured(case: str, settings: str = "fleet", *, lost: str = "0", broker: str = "3.10.8") -> Row:
    return Row(case=case, broker=broker, settings=settings, counts=("9", "9", "0", "0", "0", lost, "1.0"))


def test_a_row_shows_every_count_and_makes_a_loss_stand_out() -> None:
    tally = Tally(
        accepted=9,
        executed=6,
        twice=("a",),
        in_doubt=("b", "c"),
        beside=(),
        dead_lettered=1,
        queued=0,
        lost=("d", "e"),
    )
    assert row("fire", "4.0.5", "fleet", tally, None).counts == ("9", "6", "1", "2", "1", "**2**", "–")  # noqa: RUF001
    assert row("fire", "4.0.5", "fleet", tally, inf).counts[-1] == "never"
    assert row("fire", "4.0.5", "fleet", tally, 1.26).counts[-1] == "1.3"


def test_a_page_without_a_table_gets_one_at_its_end() -> None:
    page = page_with("# Guarantees\n\nWords.\n", [measured("fire")], order=["fire"])
    assert page.startswith("# Guarantees\n\nWords.\n\n## Measured\n")
    assert f"| {' | '.join(HEADINGS)} |\n" in page
    assert page.endswith(f"| fire | 3.10.8 | fleet | 9 | 9 | 0 | 0 | 0 | 0 | 1.0 |\n{END}\n")


def test_measuring_a_row_again_replaces_it_and_keeps_the_others() -> None:
    before = page_with("words\n", [measured("fire"), measured("flood")], order=["flood", "fire"])
    after = page_with(before, [measured("fire", lost="**1**")], order=["flood", "fire"])
    assert after.count("| fire |") == after.count("| flood |") == 1
    assert "| fire | 3.10.8 | fleet | 9 | 9 | 0 | 0 | 0 | **1** | 1.0 |" in after
    assert after.index("| flood |") < after.index("| fire |")


def test_ours_stands_first_whenever_it_was_measured() -> None:
    page = page_with("words\n", [measured("fire", "Celery, best"), measured("fire")], order=["fire"])
    assert page.index("| fleet |") < page.index("| Celery, best |")


@given(st.lists(st.builds(Row, case=CELL, broker=CELL, settings=CELL, counts=st.tuples(*[CELL] * 7))))
def test_writing_a_table_twice_changes_nothing(rows: list[Row]) -> None:
    once = page_with("before\n", rows, order=[])
    assert page_with(once, [], order=[]) == page_with(once, rows, order=[]) == once


def test_words_around_the_table_stay() -> None:
    page = f"one\n{BEGIN}\n{END}\ntwo\n"
    assert page_with(page, [], order=[]).startswith(f"one\n{BEGIN}\n")
    assert page_with(page, [], order=[]).endswith(f"{END}\ntwo\n")


@pytest.mark.parametrize("mark", [BEGIN, END])
def test_a_page_with_half_a_table_is_left_alone(mark: str) -> None:
    with pytest.raises(ValueError, match="only"):
        page_with(f"words\n{mark}\n", [], order=[])
