"""What becomes of timers that were cancelled? kombu keeps each until it would have rung.

Every run has one, for its time limit: a busy worker with a limit of an hour would carry an hour's worth of
runs that are long over, some hundred megabytes at a thousand tasks a second.
"""

import heapq
from typing import Any

#: fewer are not worth looking through
FEW = 1000


def forget_cancelled(timer: Any) -> None:
    """Let go of what was cancelled in kombu's ``timer``, once it is most of what there is.

    Call it on the event loop; each look costs time for what it finds, so now and then.
    """
    queue = timer._queue
    if len(queue) < FEW:
        return
    waiting = [scheduled for scheduled in queue if not scheduled.entry.canceled]
    if 2 * len(waiting) < len(queue):
        # In place: an iterator of the event loop holds this very list.
        queue[:] = waiting
        heapq.heapify(queue)
