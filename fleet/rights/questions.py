"""Which questions does an operator ask about a user, and how does the simulator answer each?

An answer is None for "cannot", and else the names that it is about: () where it is about none in particular.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fleet.rights.case import ANY_NAMES, ASKERS_MAILBOX, PIDBOX, REPLIES, SHORTEST_DELAY, Case
from fleet.routes import DELAY_EXCHANGE, JOURNAL_EXCHANGE, JOURNAL_STREAM, audit_key
from provisioning.broker.operations import (
    BindExchange,
    BindQueue,
    Consume,
    DeclareExchange,
    DeclareQueue,
    DeleteExchange,
    DeleteQueue,
    Operation,
    Publish,
)
from provisioning.broker.simulator import BROKERS_EXCHANGES

Answer = tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing that a user may be able to do."""

    #: stable word for scripts
    what: str
    #: goes after "can" and "cannot"
    words: str
    #: reaches further than a worker, a sender or a reader needs
    grave: bool = False
    answer: Callable[[Case], Answer]


def _yes(*, allowed: bool) -> Answer:
    return () if allowed else None


def _some(names: tuple[str, ...]) -> Answer:
    return names or None


def _may(operation: Operation) -> Callable[[Case], Answer]:
    return lambda case: _yes(allowed=case.rights.allows(operation))


def _tagged(*tags: str) -> Callable[[Case], Answer]:
    return lambda case: _yes(allowed=bool({*tags, "administrator"} & {*case.tags}))


def _sent(choose: Callable[[Case], tuple[str, ...]]) -> Callable[[Case], Answer]:
    def answer(case: Case) -> Answer:
        reached = case.reached()
        return _some(tuple(name for name in choose(case) if name in reached))

    return answer


def _taken(choose: Callable[[Case], tuple[str, ...]]) -> Callable[[Case], Answer]:
    return lambda case: _some(case.allowed(lambda name: Consume(queue=name), choose(case)))


def _of_hosts(ask: Callable[[str], Operation]) -> Callable[[Case], Answer]:
    """Answer with the hosts for whose mailboxes the broker allows it."""

    def answer(case: Case) -> Answer:
        return _some(tuple(host for host, name in case.mailboxes.items() if case.rights.allows(ask(name))))

    return answer


def _stops_workers(case: Case) -> Answer:
    published = case.rights.allows(Publish(exchange=PIDBOX))
    working = {host.name for host in case.fleet.hosts if case.fleet.workers_on(host.name)}
    return _yes(allowed=published or bool(working and working <= {*case.commanded()}))


def _outcomes(case: Case) -> Answer:
    names = [*(host.name for host in case.fleet.hosts), *(audit_key(u.name) for u in case.fleet.broker.users)]
    return _some(case.allowed(lambda name: Publish(exchange=JOURNAL_EXCHANGE, key=name), names))


def _any_declared(case: Case) -> Answer:
    queues = case.allowed(lambda name: DeclareQueue(queue=name), ANY_NAMES)
    exchanges = case.allowed(lambda name: DeclareExchange(exchange=name), ANY_NAMES)
    return _yes(allowed=len(queues) == len(exchanges) == len(ANY_NAMES))


def _deleted_queues(case: Case) -> Answer:
    return _some(case.allowed(lambda name: DeleteQueue(queue=name), case.queues))


def _deleted_exchanges(case: Case) -> Answer:
    names = sorted(case.rights.exchanges.keys() - BROKERS_EXCHANGES.keys() - {PIDBOX, REPLIES})
    return _some(case.allowed(lambda name: DeleteExchange(exchange=name), names))


def _bound_queues(case: Case) -> Answer:
    def binds(queue: str) -> bool:
        bindings = (BindQueue(queue=queue, exchange=name, key=queue) for name in case.rights.exchanges)
        return any(case.rights.allows(binding) for binding in bindings)

    return _some(tuple(name for name in (*case.task_queues, *case.dead_letter_queues) if binds(name)))


def _diverted(case: Case) -> Answer:
    """Return the exchanges whose messages the user can have copied into a queue that it reads."""
    own = case.own_names

    def diverts(exchange: str) -> bool:
        keys = ("#", *case.task_queues)
        return any(
            case.rights.allows(BindQueue(queue=name, exchange=exchange, key=key))
            for name in own
            for key in keys
        )

    names = sorted(case.rights.exchanges.keys() - BROKERS_EXCHANGES.keys() - {PIDBOX, REPLIES})
    return _some(tuple(name for name in names if diverts(name)))


def _bypassed(case: Case) -> Answer:
    """Return the exchanges on which the user gets round the limits of its topic permissions."""
    limited = sorted(name for name in case.rights.topic_permissions if case.rights.limits_keys(name))
    return _some(
        tuple(
            name
            for name in limited
            if any(case.rights.allows(BindExchange(destination=name, source=own)) for own in case.own_names)
        )
    )


QUESTIONS = (
    Question(
        what="administer",
        words="administer the broker: give itself and others any right, in every vhost",
        grave=True,
        answer=_tagged(),
    ),
    Question(
        what="set_policies",
        words="set policies in the vhost, and so send what any queue gives up elsewhere",
        grave=True,
        answer=_tagged("policymaker"),
    ),
    Question(
        what="monitor", words="see nodes, connections and queues in the API", answer=_tagged("monitoring")
    ),
    Question(
        what="stop_workers",
        words="shut down every worker, and command it otherwise",
        grave=True,
        answer=_stops_workers,
    ),
    Question(
        what="command_workers_of",
        words="command and shut down workers of hosts, past the exchange of remote control",
        grave=True,
        answer=lambda case: _some(case.commanded()),
    ),
    Question(
        what="write_any_queue",
        words="write any queue, past all exchanges",
        grave=True,
        answer=_may(Publish(exchange="", key="")),
    ),
    Question(
        what="bypass_keys",
        words="get round its topic permissions, through an exchange of its own",
        grave=True,
        answer=_bypassed,
    ),
    Question(
        what="declare_any", words="create queues and exchanges of any name", grave=True, answer=_any_declared
    ),
    Question(what="delete_queues", words="delete queues", grave=True, answer=_deleted_queues),
    Question(what="delete_exchanges", words="delete exchanges", grave=True, answer=_deleted_exchanges),
    Question(what="bind_queues", words="change the bindings of queues", grave=True, answer=_bound_queues),
    Question(
        what="divert", words="have a copy of what passes through exchanges", grave=True, answer=_diverted
    ),
    Question(what="send", words="send tasks to queues", answer=_sent(lambda case: case.task_queues)),
    Question(
        what="send_delayed",
        words="send tasks that wait until they are due",
        answer=lambda case: _some(
            tuple(
                name
                for name in case.task_queues
                if case.rights.allows(Publish(exchange=DELAY_EXCHANGE, key=f"{SHORTEST_DELAY}{name}"))
            )
        ),
    ),
    Question(
        what="consume", words="take or drop the tasks of queues", answer=_taken(lambda case: case.task_queues)
    ),
    Question(
        what="write_dead_letters",
        words="add to dead letters",
        answer=_sent(lambda case: case.dead_letter_queues),
    ),
    Question(
        what="take_dead_letters",
        words="take or drop dead letters",
        answer=_taken(lambda case: case.dead_letter_queues),
    ),
    Question(
        what="read_journal",
        words="read the journal: the history of all tasks",
        answer=_may(Consume(queue=JOURNAL_STREAM)),
    ),
    Question(what="report", words="report outcomes to the journal in a name", answer=_outcomes),
    Question(
        what="read_mailboxes",
        words="receive the commands for workers of hosts",
        answer=_of_hosts(lambda name: Consume(queue=name)),
    ),
    Question(
        what="delete_mailboxes",
        words="create and delete mailboxes of workers of hosts",
        answer=_of_hosts(lambda name: DeleteQueue(queue=name)),
    ),
    Question(
        what="ask_workers",
        words="receive the answers of workers",
        answer=_may(Consume(queue=ASKERS_MAILBOX)),
    ),
    Question(
        what="answer", words="answer in the name of a worker", answer=_may(Publish(exchange=REPLIES, key="x"))
    ),
    Question(
        what="break_remote_control",
        words="interrupt remote control for all by deleting its exchange",
        answer=_may(DeleteExchange(exchange=PIDBOX)),
    ),
)


def answers(case: Case) -> Iterator[tuple[Question, Answer]]:
    """Yield every question with its answer."""
    for question in QUESTIONS:
        yield question, question.answer(case)
