"""Passwords, permission expressions, definitions: the words in which a broker is spoken to."""

import json
import pickle
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.broker.ctl import Rabbitmqctl, printed
from provisioning.broker.definitions import parse, version
from provisioning.broker.document import document, state_document
from provisioning.broker.objects import Binding, Exchange, Policy, Queue, TopicPermission, User, Vhost
from provisioning.broker.passwords import Password, PasswordHash
from provisioning.broker.permissions import NOTHING, exactly, literal, names
from provisioning.broker.rabbitmqctl import RabbitmqctlDoor, deletion
from provisioning.broker.script import script
from provisioning.errors import MalformedDefinitions, Unsupported
from provisioning.plan import Action, Change, Contents, plan
from tests.broker_model import state, stored

#: the example of RabbitMQ's own documentation (docs/passwords)
DOCUMENTED = PasswordHash(salted="kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR")


def test_the_documented_hash_belongs_to_the_documented_password() -> None:
    assert Password("test12").matches(DOCUMENTED)
    assert Password("test12").hashed(salt=bytes.fromhex("908DC60A")) == DOCUMENTED
    assert not Password("test13").matches(DOCUMENTED)


@pytest.mark.parametrize(
    "stored",
    [
        PasswordHash(salted="not base64!"),
        PasswordHash(salted=""),
        replace(DOCUMENTED, algorithm="custom"),
        replace(DOCUMENTED, algorithm="rabbit_password_hashing_sha512"),
    ],
)
def test_what_cannot_be_checked_does_not_match(stored: PasswordHash) -> None:
    assert not Password("test12").matches(stored)


def test_a_password_and_its_hash_never_show_themselves() -> None:
    user = User(name="u", password=Password("hunter2"))
    assert "hunter2" not in repr(user)
    assert DOCUMENTED.salted not in repr(replace(user, password=DOCUMENTED))
    with pytest.raises(TypeError):
        pickle.dumps(user.password)


@given(
    st.lists(st.text("ab.^$|[]()\\-@*{}/", max_size=6), max_size=4), st.text("ab.^$|[]()\\-@*{}/", max_size=6)
)
def test_an_expression_for_names_matches_those_names_only(wanted: list[str], name: str) -> None:
    assert bool(re.search(names(wanted), name)) == (name in wanted or (not wanted and name == ""))


def test_a_dot_is_written_without_a_backslash() -> None:
    assert literal("fleet.email") == "fleet[.]email"
    assert exactly("b", "a", "b") == "^(a|b)$"
    assert exactly() == NOTHING


def test_a_change_of_tags_sends_the_stored_hash_again() -> None:
    before = User(name="u", tags=("administrator",), password=DOCUMENTED)
    after = User(name="u", tags=(), password=Password("test12"))
    change = Change(action=Action.UPDATE, before=before, after=after)
    (entry,) = document([change], salt=lambda: b"none")["users"]
    assert (entry["password_hash"], entry["tags"]) == (DOCUMENTED.salted, [])
    keeping = replace(change, after=replace(after, password=None))
    assert document([keeping], salt=lambda: b"none")["users"][0]["password_hash"] == DOCUMENTED.salted


def test_a_new_password_is_sent_as_a_salted_hash() -> None:
    change = Change(action=Action.CREATE, after=User(name="u", password=Password("test12")))
    made = document([change], salt=lambda: bytes.fromhex("908DC60A"))
    assert made["users"][0]["password_hash"] == DOCUMENTED.salted
    assert "test12" not in json.dumps(made)


def test_a_password_in_the_clear_has_no_place_in_an_export() -> None:
    with pytest.raises(MalformedDefinitions):
        state_document(state([User(name="u", password=Password("x"))]))


def test_a_queue_without_a_type_is_a_classic_one() -> None:
    (queue,) = parse({"queues": [{"vhost": "v", "name": "q", "arguments": []}]}).queues
    assert queue == Queue(vhost="v", name="q", type="classic")


def test_internal_exchanges_are_passed_over() -> None:
    entry = {"vhost": "v", "name": "e", "type": "topic", "internal": True}
    assert parse({"exchanges": [entry]}).exchanges == ()


@pytest.mark.parametrize(
    ("given_document", "message"),
    [
        ([], "a JSON object, not list"),
        ({"queues": {}}, "`queues` is not a list"),
        ({"queues": ["q"]}, "`queues` holds 'q'"),
        ({"queues": [{"vhost": "v"}]}, "`name` of an entry is missing"),
        ({"queues": [{"vhost": "v", "name": "q", "durable": "yes"}]}, "`durable` of q is missing or wrong"),
        ({"exchanges": [{"vhost": "v", "name": "e"}]}, "`type` of e is missing"),
        (
            {"bindings": [{"vhost": "v", "source": "e", "destination": "q", "arguments": [1]}]},
            "not an object",
        ),
    ],
)
def test_a_malformed_document_is_refused_by_name(given_document: object, message: str) -> None:
    with pytest.raises(MalformedDefinitions, match=re.escape(message)):
        parse(given_document)


@pytest.mark.parametrize(("text", "parts"), [("3.10.8", (3, 10, 8)), ("4.0.5+1", (4, 0, 5)), ("", ())])
def test_the_broker_version_is_a_tuple(text: str, parts: tuple[int, ...]) -> None:
    assert version({"rabbitmq_version": text}) == parts


@pytest.mark.parametrize(
    ("resource", "argv"),
    [
        (User(name="-x"), ("delete_user", "--", "-x")),
        (
            TopicPermission(vhost="v", user="u", exchange="e", write="", read=""),
            ("clear_topic_permissions", "--vhost=v", "--", "u", "e"),
        ),
        (Policy(vhost="-v", name="p", pattern="."), ("clear_policy", "--vhost=-v", "--", "p")),
        (Queue(vhost="v", name="q", type="quorum"), ("delete_queue", "--vhost=v", "--", "q")),
    ],
)
def test_rabbitmqctl_gets_names_that_cannot_become_options(
    resource: User | TopicPermission | Policy | Queue, argv: tuple[str, ...]
) -> None:
    assert deletion(resource) == argv


#: lets a second shell read the arguments, as Debian's wrapper does, and says back what is left of them
SECOND_SHELL = ("/bin/sh", "-c", 'printf "%s\\n" "$(eval "echo $*")"', "sh")
UNSAFE = (
    Queue(vhost="v", name="$(id)", type="quorum"),
    User(name="a`b"),
    User(name="ü"),
    Queue(vhost="v", name="two  spaces ", type="quorum"),
)


@pytest.mark.parametrize(
    "resource",
    [Exchange(vhost="v", name="e", type="topic"), Binding(vhost="v", source="e", destination="q")],
)
def test_rabbitmqctl_refuses_what_it_has_no_command_for(resource: Exchange | Binding) -> None:
    refusal = RabbitmqctlDoor().refusal(Change(action=Action.DELETE, before=resource))
    assert "needs the HTTP door" in str(refusal)
    assert RabbitmqctlDoor().refusal(Change(action=Action.CREATE, after=resource)) is None


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        (Exchange(vhost="v", name="e", type="topic"), "no command that deletes an exchange"),
        (Queue(vhost="v", name="$(id)", type="quorum"), "might not pass through the shells"),
        (Queue(vhost="v", name=" q ", type="quorum"), "might not pass through the shells"),
    ],
)
def test_whether_a_script_can_do_it_is_not_asked_of_this_machine(
    resource: Queue | Exchange, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Here is no rabbitmqctl at all.
    monkeypatch.setenv("PATH", "/nonexistent")
    pruned = plan(state([Vhost(name="v")]), [stored(Vhost(name="v")), resource], prune=True)
    with pytest.raises(Unsupported, match=re.escape(reason)):
        script(pruned, version=(3, 10, 8), source="s", allow_destructive=True)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("é → \\\\x{41}".encode(), "é → \\\\x{41}"),
        (b'"\xe9 \\x{2192}"', '"é →"'),
        (b'"\\x{2192}"', '"→"'),
        (b'"\\\\\\x{2192}"', '"\\\\→"'),
    ],
)
def test_what_rabbitmqctl_prints_is_read_in_any_locale(raw: bytes, text: str) -> None:
    assert printed(raw) == text


def test_rabbitmqctl_knows_nothing_of_a_queue_without_counts_or_that_it_does_not_list() -> None:
    # What it prints of a queue whose node is down, and of one that is empty.
    rows = [{"name": "down", "messages": "", "consumers": ""}, {"name": "up", "messages": 0, "consumers": 0}]
    says = ("/bin/sh", "-c", f"printf %s '{json.dumps(rows)}'", "sh")
    queues = [Queue(vhost="v", name=name, type="classic") for name in ("down", "up", "unlisted")]
    unknown, empty = Contents(messages=None, consumers=None), Contents(messages=0, consumers=0)
    found = RabbitmqctlDoor(Rabbitmqctl(says)).contents(queues)
    assert [found[queue.identity] for queue in queues] == [unknown, empty, unknown]


@pytest.mark.parametrize("resource", UNSAFE)
def test_rabbitmqctl_gets_no_name_that_a_second_shell_would_change(resource: Queue | User) -> None:
    door = RabbitmqctlDoor(Rabbitmqctl(SECOND_SHELL))
    told = door.refusal(Change(action=Action.DELETE, before=resource))
    assert "would not reach rabbitmqctl unchanged" in str(told)
    # Made on stdin, where no shell looks.
    assert door.refusal(Change(action=Action.CREATE, after=resource)) is None
