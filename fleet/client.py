"""How does a Python program send tasks to the fleet and learn what became of them?

::

    from fleet import Client

    with Client("fleet.toml") as client:
        sent = client.mail("ann@example.org", "welcome", {"name": "Ann"}, key="welcome-42")
        client.wait([sent.id], timeout_seconds=60)
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from fleet.errors import OutcomeUnknown, UsageError
from fleet.fleetfile import read
from fleet.journal import JournalReader, Outcome
from fleet.login import login_of, observer_login
from fleet.model import Fleet, Kind
from fleet.outbox import Forwarded, Outbox, forward
from fleet.outbox.sending import OutboxSender, Place
from fleet.publish import Publisher, TaskMessage
from fleet.publish.compose import Destinations, backup_messages, mail_message
from fleet.publish.many import Deliveries, TaskCall, send_many
from fleet.publish.message import NOTHING
from fleet.publish.remembered import Remembered
from fleet.publish.shortfall import shortfall
from fleet.publish.turn import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class SentTask:
    """A task that the broker has confirmed, or that this machine's outbox keeps for it."""

    id: str
    #: name of the task
    task: str
    #: name of the queue in the broker
    queue: str
    #: the host it runs on; None where any worker of the queue may take it
    host: str | None
    #: it is in the outbox, and not yet at the broker
    in_outbox: bool = False


class Watch(Protocol):
    """Sees every outcome from the moment it was opened."""

    def wait_for(self, task_ids: frozenset[str], *, timeout_seconds: float) -> dict[str, Outcome]:
        """Return the final outcome of each task by id; those not known in time are left out."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Client:
    """Sends tasks of one fleet, each confirmed by the broker when its method returns.

    With ``outbox``, a file on a local disk, a task that no broker answers for is kept there instead, and goes
    to the broker later: with a further task that is sent, with ``forward``, or by `fleet outbox forward`.

    Threads that share a client send one after the other. Sending raises UsageError (the fleet has no such
    thing), BrokerUnreachable, BrokerRefused, PartlyDone (the broker took some of several tasks), or
    PublishUncertain (it may or may not be queued); with an outbox OutboxFull or OutboxUnusable, too.
    """

    def __init__(
        self,
        fleet: Fleet | str | Path,
        environ: Mapping[str, str] | None = None,
        *,
        user: str | None = None,
        outbox: str | Path | None = None,
    ) -> None:
        self.fleet = fleet if isinstance(fleet, Fleet) else read(str(fleet))
        self._destinations = Destinations(self.fleet)
        self._environ = os.environ if environ is None else environ
        self._user = user
        self._turn = Turn()
        self._publisher: Publisher | None = None
        self._outbox = None if outbox is None else Outbox(outbox, fleet=self.fleet.name)
        self._sender = None if self._outbox is None else OutboxSender(self._outbox, self._open)
        self._sent = Remembered()

    def send(
        self,
        task: str,
        kwargs: Mapping[str, object] = NOTHING,
        *,
        args: Sequence[object] = (),
        host: str | None = None,
        queue: str | None = None,
        delay_seconds: float = 0,
        key: str | None = None,
        traceparent: str | None = None,
    ) -> SentTask:
        """Send ``task``; the same ``key`` gives the same task id, so that workers know a repetition."""
        call = TaskCall(
            task,
            kwargs,
            args=args,
            host=host,
            queue=queue,
            delay_seconds=delay_seconds,
            key=key,
            traceparent=traceparent,
        )
        return self._deliver([call.message(self._destinations)])[0]

    def send_many(self, calls: Iterable[TaskCall]) -> Deliveries:
        """Return an iterator that sends ``calls`` and says what became of each, in their order.

        At most 1,000 are unconfirmed at a time, and no more are taken from ``calls``. An error that ends it
        comes after what became of every task that was taken: BrokerUnreachable (none of them is unknown),
        PublishUncertain (some are), BrokerRefused (permission), UsageError (no queue takes a task).

        Raises UsageError for a client with an outbox: what waits there would be overtaken.
        """
        if self._outbox is not None:
            raise UsageError(
                "`send_many` does not use the outbox, so it would overtake the tasks that wait there",
                hint="send one by one, or with a client that has no outbox",
            )
        with self._turn:
            return send_many(self._open(), self.fleet, calls)

    def backup(
        self, name: str, hosts: Sequence[str] | None = None, *, key: str | None = None
    ) -> tuple[SentTask, ...]:
        """Run backup ``name`` now, on all of its hosts or on those that the patterns ``hosts`` mean."""
        return self._deliver(backup_messages(self.fleet, name, hosts=hosts or (), key=key))

    def mail(
        self, to: str, template: str, context: Mapping[str, object] = NOTHING, *, key: str | None = None
    ) -> SentTask:
        """Send one mail to one recipient; ``key`` makes repetitions share one Message-ID."""
        return self.mails([to], template, context, key=key)[0]

    def mails(
        self,
        recipients: Sequence[str],
        template: str,
        context: Mapping[str, object] = NOTHING,
        *,
        key: str | None = None,
    ) -> tuple[SentTask, ...]:
        """Send the same mail to each recipient, in a task of its own; nothing is sent if one is invalid.

        A ``key`` means one mail, so it goes with one recipient only.
        """
        if key is not None and len(recipients) > 1:
            raise UsageError(
                "one key means one mail", hint="send to one recipient at a time, each with its key"
            )
        messages = [
            mail_message(self.fleet, to=to, template=template, context=context, key=key) for to in recipients
        ]
        self._require_template(template, context)
        return self._deliver(messages)

    def watch(self) -> Watch:
        """Return what sees every outcome from ``with client.watch() as watch`` on; send inside it.

        Raises UsageError when this fleet keeps no outcomes.
        """
        return self._watch(since=None)

    def wait(self, task_ids: Iterable[str], timeout_seconds: float) -> dict[str, Outcome]:
        """Return the final outcome of each task, by id.

        Raises OutcomeUnknown when one of them is not known in time, UsageError when this fleet keeps no
        outcomes, BrokerRefused when the journal may not be read.
        """
        wanted = frozenset(task_ids)
        with self._watch(since=self._sent.since(wanted)) as watch:
            found = watch.wait_for(wanted, timeout_seconds=timeout_seconds)
        require_all(wanted, found, timeout_seconds)
        return found

    def forward(self) -> Forwarded:
        """Send what the outbox keeps, whoever of this machine put it there, and return what was done.

        Raises UsageError without an outbox, OutboxBusy when another process forwards it, OutboxUnusable,
        BrokerRefused (login or vhost).
        """
        if self._outbox is None:
            raise UsageError("this client has no outbox", hint="make it with `Client(…, outbox=PATH)`")
        with self._turn:
            return forward(self._outbox, self._open())

    def close(self) -> None:
        """Close the connection; it is opened again when something is sent."""
        with self._turn:
            if self._publisher is not None:
                self._publisher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_template(self, template: str, context: Mapping[str, object]) -> None:
        """Render the mail once, where its templates are on this host, so that no bad one is queued."""
        from fleet.mail.files import open_templates
        from fleet.mail.templates import render

        mail = self.fleet.mail
        if mail is not None and Path(mail.templates).is_dir():
            render(open_templates(mail.templates), template, context)

    def _deliver(self, messages: Sequence[TaskMessage]) -> tuple[SentTask, ...]:
        with self._turn:
            now = time.time()
            if self._sender is not None:
                fates = self._sender.deliver(messages)
            else:
                fates = tuple(error or Place.BROKER for error in self._open().deliver(messages))
            sent = tuple(
                _sent_task(message, fate)
                for message, fate in zip(messages, fates, strict=True)
                if isinstance(fate, Place)
            )
            self._sent.note((task.id for task in sent), now=now)
        told = [None if isinstance(fate, Place) else fate for fate in fates]
        error = shortfall([message.task_id for message in messages], told)
        if error is not None:
            raise error
        return sent

    def _open(self) -> Publisher:
        if self._publisher is None:
            login = login_of(self.fleet.broker, self._user, environ=self._environ)
            self._publisher = Publisher(self.fleet, login.password, user=login.user, name="fleet client")
        return self._publisher

    def _watch(self, *, since: float | None) -> Watch:
        if self.fleet.broker.kind is Kind.RABBITMQ:
            login = observer_login(self.fleet.broker, environ=self._environ)
            return JournalReader(self.fleet, login, since=since)
        from fleet.results import ResultReader

        return ResultReader(self.fleet, environ=self._environ)


def require_all(wanted: frozenset[str], found: Mapping[str, Outcome], timeout_seconds: float) -> None:
    """Raise OutcomeUnknown unless every task of ``wanted`` is in ``found``."""
    missing = sorted(wanted - found.keys())
    if missing:
        raise OutcomeUnknown(
            f"no outcome within {timeout_seconds:g} s of {len(missing)} of {len(wanted)} tasks: "
            f"{', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}",
            hint="they stay queued and will run; see that a worker serves their queue",
        )


def _sent_task(message: TaskMessage, place: Place) -> SentTask:
    return SentTask(
        id=message.task_id,
        task=message.task,
        queue=message.queue.name,
        host=message.queue.host,
        in_outbox=place is Place.OUTBOX,
    )
