import pytest

from provisioning.broker.expression import matches
from provisioning.broker.objects import Exchange, Permission, Queue, TopicPermission
from provisioning.broker.operations import (
    BindQueue,
    Consume,
    DeclareQueue,
    DeleteExchange,
    Publish,
    Purge,
    Right,
)
from provisioning.broker.simulator import Rights
from provisioning.broker.state import State
from provisioning.errors import UnreadableExpression

V = "v"


def rights(
    configure: str = "^$",
    write: str = "^$",
    read: str = "^$",
    *,
    topics: tuple[TopicPermission, ...] = (),
    version: tuple[int, ...] = (3, 10, 8),
    user: str = "me",
) -> Rights:
    state = State(
        permissions=(Permission(vhost=V, user=user, configure=configure, write=write, read=read),),
        topic_permissions=topics,
        exchanges=(
            Exchange(vhost=V, name="t", type="topic"),
            Exchange(vhost=V, name="d", type="direct"),
            Exchange(vhost="other", name="d", type="topic"),
        ),
        queues=(Queue(vhost=V, name="q", type="quorum"),),
    )
    return Rights.of(state, user, V, version=version)


def topic(exchange: str, *, write: str = "", read: str = "", user: str = "me") -> TopicPermission:
    return TopicPermission(vhost=V, user=user, exchange=exchange, write=write, read=read)


def test_an_expression_is_searched_so_without_anchors_it_reaches_further() -> None:
    assert rights(write="d").may(Right.WRITE, "fleet.dead").allowed
    assert not rights(write="^d$").may(Right.WRITE, "fleet.dead").allowed


def test_an_empty_expression_matches_no_name_but_an_empty_routing_key() -> None:
    for nothing in ("", "^$"):
        limited = rights(write="^t$", topics=(topic("t", write=nothing),))
        assert not rights(write=nothing).may(Right.WRITE, "t").allowed
        assert not limited.allows(Publish(exchange="t", key="x"))
        assert limited.allows(Publish(exchange="t", key=""))


def test_the_default_exchange_is_amq_default() -> None:
    publish = Publish(exchange="", key="q")
    assert rights(write="^amq[.]default$").allows(publish)
    assert not rights(write="^$").allows(publish)
    assert "amq.default" in rights().judge(publish).reason


def test_topic_permissions_count_for_topic_exchanges_they_name_only() -> None:
    rows = (topic("t", write="^a$"), topic("d", write="^a$"))
    assert not rights(write=".*", topics=rows).allows(Publish(exchange="t", key="b"))
    assert rights(write=".*", topics=rows).allows(Publish(exchange="d", key="b"))
    assert rights(write=".*", topics=rows).allows(Publish(exchange="amq.topic", key="b"))
    assert not rights(read=".*", write=".*", topics=rows).allows(BindQueue(queue="q", exchange="t", key="b"))


def test_variables_of_topic_permissions_are_put_in_unescaped() -> None:
    mine = rights(write="t", user="a.b", topics=(topic("t", write="^{username}[.]{vhost}$", user="a.b"),))
    assert mine.allows(Publish(exchange="t", key="a.b.v"))
    assert mine.allows(Publish(exchange="t", key="aXb.v"))


def test_further_keys_of_a_message_are_checked_from_4_0_3_on() -> None:
    sneaky = Publish(exchange="t", key="a", copies=("b",))
    answers = {
        version: rights(write="t", topics=(topic("t", write="^a$"),), version=version).allows(sneaky)
        for version in ((), (3, 10, 8), (4, 0, 2), (4, 0, 3), (4, 1))
    }
    assert answers == {(): True, (3, 10, 8): True, (4, 0, 2): True, (4, 0, 3): False, (4, 1): False}


def test_a_new_queue_that_dead_letters_needs_more_than_one_that_is_there() -> None:
    new, there = (DeclareQueue(queue=name, dead_letter_exchange="d") for name in ("new", "q"))
    assert not rights(configure=".*").allows(new)
    assert not rights(configure=".*", read="^new$").allows(new)
    assert rights(configure=".*", read="^new$", write="^d$").allows(new)
    assert rights(configure=".*").allows(there)


def test_names_that_the_broker_keeps_are_nobodys() -> None:
    everything = rights(".*", ".*", ".*")
    assert not everything.allows(DeclareQueue(queue="amq.mine"))
    assert not everything.allows(DeleteExchange(exchange="amq.topic"))
    assert not everything.allows(Publish(exchange="amq.rabbitmq.trace"))
    assert everything.allows(DeclareQueue(queue=""))
    assert rights(configure="^amq[.]gen-").allows(DeclareQueue(queue=""))


def test_a_passive_declaration_and_direct_replies_need_no_right() -> None:
    assert rights().allows(DeclareQueue(queue="q", passive=True))
    assert rights().allows(Consume(queue="amq.rabbitmq.reply-to"))
    assert not rights().allows(Consume(queue="q"))
    assert rights(read="^q$").allows(Purge(queue="q"))


def test_who_has_no_permission_in_the_vhost_may_nothing() -> None:
    stranger = Rights.of(State(), "me", V)
    assert not stranger.allows(DeclareQueue(queue="q", passive=True))
    assert "cannot open" in stranger.may(Right.READ, "q").reason


@pytest.mark.parametrize(
    ("expression", "text", "expected"),
    [
        ("^a$", "a\n", True),
        (r"^\w+$", "ü", False),
        ("^..$", "ü", True),
        ("a{,3}", "a{,3}", True),
        ("a{,3}", "aaa", False),
        ("[]x]", "]", True),
        (r"fleet\.x", "fleetXx", False),
        ("(?i)^FLEET", "fleet.x", True),
    ],
)
def test_expressions_are_read_as_erlang_reads_them(expression: str, text: str, *, expected: bool) -> None:
    assert matches(expression, text) is expected


@pytest.mark.parametrize(
    "expression", ["[[:alpha:]]", "(?<n>a)", r"\Qa.b\E", "a(?i)b", "(*UTF8)a", "[a", "*a", r"\b"]
)
def test_an_expression_that_is_not_simulated_is_said_to_be_so(expression: str) -> None:
    with pytest.raises(UnreadableExpression, match="not known here"):
        matches(expression, "a")
