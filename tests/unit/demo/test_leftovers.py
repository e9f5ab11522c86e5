from fleet.ops.demo.leftovers import Snapshot, compare

EMPTY = Snapshot(processes=frozenset(), ports=frozenset(), mounts=frozenset(), files=frozenset())


def test_nothing_new_is_nothing_left() -> None:
    assert str(compare(EMPTY, EMPTY, ours=[1], token="t")) == ""


def test_what_is_new_and_ours_is_left() -> None:
    after = Snapshot(
        processes=frozenset({"7 beam"}),
        ports=frozenset({1, 2}),
        mounts=frozenset({"/tmp/token/x", "/mnt/other"}),
        files=frozenset({"/home/me/t"}),
    )
    found = compare(EMPTY, after, ours=[1], token="token")
    assert found.processes == ("7 beam",)
    assert found.ports == (1,)
    assert found.mounts == ("/tmp/token/x",)
    assert found.files == ("/home/me/t",)
    assert "1 processes (7 beam)" in str(found)


def test_what_was_there_before_is_not_left() -> None:
    before = Snapshot(
        processes=frozenset({"7 beam"}), ports=frozenset({1}), mounts=frozenset(), files=frozenset({"/f"})
    )
    assert str(compare(before, before, ours=[1], token="t")) == ""
