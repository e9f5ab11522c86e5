"""What is counted must be what happened: the counts against a plain model, and each trap once."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.tally import BrokerDeath, Death, Run, Tally, count, problems, recovered_seconds, runs_of


def line(event: str, task_id: str, at: float, *, attempt: int = 0, host: str = "alpha", pid: int = 1) -> str:
    return f"{event} {task_id} {attempt} {host} {pid} {at:.4f}\n"


def tally(
    *lines: str,
    accepted: str = "a",
    dead: str = "",
    queued: str = "",
    deaths: tuple[Death | BrokerDeath, ...] = (),
) -> Tally:
    ids = {"accepted": accepted.split(), "dead_letters": dead.split(), "queued": queued.split()}
    return count(runs_of(lines), deaths=deaths, **ids)


def test_a_task_that_ran_to_its_end_is_executed_and_nothing_else() -> None:
    found = tally(line("start", "a", 1), line("end", "a", 2))
    assert (found.executed, found.lost, found.twice, found.in_doubt, found.beside) == (1, (), (), (), ())


def test_a_task_that_only_began_is_lost() -> None:
    assert tally(line("start", "a", 1), line("beat", "a", 2)).lost == ("a",)


def test_a_first_attempt_that_ended_in_a_retry_executes_nothing() -> None:
    found = tally(line("start", "a", 1), line("fail", "a", 1))
    assert found.lost == ("a",)
    retried = tally(
        *(line("start", "a", 1), line("fail", "a", 1)),
        *(line("start", "a", 9, attempt=1), line("end", "a", 9, attempt=1)),
    )
    assert (retried.lost, retried.twice) == ((), ())


@pytest.mark.parametrize(("dead", "queued"), [("a", ""), ("", "a")])
def test_what_stands_in_a_queue_is_not_lost(dead: str, queued: str) -> None:
    found = tally(dead=dead, queued=queued)
    assert found.lost == ()
    assert (found.dead_lettered, found.queued) == (bool(dead), bool(queued))


def test_a_rerun_after_a_killed_process_is_in_doubt_and_not_twice() -> None:
    killed = Death(host="alpha", at=2, pids=frozenset({1}))
    found = tally(
        *(line("start", "a", 1), line("start", "a", 3, pid=2), line("end", "a", 4, pid=2)), deaths=(killed,)
    )
    assert (found.in_doubt, found.twice, found.executed) == (("a",), (), 1)


@pytest.mark.parametrize(
    "killed",
    [
        pytest.param(Death(host="beta", at=2), id="elsewhere"),
        pytest.param(Death(host="alpha", at=2, pids=frozenset({7})), id="another process"),
        pytest.param(Death(host="alpha", at=0.5), id="before it began"),
    ],
)
def test_a_death_that_did_not_touch_the_run_excuses_nothing(killed: Death) -> None:
    found = tally(
        *(line("start", "a", 1), line("start", "a", 3, pid=2), line("end", "a", 4, pid=2)), deaths=(killed,)
    )
    assert (found.twice, found.in_doubt) == (("a",), ())


def test_a_run_that_was_over_long_before_its_process_died_is_no_excuse() -> None:
    found = tally(
        *(
            line("start", "a", 1),
            line("end", "a", 2),
            line("start", "a", 9, pid=2),
            line("end", "a", 9, pid=2),
        ),
        deaths=(Death(host="alpha", at=8),),
    )
    assert found.twice == ("a",)


@pytest.mark.parametrize(
    ("began", "ended", "is_excused"),
    [
        pytest.param(1, 2, True, id="its acknowledgement was on its way"),
        pytest.param(1, 6, True, id="it ended without a broker"),
        pytest.param(1, None, False, id="it was stopped"),
        pytest.param(5.5, 6, False, id="it began without a broker"),
        pytest.param(0, 1, False, id="its acknowledgement had long been kept"),
    ],
)
def test_only_a_run_that_ended_and_was_not_yet_acknowledged_is_in_doubt_with_its_broker(
    began: float, ended: float | None, *, is_excused: bool
) -> None:
    first = [line("start", "a", began)] + ([] if ended is None else [line("end", "a", ended)])
    again = line("start", "a", 9, pid=2), line("end", "a", 9, pid=2)
    found = tally(*first, *again, deaths=(BrokerDeath(at=3 if ended == 2 else 5),))
    assert (found.in_doubt, found.twice) == ((("a",), ()) if is_excused else ((), ("a",)))


def test_a_task_that_kills_its_own_process_is_in_doubt_each_time() -> None:
    lines = [line(event, "a", at, pid=at) for at in (1, 2, 3) for event in ("start", "dies")]
    found = tally(*lines, dead="a")
    assert (found.in_doubt, found.twice, found.lost) == (("a",), (), ())


def test_a_second_run_that_begins_while_the_first_shows_life_is_beside_it() -> None:
    found = tally(
        line("start", "a", 1),
        line("start", "a", 2, pid=2),
        line("beat", "a", 2.5),
        line("end", "a", 3, pid=2),
    )
    assert found.beside == ("a",)


def test_a_task_that_begins_again_in_the_same_process_is_seen() -> None:
    found = tally(line("start", "a", 1), line("start", "a", 2), line("end", "a", 3))
    assert (found.twice, found.beside, found.executed) == (("a",), (), 1)


@pytest.mark.parametrize("text", ["", "start a 0 alpha 1", "begin a 0 alpha 1 1.0", "end a 0 alpha 1 1.0"])
def test_a_line_that_no_task_writes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line of a task|without a `start`"):
        runs_of([text])


RUNS = st.lists(
    st.builds(
        Run,
        task_id=st.sampled_from("abcd"),
        attempt=st.integers(0, 1),
        host=st.sampled_from(("alpha", "beta")),
        pid=st.integers(1, 3),
        began=st.floats(0, 10),
        last=st.floats(10, 20),
        has_ended=st.booleans(),
    ),
    max_size=12,
).map(lambda runs: sorted(runs, key=lambda run: run.began))
IDS = st.frozensets(st.sampled_from("abcdef"))


@given(RUNS, IDS, IDS, IDS)
def test_every_accepted_task_is_found_somewhere_or_lost(
    runs: list[Run], accepted: frozenset[str], dead: frozenset[str], queued: frozenset[str]
) -> None:
    found = count(runs, accepted=accepted, dead_letters=dead, queued=queued)
    seen = {run.task_id for run in runs if run.has_ended} | dead | queued
    assert set(found.lost) == accepted - seen
    assert found.executed <= found.accepted == len(accepted)
    assert not set(found.lost) & (dead | queued)


@given(RUNS, IDS)
def test_who_began_more_than_once_is_either_twice_or_in_doubt(
    runs: list[Run], accepted: frozenset[str]
) -> None:
    deaths = (Death(host="alpha", at=15),)
    found = count(runs, accepted=accepted, dead_letters=(), queued=(), deaths=deaths)
    begun = [(run.task_id, run.attempt) for run in runs]
    assert set(found.twice) | set(found.in_doubt) == {key[0] for key in begun if begun.count(key) > 1}
    assert set(found.beside) <= set(found.twice) | set(found.in_doubt)


@given(RUNS)
def test_without_a_death_nothing_is_excused(runs: list[Run]) -> None:
    assert count(runs, accepted=(), dead_letters=(), queued=()).in_doubt == ()


def test_recovery_lasts_until_work_goes_on_and_what_was_cut_short_is_done() -> None:
    lines = [line("start", "a", 1), line("start", "b", 12, pid=2), line("end", "b", 13, pid=2)]
    lines += [line("start", "a", 15, pid=2), line("end", "a", 17, pid=2)]
    assert recovered_seconds(runs_of(lines), over_at=10, given_up=()) == 7
    assert recovered_seconds(runs_of(lines[:3]), over_at=10, given_up=()) == inf
    assert recovered_seconds(runs_of(lines[:3]), over_at=10, given_up=("a",)) == 2
    assert recovered_seconds(runs_of(lines[1:3]), over_at=10, given_up=(), host="beta") == inf
    assert recovered_seconds((), over_at=10, given_up=()) == inf


def test_ours_is_wrong_when_it_loses_overlaps_keeps_or_repeats_too_much() -> None:
    good = tally(line("start", "a", 1), line("end", "a", 2))
    assert problems(good, reruns=0, running=0) == ()
    assert "lost 1: a" in problems(tally(), reruns=0, running=0)
    assert "left in a queue 1" in problems(tally(queued="a"), reruns=0, running=0)
    assert "nothing was accepted" in problems(tally(accepted=""), reruns=0, running=0)
    again = tally(line("start", "a", 1), line("start", "a", 2, pid=2), line("end", "a", 3, pid=2))
    assert problems(again, reruns=1, running=1) == ()
    assert problems(again, reruns=0, running=0) == (
        "run again 1, more than 0: a",
        "run twice 1, more than 0: a",
    )
    assert problems(again, reruns=1, running=0) == ("run twice 1, more than 0: a",)
    assert problems(again, reruns=1, running=0, resent=1) == ()
    both = tally(
        line("start", "a", 1), line("start", "a", 2, pid=2), line("end", "a", 3), line("end", "a", 3, pid=2)
    )
    assert problems(both, reruns=1, running=1) == ("started beside itself 1: a",)
    assert problems(both, reruns=1, running=1, resent=1) == ()
