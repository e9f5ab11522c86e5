"""Plain Celery on a queue of the fleet: ``celery -A tests.benchmarks.plain_worker worker``.

BENCH_URL names the broker, BENCH_QUEUE the queue.
Late acknowledgement and the fleet's prefetch; else defaults.
"""

import os

from celery import Celery
from kombu import Queue

from fleet.worker.context import SHORT_PREFETCH

QUEUE = os.environ.get("BENCH_QUEUE", "bench")

app = Celery("plain", broker=os.environ.get("BENCH_URL", "memory://"))
app.conf.update(
    imports=["bench_tasks"],
    # The queue is there, as the fleet declares it; Celery is to know that it can do without global QoS.
    task_queues=(Queue(QUEUE, no_declare=True, queue_arguments={"x-queue-type": "quorum"}),),
    task_default_queue=QUEUE,
    task_acks_late=True,
    worker_prefetch_multiplier=SHORT_PREFETCH,
)
