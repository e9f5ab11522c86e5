"""A cable between a worker and its broker that a test can pull, wholly or in one direction."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

CHUNK = 65536
#: of a frame: type, channel, size
HEADER = 7
METHOD, CONTENT, BASIC_DELIVER = 1, (2, 3), bytes((0, 60, 0, 60))


class Cable:
    """Relays TCP from a port of its own to the broker's."""

    def __init__(
        self, broker_port: int, *, watch: Callable[[], Callable[[bytes], None]] | None = None
    ) -> None:
        self._broker_port = broker_port
        #: makes, for each connection, what is told the bytes that its client sends
        self._watch = watch or (lambda: lambda _: None)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        #: bytes that workers send are thrown away, and the broker does not know
        self.deaf = threading.Event()
        #: bytes of both directions are thrown away while the connections stay open
        self.silent = threading.Event()
        #: messages are left out of what the broker sends; everything else, heartbeats too, comes through
        self.mute = threading.Event()
        self._closing = threading.Event()
        self._pull = threading.Event()
        self._cut = threading.Event()
        self._threads: list[threading.Thread] = []

    def cut(self) -> None:
        """End every connection that goes through the cable, and let no other one through."""
        self._cut.set()
        self.pull()

    def mend(self) -> None:
        """Let connections through again after ``cut``."""
        self._cut.clear()

    def pull(self) -> None:
        """End every connection that goes through the cable now; later ones work again."""
        self._pull.set()
        for thread in self._threads[1:]:
            thread.join(5)
        self._pull.clear()

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]  # a callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        self._listener.settimeout(0.1)
        while not self._closing.is_set():
            try:
                worker, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if self._cut.is_set():
                worker.close()
                continue
            self._spawn(self._relay, worker, socket.create_connection(("127.0.0.1", self._broker_port)))

    def _relay(self, worker: socket.socket, broker: socket.socket) -> None:
        frames, lost, tell = Frames(), False, self._watch()
        with worker, broker, selectors.DefaultSelector() as selector:
            selector.register(worker, selectors.EVENT_READ, broker)
            selector.register(broker, selectors.EVENT_READ, worker)
            with contextlib.suppress(OSError):
                while not (self._closing.is_set() or self._pull.is_set()):
                    # Bytes that were lost cannot be made good: such a connection stays dumb on both sides.
                    lost = lost or self.silent.is_set()
                    for key, _ in selector.select(0.05):
                        source = key.fileobj
                        assert isinstance(source, socket.socket)
                        data = source.recv(CHUNK)
                        if not data and lost and source is worker:
                            # The broker is not told, and must find out by itself.
                            selector.unregister(worker)
                            continue
                        if not data:
                            return
                        if source is worker:
                            tell(data)
                        else:
                            data = frames.without_messages(data, mute=self.mute.is_set())
                        if not (lost or (source is worker and self.deaf.is_set())):
                            key.data.sendall(data)


class Frames:
    """Cuts what a broker sends into AMQP frames, and can leave out those that deliver a message."""

    def __init__(self) -> None:
        self._rest = b""

    def without_messages(self, data: bytes, *, mute: bool) -> bytes:
        """Return the whole frames that have come by now, where ``mute`` without messages."""
        self._rest += data
        passed = b""
        while len(self._rest) >= HEADER:
            length = HEADER + int.from_bytes(self._rest[3:HEADER]) + 1
            if len(self._rest) < length:
                break
            frame, self._rest = self._rest[:length], self._rest[length:]
            is_delivery = frame[0] == METHOD and frame[HEADER : HEADER + 4] == BASIC_DELIVER
            if not (mute and (is_delivery or frame[0] in CONTENT)):
                passed += frame
        return passed
