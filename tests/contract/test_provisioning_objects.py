"""Every object that a broker of either release holds: made, changed, left alone, deleted, by both doors."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, given, settings

from fleet.daemons.rabbitmq import RabbitNode
from provisioning import errors, render
from provisioning.apply import Observation, apply, plan_against
from provisioning.broker.ctl import Rabbitmqctl
from provisioning.broker.desired import read
from provisioning.broker.objects import (
    Binding,
    Exchange,
    OperatorPolicy,
    Permission,
    Policy,
    Queue,
    TopicPermission,
    User,
    Vhost,
)
from provisioning.broker.parameters import GlobalParameter, Json, Parameter
from provisioning.broker.passwords import Password
from provisioning.broker.policies import settings as settings_of
from provisioning.broker.rabbitmqctl import RabbitmqctlDoor
from provisioning.broker.regexes import fault
from provisioning.broker.releases import refuse_unfit, settled
from provisioning.broker.resource import Arguments
from provisioning.broker.state import State
from provisioning.broker.tags import is_kept
from provisioning.plan import Action, Change, Resource
from tests.contract.place import Place, opened, told
from tests.plan_cases import CASES, play
from tests.unit.provisioning.states import plain_states

DOORS = ("http", "rabbitmqctl")
#: seconds for the generated states of one release
GENERATING_SECONDS = 20.0
#: fewest generated cases of one release, however long they take
FEWEST = 5
#: within which the statistics know a new queue
STATISTICS_SECONDS = 40.0
#: names with everything that a URL, a shell, JSON or a terminal reads otherwise
ODD_NAMES = ("- a%2F/b?#&\"'ü", "--$HOME `id` $(id) \\ !*;|<>")


def own_permission(place: Place) -> Permission:
    """Return what the provisioner needs to delete over HTTP."""
    return Permission(vhost=place.name, user=place.node.admin_user, configure=".*", write=".*", read=".*")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
@pytest.mark.parametrize("door", DOORS)
def test_each_case_is_planned_made_and_then_as_desired(place: Place, door: str, case: Path) -> None:
    made, last = place.door(door), None
    for desired in play(case, made, vhost=place.name, admin=place.node.admin_user):
        # What one door has made, the other sees alike; rabbitmqctl takes long to look, so at the end only.
        assert nothing_left(place, DOORS[0], desired)
        last = desired
    assert last is not None
    assert nothing_left(place, DOORS[1], last)


def nothing_left(place: Place, name: str, desired: State) -> bool:
    door = place.door(name)
    return plan_against(desired, door.observe(), door, prune=True).changes == ()


@dataclass
class Tries:
    """How many generated cases have been tried, and until when there shall be more."""

    deadline: float
    count: int = 0

    def enough(self) -> bool:
        """Tell whether the time is over; a slow machine tries the fewest that are worth anything."""
        return self.count >= FEWEST and time.monotonic() > self.deadline


@pytest.fixture
def tries() -> Iterator[Tries]:
    """Count the cases, of which there must be some."""
    made = Tries(deadline=time.monotonic() + GENERATING_SECONDS)
    yield made
    assert made.count >= FEWEST


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(actual=plain_states(), desired=plain_states())
def test_from_any_state_to_any_other_and_then_there_is_nothing_left_to_do(
    place: Place, tries: Tries, actual: State, desired: State
) -> None:
    if tries.enough():
        return
    tries.count += 1
    door = place.door()
    for wanted in (actual, desired):
        there = place.desired(*place.moved(wanted), own_permission(place))
        report = place.converge(there, door)
        assert report.converged, render.report_text(report)
        assert plan_against(there, door.observe(), door, prune=True).changes == ()
        assert len(place.seen()) == len(tuple(there))


@pytest.mark.parametrize("door", DOORS)
def test_odd_names_are_made_seen_changed_and_deleted_through_either_door(place: Place, door: str) -> None:
    # Each call of rabbitmqctl costs a second, so there the two are one.
    odd = ODD_NAMES if door == "http" else ("".join(ODD_NAMES),)
    users = [User(name=f"{place.name}{n}", tags=(place.name,), password=Password("x")) for n in odd]
    named: list[Resource] = list(users)
    for user, name in zip(users, odd, strict=True):
        named += [
            Permission(vhost=place.name, user=user.name, configure="", write="", read=""),
            TopicPermission(vhost=place.name, user=user.name, exchange=name, write="", read=""),
            Queue(vhost=place.name, name=name, type="classic"),
            Policy(vhost=place.name, name=name, pattern="^\\$`no`$", definition=Arguments({"max-length": 1})),
            OperatorPolicy(
                vhost=place.name, name=name, pattern="^no$", definition=Arguments({"max-length": 1})
            ),
        ]
    made, own = place.door(door), own_permission(place)
    assert place.converge(place.desired(*named, own), made).converged
    assert len(place.seen()) == len(named) + 2
    report = place.converge(place.desired(own), made)
    assert report.converged, render.report_text(report)
    assert place.seen() == {place.bare, told(own)}


def test_without_utf_8_rabbitmqctl_sees_every_name_and_deletes_only_what_arrives(
    rabbit: RabbitNode, tmp_path: Path
) -> None:
    script = tmp_path / "rabbitmqctl"
    script.write_text(f'#!/bin/sh\nLC_ALL=C exec {rabbit.rabbitmqctl[0]} "$@"\n')
    script.chmod(0o700)
    plain = RabbitmqctlDoor(Rabbitmqctl((str(script),)))
    with opened(rabbit) as place:
        vhost = Vhost(name=place.name, description="é ü → 'q' \\x{41}")
        queues = [Queue(vhost=place.name, name=name, type="classic") for name in ("ü", "→", "$a")]
        desired = place.desired(vhost, *queues)
        assert place.converge(desired, plain).converged
        assert told(vhost) in place.seen()
        assert {told(r) for r in plain.observe().resources if place.owns(r)} == place.seen()
        change = Change(action=Action.DELETE, before=queues[0])
        assert "would not reach rabbitmqctl unchanged" in str(plain.refusal(change))
        assert place.door("rabbitmqctl").refusal(change) is None


def test_both_doors_see_the_same_fingerprint(place: Place) -> None:
    vhost = Vhost(name=place.name, description="d", tags=("a",), limits=Arguments({"max-queues": 9}))
    bound = OperatorPolicy(
        vhost=place.name, name="b", pattern="^q", definition=Arguments({"max-length": 5}), priority=3
    )
    desired = place.desired(vhost, bound)
    assert place.converge(desired, place.door()).converged
    # What is set over HTTP is stored as a list of pairs, and exported as such by rabbitmqctl.
    put(place, f"operator-policies/{place.name}/b",
        {"pattern": "^q", "definition": {"max-length": 5}, "apply-to": "queues", "priority": 3})  # fmt: skip
    doors = [place.door(name) for name in DOORS]
    plans = [plan_against(desired, door.observe(), door) for door in doors]
    assert [planned.changes for planned in plans] == [(), ()]
    assert plans[0].fingerprint == plans[1].fingerprint


def put(place: Place, path: str, body: object) -> None:
    requests.put(
        f"{place.node.management_url}/api/{path}",
        json=body,
        auth=(place.node.admin_user, place.node.admin_password.reveal()),
        timeout=20,
    ).raise_for_status()


def test_what_a_vhost_leaves_open_is_left_as_somebody_else_set_it(place: Place) -> None:
    put(place, f"vhosts/{place.name}",
        {"description": "theirs", "tags": "a,b", "tracing": True, "defaultqueuetype": "quorum",
         "default_queue_type": "quorum"})  # fmt: skip
    put(place, f"vhost-limits/{place.name}/max-queues", {"value": 77})
    made = place.door()
    # The broker has given one to its creator, who keeps it: it is the account that is logged in.
    own = Permission(vhost=place.name, user=place.node.admin_user, configure=".*", write=".*", read=".*")
    assert place.converge(place.desired(Vhost(name=place.name, tags=("c",)), own), made).converged
    (vhost,) = (v for v in made.observe().resources if isinstance(v, Vhost) and v.name == place.name)
    expected = replace(vhost, description="theirs", tags=("c",), default_queue_type="quorum",
                       limits=Arguments({"max-queues": 77}))  # fmt: skip
    assert vhost == expected
    traced = place.node.ctl("list_vhosts", "--silent", "name", "tracing").splitlines()
    assert f"{place.name}\ttrue" in traced


def test_a_queue_without_a_type_gets_the_default_of_its_vhost(place: Place) -> None:
    text = json.dumps(
        {
            "vhosts": [{"name": place.name, "default_queue_type": "quorum"}],
            "queues": [
                {"vhost": place.name, "name": "q"},
                {"vhost": place.name, "name": "s", "type": "stream"},
            ],
        }
    )
    made = place.door()
    desired = settled(read(text, source="desired.json"), made.observe())
    assert place.converge(desired, made).converged
    seen = {q.name: q.type for q in queues(made.observe(), place)}
    assert seen == {"q": "quorum", "s": "stream"}
    again = read(text, source="desired.json")
    assert plan_against(settled(again, made.observe()), made.observe(), made).changes == ()


def queues(seen: Observation, place: Place) -> Iterator[Queue]:
    return (r for r in seen.resources if isinstance(r, Queue) and r.vhost == place.name)


def test_a_broker_is_asked_for_nothing_that_it_would_refuse_or_forget(place: Place) -> None:
    assert place.converge(place.desired(), place.door()).converged
    made = place.door()
    seen, name = made.observe(), place.name
    old = seen.version < (3, 12)
    timeout = Policy(vhost=name, name="p", pattern="^q", definition=Arguments({"consumer-timeout": 60000}))
    mirrors = Policy(vhost=name, name="p", pattern="^q", definition=Arguments({"ha-mode": "all"}))
    streams = Policy(vhost=name, name="p", pattern="^q", apply_to="streams",
                     definition=Arguments({"max-age": "1h"}))  # fmt: skip
    routed = OperatorPolicy(vhost=name, name="p", pattern="^q",
                            definition=Arguments({"dead-letter-exchange": "x"}))  # fmt: skip
    changed = Vhost(name=name, default_queue_type="quorum")
    elsewhere = Queue(vhost=f"{name}-no", name="q", type="classic")
    unbound = Binding(vhost=name, source="nobody", destination="nothing")
    refused: dict[str, tuple[Resource, bool]] = {
        "consumer-timeout": (timeout, old),
        "ha-mode": (mirrors, not old),
        "streams": (streams, old),
        "dead-letter-exchange": (routed, True),
        "default_queue_type": (changed, old),
        "no vhost": (elsewhere, True),
        "no exchange nobody": (unbound, True),
    }
    for told_as, (resource, is_refused) in refused.items():
        desired = place.desired(resource)
        if is_refused:
            with pytest.raises(errors.Unsupported, match=f"{told_as}.*nothing was changed"):
                refuse_unfit(desired, seen)
            # The broker itself would not have done it either.
            assert not place.converge(desired, made).converged
        else:
            refuse_unfit(desired, seen)
            assert place.converge(desired, made).converged


@pytest.mark.parametrize(
    ("door", "tags"),
    [("http", ("é", " a", "t" * 256, "t" * 255, "a b,c%$`")), ("rabbitmqctl", ("é", "a b,c%$`"))],
)
def test_a_tag_is_refused_where_the_broker_would_keep_another_one(
    place: Place, door: str, tags: tuple[str, ...]
) -> None:
    made = place.door(door)
    for tag in tags:
        desired = place.desired(User(name=f"{place.name}.u", tags=(place.name, tag), password=Password("p")))
        if is_kept(tag):
            refuse_unfit(desired, made.observe())
        else:
            with pytest.raises(errors.Unsupported, match=r"as another one.*nothing was changed"):
                refuse_unfit(desired, made.observe())
        assert place.converge(desired, made).converged is is_kept(tag), tag


EXPRESSIONS = (
    "(", ")", "a(b", "[a", "[z-a]", "*", "+a", "a{2,1}", "\\", "(?P<n", "\\l", "\\U", "\\N{x}", "(?<=a+)b",
    "a**", "(?P=x)", "^(fleet[.](a|b))$", "a++", "(?>a)b", "\\Q(\\E", "[[:alpha:]]+", "[]a]", "a{,2}",
    "ü[é-ü]",
    "(?i)A", "\\h", "\\K", "(?|a|b)", "{username}.x", "\\p{L}", "x{3}", "(?#c)", "(?a)x", "(?u)x", "[\\d-x]",
)  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_that_we_refuse_is_one_that_the_broker_refuses(
    rabbit: RabbitNode, expression: str
) -> None:
    answer = requests.put(
        f"{rabbit.management_url}/api/policies/%2F/regexes",
        json={"pattern": expression, "definition": {"max-length": 1}, "apply-to": "exchanges"},
        auth=(rabbit.admin_user, rabbit.admin_password.reveal()),
        timeout=20,
    )
    requests.delete(
        f"{rabbit.management_url}/api/policies/%2F/regexes",
        auth=(rabbit.admin_user, rabbit.admin_password.reveal()),
        timeout=20,
    )
    if fault(expression):
        assert answer.status_code == 400
    if answer.ok:
        assert fault(expression) is None


def test_parameters_of_a_plugin_are_made_and_deleted_and_their_passwords_not_shown(
    own_rabbit: RabbitNode,
) -> None:
    plugins = own_rabbit.directory / "enabled_plugins"
    plugins.write_text("[rabbitmq_management,rabbitmq_prometheus,rabbitmq_shovel].\n")
    own_rabbit.ctl("eval", f'rabbit_plugins:ensure("{plugins}").')
    secret = "not-for-eyes"
    value = {
        "src-protocol": "amqp091",
        "src-uri": f"amqp://u:{secret}@nobody.invalid",
        "src-queue": "a",
        "dest-protocol": "amqp091",
        "dest-uri": [f"amqp://u:{secret}@nobody.invalid"],
        "dest-queue": "b",
    }
    with opened(own_rabbit) as place:
        shared = GlobalParameter(name=place.name, value=Json({"a": {"b": []}, "token": secret}))
        shovel = Parameter(vhost=place.name, component="shovel", name="-s", value=Json(value))
        other = replace(shovel, value=Json(value | {"src-uri": "amqp://u:another@nobody.invalid"}))
        for name, wanted in (("http", shovel), ("rabbitmqctl", other)):
            desired, made = place.desired(wanted, shared), place.door(name)
            planned = plan_against(desired, made.observe(), made)
            shown = render.text(planned) + json.dumps(render.record(planned)) + repr(planned)
            assert [word for word in (secret, "another") if word in shown] == []
            assert apply(planned, made).converged
            assert plan_against(desired, place.door().observe(), made).changes == ()
        # Nobody who declares no shovel owns one.
        assert plan_against(place.desired(), made.observe(), made, prune=True).changes == ()
        report = place.converge(place.desired(replace(shovel, name="kept")), made)
        assert report.converged
        assert [c.action for c in report.done] == [Action.CREATE, Action.DELETE]


def test_the_settings_of_a_queue_are_those_that_the_broker_says_it_has(place: Place) -> None:
    def rule(
        kind: type[Policy] | type[OperatorPolicy],
        name: str,
        priority: int,
        *,
        apply_to: str = "queues",
        **more: object,
    ) -> Policy | OperatorPolicy:
        definition = Arguments({key.replace("_", "-"): value for key, value in more.items()})
        return kind(
            vhost=place.name,
            name=name,
            pattern=f"^{name[0]}",
            priority=priority,
            apply_to=apply_to,
            definition=definition,
        )

    rules = [
        rule(Policy, "a", 1, max_length=5),
        rule(Policy, "a-high", 9, max_length=50, message_ttl=1000, overflow="reject-publish"),
        rule(OperatorPolicy, "a", 9, max_length=7, message_ttl=5000, expires=900_000),
        rule(OperatorPolicy, "a-low", 1, max_length=1),
        rule(Policy, "b", 0, max_length=3),
        rule(OperatorPolicy, "c", 0, max_length=4),
        rule(Policy, "d", 0, apply_to="exchanges", alternate_exchange="x"),
    ]
    queues = [Queue(vhost=place.name, name=name, type="classic") for name in ("a-1", "b-1", "c-1", "d-1")]
    assert place.converge(place.desired(*rules, *queues), place.door()).converged
    policies = [r for r in place.door().observe().resources if isinstance(r, Policy | OperatorPolicy)]
    told: dict[str, dict[str, object]] = {}
    deadline = time.monotonic() + STATISTICS_SECONDS
    while len(told) < len(queues):
        assert time.monotonic() < deadline
        answer = requests.get(
            f"{place.node.management_url}/api/queues/{place.name}",
            auth=(place.node.admin_user, place.node.admin_password.reveal()),
            timeout=20,
        )
        rows = [row for row in answer.json() if "effective_policy_definition" in row]
        told = {row["name"]: dict(row["effective_policy_definition"] or {}) for row in rows}
    assert {queue.name: settings_of(queue, policies) for queue in queues} == {
        name: [settings] for name, settings in told.items()
    }


def test_an_export_of_the_broker_is_a_desired_state_that_needs_no_change(place: Place) -> None:
    everything = place.desired(
        Vhost(name=place.name, description="d", tags=("t",), limits=Arguments({"max-queues": 50})),
        User(name=f"{place.name}.u", tags=(place.name,), password=Password("x"),
             limits=Arguments({"max-channels": 5})),
        Queue(vhost=place.name, name="s", type="stream", arguments=Arguments({"x-max-age": "1h"})),
        Queue(vhost=place.name, name="q", type="quorum"),
        Exchange(vhost=place.name, name="e", type="topic"),
        Binding(vhost=place.name, source="e", destination="s", routing_key="#"),
        OperatorPolicy(vhost=place.name, name="o", pattern="^q$", definition=Arguments({"max-length": 5})),
    )  # fmt: skip
    door = place.door()
    assert place.converge(everything, door).converged
    exported = place.node.ctl("-s", "export_definitions", "-")
    seen = door.observe()
    assert plan_against(settled(read(exported, source="export"), seen), seen, door).changes == ()
