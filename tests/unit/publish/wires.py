"""Messages for tests of the window, the stream and the encoding."""

from fleet.publish.message import WireMessage


def wire(name: str, *, size: int = 2) -> WireMessage:
    return WireMessage(
        exchange="x", routing_key="q", body=b"." * size, headers={}, properties={"correlation_id": name}
    )
