import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.config.parse import parse
from fleet.topology import desired_state
from provisioning.broker.objects import Binding, Exchange, Queue
from provisioning.broker.resource import Arguments
from provisioning.broker.routing import Router, topic_matches
from provisioning.broker.state import State
from tests.unit.provisioning.states import states
from tests.unit.provisioning.test_per_host import FILE

V = "v"


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("#", "", True),
        ("#", "a.b", True),
        ("*", "", False),
        ("*.b", "a.b", True),
        ("#.b", "b", True),
        ("#.b", "a.a.b", True),
        ("#.b", "a.b.c", False),
        ("#.b.#", "a.b.c", True),
        ("a.#.c", "a.c", True),
        ("a.*.c", "a.c", False),
        ("*.#", "", False),
        ("a.#.#.b", "a.b", True),
        ("", "", True),
        ("", "a", False),
        ("a", "a.a", False),
    ],
)
def test_topics_match_word_by_word(pattern: str, key: str, *, expected: bool) -> None:
    assert topic_matches(pattern, key) is expected


def test_a_task_reaches_its_queue_at_once_and_through_every_level_of_delay() -> None:
    router = Router(desired_state(parse(FILE, source="fleet.toml"), {}), "celery")
    assert router.reached("fleet.tasks", "fleet.email") == {"fleet.email"}
    assert router.reached("fleet.tasks", "fleet.elsewhere") == set()
    for level in (0, 5, 27):
        bits = "".join("1." if at == level else "0." for at in reversed(range(28)))
        assert router.reached("celery_delayed_27", f"{bits}fleet.email") == {
            f"celery_delayed_{level}",
            "fleet.email",
        }


def test_messages_go_on_by_exchanges_alternates_and_expiry_and_a_circle_ends() -> None:
    def bind(source: str, destination: str, *, kind: str = "queue", key: str = "") -> Binding:
        return Binding(
            vhost=V, source=source, destination=destination, destination_type=kind, routing_key=key
        )

    late = Arguments({"x-message-ttl": 1, "x-dead-letter-exchange": "fan", "x-dead-letter-routing-key": "z"})
    state = State(
        exchanges=(
            Exchange(vhost=V, name="fan", type="fanout"),
            Exchange(vhost=V, name="own", type="direct", arguments=Arguments({"alternate-exchange": "fan"})),
        ),
        queues=tuple(
            Queue(vhost=V, name=name, type="classic", arguments=arguments)
            for name, arguments in {"late": late, "q": Arguments({}), "alone": Arguments({})}.items()
        ),
        bindings=(
            bind("own", "late", key="wait"),
            bind("fan", "own", kind="exchange"),
            bind("fan", "q"),
        ),
    )
    router = Router(state, V)
    assert router.reached("own", "wait") == {"late", "q"}
    assert router.reached("own", "nothing") == {"q"}
    assert router.reached("", "alone") == {"alone"}
    assert Router(state, "other").reached("own", "wait") == set()


@pytest.mark.parametrize(
    ("kind", "key", "bound", "leads"),
    [
        ("direct", "k", "k", True),
        ("direct", "k", "l", False),
        ("fanout", "k", "l", True),
        ("topic", "a.k", "#.k", True),
        ("topic", "a.k", "*", False),
        ("headers", "k", "", True),
    ],
)
def test_a_route_follows_the_kind_of_its_exchange(kind: str, key: str, bound: str, *, leads: bool) -> None:
    state = State(
        exchanges=(Exchange(vhost=V, name="e", type=kind),),
        queues=(Queue(vhost=V, name="q", type="quorum"),),
        bindings=(Binding(vhost=V, source="e", destination="q", routing_key=bound),),
    )
    assert Router(state, V).reached("e", key) == ({"q"} if leads else set())
    assert Router(state, V).reached("e", None) == {"q"}
    # A binding whose queue is not there leads nowhere.
    assert Router(replace(state, queues=()), V).reached("e", key) == set()


def test_the_brokers_own_exchanges_need_no_declaration() -> None:
    state = State(
        queues=(Queue(vhost=V, name="q", type="quorum"),),
        bindings=(Binding(vhost=V, source="amq.topic", destination="q", routing_key="#.k"),),
    )
    assert Router(state, V).reached("amq.topic", "a.k") == {"q"}
    assert Router(state, V).reached("", "other") == set()
    assert Router(state, V).reached("", None) == {"q"}


EXCHANGES = st.sampled_from(["a", "b", "fleet.tasks", "celery_delayed_3", ""])
FLEET = desired_state(parse(FILE.replace("url =", 'vhost = "v"\nurl =', 1), source="fleet.toml"), {})


@given(
    strange=states(), exchange=EXCHANGES, key=st.sampled_from(["a", "b.a", "fleet.email", "1.fleet.email"])
)
def test_what_one_key_reaches_some_key_reaches(strange: State, exchange: str, key: str) -> None:
    known = {each.identity for each in FLEET}
    state = State.of([*FLEET, *(each for each in strange if each.identity not in known)])
    router = Router(state, V)
    assert router.reached(exchange, key) <= router.reached(exchange, None)


WORDS = st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=4).map(".".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=4).map(".".join)


def by_expression(pattern: str, key: str) -> bool:
    """Tell whether a key matches, by another way: the pattern as a regular expression over ended words."""
    parts = {"*": "[^.]*[.]", "#": "([^.]*[.])*"}
    expression = "".join(parts.get(word, re.escape(word) + "[.]") for word in pattern.split("."))
    # An empty key has no word, an empty word between dots is one.
    return re.fullmatch(expression, f"{key}." if key else "") is not None


@given(pattern=PATTERNS, key=WORDS)
def test_topic_patterns_match_as_their_expressions_do(pattern: str, key: str) -> None:
    assert topic_matches(pattern, key) == by_expression(pattern, key)
