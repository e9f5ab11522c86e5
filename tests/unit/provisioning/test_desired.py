"""What a `desired.json` may say, and what is said of one that is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from provisioning.broker.definitions import parse
from provisioning.broker.desired import read
from provisioning.broker.desired_fields import IGNORED, SECTIONS
from provisioning.broker.document import state_document
from provisioning.broker.objects import Vhost
from provisioning.broker.passwords import Password
from provisioning.broker.resource import Arguments
from provisioning.broker.state import State
from provisioning.errors import MalformedDefinitions
from tests.broker_model import state, stored
from tests.unit.provisioning.states import states

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "desired-state.md"
QUEUE = {"vhost": "v", "name": "mail"}
POLICY = {"vhost": "v", "name": "p", "pattern": "^mail$", "definition": {"max-length": 1}}


def complaint(document: object) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(MalformedDefinitions) as caught:
        read(text, source="desired.json")
    return caught.value.message


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "desired.json is not JSON: "),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"queues": [], "queues": []}', "the key `queues` is there twice in one object"),
        ('{"vhosts": [{"name": "\\ud800"}]}', "desired.json is not JSON: "),
        ("[" * 100_000, "desired.json is not JSON: "),
        ([], "desired.json: definitions are a JSON object, not a list"),
        ({"quues": []}, "desired.json: there is no section `quues`; did you mean `queues`?"),
        ({"queues": {}}, "desired.json: `queues` must be a list, not an object"),
        ({"queues": ["q"]}, "desired.json: queues[0] must be an object, not a text"),
        ({"queues": [{"name": "q"}]}, "desired.json: queues[0] (name `q`): `vhost` is missing"),
        (
            {"queues": [QUEUE, QUEUE | {"durable": "yes"}]},
            "desired.json: queues[1] (name `mail`, vhost `v`): `durable` must be true or false, not a text",
        ),
        (
            {"policies": [POLICY | {"apply_to": "all"}]},
            "policies[0] (name `p`, vhost `v`): there is no field `apply_to`; did you mean `apply-to`?",
        ),
        ({"policies": [POLICY | {"priority": True}]}, "`priority` must be a whole number, not true or false"),
        (
            {"users": [{"name": "u", "password": 5}]},
            "users[0] (name `u`): `password` must be a text, not a number",
        ),
        ({"vhosts": [{"name": "v", "tags": [1]}]}, "`tags` must be a list of texts"),
        ({"queues": [QUEUE | {"arguments": [["x"]]}]}, "`arguments` must be an object, not a list"),
        ({"queues": [QUEUE, QUEUE]}, "desired.json: queue mail in vhost v is declared twice"),
        (
            {"queues": [QUEUE | {"type": "quorom"}]},
            "queue mail in vhost v: `type` is one of `classic`, `quorum`",
        ),
        ({"queues": [QUEUE | {"type": "quorum", "durable": False}]}, "a quorum queue is durable"),
        ({"queues": [QUEUE | {"name": "é" * 128}]}, "a name has at most 255 bytes"),
        ({"queues": [QUEUE | {"name": "a\0b"}]}, "cannot hold the character U+0000"),
        ({"queues": [QUEUE | {"name": ".."}]}, "queue .. in vhost v: a name that is `.` or `..`"),
        ({"vhosts": [{"name": "."}]}, "vhost .: a name that is `.` or `..`"),
        ({"users": [{"name": ""}]}, "`name` is empty"),
        (
            {"vhosts": [{"name": "v", "default_queue_type": "mirrored"}]},
            "vhost v: `default_queue_type` is one of",
        ),
        (
            {"vhosts": [{"name": "v", "limits": {"max-channels": 1}}]},
            "vhost v: `limits` holds one of `max-conn",
        ),
        (
            {"users": [{"name": "u", "limits": {"max-channels": "1"}}]},
            "the limit `max-channels` is a whole number",
        ),
        (
            {"users": [{"name": "u", "password": "a", "password_hash": "b"}]},
            "has `password` and `password_hash`",
        ),
        ({"users": [{"name": "u", "password_hash": "no!"}]}, "user u: `password_hash` is not base64"),
        (
            {"users": [{"name": "u", "password_hash": "kI3GCqW5", "hashing_algorithm": "md4"}]},
            "`hashing_algorithm`",
        ),
        (
            {"policies": [POLICY | {"pattern": "("}]},
            "`pattern` is a regular expression that RabbitMQ refuses: `(`",
        ),
        ({"policies": [POLICY | {"definition": {}}]}, "policy p in vhost v: `definition` is empty"),
        (
            {"operator_policies": [POLICY | {"apply-to": "queue"}]},
            "operator policy p in vhost v: `apply-to` is one",
        ),
        (
            {"permissions": [{"vhost": "v", "user": "u", "configure": "", "write": "*", "read": ""}]},
            "permission of user u in vhost v: `write` is a regular expression that RabbitMQ refuses: `*`",
        ),
        ({"exchanges": [QUEUE | {"type": "topic", "internal": True}]}, "exchange mail is `internal`"),
        (
            {"bindings": [{"vhost": "v", "source": "a", "destination": "b", "destination_type": "exchnge"}]},
            "`destination_type` is `queue` or `exchange`, not `exchnge`",
        ),
        (
            {"parameters": [{"component": "vhost-limits", "name": "limits", "vhost": "w", "value": {}}]},
            "there are limits for vhost w, which is not in `vhosts`",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_object_and_field(document: Any, message: str) -> None:
    told = complaint(document)
    assert message in told
    assert told.startswith("desired.json")


def test_no_complaint_tells_a_password() -> None:
    for users in ([{"name": "u", "password": ["s3cret"]}], [{"name": "u", "password_hash": "s3cret!"}]):
        assert "s3cret" not in complaint({"users": users})


def test_what_is_left_out_is_left_open() -> None:
    asked = read(
        json.dumps({"vhosts": [{"name": "v"}], "users": [{"name": "u"}], "queues": [QUEUE]}), source="-"
    )
    assert asked.vhosts == (Vhost(name="v"),)
    assert (asked.users[0].password, asked.users[0].limits) == (None, None)
    assert asked.queues[0].type == ""


def test_what_is_written_by_hand_means_what_an_export_means() -> None:
    by_hand = {
        "vhosts": [{"name": "v", "description": "d", "tags": "a, b", "limits": {"max-queues": 1}}],
        "queues": [QUEUE | {"type": "stream", "arguments": {"x-max-age": "1h"}}],
        "operator_policies": [POLICY | {"apply-to": "queues"}],
    }
    metadata = {"description": "d", "tags": ["a", "b"]}
    bounds = {"pattern": "^mail$", "apply-to": "queues", "priority": 0, "definition": [["max-length", 1]]}
    exported = {
        "vhosts": [{"name": "v", "metadata": metadata, "limits": [["max-queues", 1]]}],
        "queues": [QUEUE | {"durable": True, "arguments": {"x-queue-type": "stream", "x-max-age": "1h"}}],
        "parameters": [
            {"component": "vhost-limits", "name": "limits", "vhost": "v", "value": {"max-queues": 1}},
            {
                "component": "operator_policy",
                "vhost": "v",
                "name": "p",
                "value": bounds,
            },
        ],
    }
    assert set(read(json.dumps(by_hand), source="-")) == set(read(json.dumps(exported), source="-"))


@pytest.mark.parametrize(
    ("exported", "expected"),
    [
        pytest.param({"name": "v"}, Vhost(name="v"), id="3.10 over HTTP"),
        pytest.param(
            {"name": "v", "limits": [], "metadata": {"description": "", "tags": ["a"]}},
            Vhost(name="v", description="", tags=("a",)),
            id="3.10 by rabbitmqctl",
        ),
        pytest.param(
            {"name": "v", "description": "d", "tags": [], "default_queue_type": "undefined"},
            Vhost(name="v", description="d", tags=()),
            id="3.10, its list of vhosts",
        ),
        pytest.param(
            {
                "name": "v",
                "limits": [],
                "metadata": {"description": "d", "tags": [], "default_queue_type": "quorum"},
            },
            Vhost(name="v", description="d", tags=(), default_queue_type="quorum"),
            id="3.13",
        ),
        pytest.param(
            {
                "name": "v",
                "default_queue_type": "classic",
                "limits": [["max-queues", 2]],
                "metadata": {"tags": []},
            },
            Vhost(name="v", tags=(), default_queue_type="classic", limits=Arguments({"max-queues": 2})),
            id="4.0 by rabbitmqctl",
        ),
    ],
)
def test_each_release_exports_a_vhost_in_its_own_shape(exported: dict[str, Any], expected: Vhost) -> None:
    assert parse({"vhosts": [exported]}).vhosts == (expected,)


def test_no_limits_take_those_that_are_there_away_and_an_exports_empty_list_leaves_them() -> None:
    def limits(said: object) -> Arguments | None:
        (vhost,) = read(json.dumps({"vhosts": [{"name": "v", "limits": said}]}), source="d").vhosts
        return vhost.limits

    assert limits({}) == Arguments({})
    assert limits([]) is None


@given(states())
def test_every_export_can_be_read_as_a_desired_state(actual: State) -> None:
    kept = state(map(stored, actual))
    asked = read(json.dumps(state_document(kept)), source="export")
    assert set(map(stored, asked)) == set(kept)
    assert not [user for user in asked.users if isinstance(user.password, Password)]


def test_the_reference_page_has_every_section_and_field() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, section in SECTIONS.items():
        _, _, after = text.partition(f"\n## `{name}`\n")
        part = after.partition("\n## ")[0]
        rows = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
        assert rows == list(section.fields), name
        required = [
            line.split("`")[1] for line in part.splitlines() if line.startswith("| `") and "| yes |" in line
        ]
        assert required == [key for key, field in section.fields.items() if field.required], name
    for name in IGNORED:
        assert f"`{name}`" in text
