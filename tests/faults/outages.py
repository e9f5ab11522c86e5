"""The cases in which the broker is killed, goes away, or is short of something."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.faults.brokers import FaultyBroker
from tests.faults.case import Case
from tests.faults.processes import SLOWEST_STREAM, under_way
from tests.faults.publisher import Order
from tests.faults.stage import Stage
from tests.faults.subjects import (
    CONCURRENCY,
    HOSTS,
    LONG,
    LOST_WITH_BROKER,
    PUBLISHERS,
    SHORT,
    FleetSubject,
)

#: longer than the 15 s that a sender of the fleet waits
ALARM_SECONDS = 20.0
AWAY_SECONDS = 20.0
LONG_SECONDS = 60.0
#: the least at which channels that hold a message are looked at for certain while the task runs
TIMEOUT_SECONDS, OUTLASTING_SECONDS = 5.0, 20.0


def pause(seconds: float) -> None:
    """Let a fault last."""
    time.sleep(seconds)


def kill_broker(stage: Stage, broker: FaultyBroker) -> None:
    """Kill the broker and start it again at once."""
    under_way(stage)
    broker.kill()
    stage.broker_died()
    broker.restart()
    stage.over()


def broker_away(stage: Stage, broker: FaultyBroker) -> None:
    """Kill the broker while a long task runs, and leave it dead for a while."""
    stage.start(LONG, HOSTS[0])
    stage.publish(Order(task="faults.long", args=(LONG_SECONDS,), count=1, host=HOSTS[0]))
    stage.await_runs(1)
    stage.publish(Order(task="faults.long", args=(0.1,), count=100, rate=2, host=HOSTS[0]))
    stage.await_accepted(3)
    broker.kill()
    pause(AWAY_SECONDS)
    broker.restart()
    stage.over()


def alarm(raise_it: Callable[[FaultyBroker], AbstractContextManager[None]]) -> Callable[..., None]:
    """Return the act in which the broker stops reading from publishers for a while."""

    def act(stage: Stage, broker: FaultyBroker) -> None:
        under_way(stage, stream=SLOWEST_STREAM)
        with raise_it(broker):
            pause(ALARM_SECONDS)
        stage.over()

    return act


def consumer_timeout(stage: Stage, broker: FaultyBroker) -> None:
    """Run a task several times as long as the broker lets a consumer keep a message."""
    with broker.consumer_timeout(TIMEOUT_SECONDS):
        stage.start(LONG, HOSTS[0])
        stage.publish(
            Order(task="faults.long", args=(OUTLASTING_SECONDS,), count=1, host=HOSTS[0]),
            Order(task="faults.long", args=(0.1,), count=50, rate=5, host=HOSTS[0]),
        )
        stage.await_runs(1)
        ended = stage.comes(lambda: any(run.has_ended for run in stage.runs()), seconds=90)
        # Plain Celery has been seen to start it again and again; then what was executed instead is counted.
        assert ended or not isinstance(stage.subject, FleetSubject), "a task should end"
        stage.over(is_publishing=False)
        # Within the limit still: whoever starts the task again is seen.
        stage.await_quiet(seconds=90)


CASES = (
    Case(
        name="broker kill -9 and restart",
        act=kill_broker,
        reruns=LOST_WITH_BROKER,
        running=CONCURRENCY[SHORT] * len(HOSTS),
        resent=PUBLISHERS,
    ),
    Case(name="broker away 20 s during a 60 s task", act=broker_away, reruns=0, settle_seconds=180),
    Case(name="memory alarm for 20 s", act=alarm(lambda broker: broker.memory_alarm()), reruns=0),
    Case(name="disk alarm for 20 s", act=alarm(lambda broker: broker.disk_alarm()), reruns=0),
    Case(name="consumer timeout 5 s, task of 20 s", act=consumer_timeout, reruns=0),
)
