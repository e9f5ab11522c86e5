"""The cases in which the tasks themselves are the trouble: too many, too early, poisonous, unknown."""

from tests.faults.brokers import FaultyBroker
from tests.faults.case import Case
from tests.faults.publisher import Order
from tests.faults.stage import Stage
from tests.faults.subjects import SHORT, FleetSubject

WAITING, WAIT_SECONDS = 40, 25
MAX_LENGTH = 300
UNKNOWN = 20


def retries_in_front(stage: Stage, broker: FaultyBroker) -> None:
    """Let many tasks wait for a retry before others are sent that could run at once."""
    stage.start()
    stage.publish(Order(task="faults.retry", args=(WAIT_SECONDS,), count=WAITING))
    stage.await_runs(WAITING)
    stage.publish(Order(task="faults.work", args=(0.02,), count=200, rate=50))
    stage.over()


def poison(stage: Stage, broker: FaultyBroker) -> None:
    """Send tasks that fail for good among the others."""
    stage.start()
    stage.publish(
        Order(task="faults.poison", count=200, rate=20),
        *(Order(task="faults.work", args=(0.02,), count=900, rate=90),) * 2,
    )


def full_queue(stage: Stage, broker: FaultyBroker) -> None:
    """Send more than the queue may hold before any worker is there."""
    stage.limit(SHORT, MAX_LENGTH)
    # The broker counts a queue every five seconds only, and who waits for no confirm is held up by nothing.
    stage.publish(*(Order(task="faults.work", args=(0.02,), count=1000, rate=50),) * 2)
    stage.until(lambda: (stage.waiting() or 0) >= MAX_LENGTH, "the queue should be full", seconds=60)
    stage.await_accepted(MAX_LENGTH)
    stage.start()
    stage.over()


def unknown_task(stage: Stage, broker: FaultyBroker) -> None:
    """Send tasks of tomorrow's release to today's workers; an operator replays them after the upgrade."""
    stage.start()
    stage.publish(
        Order(task="faults.of_tomorrow", count=UNKNOWN, rate=2),
        *(Order(task="faults.work", args=(0.02,), count=900, rate=90),) * 2,
    )
    if isinstance(stage.subject, FleetSubject):
        stage.await_published()
        stage.until(lambda: stage.dead_lettered() == UNKNOWN, "they should be dead-lettered", seconds=30)
        stage.upgrade()
        stage.subject.replay("unknown_task")


def killed_publisher(stage: Stage, broker: FaultyBroker) -> None:
    """Kill a publisher that sends as fast as it can: what it knows to be accepted must run."""
    stage.start()
    stage.publish(Order(task="faults.work", args=(0,), count=20_000, bulk=True))
    stage.await_accepted(500)
    stage.kill_publishers()
    stage.over(is_publishing=False)


CASES = (
    Case(name="40 retries waiting 25 s in front of others", act=retries_in_front, reruns=0),
    Case(name="200 poison messages among 2,000", act=poison, reruns=0),
    Case(name="queue at its length limit", act=full_queue, reruns=0, short=f"max_length = {MAX_LENGTH}"),
    Case(name="publisher kill -9 within send_many", act=killed_publisher, reruns=0),
    Case(name="rolling upgrade with an unknown task", act=unknown_task, reruns=0),
)
