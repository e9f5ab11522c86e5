import json
from dataclasses import replace
from pathlib import Path

import pytest

from provisioning import render
from provisioning.broker.objects import Exchange, Permission, Policy, Queue, User, Vhost
from provisioning.broker.parameters import Json, Parameter
from provisioning.broker.passwords import Password
from provisioning.broker.resource import Arguments
from provisioning.plan import Connection, Contents, plan
from tests.broker_model import state, stored

CASES = Path(__file__).parents[2] / "cases" / "plans"
VHOST = Vhost(name="v")
QUEUE = Queue(vhost="v", name="q", type="quorum", arguments=Arguments({"x-max-length": 5}))
USER = User(name="u", tags=("ours",), password=Password("secret"))


def test_a_plan_reads_as_in_the_golden_file() -> None:
    row = Permission(vhost="v", user="u", configure="^$", write="^tasks$", read="^$")
    theirs = replace(row, user="w")
    policy = Policy(vhost="v", name="p", pattern="^q$", definition=Arguments({"delivery-limit": 5}))
    tasks = Exchange(vhost="v", name="tasks", type="topic")
    desired = state([VHOST, USER, row, theirs, policy, tasks, QUEUE], mark="ours")
    actual = [
        VHOST,
        stored(replace(USER, tags=(), password=Password("other"))),
        replace(policy, definition=Arguments({"delivery-limit": 20})),
        replace(QUEUE, type="classic"),
        replace(theirs, write=".*"),
        Queue(vhost="v", name="old\x1b[2J", type="quorum"),
    ]
    pruned = plan(desired, actual, prune=True)
    held = replace(
        pruned,
        contents={QUEUE.identity: Contents(messages=12, consumers=2)},
        besides={tasks.identity: "the broker does more\x1b[2J"},
        connections=tuple(
            Connection(user="w", vhost="v", handle="", client=client)
            for client in ("10.0.0.7", "shop\x1b[2J", "10.0.0.7")
        ),
    )
    kept = plan(state([VHOST, QUEUE], mark="ours"), [VHOST, QUEUE, actual[-1]])
    shown = render.text(held, refusals={QUEUE.identity: "not through this door"}) + "\n\n" + render.text(kept)
    assert shown + "\n" == (CASES / "every-sign.txt").read_text(encoding="utf-8")


def test_the_json_of_a_plan_has_every_change_with_its_fields() -> None:
    actual = [VHOST, stored(replace(USER, tags=(), password=Password("other")))]
    record = render.record(plan(state([VHOST, USER]), actual))
    assert json.loads(json.dumps(record)) == record
    assert record["changed"] is True
    assert record["changes"] == [
        {
            "action": "update",
            "kind": "user",
            "identity": ["user", "u"],
            "object": "user u",
            "fields": [
                {"name": "tags", "before": [], "after": ["ours"]},
                {"name": "password", "secret": True},
            ],
        }
    ]


def test_a_plan_without_changes_is_empty_text_and_unchanged_json() -> None:
    planned = plan(state([VHOST]), [VHOST])
    assert render.text(planned) == ""
    assert render.record(planned)["changed"] is False
    assert render.summary(planned) == "plan: no changes"


@pytest.mark.parametrize(
    "value",
    [
        {"src-uri": "amqp://u:KEYPASS@h/v"},
        {"src-uri": "amqps://u@h?certfile=c&password=KEYPASS&verify=verify_peer"},
        {"src-uri": ["amqps://h/v?password=KEYPASS"]},
        {"src-uri": "amqp://u:one@KEYPASS@h:5671"},
        {"src-uri": "amqp://:KEYPASS@h"},
        [["password", "KEYPASS"], ["src-uri", "amqp://u:KEYPASS@h"]],
        {"auth": [["token", "KEYPASS"]]},
        {"auth": {"secret": ["KEYPASS"]}},
    ],
)
def test_no_form_of_a_parameter_shows_its_password(value: object) -> None:
    wanted = Parameter(vhost="v", component="shovel", name="s", value=Json(value))
    other = replace(wanted, value=Json({"src-uri": "amqp://h"}))
    for actual in ([VHOST], [VHOST, other]):
        planned = plan(state([VHOST, wanted]), actual)
        shown = render.text(planned) + json.dumps(render.record(planned)) + repr(planned) + repr(wanted)
        assert "KEYPASS" not in shown
        assert planned.changes
