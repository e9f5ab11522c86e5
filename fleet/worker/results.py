"""Where do results go when the fleet file names a result backend? Into Redis, by Celery's own code."""

from typing import Any

from celery.backends.redis import RedisBackend

from fleet.secrets import resolve


class FleetRedisBackend(RedisBackend):  # type: ignore[misc]  # celery ships no types
    """Celery's Redis backend with a password that is no setting: ``inspect conf`` has none to show."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        context = self.app.fleet_context
        reference = context.fleet.broker.result_password
        if reference is not None:
            self.connparams["password"] = resolve(reference, environ=context.environ).reveal()
