"""Hosts change in their order, each once, and never more at a time than was said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.hosts.batches import BatchSize, batches


def sizes() -> st.SearchStrategy[BatchSize]:
    return st.one_of(
        st.builds(BatchSize, count=st.integers(1, 50)), st.builds(BatchSize, percent=st.integers(1, 100))
    )


@given(st.lists(st.text("abc", min_size=1), unique=True), st.integers(0, 5), sizes())
def test_every_host_has_its_turn_once_and_canaries_are_alone(
    hosts: list[str], canary: int, size: BatchSize
) -> None:
    order = batches(hosts, canary=canary, size=size)
    assert [host for batch in order for host in batch] == hosts
    assert all(len(batch) == 1 for batch in order[:canary])
    assert all(1 <= len(batch) <= size.of(len(hosts)) for batch in order)


def test_a_quarter_of_ten_hosts_is_two_and_of_three_it_is_one() -> None:
    quarter = BatchSize.parse("25%")
    assert (quarter.of(10), quarter.of(3)) == (2, 1)
    assert batches("abcdef", canary=1, size=BatchSize.parse("2")) == (("a",), ("b", "c"), ("d", "e"), ("f",))


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "-1", "a", "2.5", "25 %", "٣"])
def test_what_is_no_size_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match="hosts"):
        BatchSize.parse(text)
