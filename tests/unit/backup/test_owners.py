from fleet.backup.owners import keeps_owners
from fleet.backup.rsync import Copy, argv


def status(effective: int) -> str:
    return f"Name:\tpython3\nUid:\t990\t990\t990\t990\nCapPrm:\t0\nCapEff:\t{effective:016x}\n"


def test_owners_are_kept_by_who_may_give_away_and_still_change() -> None:
    assert keeps_owners(status(0b1001))
    assert not keeps_owners(status(0b0001))
    assert not keeps_owners(status(0))
    assert not keeps_owners("")


def test_rsync_is_told_that_it_may_set_owners() -> None:
    copy = Copy(sources=("/srv",), target="/x")
    assert "--super" not in argv(copy, program="rsync")
    assert "--super" in argv(Copy(sources=("/srv",), target="/x", as_super=True), program="rsync")
