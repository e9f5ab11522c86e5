"""In which order does a worker take hold of the broker? Its mailbox first, and only then tasks.

Celery consumes tasks first. While the broker still holds the mailbox for a connection that was lost
(RabbitMQ 4 keeps it exclusive), it is refused, the new connection is given up, and the tasks that had come
over it go back. RabbitMQ 4 counts that as deliveries: at the delivery limit it would dead-letter tasks that
nobody has run.
"""

from celery.worker.consumer import Consumer, Control, Tasks
from celery.worker.consumer.mingle import Mingle

#: declares Celery's delayed delivery, which provisioning has done and a worker has no right to
_LEFT_OUT = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class MailboxFirst(Control):  # type: ignore[misc]  # celery ships no types
    """Celery's remote control, which does not wait for tasks."""

    requires = (Mingle,)


class TasksLast(Tasks):  # type: ignore[misc]  # celery ships no types
    """Celery's consuming of tasks, behind remote control."""

    requires = (MailboxFirst,)


_INSTEAD = {
    "celery.worker.consumer.control:Control": f"{__name__}:MailboxFirst",
    "celery.worker.consumer.tasks:Tasks": f"{__name__}:TasksLast",
}


class FleetBlueprint(Consumer.Blueprint):  # type: ignore[misc]  # celery ships no types
    """Celery's steps, in this order and without the one that declares."""

    default_steps = tuple(
        _INSTEAD.get(step, step) for step in Consumer.Blueprint.default_steps if step != _LEFT_OUT
    )
