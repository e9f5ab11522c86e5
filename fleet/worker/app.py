"""Which Celery app runs a worker's tasks, and which one stands behind ``celery -A fleet.worker.app``?

``app`` is built when first asked for, from FLEET_FILE, FLEET_HOST and FLEET_WORKER. Without FLEET_WORKER it
knows no tasks and serves ``inspect`` and ``control`` only; FLEET_BROKER_USER then names the user of
``[broker.users]`` to log in as, such as one with the role ``operator``.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from celery import Celery

from fleet.errors import UsageError
from fleet.model import Fleet, SecretRef
from fleet.secrets import resolve
from fleet.worker.context import WorkerContext, worker_context
from fleet.worker.settings import Setting, connection_settings, worker_settings
from fleet.worker.task import FIRST_HEADER, SENT_HEADER, delay_countdown

#: modules that ship tasks; each has ``register(app)``
TASK_MODULES = ("fleet.worker.tasks.backup", "fleet.worker.tasks.mail", "fleet.worker.tasks.urls")


#: seconds that one read or write of a publishing connection may take; a broker in alarm stops reading
PUBLISH_IO_SECONDS = 10


class FleetCelery(Celery):  # type: ignore[misc]  # celery ships no types
    """A Celery app whose password is no setting and whose publishes are stamped, confirmed and mandatory."""

    task_cls = "fleet.worker.task:FleetTask"
    amqp_cls = "fleet.worker.connection:FleetAMQP"

    #: the worker that this app belongs to; None for an app that only inspects
    fleet_context: WorkerContext | None = None
    _password_ref: SecretRef | None = None
    _environ: Mapping[str, str] = os.environ

    def use_password(self, reference: SecretRef | None, *, environ: Mapping[str, str]) -> None:
        """Log in with the password behind ``reference``, looked up anew for each connection."""
        self._password_ref = reference
        self._environ = environ

    def broker_password(self) -> str | None:
        """Return the broker password in the clear, for a connection that is about to log in."""
        return resolve(self._password_ref, environ=self._environ).reveal() if self._password_ref else None

    def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
        """Return a connection for publishing; its reads and writes are bounded in time.

        Not so for consuming: there a bound would end an idle connection, which heartbeats watch already.
        """
        if not self._speaks_amqp():
            return super().connection_for_write(url, **options)
        bounds = {"read_timeout": PUBLISH_IO_SECONDS, "write_timeout": PUBLISH_IO_SECONDS}
        transport_options = bounds | (options.pop("transport_options", None) or {})
        return super().connection_for_write(url, transport_options=transport_options, **options)

    def _connection(self, url: str, **options: Any) -> Any:
        if options.get("password") is None:
            # py-amqp asks a callable at each login, so a changed password needs no restart.
            options["password"] = self.broker_password if self._speaks_amqp() else self.broker_password()
        return super()._connection(url, **options)

    def _speaks_amqp(self) -> bool:
        return str(self.conf.broker_url[0]).startswith("amqp")

    def send_task(self, name: str, *args: Any, **options: Any) -> Any:
        """Publish a task: stamped, mandatory, and with a delay in whole seconds, at least one."""
        now = time.time()
        stamps = {FIRST_HEADER: now, SENT_HEADER: now}
        options["headers"] = stamps | (options.get("headers") or {})
        if options.get("countdown"):
            options["countdown"] = delay_countdown(options["countdown"])
        elif isinstance(options.get("eta"), datetime):
            options.update(eta=None, countdown=_countdown(options["eta"], now))
        if self._speaks_amqp():
            options.setdefault("mandatory", True)
            options.setdefault("timestamp", datetime.fromtimestamp(math.floor(now), UTC))
        return super().send_task(name, *args, **options)


def build_app(context: WorkerContext) -> FleetCelery:
    """Return the app of a worker: settings, built-in tasks and the operator's own tasks.

    Raises UsageError when a module of ``[tasks] imports`` cannot be imported.
    """
    app = _app(context.fleet, worker_settings(context))
    app.use_password(context.password, environ=context.environ)
    app.fleet_context = context
    app.amqp.queues.select([queue.name for queue in context.queues])
    for module in _present(TASK_MODULES):
        register: Callable[[Celery], None] = import_module(module).register
        register(app)
    _import_user_tasks(context.fleet)
    # A module of the operator's may have made an app of its own, which then became the current one.
    app.set_current()
    app.set_default()
    app.finalize()
    return app


def control_app(fleet: Fleet, *, environ: Mapping[str, str]) -> FleetCelery:
    """Return an app that can only inspect and control workers, as the user that FLEET_BROKER_USER names."""
    app = _app(fleet, connection_settings(fleet))
    name = environ.get("FLEET_BROKER_USER", fleet.broker.user)
    reference = fleet.broker.password
    if name != fleet.broker.user:
        user = next((user for user in fleet.broker.users if user.name == name), None)
        if user is None:
            known = ", ".join(user.name for user in fleet.broker.users) or "none"
            raise UsageError(
                f"FLEET_BROKER_USER is `{name}`, which {fleet.source} does not have", hint=f"users: {known}"
            )
        reference = user.password
        app.conf.broker_user = name
    app.use_password(reference, environ=environ)
    return app


def app_from_environment(environ: Mapping[str, str]) -> FleetCelery:
    """Return the app that FLEET_FILE, FLEET_HOST and FLEET_WORKER describe."""
    fleet: Fleet = import_module("fleet.fleetfile").read(environ.get("FLEET_FILE", "fleet.toml"))
    worker = environ.get("FLEET_WORKER")
    if not worker:
        return control_app(fleet, environ=environ)
    host = environ.get("FLEET_HOST")
    if not host:
        raise UsageError("FLEET_WORKER is set, but FLEET_HOST is not", hint="export FLEET_HOST=…")
    return build_app(worker_context(fleet, host=host, worker=worker, environ=environ))


def _app(fleet: Fleet, settings: Iterable[Setting]) -> FleetCelery:
    app = FleetCelery(fleet.name, set_as_current=False)
    app.conf.update({setting.name: setting.value for setting in settings})
    return app


def _present(modules: Iterable[str]) -> Iterable[str]:
    return (module for module in modules if find_spec(module) is not None)


def _import_user_tasks(fleet: Fleet) -> None:
    for module in fleet.user_tasks.imports:
        try:
            import_module(module)
        except ImportError as error:
            raise UsageError(
                f"module `{module}` of [tasks] imports cannot be imported: {error}",
                hint="install it beside fleet, or set PYTHONPATH",
            ) from error


def _countdown(eta: datetime, now: float) -> int:
    aware = eta if eta.tzinfo else eta.replace(tzinfo=UTC)
    return delay_countdown(aware.timestamp() - now)


@cache
def _lazy_app() -> FleetCelery:
    return app_from_environment(os.environ)


def __getattr__(name: str) -> Any:
    if name == "app":
        return _lazy_app()
    raise AttributeError(name)
