"""How are dead letters replayed or discarded, one dead-letter queue after the other?"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from fleet.letters.replay import MAX_REPLAYS, Rules
from fleet.letters.select import Selection
from fleet.ops.letters.access import Access
from fleet.ops.letters.act import Order, Report, Work
from fleet.ops.letters.treat import Auditor, Discard, Replay, Treatment
from fleet.publish.channel import ConfirmedChannel

#: letters per second: what a fleet bears beside its own work
RATE = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an operator asks for."""

    selection: Selection
    #: letters per second
    rate: float = RATE
    #: letters in all
    limit: int | None = None
    dry_run: bool = False
    #: replay only: a letter that was replayed as often stays
    max_replays: int = MAX_REPLAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who hears of the work, and may end it."""

    #: called with how many letters were dealt with so far, in all queues
    progress: Callable[[int], None]
    is_interrupted: Callable[[], bool]


def replay_letters(access: Access, wish: Wish, watcher: Watcher) -> Iterator[Report]:
    """Send the letters that are meant back to the queues they came from; yield a report for each queue.

    Raises BrokerUnreachable or BrokerRefused; what was done before stays done, and running it again is safe.
    """
    rules = Rules.of(access.fleet, max_replays=wish.max_replays)

    def treatment(door: ConfirmedChannel) -> Treatment:
        return Replay(rules=rules, door=door, auditor=_auditor(access, door))

    return _act(access, wish, watcher, treatment)


def discard_letters(access: Access, wish: Wish, watcher: Watcher) -> Iterator[Report]:
    """Give up the letters that are meant; yield a report for each queue. Raises as replaying does."""
    return _act(access, wish, watcher, lambda door: Discard(auditor=_auditor(access, door)))


def _act(
    access: Access, wish: Wish, watcher: Watcher, treatment: Callable[[ConfirmedChannel], Treatment]
) -> Iterator[Report]:
    done = 0
    with closing(access.door()) as door:
        for queue in access.queues:
            left = None if wish.limit is None else wish.limit - done
            if left == 0 or watcher.is_interrupted():
                return
            work = Work(
                Order(
                    dead_letter_queue=queue,
                    selection=wish.selection,
                    rate=wish.rate,
                    limit=left,
                    dry_run=wish.dry_run,
                ),
                treatment(door),
                access.outcomes(),
                clock=time.time,
                progress=lambda here, before=done: watcher.progress(before + here),  # type: ignore[misc]
                is_interrupted=watcher.is_interrupted,
            )
            report = work.run(
                lambda queue=queue: access.look(queue, is_interrupted=watcher.is_interrupted)  # type: ignore[misc]
            )
            done += report.done
            yield report
            if report.stopped is not None:
                return


def _auditor(access: Access, door: ConfirmedChannel) -> Auditor:
    return Auditor(door=door, user=access.user, host=socket.gethostname(), clock=time.time)
