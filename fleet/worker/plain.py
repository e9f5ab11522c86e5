"""How is the body of a message read? Ordinary JSON at once, all else as kombu does."""

import json
from typing import Any

from kombu.transport import pyamqp

_JSON, _UTF_8 = "application/json", "utf-8"
#: only an object with this key, or with one that may be spelled otherwise, means more to kombu than to JSON
_MEANS_MORE = b"__type__", b"\\"


class PlainMessage(pyamqp.Message):  # type: ignore[misc]  # kombu ships no types
    """kombu's message, which looks for no decoder where any would do the same."""

    def _decode(self) -> Any:
        body, properties = self.body, (self.content_type, self.content_encoding)
        if properties != (_JSON, _UTF_8) or not isinstance(body, bytes):
            return super()._decode()
        if self.accept is not None and _JSON not in self.accept:
            return super()._decode()
        if any(mark in body for mark in _MEANS_MORE):
            return super()._decode()
        try:
            return json.loads(body.decode())
        except (ValueError, RecursionError):
            # What it raises is kombu's to say.
            return super()._decode()
