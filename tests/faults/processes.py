"""The cases in which a worker's processes are killed, stopped, or kill themselves."""

import os
import signal

from fleet.daemons.process import Child
from tests.faults.brokers import FaultyBroker
from tests.faults.case import Case
from tests.faults.publisher import Order
from tests.faults.stage import Stage, children_of
from tests.faults.subjects import CONCURRENCY, SHORT

#: two publishers, 2,000 tasks of 20 ms in ten seconds, which keep all four slots of two workers busy
STREAM = (Order(task="faults.work", args=(0.02,), count=1000, rate=100),) * 2
#: when a quarter of them have begun, publishers still have more than half to send
UNDERWAY = 500
#: the same at a slower pace, for what takes longer
SLOW_STREAM = (Order(task="faults.work", args=(0.02,), count=1000, rate=30),) * 2
#: and for what senders that wait for no confirm do not even notice
SLOWEST_STREAM = (Order(task="faults.work", args=(0.02,), count=1000, rate=20),) * 2

#: long enough for two to be seen running at once
PROGRAM_SECONDS = 10.0


def under_way(stage: Stage, *, stream: tuple[Order, ...] = STREAM) -> None:
    """Start two workers and the stream, and return when work flows."""
    stage.start()
    stage.publish(*stream)
    stage.await_runs(UNDERWAY)


def kill_main(stage: Stage, broker: FaultyBroker) -> None:
    """Kill the main process of one of two workers."""
    under_way(stage)
    stage.kill_main(stage.worker("alpha"))
    stage.over()


def kill_child(stage: Stage, broker: FaultyBroker) -> None:
    """Kill a process of a pool, while it runs a task for certain."""
    stage.start()
    stage.publish(Order(task="faults.work", args=(2,), count=1), *STREAM)
    stage.until(lambda: _at_work(stage), "the task of 2 s should run", seconds=30)
    host, pid = _at_work(stage)[0]
    stage.kill_child(stage.worker(host), pid)
    stage.over()


def _at_work(stage: Stage) -> list[tuple[str, int]]:
    """Return host and process of tasks that have shown life after their beginning."""
    return [(run.host, run.pid) for run in stage.runs() if run.last > run.began + 0.15 and not run.has_ended]


def kill_programs(stage: Stage, broker: FaultyBroker) -> None:
    """Kill the programs that two tasks have started; both are retried, and that of one is killed again."""
    stage.start()
    stage.publish(Order(task="faults.program", args=(PROGRAM_SECONDS,), count=2), *SLOW_STREAM)
    _kill_programs(stage, attempt=0, number=2)
    _kill_programs(stage, attempt=1, number=1)
    stage.over()


def _kill_programs(stage: Stage, *, attempt: int, number: int) -> None:
    stage.until(lambda: len(_programs(stage, attempt)) == 2, "two programs should run", seconds=30)
    for pid in sorted(_programs(stage, attempt))[:number]:
        os.kill(pid, signal.SIGKILL)


def _programs(stage: Stage, attempt: int) -> frozenset[int]:
    """Return the processes that run number ``attempt`` of a task has started and waits for."""
    waiting = [run.pid for run in stage.runs() if run.attempt == attempt and not run.is_over]
    return frozenset(pid for parent in waiting for pid in children_of(parent))


def kills_itself(stage: Stage, broker: FaultyBroker) -> None:
    """Send one task that kills its process each time it runs, among the others."""
    stage.start()
    stage.publish(Order(task="faults.kill", count=1), *STREAM)


def stop(*signals: signal.Signals) -> Case:
    """Return the case in which one of two workers, while it works, gets ``signals``."""

    def act(stage: Stage, broker: FaultyBroker) -> None:
        stage.start()
        stage.publish(Order(task="faults.work", args=(5,), count=CONCURRENCY[SHORT] * 2), *STREAM)
        stage.until(
            lambda: any(host == "alpha" for host, _ in _at_work(stage)), "alpha should work", seconds=30
        )
        worker = stage.worker("alpha")
        pids = worker.children()
        for number in signals:
            worker.child.signal(number)
            # Two of one signal at once are one to the kernel.
            stage.until(lambda: _heeds(worker.child), "the signal should be heeded", seconds=15)
        stage.until(lambda: not worker.child.is_alive(), "the worker should end", seconds=60)
        stage.died(worker.host, pids)
        stage.over(is_publishing=False)

    # A worker that drains stops nothing; a second signal stops what runs.
    is_drain = signals == (signal.SIGTERM,)
    name = f"{signals[0].name}{' twice' if len(signals) > 1 else ''} during work"
    return Case(name=name, act=act, reruns=0 if is_drain else CONCURRENCY[SHORT])


def _heeds(child: Child) -> bool:
    said = child.command.log.read_text(encoding="utf-8", errors="replace")
    return "hutdown" in said or "worker_draining" in said or not child.is_alive()


CASES = (
    Case(name="kill -9 of a worker", act=kill_main, reruns=CONCURRENCY[SHORT]),
    Case(name="kill -9 of a child", act=kill_child, reruns=1),
    # The tasks fail by an error of their own, so that a retry is no second run of the same attempt.
    Case(name="kill -9 of a task's subprocess", act=kill_programs, reruns=0),
    Case(name="a task that kills its child for ever", act=kills_itself, reruns=1),
    stop(signal.SIGTERM),
    stop(signal.SIGTERM, signal.SIGTERM),
    stop(signal.SIGQUIT),
)
