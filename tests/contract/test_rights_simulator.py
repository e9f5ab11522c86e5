"""The simulator of rights says what real brokers say: generated permissions, every kind of request."""

import random
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import amqp
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from provisioning.broker import operations as ask
from provisioning.broker.definitions import parse, version
from provisioning.broker.expression import matches
from provisioning.broker.objects import Permission, TopicPermission
from provisioning.broker.simulator import Rights
from provisioning.broker.state import State
from tests.broker import BrokerNode
from tests.broker_attempts import Client

EXCHANGES = {"tasks.all": "topic", "logs.all": "topic", "tasks.direct": "direct", "celery.pidbox": "fanout"}
QUEUES = ("tasks.mail", "tasks.backup.h1", "worker@h1.celery.pidbox")
#: never there, unless an attempt makes it
NEW = ("new.thing", "Tasks.mail", "amq.mine", "tasks\nmail")
THEIRS = ("amq.topic", "amq.direct", "amq.rabbitmq.trace")
KEYS = ("", "tasks.mail", "tasks.backup.h1", "0.1.tasks.mail", "h1.x", "tasks.mail\n", "#")
USER = "rights.a"


@dataclass(kw_only=True)
class World:
    """A vhost with a few objects, one user, and what the broker says to that user."""

    node: BrokerNode
    vhost: str
    user: str
    password: str
    state: State = field(default_factory=State)
    version: tuple[int, ...] = ()
    #: the user has topic permissions
    limited: bool = False

    def api(self, method: str, path: str, body: object = None) -> Any:
        answer = requests.request(
            method,
            f"{self.node.management_url}/api/{path}",
            json=body,
            auth=(self.node.admin_user, self.node.admin_password.reveal()),
            timeout=20,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    @property
    def client(self) -> Client:
        return Client(node=self.node, vhost=self.vhost, user=self.user, password=self.password)

    @property
    def admin(self) -> Client:
        password = self.node.admin_password.reveal()
        return Client(node=self.node, vhost=self.vhost, user=self.node.admin_user, password=password)

    def furnish(self) -> None:
        """Make what is to be there, and remove what is not."""
        with self.admin.channel() as admin:
            for name, kind in EXCHANGES.items():
                admin.exchange_declare(name, kind, durable=True, auto_delete=False)
            for name in QUEUES:
                admin.queue_declare(name, durable=True, auto_delete=False)
            for name in ("new.thing", "Tasks.mail", "tasksmail"):
                admin.queue_delete(name)
                with suppress(amqp.NotFound):
                    admin.exchange_delete(name)
                admin = admin if admin.is_open else admin.connection.channel()

    def observe(self) -> None:
        document = self.api("GET", "definitions")
        self.state, self.version = parse(document), version(document)

    def grant(self, permission: Permission, topics: tuple[TopicPermission, ...]) -> Rights:
        place = f"{self.vhost}/{self.user}"
        rows = {str(right): getattr(permission, right) for right in ask.Right}
        self.api("PUT", f"permissions/{place}", rows)
        if self.limited:
            self.api("DELETE", f"topic-permissions/{place}")
        self.limited = bool(topics)
        for row in topics:
            self.api(
                "PUT",
                f"topic-permissions/{place}",
                {"exchange": row.exchange, "write": row.write, "read": row.read},
            )
        others = [row for row in self.state.permissions if row.user != self.user]
        told = State(
            permissions=(*others, permission),
            topic_permissions=topics,
            exchanges=self.state.exchanges,
            queues=self.state.queues,
        )
        return Rights.of(told, self.user, self.vhost, version=self.version)


def changes(operation: ask.Operation) -> bool:
    made = isinstance(operation, ask.DeclareQueue | ask.DeclareExchange) and not operation.passive
    return made or isinstance(operation, ask.DeleteQueue | ask.DeleteExchange)


KINDS = (
    ask.Publish,
    ask.Consume,
    ask.Purge,
    ask.DeclareQueue,
    ask.DeclareExchange,
    ask.DeleteQueue,
    ask.DeleteExchange,
    ask.BindQueue,
    ask.BindExchange,
)


@pytest.fixture
def world(each_broker: BrokerNode) -> Iterator[World]:
    identity = secrets.token_hex(4)
    made = World(
        node=each_broker,
        vhost=f"rights-{identity}",
        user=f"{USER}-{identity}",
        password=secrets.token_urlsafe(12),
    )
    made.api("PUT", f"vhosts/{made.vhost}", {})
    try:
        made.api("PUT", f"users/{made.user}", {"password": made.password, "tags": ""})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        made.api("PUT", f"permissions/{made.vhost}/{made.node.admin_user}", everything)
        made.furnish()
        made.observe()
        yield made
    finally:
        made.api("DELETE", f"vhosts/{made.vhost}")
        made.api("DELETE", f"users/{quote(made.user, safe='')}")


exchanges = st.one_of(st.sampled_from(tuple(EXCHANGES)), st.sampled_from(("", *THEIRS, *NEW)))
queues = st.sampled_from((*QUEUES, *NEW))
keys = st.sampled_from(KEYS)
operations: st.SearchStrategy[ask.Operation] = st.one_of(
    st.builds(ask.Publish, exchange=exchanges, key=keys, copies=st.one_of(st.just(()), st.tuples(keys))),
    st.builds(ask.Consume, queue=st.sampled_from((*QUEUES, *NEW, ask.DIRECT_REPLY))),
    st.builds(ask.Purge, queue=queues),
    st.builds(
        ask.DeclareQueue,
        queue=st.sampled_from(("", *QUEUES, *NEW)),
        passive=st.booleans(),
        dead_letter_exchange=st.one_of(st.none(), exchanges),
    ),
    st.builds(
        ask.DeclareExchange,
        exchange=exchanges,
        passive=st.booleans(),
        alternate_exchange=st.one_of(st.none(), exchanges),
    ),
    st.builds(ask.DeleteQueue, queue=queues),
    st.builds(ask.DeleteExchange, exchange=exchanges),
    st.builds(ask.BindQueue, queue=queues, exchange=exchanges, key=keys),
    st.builds(ask.BindExchange, destination=exchanges, source=exchanges, key=keys),
)
expressions = st.just(".*") | st.sampled_from(
    (
        "",
        "^$",
        ".*",
        "^tasks[.]",
        "mail",
        r"^tasks\.(all|mail)$",
        "^(tasks[.].*|new[.]thing)$",
        "(?i)^tasks",
        "^[^.]+[.]all$",
        r"^\w+@h1[.]celery[.]pidbox$",
        "^amq[.]default$",
        "^amq[.]gen-",
        "^(amq[.].*|celery[.]pidbox)$",
    )
)
key_expressions = st.sampled_from(
    ("", "^$", ".*", "^tasks[.]mail$", "mail", "^([01][.]){2}tasks", "^{username}$", "^{vhost}|h1", "#")
)


@dataclass(frozen=True, kw_only=True)
class Grant:
    configure: str
    write: str
    read: str
    #: exchange → (write, read)
    topics: dict[str, tuple[str, str]]


grants = st.builds(
    Grant,
    configure=expressions,
    write=expressions,
    read=expressions,
    topics=st.dictionaries(
        st.sampled_from((*EXCHANGES, "amq.topic")), st.tuples(key_expressions, key_expressions), max_size=3
    ),
)


def test_the_broker_says_what_the_simulator_says(world: World) -> None:
    seen: dict[tuple[str, bool], int] = {}

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    @given(grant=grants, wanted=st.lists(operations, min_size=15, max_size=25))
    def compare(grant: Grant, wanted: list[ask.Operation]) -> None:
        who = {"user": world.user, "vhost": world.vhost}
        permission = Permission(configure=grant.configure, write=grant.write, read=grant.read, **who)
        topics = tuple(
            TopicPermission(exchange=name, write=write, read=read, **who)
            for name, (write, read) in grant.topics.items()
        )
        rights = world.grant(permission, topics)
        for operation in wanted:
            verdict, answer = rights.judge(operation), world.client.may(operation)
            if changes(operation):
                world.furnish()
            assert verdict.allowed == answer, (operation, verdict.reason, permission, topics)
            kind = (type(operation).__name__, answer)
            seen[kind] = seen.get(kind, 0) + 1

    compare()
    # Each kind was refused now and allowed then, else nothing was compared.
    assert len(seen) == 2 * len(KINDS)
    assert min(seen.values()) >= 5, seen


def test_a_user_without_a_permission_cannot_open_the_vhost(world: World) -> None:
    rights = Rights.of(world.state, world.user, world.vhost, version=world.version)
    assert not rights.judge(ask.DeclareQueue(queue="tasks.mail", passive=True)).allowed
    with pytest.raises(amqp.NotAllowed), world.client.channel():
        pass


PIECES = (
    *(
        "a",
        "b",
        ".",
        "[.]",
        r"\.",
        "[ab]",
        "[^a]",
        r"\w",
        r"\W",
        r"\d",
        r"\s",
        "[]a]",
        "[a-c]",
        "é",
        r"[\w.]",
    ),
    *(
        "(a|b)",
        "(?:ab)",
        "^",
        "$",
        "{",
        "}",
        "a{2}",
        "b{,2}",
        "a{1,}",
        r"\b",
        r"\z",
        "[&~|]",
        "#",
        "_",
        "(?=a)",
    ),
)
REPEATS = ("", "", "", "", "?", "*", "+", "*?", "++")
LETTERS = ("a", "b", ".", "c", "1", " ", "\n", "é", "ü", "_", "{", "}", "]", "&", "{,2}", "#", "ab")


def test_an_expression_matches_here_what_it_matches_in_erlang(each_broker: BrokerNode) -> None:
    chance = random.Random(5)
    pairs = [
        (
            "".join(chance.choice(PIECES) + chance.choice(REPEATS) for _ in range(chance.randint(0, 4))),
            "".join(chance.choice(LETTERS) for _ in range(chance.randint(0, 5))),
        )
        for _ in range(1500)
    ]
    known = [pair for pair in pairs if _is_known(*pair)]
    assert len(known) > 1000
    answers = _erlang(each_broker, [(expression or "^$", text) for expression, text in known])
    differing = [
        (pair, answer)
        for pair, answer in zip(known, answers, strict=True)
        if answer != ("match" if matches(*pair) else "nomatch")
    ]
    assert not differing
    assert 100 < answers.count("match") < len(answers) - 100


def _is_known(expression: str, text: str) -> bool:
    from provisioning.errors import UnreadableExpression

    try:
        matches(expression, text)
    except UnreadableExpression:
        return False
    return True


def _erlang(node: BrokerNode, pairs: list[tuple[str, str]]) -> list[str]:
    asked = ",".join(f"{{{_binary(text)},{_binary(expression)}}}" for expression, text in pairs)
    run = "case catch re:run(T,E,[{capture,none}]) of match->match; nomatch->nomatch; _->error end"
    answer = node.ctl("eval", f"[{run}||{{T,E}}<-[{asked}]].")
    return "".join(answer.split()).strip("[]").split(",")


def _binary(text: str) -> str:
    return f"<<{','.join(map(str, text.encode()))}>>"
