"""Which error says what became of several tasks, when not all of them were taken? Pure."""

from collections.abc import Sequence

from fleet.errors import BrokerRefused, FleetError, PartlyDone, PublishUncertain


def shortfall(task_ids: Sequence[str], told: Sequence[FleetError | None]) -> FleetError | None:
    """Return the error for tasks that were ``told``, each, None (taken) or why not; None when all were taken.

    PartlyDone when some were taken. Otherwise PublishUncertain when some may be queued, which are named, and
    the first error when none is.
    """
    errors = [error for error in told if error is not None]
    if not errors:
        return None
    taken = [task_id for task_id, error in zip(task_ids, told, strict=True) if error is None]
    unknown = [
        task_id for task_id, error in zip(task_ids, told, strict=True) if isinstance(error, PublishUncertain)
    ]
    if taken:
        return _partly_done(errors, taken, unknown)
    if not unknown:
        return errors[0]
    cause = _first(errors, BrokerRefused) or _first(errors, PublishUncertain) or errors[0]
    doubtful = PublishUncertain(f"{cause.message}; {_doubt(unknown)}", hint=cause.hint)
    doubtful.__cause__ = cause
    return doubtful


def _partly_done(errors: Sequence[FleetError], taken: Sequence[str], unknown: Sequence[str]) -> PartlyDone:
    count, refused = len(errors) + len(taken), len(errors) - len(unknown)
    cause = next((error for error in errors if not isinstance(error, PublishUncertain)), errors[0])
    how = f"{refused} of {count} tasks were not" if refused else f"{len(unknown)} of {count} tasks may not be"
    doubt = f"; {_doubt(unknown)}" if unknown else ""
    partly = PartlyDone(f"{how} queued: {cause.message}; queued: {', '.join(taken)}{doubt}", hint=cause.hint)
    partly.__cause__ = cause
    return partly


def _doubt(unknown: Sequence[str]) -> str:
    return f"it is not known whether these tasks are queued: {', '.join(unknown)}"


def _first(errors: Sequence[FleetError], kind: type[FleetError]) -> FleetError | None:
    return next((error for error in errors if isinstance(error, kind)), None)
