"""Both doors see and make the same things, and the broker in memory does what the real one does."""

import json
import os
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import amqp
import pytest
import requests

from fleet import fleetfile
from fleet.ops.provision import DoorName, plan_broker, provision_broker
from provisioning import errors, render
from provisioning.apply import apply, plan_against
from provisioning.broker.definitions import parse
from provisioning.broker.management import ManagementDoor
from provisioning.broker.objects import (
    Binding,
    Exchange,
    Permission,
    Queue,
    User,
    Vhost,
)
from provisioning.broker.passwords import Password
from provisioning.broker.resource import Arguments
from provisioning.broker.script import script
from provisioning.broker.state import State
from provisioning.plan import Contents, Resource
from tests.broker import BrokerVhost, hosts_and_workers
from tests.broker_model import ModelDoor, state
from tests.contract.place import Place, told
from tests.unit.provisioning.states import POOL

#: pairs (what is there, what is wanted) that go through every action on every kind
STEPS: tuple[tuple[int, ...], ...] = tuple(
    tuple(index for index in range(len(POOL)) if index % 3 != step) for step in range(3)
)


def step(place: Place, indexes: Iterable[int]) -> State:
    chosen: dict[Any, Resource] = {}
    for resource in place.moved(POOL[index] for index in indexes):
        chosen[resource.identity] = resource
    kept = [r for r in chosen.values() if all(need in chosen for need in r.requires)]
    return place.desired(*kept)


def test_the_broker_in_memory_ends_where_the_real_one_does(place: Place) -> None:
    model, real = ModelDoor(), place.door()
    # The provisioner needs a permission to delete through the HTTP API.
    own = Permission(vhost=place.name, user=place.node.admin_user, configure=".*", write=".*", read=".*")
    model.objects[User(name=place.node.admin_user).identity] = User(name=place.node.admin_user)
    for indexes in (*STEPS, STEPS[0]):
        wanted = step(place, indexes)
        wanted = replace(wanted, permissions=(*wanted.permissions, own))
        reports = [place.converge(wanted, door) for door in (model, real)]
        assert all(report.converged for report in reports), [render.report_text(r) for r in reports]
        assert [c.action for c in reports[0].done] == [c.action for c in reports[1].done]
        assert {told(r) for r in model.objects.values() if place.owns(r)} == place.seen()


def test_both_doors_observe_the_same_objects(place: Place) -> None:
    assert place.converge(step(place, STEPS[1]), place.door()).converged
    http, ctl = (place.door(name).observe() for name in ("http", "rabbitmqctl"))
    assert http.version == ctl.version
    assert {told(r) for r in http.resources if place.owns(r)} == {
        told(r) for r in ctl.resources if place.owns(r)
    }


@pytest.fixture
def fleet_file(place: Place, tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    (tmp_path / "password").write_text("pa$$w`ord\\ ü")
    path.write_text(f"""
[broker]
url = "{place.node.url}"
vhost = "{place.name}"
user = "{place.name}-celery"
password = "file:{tmp_path / "password"}"
rabbitmqctl = ["{place.node.rabbitmqctl[0]}"]
[broker.management]
url = "{place.node.management_url}"
user = "{place.node.admin_user}"
password = "file:{place.node.admin_password_file}"
[broker.users."{place.name}-shop"]
role = "publisher"
password = "file:{tmp_path / "password"}"
queues = ["email"]
{hosts_and_workers("alpha", "beta")}
""")
    return path


def test_a_fleet_is_planned_alike_and_made_alike_through_either_door(place: Place, fleet_file: Path) -> None:
    fleet = fleetfile.read(str(fleet_file))
    http, ctl = (plan_broker(fleet, {}, door=door).plan for door in (DoorName.HTTP, DoorName.RABBITMQCTL))
    # Only the HTTP API gives the creator of a vhost anything besides.
    assert http.besides
    assert render.text(replace(http, besides={})) == render.text(ctl)
    assert http.fingerprint == ctl.fingerprint
    made = []
    for door in DoorName:
        assert provision_broker(fleet, {}, door=door).converged
        for other in DoorName:
            assert plan_broker(fleet, {}, door=other, prune=True).plan.changes == ()
        made.append(place.seen())
        place.node.ctl("delete_vhost", place.name)
        for user in ("celery", "shop"):
            place.node.ctl("delete_user", f"{place.name}-{user}")
    assert made[0] == made[1]


def test_a_script_makes_a_fleet(place: Place, fleet_file: Path) -> None:
    fleet = fleetfile.read(str(fleet_file))
    planned = plan_broker(fleet, {}, door=DoorName.RABBITMQCTL)
    text = script(planned.plan, version=planned.version, source="fleet.toml")
    password = fleet_file.with_name("password").read_text()
    assert password not in text
    run_script(place, text, f"{password}\n" * 2)
    for door in DoorName:
        assert plan_broker(fleet, {}, door=door, prune=True).plan.changes == ()


def run_script(place: Place, text: str, secrets: str) -> None:
    done = subprocess.run(
        ("/bin/sh", "-c", text),
        env={**os.environ, "RABBITMQCTL": " ".join(place.node.rabbitmqctl)},
        input=secrets,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_script_sets_and_clears_limits(place: Place) -> None:
    few = Arguments({"max-connections": 5, "max-channels": 9})
    vhost = Vhost(name=place.name, limits=Arguments({"max-queues": 9}))
    users = [
        User(name=f"{place.name}.{name}", tags=(place.name,), password=Password("one"), limits=few)
        for name in ("less", "fewer", "none")
    ]
    less, fewer, none = users
    door = place.door()
    assert place.converge(place.desired(vhost, *users), door).converged
    wanted = place.desired(
        replace(vhost, limits=Arguments()),
        replace(less, limits=Arguments({"max-channels": 3})),
        replace(fewer, limits=Arguments({"max-channels": 4}), password=Password("two")),
        replace(none, limits=Arguments()),
    )
    seen = door.observe()
    text = script(plan_against(wanted, seen, door), version=seen.version, source="limits")
    run_script(place, text, "two\n")
    assert plan_against(wanted, door.observe(), door).changes == ()


@pytest.mark.parametrize("door", ["http", "rabbitmqctl"])
def test_a_users_connections_are_seen_and_ended(place: Place, door: str) -> None:
    user = User(name=f"{place.name}.u", tags=(place.name,), password=Password("x"))
    right = Permission(vhost=place.name, user=user.name, configure=".*", write=".*", read=".*")
    assert place.converge(place.desired(user, right), place.door()).converged
    opened = place.door(door)
    connection = amqp.Connection(
        host=urlsplit(place.node.url).netloc, userid=user.name, password="x", virtual_host=place.name
    )
    connection.connect()
    try:
        assert opened.connections({(user.name, "elsewhere"), ("nobody", place.name)}) == []
        (found,) = opened.connections({(user.name, place.name)})
        assert (found.user, found.vhost) == (user.name, place.name)
        opened.disconnect(found)
        with pytest.raises((ConnectionError, amqp.ConnectionForced)):
            connection.drain_events(timeout=20)
    finally:
        # Closes the socket, whatever the broker says.
        connection.collect()
    assert opened.connections({(user.name, place.name)}) == []
    opened.disconnect(found)


def test_the_http_door_deletes_exchanges_and_bindings_whatever_they_are_called(place: Place) -> None:
    own = Permission(vhost=place.name, user=place.node.admin_user, configure=".*", write=".*", read=".*")
    odd = Exchange(vhost=place.name, name="e/%2F ü", type="topic")
    queue = Queue(vhost=place.name, name="q", type="classic")
    # No "~": RabbitMQ 3.10.8 exports no definitions any more (500) once a key that holds one has arguments.
    keys = ("", "#.a/b", "a%20b", "ü", "*.#")
    bindings = [
        Binding(vhost=place.name, source=odd.name, destination="q", routing_key=key, arguments=arguments)
        for key in keys
        for arguments in (Arguments(), Arguments({"x": 1}))
    ]
    door = place.door()
    assert place.converge(place.desired(own, odd, queue, *bindings), door).converged
    assert place.converge(place.desired(own, odd, queue, *bindings[::3]), door).converged
    assert len(place.seen()) == 4 + len(bindings[::3])
    assert place.converge(place.desired(own), door).converged


def test_over_http_a_name_that_is_no_part_of_a_url_is_refused_before_anything_is_changed(
    place: Place,
) -> None:
    door, queue = place.door(), Queue(vhost=place.name, name="..", type="classic")
    assert place.converge(place.desired(queue), door).converged
    there = place.seen()
    for wanted in (place.desired(), state([Vhost(name="..")])):
        planned = plan_against(wanted, door.observe(), door, prune=True)
        with pytest.raises(errors.Unsupported, match=r"`\.\.` cannot be part of a URL"):
            apply(planned, door, allow_destructive=True)
    assert place.seen() == there


def test_a_queue_that_is_gone_is_not_known_through_either_door(place: Place) -> None:
    assert place.converge(place.desired(), place.door()).converged
    gone = Queue(vhost=place.name, name="gone", type="classic")
    unknown = {gone.identity: Contents(messages=None, consumers=None)}
    over_http = ManagementDoor(
        place.node.management_url, user=place.node.admin_user, password=place.node.admin_password.reveal()
    )
    for door in (over_http, place.door("rabbitmqctl")):
        assert door.contents([gone]) == unknown


def test_creating_a_vhost_over_http_leaves_its_creator_no_permission(place: Place) -> None:
    assert place.converge(place.desired(), place.door()).converged
    assert place.seen() == {place.bare}


def login(place: Place, user: str, password: str) -> int:
    answer = requests.get(f"{place.node.management_url}/api/whoami", auth=(user, password), timeout=20)
    return answer.status_code


def test_a_change_of_tags_alone_keeps_the_password(place: Place) -> None:
    name = f"{place.name}.u"
    opened = place.door()
    user = User(name=name, tags=(place.name, "management"), password=Password("first"))
    assert place.converge(place.desired(user), opened).converged
    retagged = replace(user, tags=(place.name, "monitoring"), password=None)
    assert place.converge(place.desired(retagged), opened).converged
    assert login(place, name, "first") == 200
    assert place.converge(place.desired(replace(retagged, password=Password("second"))), opened).converged
    assert (login(place, name, "first"), login(place, name, "second")) == (401, 200)


def test_rabbitmqctl_refuses_to_delete_a_binding_before_anything_is_changed(
    place: Place, fleet_file: Path
) -> None:
    fleet = fleetfile.read(str(fleet_file))
    assert provision_broker(fleet, {}).converged
    binding = {"routing_key": "spy.#"}
    requests.post(
        f"{place.node.management_url}/api/bindings/{place.name}/e/fleet.tasks/q/fleet.email",
        json=binding,
        auth=(place.node.admin_user, place.node.admin_password.reveal()),
        timeout=20,
    ).raise_for_status()
    before = place.seen()
    planned = plan_broker(fleet, {}, door=DoorName.RABBITMQCTL, prune=True)
    assert "needs the HTTP door" in render.text(planned.plan, refusals=planned.refusals)
    with pytest.raises(Exception, match=r"cannot delete binding fleet\.tasks → queue fleet\.email"):
        apply(planned.plan, planned.door)
    assert place.seen() == before


def test_a_document_of_definitions_that_was_exported_is_the_state_that_is_there(place: Place) -> None:
    assert place.converge(step(place, STEPS[2]), place.door()).converged
    exported = json.loads(place.node.ctl("-s", "export_definitions", "-"))
    assert {told(r) for r in parse(exported) if place.owns(r)} == place.seen()


@pytest.mark.usefixtures("each_vhost")
def test_the_delayed_delivery_topology_is_the_one_that_celery_declares(
    each_vhost: BrokerVhost, fleet_file: Path, place: Place
) -> None:
    from kombu import Connection
    from kombu import Exchange as KombuExchange
    from kombu import Queue as KombuQueue
    from kombu.transport import native_delayed_delivery as native

    tasks = KombuExchange("fleet.tasks", type="topic")
    with Connection(each_vhost.url) as connection:
        native.declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
        queue = KombuQueue(
            "fleet.email",
            exchange=tasks,
            routing_key="fleet.email",
            queue_arguments={"x-queue-type": "quorum"},
        )
        bound = queue.bind(connection.default_channel)
        bound.exchange.declare()
        bound.queue_declare()
        native.bind_queue_to_native_delayed_delivery_exchange(connection, queue)
    assert provision_broker(fleetfile.read(str(fleet_file)), {}).converged

    def delayed(name: str, keep: Callable[[str], bool]) -> set[str]:
        found = (r for r in place.door().observe().resources if name in r.identity)
        return {told(r).replace(name, "VHOST") for r in found if keep(told(r))}

    ours = delayed(place.name, lambda text: "celery_delayed" in text and "topic permission" not in text)
    ours = {text for text in ours if "permission" not in text and ("#.fleet" not in text or "email" in text)}
    celerys = delayed(each_vhost.name, lambda text: "celery_delayed" in text)
    assert ours == celerys
