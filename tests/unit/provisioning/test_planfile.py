"""The file of a plan: what is in it, and when it is no longer the plan."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from provisioning import planfile, render
from provisioning.apply import Report, apply
from provisioning.broker.objects import Exchange, Permission, Queue, User, Vhost
from provisioning.broker.passwords import Password, PasswordHash
from provisioning.broker.state import State
from provisioning.errors import DesiredMoved, MalformedPlan, ProvisioningError, WorldMoved
from provisioning.plan import Connection, Contents, Plan, Resource, plan
from tests.broker_model import ModelDoor, state, stored
from tests.unit.provisioning.states import PASSWORDS, states

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "plan-json.md"
VHOST = Vhost(name="v")
QUEUE = Queue(vhost="v", name="q", type="quorum")
USER = User(name="u", tags=("ours",), password=Password("right"))
RIGHT = Permission(vhost="v", user="u", configure="^$", write="^a$", read="^$")
WANTED = [VHOST, USER, RIGHT, QUEUE]
SEEN = [
    VHOST,
    stored(replace(USER, password=Password("wrong"))),
    Exchange(vhost="v", name="old", type="topic"),
]


def made(wanted: Sequence[Resource] = WANTED, seen: Sequence[Resource] = SEEN) -> Plan:
    return plan(state(wanted, mark="ours"), map(stored, seen), prune=True)


def text(of: Plan) -> str:
    record = planfile.save(
        of,
        door="http",
        broker_version="3.10.8",
        source="fleet.toml",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        refusals={},
    )
    return json.dumps(record)


def test_the_same_plan_is_carried_out() -> None:
    planfile.refuse_another(planfile.load(text(made())), made(), broker_version="3.10.8")


Moved = tuple[Sequence[Resource], Sequence[Resource]]


@pytest.mark.parametrize(
    ("now", "error", "named"),
    [
        ((WANTED, [*SEEN, QUEUE]), WorldMoved, "queue q in vhost v is new"),
        ((WANTED, SEEN[:-1]), WorldMoved, "exchange old in vhost v is gone"),
        ((WANTED, [VHOST, stored(replace(USER, tags=())), SEEN[-1]]), WorldMoved, "user u changed"),
        ((WANTED[:-1], SEEN), DesiredMoved, "queue q in vhost v is gone"),
        (([*WANTED, SEEN[-1]], SEEN), DesiredMoved, "exchange old in vhost v is new"),
        (
            ([VHOST, USER, replace(RIGHT, read="^b$"), QUEUE], SEEN),
            DesiredMoved,
            "permission of user u in vhost v changed",
        ),
        # The password that was wrong is the declared one now: nothing is left to set.
        (
            ([VHOST, replace(USER, password=Password("wrong")), RIGHT, QUEUE], SEEN),
            DesiredMoved,
            "another change of user u",
        ),
    ],
)
def test_whatever_moved_is_named_and_refused(now: Moved, error: type[ProvisioningError], named: str) -> None:
    with pytest.raises(error, match=re.escape(named)):
        planfile.refuse_another(planfile.load(text(made())), made(*now), broker_version="3.10.8")


def test_another_version_of_the_broker_is_refused() -> None:
    with pytest.raises(WorldMoved, match=r"RabbitMQ 4\.0\.5 now, and was 3\.10\.8"):
        planfile.refuse_another(planfile.load(text(made())), made(), broker_version="4.0.5")


def test_a_password_that_the_plan_sets_may_change_until_then() -> None:
    later = made([VHOST, replace(USER, password=Password("newer")), RIGHT, QUEUE])
    planfile.refuse_another(planfile.load(text(made())), later, broker_version="3.10.8")


def test_a_plan_that_was_edited_is_refused() -> None:
    edited = json.loads(text(made()))
    edited["changes"] = edited["changes"][:-1]
    with pytest.raises(DesiredMoved, match="another change of exchange old"):
        planfile.refuse_another(planfile.load(json.dumps(edited)), made(), broker_version="3.10.8")


def spoiled(change: Callable[[dict[str, Any]], object]) -> str:
    record = json.loads(text(made()))
    change(record)
    return json.dumps(record)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        spoiled(lambda record: record.update(format_version=2)),
        spoiled(lambda record: record.update(format="terraform")),
        spoiled(lambda record: record.pop("seen")),
        spoiled(lambda record: record.update(changes=[{"action": "create"}])),
        spoiled(lambda record: record.update(wanted=[7])),
    ],
)
def test_what_is_no_plan_is_refused_as_such(content: str) -> None:
    with pytest.raises(MalformedPlan):
        planfile.load(content)


def test_keys_of_later_versions_are_passed_over() -> None:
    loaded = planfile.load(spoiled(lambda record: record.update(colour="blue")))
    planfile.refuse_another(loaded, made(), broker_version="3.10.8")


@given(states(), states())
def test_a_file_holds_no_password_and_no_hash_and_is_its_own_plan(desired: State, actual: State) -> None:
    seen = list(map(stored, actual))
    planned = plan(desired, seen, prune=True)
    content = text(planned)
    hashes = [r.password.salted for r in seen if isinstance(r, User) and isinstance(r.password, PasswordHash)]
    assert not [secret for secret in (*PASSWORDS, *hashes) if secret in content]
    planfile.refuse_another(planfile.load(content), plan(desired, seen, prune=True), broker_version="3.10.8")


def documented(heading: str) -> set[str]:
    """Return the keys in the table under a heading of the reference page."""
    section = re.split(r"^#+ ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (body,) = [part for part in section if part.startswith(heading + "\n")]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", body, flags=re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def keys(records: list[Mapping[str, Any]]) -> set[str]:
    return {key for record in records for key in record}


def test_the_reference_page_has_exactly_the_keys_that_are_written() -> None:
    replaced = replace(QUEUE, type="classic")
    shrunk = replace(RIGHT, write="^(a|b)$")
    seen = [*SEEN[:2], shrunk, replaced, replace(USER, name="gone"), replace(RIGHT, user="gone")]
    planned = replace(
        made(seen=seen),
        contents={QUEUE.identity: Contents(messages=1, consumers=2)},
        connections=(Connection(user="u", vhost="v", handle="h", client="c"),),
        besides={QUEUE.identity: "more"},
    )
    created = planfile.save(
        planned,
        door="http",
        broker_version="3.10.8",
        source="fleet.toml",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        refusals={QUEUE.identity: "not here"},
    )
    changes = [*created["changes"], *render.record(made(seen=[VHOST]))["changes"]]  # type: ignore[misc]
    assert keys(changes) == documented("A change")
    assert set(created) == documented("Both") | documented("In a file only")
    door = ModelDoor([VHOST])
    report: Report = apply(plan(state(WANTED), door.observe().resources), door)
    assert set(render.report_record(report)) == documented("After an apply")
