"""Where are the dead letters of this fleet, and who deals with them?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fleet.config.problems import did_you_mean
from fleet.connection import Target
from fleet.errors import UsageError
from fleet.letters.look import Look
from fleet.letters.outcomes import Outcomes
from fleet.login import Login, operator_login
from fleet.model import Fleet, Kind
from fleet.publish.channel import ConfirmedChannel
from fleet.routes import dead_letter_queue_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """An operator's way to the dead letters of one fleet."""

    fleet: Fleet
    login: Login
    #: names of dead-letter queues in the broker
    queues: tuple[str, ...]

    @property
    def user(self) -> str:
        """Return the broker user that the commands act as."""
        return self.login.user

    def look(self, dead_letter_queue: str, *, is_interrupted: Callable[[], bool] = lambda: False) -> Look:
        """Begin to look into a dead-letter queue. Raises BrokerUnreachable or BrokerRefused."""
        return Look(self._target("look"), dead_letter_queue, is_interrupted=is_interrupted)

    def outcomes(self) -> Outcomes:
        """Return what reads how tasks ended."""
        return Outcomes(self._target("journal"))

    def door(self) -> ConfirmedChannel:
        """Return the channel that letters are sent back through, and what is done is noted through."""
        return ConfirmedChannel(self._target("replay"))

    def _target(self, purpose: str) -> Target:
        return Target(broker=self.fleet.broker, login=self.login, name=f"fleet dead-letters {purpose}")


def access(
    fleet: Fleet, environ: Mapping[str, str], *, queues: Sequence[str] = (), user: str | None = None
) -> Access:
    """Return the way to the dead letters of ``queues`` (names in the fleet file; none means all).

    Raises UsageError when there is no such queue or the fleet keeps no dead letters, SecretMissing.
    """
    if fleet.broker.kind is Kind.REDIS:
        raise UsageError(
            "this fleet's broker is Redis, which keeps no dead letters: what fails for good is gone",
            hint="see `docs/how-to/use-redis.md`",
        )
    known = [queue.name for queue in fleet.queues]
    for name in queues:
        if name not in known:
            raise UsageError(f"{fleet.source} has no queue `{name}`", hint=did_you_mean(name, known))
    chosen = [name for name in known if not queues or name in queues]
    login = operator_login(fleet.broker, user, environ=environ)
    return Access(fleet=fleet, login=login, queues=tuple(map(dead_letter_queue_name, chosen)))
