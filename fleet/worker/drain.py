"""How does a worker stop taking tasks while those that run go on? Called on the event loop.

Consumers are cancelled without waiting for an answer, which a broker that is gone would never give. What has
not started goes back to its queue at once: another worker need not wait for the last task of this one.
"""

import logging
from typing import Any

from celery.worker import state

from fleet.worker.message import CONNECTION

log = logging.getLogger(__name__)


def cancel_consumers(consumer: Any, *, is_redis: bool) -> None:
    """Take no further message from any queue."""
    tasks = consumer.task_consumer
    if is_redis:
        tasks.cancel()
        return
    for tag in tuple(tasks._active_tags.values()):
        tasks.channel.basic_cancel(tag, nowait=True)
    tasks._active_tags.clear()


def give_back(consumer: Any) -> int:
    """Return to their queues the messages that wait for a slot, a token or their time; tell how many."""
    unstarted = _take_unstarted(consumer)
    for request in unstarted:
        request.reject(requeue=True)
    executor = getattr(consumer.pool, "executor", None)
    if executor is not None:
        # Which of its tasks have begun only the threads know; the rest goes back when the connection closes.
        executor.shutdown(wait=False, cancel_futures=True)
    return len(unstarted)


def awaits_adoption(consumer: Any) -> bool:
    """Tell whether a task that runs has lost its connection, so that its message will come again."""
    return any(
        not request.acknowledged and request._message.delivery_info[CONNECTION] != consumer.restart_count
        for request in tuple(state.active_requests)
    )


def waits_on_purpose(consumer: Any) -> bool:
    """Tell whether messages are held for a rate limit or for their time."""
    return bool(state.scheduled_requests) or any(
        bucket.contents for bucket in tuple(consumer.task_buckets.values()) if bucket
    )


def _take_unstarted(consumer: Any) -> list[Any]:
    taken = []
    semaphore = consumer.controller.semaphore
    if semaphore is not None:
        taken += [args[0] for _, args, _ in semaphore._waiting]
        semaphore._waiting.clear()
    for bucket in consumer.task_buckets.values():
        if bucket:
            taken += [request for request, _ in bucket.contents]
            bucket.clear_pending()
    for request in tuple(state.scheduled_requests):
        if request._eta_timer_entry is not None:
            consumer.timer.cancel(request._eta_timer_entry)
        taken.append(request)
    state.scheduled_requests.clear()
    return taken
