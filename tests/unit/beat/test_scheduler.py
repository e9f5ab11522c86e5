from collections.abc import Mapping
from dataclasses import replace

import pytest

from fleet.beat.decide import Mark
from fleet.beat.scheduler import Scheduler
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError
from fleet.model import ScheduleEntry
from fleet.publish.message import TaskMessage
from tests.unit.schedule.fleets import fleet_with

URLS = ScheduleEntry(name="urls", task="fleet.check_urls", every_seconds=10, grace_seconds=30)
BACKUP = ScheduleEntry(
    name="nightly", task="fleet.backup", every_seconds=100, kwargs={"backup": "etc"}, grace_seconds=60
)


class Memory:
    """A store in memory."""

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}
        self.saves = 0

    def load(self) -> dict[str, Mark]:
        return dict(self.marks)

    def save(self, marks: Mapping[str, Mark]) -> None:
        self.marks = dict(marks)
        self.saves += 1


class Beat:
    """A scheduler on a clock, a store and a sender that a test sets."""

    def __init__(self, *entries: ScheduleEntry, now: float = 1000.0) -> None:
        self.entries = entries
        self.now = now
        self.memory = Memory()
        self.sent: list[TaskMessage] = []
        self.attempts = 0
        self.error: FleetError | None = None
        self.refused_hosts: set[str] = set()
        self.restart()

    def restart(self) -> None:
        self.scheduler = Scheduler(fleet_with(*self.entries), self.memory, self, clock=lambda: self.now)

    def send(self, message: TaskMessage) -> None:
        self.attempts += 1
        if self.error is not None:
            raise self.error
        if message.queue.host in self.refused_hosts:
            raise BrokerRefused("no")
        self.sent.append(message)

    def run_until(self, end: float) -> None:
        """Step, sleeping as long as the scheduler wants, until ``end``."""
        while self.now <= end:
            pause = self.scheduler.step()
            assert pause > 0
            self.now += pause
        self.now = end

    def slots(self) -> list[int]:
        return [int(str(message.key).rpartition("/")[2]) for message in self.sent]


def test_each_run_is_sent_once_at_its_moment() -> None:
    beat = Beat(URLS)
    beat.run_until(1045)
    assert beat.slots() == [1010, 1020, 1030, 1040]


def test_a_message_names_its_run_in_key_and_id() -> None:
    first, second = Beat(URLS), Beat(URLS)
    first.run_until(1015)
    second.run_until(1015)
    assert first.sent[0].key == "schedule/urls/*/1010"
    assert first.sent[0].task_id == second.sent[0].task_id


def test_a_backup_is_sent_to_the_queue_of_each_of_its_hosts() -> None:
    beat = Beat(BACKUP, now=950)
    beat.run_until(1010)
    assert [message.queue.name for message in beat.sent] == ["fleet.backup.alpha", "fleet.backup.beta"]
    assert [dict(message.kwargs) for message in beat.sent] == [{"backup": "etc"}] * 2
    assert len({message.task_id for message in beat.sent}) == 2


def test_a_restart_repeats_nothing_and_catches_up_once() -> None:
    beat = Beat(URLS)
    beat.run_until(1025)
    beat.now = 1048
    beat.restart()
    beat.run_until(1055)
    assert beat.slots() == [1010, 1020, 1040, 1050]


def test_a_run_that_was_sent_but_not_noted_is_sent_again_under_the_same_id() -> None:
    beat = Beat(URLS)
    beat.run_until(1009)
    before = dict(beat.memory.marks)
    beat.run_until(1015)
    beat.memory.marks = before
    beat.restart()
    beat.run_until(1016)
    assert beat.sent[0].task_id == beat.sent[1].task_id


def test_while_the_broker_is_away_attempts_become_rarer_and_nothing_is_lost_within_grace() -> None:
    beat = Beat(replace(URLS, every_seconds=1000, grace_seconds=300), now=900)
    beat.error = BrokerUnreachable("away")
    beat.run_until(1100)
    assert 5 <= beat.attempts <= 12
    beat.error = None
    beat.run_until(1120)
    assert beat.slots() == [1000]
    assert beat.scheduler.trouble is None


def test_one_unreachable_broker_is_not_tried_for_every_host() -> None:
    beat = Beat(BACKUP, now=1000)
    beat.run_until(1099)
    beat.error = BrokerUnreachable("away")
    beat.now = 1100
    beat.scheduler.step()
    assert beat.attempts == 1


def test_a_run_that_stays_unsent_beyond_its_grace_is_given_up_and_told() -> None:
    beat = Beat(URLS)
    beat.run_until(1005)
    assert beat.scheduler.snapshot().entries[0].last_missed is None
    beat.error = BrokerUnreachable("away")
    beat.run_until(1059)
    (entry,) = beat.scheduler.snapshot().entries
    assert entry.last_missed is not None
    assert 1040 <= entry.last_missed <= 1059
    assert entry.last_sent is None
    beat.error = None
    beat.run_until(1075)
    assert beat.slots() == [1070]


def test_one_refused_run_does_not_hold_up_the_others() -> None:
    beat = Beat(BACKUP, now=1000)
    beat.refused_hosts = {"alpha"}
    beat.run_until(1130)
    assert [message.queue.host for message in beat.sent] == ["beta"]
    assert beat.scheduler.trouble == "no"
    beat.refused_hosts = set()
    beat.run_until(1150)
    assert [message.queue.host for message in beat.sent] == ["beta", "alpha"]


def test_a_late_entry_shows_when_it_was_due() -> None:
    beat = Beat(URLS)
    beat.run_until(1009)
    beat.error = BrokerRefused("no")
    beat.run_until(1025)
    (entry,) = beat.scheduler.snapshot().entries
    assert entry.next_due == 1010


def test_an_entry_that_left_the_fleet_file_is_forgotten() -> None:
    beat = Beat(URLS, BACKUP)
    beat.run_until(1015)
    beat.entries = (URLS,)
    beat.restart()
    beat.run_until(1025)
    assert set(beat.memory.marks) == {"urls/*"}


def test_an_idle_beat_writes_nothing() -> None:
    beat = Beat(replace(URLS, every_seconds=100_000))
    beat.run_until(1001)
    saves = beat.memory.saves
    beat.run_until(5000)
    assert beat.memory.saves == saves


def test_beat_does_not_go_on_when_it_cannot_note_what_it_did() -> None:
    class Full(Memory):
        def save(self, marks: Mapping[str, Mark]) -> None:
            raise FleetError("disk full")

    beat = Beat(URLS)
    scheduler = Scheduler(fleet_with(URLS), Full(), beat, clock=lambda: beat.now)
    with pytest.raises(FleetError, match="disk full"):
        scheduler.step()
    assert beat.sent == []
