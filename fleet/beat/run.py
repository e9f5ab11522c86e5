"""How does beat live, from its first look at the broker to its exit?"""

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fleet.beat.scheduler import LONGEST_PAUSE_SECONDS, Scheduler
from fleet.beat.stop import StopSignal
from fleet.beat.store import BeatStore
from fleet.certificates import certificate_warnings
from fleet.errors import BrokerUnreachable, UsageError
from fleet.login import beat_login
from fleet.metrics.collectors import register_certificates, register_declared, register_schedule
from fleet.metrics.registry import exposition, new_registry
from fleet.metrics.server import MetricsServer
from fleet.model import Fleet
from fleet.publish import Publisher
from fleet.publish.channel import IDLE_SECONDS
from fleet.worker.notify import Notifier

METRICS_PORT = 9539
#: a scheduler that has not looked for this long hangs; sends to many hosts may take their time
STALE_SECONDS = 300.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatOptions:
    """How beat runs, beyond what the fleet file says."""

    #: 0 serves no metrics
    metrics_port: int = METRICS_PORT
    metrics_address: str = "0.0.0.0"  # noqa: S104 - Prometheus scrapes from another host
    #: the service manager that started it, if any
    notifier: Notifier = field(default_factory=lambda: Notifier(None))


class BeatHealth:
    """What ``/healthz`` and ``/readyz`` say about beat."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def alive(self) -> tuple[bool, dict[str, object]]:
        """Tell whether the scheduler still looks at its schedule."""
        age = time.time() - self._scheduler.looked
        return age < STALE_SECONDS + LONGEST_PAUSE_SECONDS, {"last_look_age_seconds": round(age, 3)}

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Tell whether the last run that was due could be sent."""
        return self._scheduler.trouble is None, {"trouble": self._scheduler.trouble}


def run_beat(fleet: Fleet, options: BeatOptions, *, environ: Mapping[str, str]) -> None:
    """Send the fleet's schedule until told to stop (SIGTERM or Ctrl-C).

    Raises UsageError (nothing is scheduled, or another beat runs here), SecretMissing, BrokerRefused (login,
    vhost) or FleetError (state directory, metrics port). A broker that is away is waited for.
    """
    if not fleet.schedule:
        raise UsageError(
            f"{fleet.source} schedules nothing", hint="add a `[schedule.NAME]` to it, see `fleet schedule`"
        )
    login = beat_login(fleet.broker, environ=environ)
    for warning in certificate_warnings(fleet.broker.tls, datetime.now(UTC)):
        _log.warning("%s", warning, extra={"event": "certificate_ends"})
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        store = stack.enter_context(BeatStore(fleet.state_dir))
        publisher = stack.enter_context(Publisher(fleet, login.password, user=login.user, name="fleet beat"))
        scheduler = Scheduler(fleet, store, publisher, clock=time.time)
        _first_look_at_broker(publisher)
        scheduler.step()
        if options.metrics_port:
            server = _metrics_server(fleet, scheduler, options)
            server.start()
            stack.callback(server.close)
        _log.info("beat sends %d entries", len(fleet.schedule), extra={"event": "beat_ready"})
        _work(scheduler, publisher, stop, options.notifier)
        options.notifier.stopping("stops", now=time.monotonic())
        _log.info("beat stops", extra={"event": "beat_stopped"})


def _first_look_at_broker(publisher: Publisher) -> None:
    """Fail now when the broker says no; go on when it does not answer yet."""
    try:
        publisher.open()
    except BrokerUnreachable as error:
        _log.warning("%s; beat goes on trying", error.message, extra={"event": "broker_away"})


def _work(scheduler: Scheduler, publisher: Publisher, stop: StopSignal, notifier: Notifier) -> None:
    while not stop.is_set:
        pause = scheduler.step()
        _report(scheduler, notifier)
        if pause > IDLE_SECONDS:
            # Nobody answers the broker's heartbeats while beat sleeps.
            publisher.close()
        stop.wait(min(pause, notifier.pause_seconds or pause))


def _report(scheduler: Scheduler, notifier: Notifier) -> None:
    now, trouble = time.monotonic(), scheduler.trouble
    text = f"trouble: {trouble}" if trouble else "sends the schedule"
    notifier.ready(text, now=now)
    notifier.status(text, now=now)
    notifier.alive(now=now)


def _metrics_server(fleet: Fleet, scheduler: Scheduler, options: BeatOptions) -> MetricsServer:
    registry = new_registry()
    register_schedule(registry, scheduler.snapshot)
    register_declared(registry, fleet)
    register_certificates(registry, fleet.broker.tls)
    health = BeatHealth(scheduler)
    return MetricsServer(exposition(registry), health, options.metrics_address, options.metrics_port)
