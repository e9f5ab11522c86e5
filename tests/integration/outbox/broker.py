"""A broker that answers as it is told to, and messages for it."""

from collections import defaultdict
from dataclasses import replace
from enum import Enum, auto
from typing import Any

from fleet.errors import BrokerRefused, BrokerUnreachable, PublishUncertain
from fleet.model import Queue
from fleet.publish.message import TaskMessage, new_task_id
from fleet.routes import broker_queue

EMAIL, SHOP = (broker_queue(Queue(name=name, tasks=("*",)), None) for name in ("email", "shop"))


def task(**fields: Any) -> TaskMessage:
    return replace(TaskMessage(task="shop.charge", queue=EMAIL, task_id=new_task_id()), **fields)


class Killed(BaseException):
    """The process ends here, as by SIGKILL."""


class Fault(Enum):
    """What goes wrong with one message."""

    LOST_BEFORE = auto()
    LOST_AFTER = auto()
    KILLED_BEFORE = auto()
    KILLED_AFTER = auto()


class ToldBroker:
    """Takes messages as a publisher does."""

    def __init__(self) -> None:
        self.is_up = True
        #: queues that take nothing
        self.refusing: set[str] = set()
        #: of the next message that is tried
        self.fault: Fault | None = None
        #: queue → ids in the order in which they came
        self.queues: dict[str, list[str]] = defaultdict(list)
        #: delays of the messages, in their order
        self.delays: list[float] = []
        self.opened = 0

    def open(self) -> None:
        self.opened += 1
        if not self.is_up:
            raise BrokerUnreachable("no broker node answered")

    def send(self, message: TaskMessage) -> None:
        self.open()
        fault, self.fault = self.fault, None
        if fault is Fault.LOST_BEFORE:
            raise PublishUncertain("the connection went")
        if fault is Fault.KILLED_BEFORE:
            raise Killed
        if message.queue.name in self.refusing:
            raise BrokerRefused(f"queue `{message.queue.name}` is full", hint="wait")
        self.queues[message.queue.name].append(message.task_id)
        self.delays.append(message.delay_seconds)
        if fault is Fault.LOST_AFTER:
            raise PublishUncertain("the connection went")
        if fault is Fault.KILLED_AFTER:
            raise Killed
