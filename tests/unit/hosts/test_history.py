"""Which release a host goes back to, and what it remembers."""

from hypothesis import given
from hypothesis import strategies as st

from fleet.hosts.history import History, Refusal, choose_releases, history, links
from fleet.hosts.paths import CURRENT, release_directory
from provisioning.hosts.objects import Link

NAMES = ("1.0-a", "1.1-b", "1.2-c")
THERE = NAMES[::-1]


def after(before: History, release: str, *, back: bool) -> History:
    """Return the history once ``release`` has become the current one."""
    made = [Link(path=CURRENT, target=release_directory(release)), *links(before, release, back=back)]
    return history({link.identity: link for link in made}, before.there)


def forward(*releases: str) -> History:
    seen = History(there=THERE)
    for release in releases:
        seen = after(seen, release, back=False)
    return seen


def test_a_host_goes_back_to_what_ran_before() -> None:
    assert choose_releases({"alpha": forward("1.0-a", "1.1-b", "1.2-c")}) == {"alpha": "1.1-b"}


def test_one_that_has_gone_back_stays_there_however_often_that_is_said() -> None:
    seen = forward("1.0-a", "1.1-b", "1.2-c")
    for _ in range(3):
        (release,) = choose_releases({"alpha": seen}).values()
        assert release == "1.1-b"
        seen = after(seen, "1.1-b", back=True)
    assert seen.undone == "1.2-c"


def test_after_a_rollback_the_next_release_can_be_rolled_back_too() -> None:
    seen = after(after(forward("1.0-a", "1.1-b"), "1.0-a", back=True), "1.2-c", back=False)
    assert (seen.previous, seen.undone) == ("1.0-a", None)
    assert choose_releases({"alpha": seen}) == {"alpha": "1.0-a"}


def test_a_host_that_a_rollout_never_came_to_stays_where_the_others_go_back_to() -> None:
    hosts = {"alpha": forward("1.0-a", "1.1-b", "1.2-c"), "beta": forward("1.0-a", "1.1-b")}
    assert choose_releases(hosts) == {"alpha": "1.1-b", "beta": "1.1-b"}
    assert choose_releases({"beta": hosts["beta"]}) == {"beta": "1.0-a"}


def test_it_stays_there_when_the_rollback_is_said_again() -> None:
    gone_back = after(forward("1.0-a", "1.1-b", "1.2-c"), "1.1-b", back=True)
    for never_reached in (forward("1.1-b"), forward("1.0-a", "1.1-b")):
        hosts = {"alpha": gone_back, "beta": never_reached}
        assert choose_releases(hosts) == {"alpha": "1.1-b", "beta": "1.1-b"}


def test_where_nothing_ran_before_the_releases_that_are_there_are_named() -> None:
    (found,) = choose_releases({"alpha": forward("1.0-a")}).values()
    assert isinstance(found, Refusal)
    assert found.reason == "host `alpha`: nothing is known to have run before 1.0-a"
    assert "1.2-c, 1.1-b" in found.hint
    (bare,) = choose_releases({"alpha": History()}).values()
    assert isinstance(bare, Refusal)


def test_a_release_that_is_not_there_any_more_is_refused() -> None:
    (found,) = choose_releases({"alpha": forward("1.0-a")}, to="0.9-z").values()
    assert isinstance(found, Refusal)
    assert "0.9-z is not there any more" in found.reason


def test_one_that_is_named_is_taken_from_wherever_a_host_is() -> None:
    hosts = {"alpha": forward("1.0-a", "1.1-b"), "beta": after(forward("1.1-b"), "1.0-a", back=True)}
    assert set(choose_releases(hosts, to="1.2-c").values()) == {"1.2-c"}


STEPS = st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=6)


@given(STEPS)
def test_whatever_happened_a_rollback_ends_after_one_step(steps: list[tuple[str, bool]]) -> None:
    seen = History(there=THERE)
    for name, back in steps:
        seen = after(seen, name, back=back)
    (release,) = choose_releases({"alpha": seen}).values()
    if isinstance(release, Refusal):
        assert seen.previous is None
        return
    assert release in seen.there
    seen = after(seen, release, back=True)
    assert choose_releases({"alpha": seen}) == {"alpha": release}


@given(STEPS, st.sampled_from(NAMES))
def test_what_runs_now_is_remembered_by_what_comes_next_and_by_nothing_else(
    steps: list[tuple[str, bool]], release: str
) -> None:
    seen = History(there=THERE)
    for name, back in steps:
        seen = after(seen, name, back=back)
    before = seen
    assert after(before, before.current or release, back=False) in (
        before,
        History(current=release, there=THERE),
    )
    then = after(before, release, back=False)
    if before.current not in (None, release):
        assert (then.previous, then.undone) == (before.current, None)
