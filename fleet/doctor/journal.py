"""Is there a journal, so that anybody can see how a task ended?"""

from collections.abc import Iterator

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok
from fleet.routes import JOURNAL_EXCHANGE, JOURNAL_STREAM
from provisioning.broker.routing import Router
from provisioning.broker.state import State

_HINT = "run `fleet provision broker --check`; without a journal, `--wait` and the history show nothing"


def _journal(facts: Facts) -> Iterator[Verdict]:
    state = facts.state or State()
    found = [q for q in state.queues if q.vhost == facts.vhost and q.name == JOURNAL_STREAM]
    if not found:
        yield fail(f"stream {JOURNAL_STREAM} is missing", _HINT)
    elif found[0].type != "stream":
        yield fail(
            f"{JOURNAL_STREAM} is a {found[0].type} queue, not a stream: a reader takes records away", _HINT
        )
    elif JOURNAL_STREAM not in Router(state, facts.vhost).reached(JOURNAL_EXCHANGE, "a-host"):
        yield fail(f"nothing leads from exchange {JOURNAL_EXCHANGE} to the stream", _HINT)
    else:
        yield ok(f"stream {JOURNAL_STREAM} is there, and records reach it")


JOURNAL = Check(name="journal", about="is the journal there?", needs=("state",), run=_journal)
