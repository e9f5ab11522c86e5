"""What ``fleet/worker`` takes for granted about Celery, kombu and py-amqp beyond their documentation.

Each test names an assumption; one that fails after an upgrade says where to look.
"""

import ctypes
import errno
import inspect
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import billiard
import pytest
from amqp.channel import Channel as AmqpChannel
from amqp.connection import Connection as AmqpConnection
from amqp.method_framing import frame_handler
from amqp.transport import SSLTransport, TCPTransport
from celery.app import trace
from celery.app.amqp import AMQP
from celery.app.base import Celery
from celery.app.routes import Router
from celery.app.task import Context, Task
from celery.apps.worker import Worker as CeleryWorker
from celery.concurrency.prefork import TaskPool
from celery.worker import request as celery_request
from celery.worker import state, strategy
from celery.worker.consumer import Consumer, Control, Tasks
from celery.worker.consumer.mingle import Mingle
from celery.worker.request import Request, create_request_cls
from kombu import Connection, Queue
from kombu import Consumer as KombuConsumer
from kombu.asynchronous.hub import Hub
from kombu.asynchronous.semaphore import LaxBoundedSemaphore
from kombu.asynchronous.timer import Timer, to_timestamp
from kombu.pidbox import Mailbox
from kombu.transport import pyamqp
from kombu.utils.limits import TokenBucket

from fleet.worker import logs
from fleet.worker.acks import GatheringChannel
from fleet.worker.children import pool_pids
from fleet.worker.consumer import FleetConsumer
from fleet.worker.message import OVERRIDING_HEADERS, PROTOCOL_HEADERS
from fleet.worker.pool import FleetPool
from fleet.worker.request import FleetRequest
from fleet.worker.wire import ForgivingConnection, ForgivingTransport, forgiving_frames
from tests.contract.pools import started, turn


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_celery_makes_a_request_class_per_task_that_replaces_on_success() -> None:
    task = SimpleNamespace(time_limit=None, soft_time_limit=None, acks_late=True)
    pool, app = SimpleNamespace(apply_async=None), SimpleNamespace(use_fast_trace_task=True)
    made = create_request_cls(FleetRequest, task, pool, "host", None, app=app)
    assert "on_success" in made.__dict__
    assert hasattr(made.on_success, "__wrapped__"), "our report wraps what Celery defined"
    assert set(made.__dict__) & {"on_failure", "on_timeout", "on_accepted", "reject", "acknowledge"} == set()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("on_accepted", ["self", "pid", "time_accepted"]),
        ("on_failure", ["self", "exc_info", "send_failed_event", "return_ok"]),
        ("on_timeout", ["self", "soft", "timeout"]),
        ("acknowledge", ["self"]),
        ("reject", ["self", "requeue"]),
        ("info", ["self", "safe"]),
        ("maybe_expire", ["self"]),
        ("_announce_revoked", ["self", "reason", "terminated", "signum", "expired"]),
        ("_announce_cancelled", ["self", "emit_retry"]),
    ],
)
def test_the_hooks_of_a_request_have_the_parameters_that_we_override(
    method: str, expected: list[str]
) -> None:
    assert parameters(getattr(Request, method)) == expected
    assert parameters(getattr(FleetRequest, method)) == expected


def test_a_request_keeps_its_message_and_how_to_settle_it_where_adoption_swaps_them() -> None:
    source = inspect.getsource(Request)
    for name in (
        "self._message =",
        "self._on_ack =",
        "self._on_reject =",
        "self._on_ack(logger",
        "self.time_limits =",
    ):
        assert name in source


def test_time_limits_of_the_request_come_before_those_of_the_task() -> None:
    source = inspect.getsource(create_request_cls)
    assert "time_limit, soft_time_limit = self.time_limits" in source
    assert "timeout=time_limit or default_time_limit" in source


def test_celery_takes_request_attributes_from_any_header() -> None:
    known = {name for name in vars(Context) if not name.startswith("_")}
    # ``headers`` is let in, because retries do not carry over what it holds.
    assert known - PROTOCOL_HEADERS - {"headers"} <= OVERRIDING_HEADERS
    assert not OVERRIDING_HEADERS & PROTOCOL_HEADERS


def test_celery_publishes_no_header_beyond_its_protocol() -> None:
    app = Celery("contract", set_as_current=False)
    message = app.amqp.as_task_v2("1", "task", (), {}, countdown=5, expires=5)
    assert set(message.headers) <= PROTOCOL_HEADERS | {"fleet_queue"}
    assert [type(part) for part in message.body] == [tuple, dict, dict]
    assert set(message.body[2]) == {"callbacks", "errbacks", "chain", "chord"}


def test_the_consumer_has_the_steps_and_methods_that_ours_builds_on() -> None:
    left_out = "celery.worker.consumer.delayed_delivery:DelayedDelivery"
    exchanged = {"celery.worker.consumer.control:Control", "celery.worker.consumer.tasks:Tasks"}
    theirs, ours = set(Consumer.Blueprint.default_steps), set(FleetConsumer.Blueprint.default_steps)
    assert theirs - ours == {left_out} | exchanged
    assert ours - theirs == {"fleet.worker.steps:MailboxFirst", "fleet.worker.steps:TasksLast"}
    # Ours differ in what they wait for, and in nothing else.
    assert (Control.requires, Tasks.requires) == ((Tasks,), (Mingle,))
    assert parameters(Consumer.create_task_handler) == ["self", "promise"]
    assert parameters(Consumer.call_soon_ack) == ["self", "p", "args", "kwargs"]
    received = inspect.getsource(Consumer.create_task_handler)
    for settle in ("ack", "reject"):
        assert re.search(rf"promise\(\s*call_soon_ack,\s*\(message\.{settle}_log_error,\)", received)
    assert parameters(Consumer.on_decode_error) == ["self", "message", "exc"]
    assert parameters(Consumer.register_with_event_loop) == ["self", "hub"]
    assert Consumer.restart_count == -1


def test_a_strategy_is_called_with_the_means_to_settle_its_message() -> None:
    assert parameters(strategy.default)[:3] == ["task", "app", "consumer"]
    source = inspect.getsource(strategy.default)
    assert "def task_message_handler(message, body, ack, reject, callbacks," in source
    assert Task.Strategy == "celery.worker.strategy:default"


def test_running_requests_are_in_a_set_of_the_workers_state() -> None:
    assert len(state.active_requests) == 0
    assert len(state.reserved_requests) == 0


def test_kombus_consumer_knows_its_queues_by_tag_and_passes_each_message_through_one_method() -> None:
    source = inspect.getsource(KombuConsumer)
    assert "self._active_tags[queue.name] = tag" in source
    assert parameters(KombuConsumer._receive_callback) == ["self", "message"]
    assert AMQP.Consumer is KombuConsumer
    assert AMQP.Connection is Connection


def test_kombu_forgets_the_credentials_when_it_moves_to_the_next_node() -> None:
    connection = Connection(["amqp://mq1", "amqp://mq2"], userid="celery", password="p", virtual_host="v")
    connection.maybe_switch_next()
    assert connection.password is None, "kombu has learnt it: FleetConnection._init_params may go"


def test_kombu_asks_a_callable_for_the_password_at_each_login() -> None:
    assert "if callable(password):" in inspect.getsource(pyamqp.Transport.establish_connection)


def test_py_amqp_takes_its_handler_of_frames_from_the_connection() -> None:
    assert parameters(frame_handler)[:2] == ["connection", "callback"]
    assert "self.frame_handler_cls(" in inspect.getsource(AmqpConnection.connect)
    assert ForgivingTransport.Connection("127.0.0.1").frame_handler_cls is forgiving_frames


def test_py_amqp_reads_through_a_buffer_that_may_hold_more_than_it_needs() -> None:
    assert parameters(AmqpConnection.Transport)[:6] == [
        *("self", "host", "connect_timeout", "ssl", "read_timeout", "write_timeout")
    ]
    for transport in (TCPTransport, SSLTransport):
        read = inspect.getsource(transport._read)
        assert "rbuf = self._read_buffer" in read
        assert "result, self._read_buffer = rbuf[:n], rbuf[n:]" in read
        assert "self._quick_recv = self.sock." in inspect.getsource(transport._setup_transport)
    registered = inspect.getsource(pyamqp.Transport.register_with_event_loop)
    assert "self.on_readable, connection, loop" in registered


def test_the_event_loop_calls_what_stands_in_on_tick_before_it_waits() -> None:
    hub = Hub()
    seen = []
    reader, writer = os.pipe()
    os.write(writer, b"x")
    hub.add_reader(reader, lambda: seen.append("read"))
    hub.on_tick.add(lambda: seen.append("tick"))
    try:
        loop = hub.create_loop()
        for _ in range(2):
            next(loop)
    finally:
        hub.close()
        os.close(reader)
        os.close(writer)
    assert seen == ["tick", "read"] * 2


def test_py_amqp_hands_deliveries_to_a_method_of_the_channel_by_their_tags() -> None:
    assert parameters(AmqpChannel._on_basic_deliver)[:3] == ["self", "consumer_tag", "delivery_tag"]
    assert parameters(AmqpChannel.basic_ack) == parameters(GatheringChannel.basic_ack)
    assert parameters(AmqpChannel.basic_reject) == parameters(GatheringChannel.basic_reject)
    assert AmqpConnection.Channel is AmqpChannel
    assert ForgivingConnection.Channel is GatheringChannel


def test_a_callback_from_another_thread_wakes_the_event_loop() -> None:
    assert "waker.wake()" in inspect.getsource(Hub.call_soon)


def test_a_retry_that_cannot_be_published_is_a_reject() -> None:
    source = inspect.getsource(Task.retry)
    assert "raise Reject(exc, requeue=False)" in source
    assert "self.signature_from_request(" in source
    assert parameters(Task.signature_from_request) == [
        "self", "request", "args", "kwargs", "queue", "extra_options",
    ]  # fmt: skip


def test_a_consumer_of_kombu_knows_its_tags_by_queue_name() -> None:
    with Connection("memory://") as connection, connection.channel() as channel:
        consumer = KombuConsumer(channel, queues=[Queue("fleet.mail", channel=channel)])
        assert consumer._active_tags == {}
        consumer.consume()
        assert list(consumer._active_tags) == ["fleet.mail"]
        assert all(isinstance(tag, str) for tag in consumer._active_tags.values())


def test_a_request_that_waits_for_its_time_keeps_the_entry_that_a_drain_cancels() -> None:
    assert Request._eta_timer_entry is None
    assert "req._eta_timer_entry = call_at(" in inspect.getsource(strategy.default)
    assert isinstance(state.scheduled_requests, set | WeakSet)
    timer = Timer()
    fired: list[int] = []
    timer.cancel(timer.call_at(to_timestamp(datetime(2026, 1, 1, tzinfo=UTC)), fired.append, (1,)))
    # The timer hands out what is due and not cancelled; at its end it says when to come again.
    assert [entry for _, entry in zip(range(3), timer, strict=False) if entry[1] is not None] == []


def test_a_run_that_is_stopped_with_its_connection_says_so() -> None:
    assert Request._already_cancelled is False
    assert "self._already_cancelled = True" in inspect.getsource(Request._announce_cancelled)


def test_celery_stops_what_runs_when_it_has_been_told_of_a_lost_connection() -> None:
    assert parameters(Consumer.on_connection_error_after_connected) == ["self", "exc"]
    assert "request.cancel(self.pool)" in inspect.getsource(Consumer.on_connection_error_after_connected)
    source = inspect.getsource(Consumer.start)
    told, cleared = source.index("self.on_connection_error_after_connected("), source.index("self.on_close()")
    assert told < cleared, "what waits for a slot, and tasks that no child has accepted, are dropped after it"


@pytest.fixture(params=[TaskPool, FleetPool])
def pool(request: pytest.FixtureRequest) -> Iterator[TaskPool]:
    """A pool of one child, Celery's and a worker's."""
    with started(request.param) as made:
        yield made


def test_a_prefork_pool_has_its_processes_where_a_stop_ends_them(pool: TaskPool) -> None:
    assert pool_pids(pool) == tuple(each.pid for each in pool._pool._pool)
    assert len(pool_pids(pool)) == 1
    assert set(pool_pids(pool)) <= {child.pid for child in billiard.active_children()}


def when_the_parent_ends() -> tuple[int, bool]:
    """Return which signal the kernel then sends here, and whether a parser of C was needed to ask for it."""
    number = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)
    return number.value, "pycparser" in sys.modules


def test_a_child_is_killed_with_its_worker_and_ours_parses_nothing_to_ask_for_that(pool: TaskPool) -> None:
    ended: list[tuple[int, bool]] = []
    pool.apply_async(when_the_parent_ends, callback=ended.append)
    turn(pool, until=lambda: ended)
    known_before = "pycparser" in sys.modules
    assert ended == [(signal.SIGKILL, known_before or not isinstance(pool, FleetPool))]


def test_jobs_of_any_size_come_whole_to_a_child(pool: TaskPool) -> None:
    # A pipe takes 4096 bytes at once or none of them, and holds 65536.
    sizes = [0, 3000, *range(3900, 4100, 8), 70_000, 1_000_000]
    ended: list[int] = []
    for size in sizes:
        pool.apply_async(len, ("x" * size,), callback=ended.append)
    turn(pool, until=lambda: len(ended) == len(sizes))
    assert ended == sizes
    assert not pool._pool._cache
    assert not pool.hub.writers


@pytest.mark.parametrize("pool", [FleetPool], indirect=True)
def test_a_small_job_goes_to_a_free_child_in_one_write_and_the_next_one_waits_for_its_end(
    pool: TaskPool,
) -> None:
    turn(pool, until=lambda: pool._pool._all_inqueues)
    (child,) = pool._pool._pool
    ended: list[object] = []
    writes: list[int] = []
    send = child.send_job_offset

    def noted(piece: memoryview, offset: int) -> int:
        writes.append(len(ended))
        return int(send(piece, offset))

    child.send_job_offset = noted
    for number in range(3):
        pool.apply_async(int, (number,), callback=ended.append)
    turn(pool, until=lambda: len(ended) == 3)
    assert ended == [0, 1, 2]
    assert writes == [0, 1, 2]


@pytest.mark.parametrize("pool", [FleetPool], indirect=True)
def test_a_job_that_a_full_pipe_does_not_take_is_written_when_it_does(pool: TaskPool) -> None:
    turn(pool, until=lambda: pool._pool._all_inqueues)
    (child,) = pool._pool._pool
    refusals = iter([BlockingIOError(errno.EAGAIN, "full")] * 3)
    send = child.send_job_offset

    def full_at_first(piece: memoryview, offset: int) -> int:
        if refusal := next(refusals, None):
            raise refusal
        return int(send(piece, offset))

    child.send_job_offset = full_at_first
    ended: list[object] = []
    pool.apply_async(int, ("7",), callback=ended.append)
    turn(pool, until=lambda: ended)
    assert ended == [7]
    assert not pool.hub.writers


def test_routers_are_called_with_the_task_before_the_default_queue_is_taken() -> None:
    assert "router(task, args, kwargs, options, task=task_type)" in inspect.getsource(Router.query_router)


def test_celerys_lines_about_tasks_are_known_by_their_templates() -> None:
    for template in logs.TASK_EVENTS:
        assert template in vars(trace).values()
    assert logs._CHILD_GONE in inspect.getsource(celery_request)


def test_celery_leaves_logging_alone_when_somebody_has_connected_to_its_signal() -> None:
    from celery.app.log import Logging

    source = inspect.getsource(Logging.setup_logging_subsystem)
    assert "receivers = signals.setup_logging.send(" in source
    assert "if not receivers:" in source
    assert billiard.get_logger() is logging.getLogger("multiprocessing")


def test_a_semaphore_keeps_the_requests_that_wait_where_a_drain_takes_them_from() -> None:
    semaphore = LaxBoundedSemaphore(1)
    for number in (1, 2):
        semaphore.acquire(lambda request: None, number)
    assert [args for _, args, _ in semaphore._waiting] == [(2,)]


def test_a_rate_limit_keeps_the_requests_that_wait_with_their_tokens() -> None:
    bucket = TokenBucket(1)
    bucket.add(("request", 1))
    assert list(bucket.contents) == [("request", 1)]
    bucket.clear_pending()
    assert not bucket.contents


def test_a_channel_cancels_a_consumer_without_waiting_for_the_answer() -> None:
    assert parameters(AmqpChannel.basic_cancel)[:3] == ["self", "consumer_tag", "nowait"]


def test_the_mailbox_reads_whether_its_queue_is_exclusive_when_it_declares_it() -> None:
    mailbox = Mailbox("celery", type="fanout")
    mailbox.queue_exclusive = False
    assert not mailbox.get_queue("shared-a@alpha").exclusive


def test_a_worker_installs_its_signal_handlers_where_we_put_ours_after_them() -> None:
    assert parameters(CeleryWorker.install_platform_tweaks) == ["self", "worker"]
