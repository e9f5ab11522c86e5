"""How is one case staged? Publishers, workers and a broker as processes; in the end everything is counted."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fleet.daemons.process import Child
from tests.faults import letters
from tests.faults.publisher import ACCEPTED, Order
from tests.faults.subjects import HOSTS, ROOT, SHORT, Subject, worker_command
from tests.faults.tally import BrokerDeath, Death, Run, Tally, count, recovered_seconds, runs_of

TASKS = Path(__file__).with_name("fault_tasks.py")
READY_SECONDS = 60.0
#: nothing in the queues and no effect for this long: it is over; a broker counts a quorum queue every 5 s
QUIET_SECONDS = 6.0
POLL_SECONDS = 0.1


class StageFailed(AssertionError):
    """Something that a case waits for did not come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a case came to."""

    tally: Tally
    #: seconds; infinity when what the fault cut short was never done, None where nothing was to be mended
    recovered: float | None


@dataclass(slots=True)
class Worker:
    """A worker process and where it stands."""

    host: str
    child: Child
    kind: str

    def children(self) -> frozenset[int]:
        """Return the processes of its pool."""
        return children_of(self.child.pid)


@dataclass(slots=True)
class Stage:
    """One case on one subject."""

    subject: Subject
    directory: Path
    workers: list[Worker] = field(default_factory=list)
    deaths: list[Death | BrokerDeath] = field(default_factory=list)
    #: what code workers have that are started now: that of `today` or of `tomorrow`
    release: str = "today"
    _publishers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    #: when the slowest publisher should end, by its order alone
    _publishing_until: float = 0.0
    _over_at: float | None = None
    _hit: str | None = None

    def __post_init__(self) -> None:
        shutil.copy(TASKS, self.directory)

    def start(self, kind: str = SHORT, *hosts: str) -> None:
        """Start workers on ``hosts`` (all by default) and return once they take tasks."""
        begun = [self._start(kind, host) for host in hosts or HOSTS]
        for worker in begun:
            self._await_ready(worker)

    def publish(self, *orders: Order) -> None:
        """Start a publisher for each order."""
        for order in orders:
            argv = (sys.executable, "-m", "tests.faults.publisher", str(self._ids), order.encode())
            with (self.directory / "publishers.log").open("ab") as log:
                environ = dict(self.subject.environ)
                process = subprocess.Popen(argv, env=environ, cwd=ROOT, stdout=log, stderr=log)
            self._publishers.append(process)
            self._publishing_until = max(self._publishing_until, time.monotonic() + order.seconds)

    def worker(self, host: str, kind: str = SHORT) -> Worker:
        """Return the running worker of ``host``, the latest if several were started."""
        return next(each for each in reversed(self.workers) if (each.host, each.kind) == (host, kind))

    def upgrade(self) -> None:
        """Stop each worker in order and start one with the code of tomorrow in its place."""
        self.release = "tomorrow"
        for worker in tuple(self.workers):
            self._stop(worker)
            self._await_ready(self._start(worker.kind, worker.host))

    def _stop(self, worker: Worker) -> None:
        worker.child.signal(signal.SIGTERM)
        self.until(lambda: not worker.child.is_alive(), "the worker should end", seconds=60)

    def kill_main(self, worker: Worker) -> None:
        """End the main process of ``worker`` as the kernel does when memory runs out; its children follow."""
        children = worker.children()
        worker.child.signal(signal.SIGKILL)
        self.until(lambda: not any(map(is_alive, children)), "its children should end", seconds=15)
        self.died(worker.host, children)

    def kill_child(self, worker: Worker, pid: int) -> None:
        """End one process of the pool of ``worker``."""
        os.kill(pid, signal.SIGKILL)
        self.until(lambda: not is_alive(pid), "the child should end", seconds=15)
        self.died(worker.host, frozenset({pid}))

    def died(self, host: str, pids: frozenset[int] | None = None) -> None:
        """Note that ``pids`` (all of the host by default) have been ended."""
        self.deaths.append(Death(host=host, at=time.time(), pids=pids))

    def broker_died(self) -> None:
        """Note that the broker has been ended."""
        self.deaths.append(BrokerDeath(at=time.time()))

    def over(self, *, is_publishing: bool = True, host: str | None = None) -> None:
        """Note that the cause of the fault is gone: from now on recovery counts, on ``host`` if one was hit.

        Raises StageFailed when the publishers had come to their end before, so that nothing was shown.
        """
        self._over_at, self._hit = time.time(), host
        if is_publishing:
            self._require_publishing()

    def runs(self) -> tuple[Run, ...]:
        """Return what the tasks have done so far."""
        # A line that is being written has no end yet.
        whole = (text.rpartition("\n")[0] for text in self.traces())
        return runs_of(line for text in whole for line in text.splitlines())

    def traces(self) -> Iterable[str]:
        """Return what the tasks of each host have written."""
        return [path.read_text() for path in self.directory.glob("effects-*")]

    def accepted(self) -> frozenset[str]:
        """Return the ids that publishers know to be accepted."""
        if not self._ids.exists():
            return frozenset()
        lines = self._ids.read_text().rpartition("\n")[0].splitlines()
        return frozenset(line.split()[1] for line in lines if line.startswith(ACCEPTED))

    def await_runs(self, number: int, *, seconds: float = 60) -> None:
        """Return once that many runs have begun."""
        self.until(lambda: len(self.runs()) >= number, f"{number} runs should have begun", seconds=seconds)

    def await_accepted(self, number: int, *, seconds: float = 60) -> None:
        """Return once that many tasks are accepted."""
        what = f"{number} tasks should be accepted"
        self.until(lambda: len(self.accepted()) >= number, what, seconds=seconds)

    def await_published(self, *, seconds: float = 120) -> None:
        """Return once every publisher has come to its end, for which it has ``seconds`` beyond its order's.

        Raises StageFailed.
        """
        deadline = max(time.monotonic(), self._publishing_until) + seconds
        for process in self._publishers:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            if process.returncode is None:
                raise StageFailed(f"a publisher is {seconds:g} s late; {self.directory}")
            if process.returncode not in {0, -signal.SIGKILL}:
                raise StageFailed(
                    f"a publisher ended with {process.returncode}: {self._log('publishers.log')}"
                )

    def kill_publishers(self) -> None:
        """Kill every publisher. Raises StageFailed when they had come to their end before."""
        self._require_publishing()
        for process in self._publishers:
            process.kill()
            process.wait()

    def until(self, condition: Callable[[], object], what: str, *, seconds: float) -> None:
        """Return once ``condition`` holds. Raises StageFailed."""
        if not self.comes(condition, seconds=seconds):
            raise StageFailed(f"{what}: not within {seconds:g} s; {self.directory}")

    def comes(self, condition: Callable[[], object], *, seconds: float) -> bool:
        """Wait for ``condition`` to hold, and tell whether it has."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def finish(self, *, seconds: float = 120) -> Result:
        """Wait until publishers have ended and nothing more happens, for at most ``seconds``, and count."""
        self.await_published()
        self.await_quiet(seconds=seconds)
        return self._count()

    def await_quiet(self, *, seconds: float) -> None:
        """Return once the queues are empty and no task does anything more, or time runs out."""
        quiet_since, before = time.monotonic(), -1
        deadline = time.monotonic() + seconds
        while time.monotonic() - quiet_since < QUIET_SECONDS and time.monotonic() < deadline:
            size = sum(map(len, self.traces()))
            if size != before or self.waiting() != 0:
                quiet_since, before = time.monotonic(), size
            time.sleep(POLL_SECONDS)

    def waiting(self) -> int | None:
        """Return how many messages wait or run; None when the broker does not say."""
        return letters.depth(self.subject.vhost, self.subject.work_queues())

    def dead_lettered(self) -> int | None:
        """Return how many messages were given up; None when the broker does not say."""
        return letters.depth(self.subject.vhost, self.subject.dead_letter_queues())

    def limit(self, kind: str, length: int) -> None:
        """See that the queue of ``kind`` holds no more than ``length`` messages."""
        self.subject.limit(kind, length)

    def close(self) -> None:
        """End what still runs."""
        for process in self._publishers:
            process.kill()
            process.wait()
        for worker in self.workers:
            worker.child.kill()

    @property
    def _ids(self) -> Path:
        return self.directory / "accepted"

    def _require_publishing(self) -> None:
        if all(process.poll() is not None for process in self._publishers):
            raise StageFailed(f"the publishers had ended before the fault was over; {self.directory}")

    def _count(self) -> Result:
        vhost, runs = self.subject.vhost, self.runs()
        dead = letters.ids_in(vhost, self.subject.dead_letter_queues())
        queued = letters.ids_in(vhost, self.subject.work_queues())
        tally = count(runs, accepted=self.accepted(), dead_letters=dead, queued=queued, deaths=self.deaths)
        if self._over_at is None:
            return Result(tally=tally, recovered=None)
        seconds = recovered_seconds(runs, over_at=self._over_at, given_up=dead, host=self._hit)
        return Result(tally=tally, recovered=seconds)

    def _start(self, kind: str, host: str) -> Worker:
        effects = str(self.directory / f"effects-{host}")
        own = {"FAULTS_HOST": host, "FAULTS_EFFECTS": effects, "FAULTS_RELEASE": self.release}
        log = self.directory / f"worker-{kind}-{host}-{len(self.workers)}.log"
        child = Child.start(worker_command(self.subject, kind, host, log=log, environ=own))
        self.workers.append(Worker(host=host, child=child, kind=kind))
        return self.workers[-1]

    def _await_ready(self, worker: Worker) -> None:
        log = worker.child.command.log
        probe = lambda: self.subject.is_ready(worker.kind, worker.host, log)  # noqa: E731
        worker.child.await_ready(probe, timeout_seconds=READY_SECONDS)

    def _log(self, name: str) -> str:
        return (self.directory / name).read_text(errors="replace")[-2000:]


def children_of(pid: int) -> frozenset[int]:
    """Return the processes that ``pid`` has started; none when it is gone."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        found = [task.joinpath("children").read_text().split() for task in tasks]
    except FileNotFoundError:
        return frozenset()
    return frozenset(int(each) for children in found for each in children)


def is_alive(pid: int) -> bool:
    """Tell whether ``pid`` still runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False
