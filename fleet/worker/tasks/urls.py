"""The task that asks for the fleet file's URLs and keeps what they answered, for the metrics.

A URL that is down is a result, not a failure of the task: the ledger holds it, ``fleet_url_up`` shows it and
an alert acts on it. Retrying would only hide how long it lasted.
"""

import logging
from collections.abc import Iterable, Sequence

from celery import Celery

from fleet.errors import UsageError
from fleet.ledger import JobRecord, Ledger
from fleet.model import CHECK_URLS_TASK, Fleet, UrlCheck
from fleet.urls import UrlResult, check_all
from fleet.worker.context import WorkerContext
from fleet.worker.task import FleetTask

log = logging.getLogger(__name__)


def register(app: Celery) -> None:
    """Add the task ``fleet.check_urls`` to ``app``."""
    app.task(_check_urls_task, name=CHECK_URLS_TASK, base=FleetTask, bind=True, shared=False)


def _check_urls_task(task: FleetTask, names: Sequence[str] | None = None) -> dict[str, object]:
    """Ask for the URLs called ``names``, or for all of the fleet file; return how many answered."""
    context: WorkerContext = task.app.fleet_context
    results = check_all(_chosen(context.fleet, names))
    _keep(context.fleet, results, host=context.host, task_id=task.request.id)
    for result in results:
        if not result.ok:
            fields = {"event": "url_down", "url_name": result.name, "status": result.status}
            log.warning("URL `%s`: %s", result.name, result.detail, extra=fields)
    return {"checked": len(results), "down": [result.name for result in results if not result.ok]}


def _chosen(fleet: Fleet, names: Sequence[str] | None) -> tuple[UrlCheck, ...]:
    if names is None:
        return fleet.url_checks
    names = [names] if isinstance(names, str) else names
    known = {check.name: check for check in fleet.url_checks}
    unknown = sorted(str(name) for name in names if name not in known)
    if unknown:
        raise UsageError(
            f"{fleet.source} has no [urls.{unknown[0]}]", hint=f"URLs: {', '.join(known) or 'none'}"
        )
    return tuple(known[name] for name in dict.fromkeys(names))


def _keep(fleet: Fleet, results: Iterable[UrlResult], *, host: str, task_id: str) -> None:
    ledger = Ledger.in_state_dir(fleet.state_dir)
    for result in results:
        ledger.record(
            JobRecord(
                kind="url_check",
                name=result.name,
                host=host,
                task_id=task_id,
                started=result.started,
                finished=result.started + result.seconds,
                ok=result.ok,
                detail=f"{result.detail} in {result.seconds:.3f} s",
            )
        )
