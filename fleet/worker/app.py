"""Which Celery app runs a worker's tasks, and which one stands behind ``celery -A fleet.worker.app``?

``app`` is built when first asked for, from FLEET_FILE, FLEET_HOST and FLEET_WORKER. Without FLEET_WORKER it
knows no tasks and serves ``inspect`` and ``control`` only; FLEET_BROKER_USER then names the user of
``[broker.users]`` to log in as, such as one with the role ``operator``.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from types import MappingProxyType
from typing import Any

from celery import Celery

from fleet import fleetfile
from fleet.errors import FleetError, UsageError
from fleet.login import Login, login_of
from fleet.model import BACKUP_TASK, CHECK_URLS_TASK, RESTORE_TASK, SEND_MAIL_TASK, Fleet, Queue
from fleet.routes import allows
from fleet.secrets import Secret
from fleet.worker.application import FleetCelery
from fleet.worker.connecting import Setting, connection_settings
from fleet.worker.context import WorkerContext, worker_context
from fleet.worker.settings import worker_settings
from fleet.worker.task import FleetTask

#: modules that ship tasks → their tasks; each has ``register(app)``
TASK_MODULES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "fleet.worker.tasks.backup": (BACKUP_TASK, RESTORE_TASK),
        "fleet.worker.tasks.mail": (SEND_MAIL_TASK,),
        "fleet.worker.tasks.urls": (CHECK_URLS_TASK,),
    }
)


def build_app(context: WorkerContext) -> FleetCelery:
    """Return the app of a worker: settings, built-in tasks and the operator's own tasks.

    Raises UsageError when a module of ``[tasks] imports`` is not there, or a task has a foreign base,
    FleetError when a module fails as it is imported, and SecretMissing.
    """
    app = _app(context.fleet, worker_settings(context))
    app.log_in_with(_password_of_one_user(context.login))
    app.serve(context)
    app.amqp.queues.select([queue.name for queue in context.queues])
    for module in _modules_of(context.declared_queues):
        register: Callable[[Celery], None] = import_module(module).register
        register(app)
    _import_user_tasks(context.fleet)
    # A module of the operator's may have made an app of its own, which then became the current one.
    app.set_current()
    app.set_default()
    app.finalize()
    _require_our_base(app)
    return app


def _password_of_one_user(login: Callable[[], Login]) -> Callable[[], Secret | None]:
    """Return what gives the present password for as long as it is that of the same broker user.

    A connection's user is fixed when the app is made. After a rotation the password belongs to another user;
    a worker that has not been started anew yet goes on as the one before, who is there until it is over.
    """
    known = login()

    def password() -> Secret | None:
        nonlocal known
        present = login()
        if present.user == known.user:
            known = present
        return known.password

    return password


def control_app(fleet: Fleet, *, environ: Mapping[str, str]) -> FleetCelery:
    """Return an app that can only inspect and control workers, as the user that FLEET_BROKER_USER names.

    Raises UsageError when the fleet file has no such user, SecretMissing when its password is not there.
    """
    login = login_of(fleet.broker, environ.get("FLEET_BROKER_USER"), environ=environ)
    app = _app(fleet, connection_settings(fleet, user=login.user))
    app.log_in_with(lambda: login.password)
    return app


def app_from_environment(environ: Mapping[str, str]) -> FleetCelery:
    """Return the app that FLEET_FILE, FLEET_HOST and FLEET_WORKER describe."""
    fleet = fleetfile.read(environ.get("FLEET_FILE", "fleet.toml"))
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


def _modules_of(queues: Iterable[Queue]) -> tuple[str, ...]:
    """Return the modules with tasks that ``queues`` may carry: the others would only take time and memory."""
    served = tuple(queues)
    return tuple(
        module
        for module, tasks in TASK_MODULES.items()
        if any(allows(queue, task) for queue in served for task in tasks)
    )


def _import_user_tasks(fleet: Fleet) -> None:
    beside = str(Path(fleet.source).resolve().parent)
    # Last, so that nothing beside the fleet file stands in for an installed module.
    if fleet.user_tasks.imports and beside not in sys.path:
        sys.path.append(beside)
    for module in fleet.user_tasks.imports:
        try:
            import_module(module)
        except ImportError as error:
            raise UsageError(
                f"module `{module}` of [tasks] imports cannot be imported: {error}",
                hint="install it with fleet, put it beside the fleet file, or set PYTHONPATH",
            ) from error
        except Exception as error:  # an operator's code runs here, and may raise anything
            raise FleetError(
                f"module `{module}` of [tasks] imports cannot be imported: {type(error).__name__}: {error}"
                f"{_where(error, module)}",
                hint="correct the module, and roll out; `fleet rollback` brings the release before",
            ) from error


def _where(error: Exception, module: str) -> str:
    """Return in which line of ``module`` its import failed, as far as that is told."""
    path = f"/{module.replace('.', '/')}"
    frames = extract_tb(error.__traceback__)
    lines = [each for each in frames if each.filename.endswith((f"{path}.py", f"{path}/__init__.py"))]
    return f" ({lines[-1].filename}, line {lines[-1].lineno})" if lines else ""


def _require_our_base(app: FleetCelery) -> None:
    """A task on another base class would retry past its queue and run uncounted."""
    for name, task in app.tasks.items():
        if not isinstance(task, FleetTask):
            raise UsageError(
                f"task `{name}` has the base class `{type(task).__mro__[1].__qualname__}`, not FleetTask",
                hint="derive that base class from `fleet.worker.task.FleetTask`",
            )


@cache
def _lazy_app() -> FleetCelery:
    return app_from_environment(os.environ)


def __getattr__(name: str) -> Any:
    if name == "app":
        return _lazy_app()
    raise AttributeError(name)
