"""When does the broker hear that messages are done with? Once for all that ended in a turn of the event loop.

Each acknowledgement is a system call of the worker and a command for the broker's queue. One may stand for
several messages, but the broker then takes for done whatever it delivered before: so it may only where none
before them is still open. What ended behind an open one is acknowledged alone, and waits for nobody.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Any

from amqp.exceptions import RecoverableConnectionError
from kombu.transport import pyamqp

from fleet.worker.plain import PlainMessage

#: an acknowledgement as it is sent: the frame's type, channel and size, the method's class and number, the
#: tag, whether all before it are meant, and the octet that ends a frame
_ACK = Struct(">BHIHHQBB")
_METHOD_FRAME, _BASIC_ACK, _ACK_BYTES, _FRAME_END = 1, (60, 80), 13, 0xCE


class Deliveries:
    """The delivery tags of one channel that the broker waits to hear of, in the order in which they came."""

    def __init__(self) -> None:
        #: tag → whether it is done with
        self._done: dict[int, bool] = {}
        self._untold = 0

    def came(self, tag: int) -> None:
        """Note a delivery."""
        self._done[tag] = False

    def end(self, tag: int) -> bool:
        """Note that a delivery is done with, to be told; return whether it is one of these."""
        if tag not in self._done:
            return False
        self._untold += not self._done[tag]
        self._done[tag] = True
        return True

    def forget(self, tag: int) -> None:
        """Note that the broker has been told of a delivery in another way."""
        self._untold -= self._done.pop(tag, False)

    def untold(self) -> Iterator[tuple[int, bool]]:
        """Yield what to acknowledge, as a tag and whether all before it are meant, too; each only once."""
        if not self._untold:
            return
        self._untold = 0
        ended = [tag for tag, done in self._done.items() if done]
        before = self._before_all_open()
        for tag in ended:
            del self._done[tag]
        if before:
            yield ended[before - 1], before > 1
        yield from ((tag, False) for tag in ended[before:])

    def _before_all_open(self) -> int:
        """Return how many are done with before the first that is not."""
        for number, done in enumerate(self._done.values()):
            if not done:
                return number
        return len(self._done)


class GatheringChannel(pyamqp.Channel):  # type: ignore[misc]  # kombu ships no types
    """kombu's AMQP channel, which after ``gather`` keeps acknowledgements to itself until ``tell``."""

    Message = PlainMessage

    def __init__(self, *args: Any, **options: Any) -> None:
        self._deliveries = Deliveries()
        self._gathers = False
        super().__init__(*args, **options)

    def gather(self) -> None:
        """Keep acknowledgements from now on, for whoever then calls ``tell`` again and again."""
        self._gathers = True

    def tell(self) -> None:
        """Tell the broker what is done with. Raises OSError and py-amqp's errors when it cannot be told."""
        untold = tuple(self._deliveries.untold())
        if not untold:
            return
        if self.connection is None:
            raise RecoverableConnectionError("the connection was closed")
        told = b"".join(
            _ACK.pack(
                _METHOD_FRAME, self.channel_id, _ACK_BYTES, *_BASIC_ACK, tag, with_all_before, _FRAME_END
            )
            for tag, with_all_before in untold
        )
        self.connection.transport.write(told)
        # Frames, in spite of the name: by this py-amqp knows that no heartbeat is due.
        self.connection.bytes_sent += len(untold)

    def basic_ack(self, delivery_tag: int, multiple: bool = False, argsig: str = "Lb") -> Any:  # noqa: FBT001, FBT002 - py-amqp's signature
        """Acknowledge a message, or keep that until ``tell``."""
        if self._gathers and not multiple and self._deliveries.end(delivery_tag):
            return None
        self._deliveries.forget(delivery_tag)
        return super().basic_ack(delivery_tag, multiple=multiple, argsig=argsig)

    def basic_reject(self, delivery_tag: int, requeue: bool, argsig: str = "Lb") -> Any:  # noqa: FBT001 - py-amqp's signature
        """Reject a message, at once."""
        self._deliveries.forget(delivery_tag)
        return super().basic_reject(delivery_tag, requeue, argsig=argsig)

    def close(self, *args: Any, **options: Any) -> Any:
        """Tell what was kept, and close the channel."""
        try:
            if self.is_open:
                self.tell()
        finally:
            closed = super().close(*args, **options)
        return closed

    def _do_revive(self) -> None:
        # The broker has closed the channel and knows none of these tags any more.
        self._deliveries = Deliveries()
        super()._do_revive()

    def _on_basic_deliver(self, consumer_tag: str, delivery_tag: int, *args: Any) -> Any:
        # Before it is handed on, for it may be settled there.
        if consumer_tag not in self.no_ack_consumers:
            self._deliveries.came(delivery_tag)
        return super()._on_basic_deliver(consumer_tag, delivery_tag, *args)

    def basic_get(self, *args: Any, **options: Any) -> Any:
        """Fetch a message; from then on nothing is kept, for such a delivery is not followed."""
        self.tell()
        self._gathers = False
        return super().basic_get(*args, **options)
