"""Does Celery publish through what stands in its producer's place?"""

import inspect
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from celery.utils.objects import FallbackContext

from fleet.worker.producer import ConfirmedProducer


def test_celery_publishes_through_what_producer_or_acquire_gives_and_lets_its_connection_translate() -> None:
    source = inspect.getsource(Celery.send_task)
    assert "with self.producer_or_acquire(producer) as P:" in source
    assert "with P.connection._reraise_as_library_errors():" in source
    assert hasattr(ConfirmedProducer, "_reraise_as_library_errors")
    given = object()
    with FallbackContext(given, lambda **_: None) as producer:
        assert producer is given


def test_celery_asks_nothing_else_of_a_producer_that_is_not_to_retry() -> None:
    source = inspect.getsource(AMQP._create_task_sender)
    assert "if retry and _callback_publish_retry.get():" in source
    assert "ret = producer.publish(body, **publish_kwargs)" in source


def test_celerys_message_has_what_ours_is_made_of() -> None:
    class Keeping(ConfirmedProducer):
        def publish(self, body: object, **options: Any) -> None:
            kept.update(options, body=body)

    kept: dict[str, Any] = {}
    with Celery("contract", broker="amqp://nobody@127.0.0.1:1//", set_as_current=False) as app:
        producer = Keeping(lambda: None)  # type: ignore[arg-type,return-value]  # it connects to nothing
        app.send_task("x.y", (1,), {"a": 2}, producer=producer, timestamp=7)
    assert kept["headers"]["task"] == "x.y"
    assert kept["correlation_id"] == kept["headers"]["id"]
    assert {"exchange", "routing_key", "serializer"} <= kept.keys()
    assert kept["timestamp"] == 7
    assert kept["body"][:2] == ((1,), {"a": 2})
