"""Whatever somebody changes in the broker is found, named and repaired; what is not ours stays."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from fleet.ops.provision import plan_broker
from provisioning.apply import apply
from provisioning.errors import QueueInUse
from tests.integration.provisioning.conftest import Site

Drift = Callable[[Site], Any]


def put(path: str, body: object) -> Drift:
    return lambda site: site.vhost.api("PUT", path.format(vhost=site.vhost.name, user=site.vhost.user), body)


def remove(path: str) -> Drift:
    return lambda site: site.vhost.api("DELETE", path.format(vhost=site.vhost.name, user=site.vhost.user))


def again(path: str, body: object) -> Drift:
    def drift(site: Site) -> None:
        remove(path)(site)
        put(path, body)(site)

    return drift


EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
POLICY = {"pattern": "^fleet[.]email$", "definition": {"delivery-limit": 1}, "apply-to": "queues"}
EMAIL = "queue fleet.email in vhost {vhost}"
BOUND = "create binding fleet.tasks → queue fleet.email by `#.fleet.email` in vhost {vhost}"
DRIFTS: dict[str, tuple[Drift, list[str]]] = {
    "another password": (
        put("users/{user}", {"password": "stolen", "tags": "fleet:{vhost}"}),
        ["update user {user}"],
    ),
    "an administrator": (
        put("users/{user}", {"password_hash": "", "tags": "administrator"}),
        ["update user {user}"],
    ),
    "no user": (
        remove("users/{user}"),
        [
            "create user {user}",
            "create topic permission of user {user} on exchange celery_delayed_27 in vhost {vhost}",
            "create topic permission of user {user} on exchange fleet.journal in vhost {vhost}",
            "create topic permission of user {user} on exchange fleet.tasks in vhost {vhost}",
            "create permission of user {user} in vhost {vhost}",
        ],
    ),
    "every right": (
        put("permissions/{vhost}/{user}", EVERYTHING),
        ["update permission of user {user} in vhost {vhost}"],
    ),
    "no right": (
        remove("permissions/{vhost}/{user}"),
        ["create permission of user {user} in vhost {vhost}"],
    ),
    "every routing key": (
        put("topic-permissions/{vhost}/{user}", {"exchange": "fleet.tasks", "write": ".*", "read": ".*"}),
        ["update topic permission of user {user} on exchange fleet.tasks in vhost {vhost}"],
    ),
    "another policy": (
        put("policies/{vhost}/fleet.email", POLICY),
        ["update policy fleet.email in vhost {vhost}"],
    ),
    "no policy": (remove("policies/{vhost}/fleet.email"), ["create policy fleet.email in vhost {vhost}"]),
    "no queue": (remove("queues/{vhost}/fleet.email"), ["create " + EMAIL, BOUND]),
    "a queue of another type": (
        again("queues/{vhost}/fleet.email", {"durable": True, "arguments": {"x-queue-type": "classic"}}),
        ["replace " + EMAIL, BOUND],
    ),
    "a queue with another argument": (
        again(
            "queues/{vhost}/fleet.email",
            {"durable": True, "arguments": {"x-queue-type": "quorum", "x-message-ttl": 1}},
        ),
        ["replace " + EMAIL, BOUND],
    ),
    "no binding": (remove("bindings/{vhost}/e/fleet.tasks/q/fleet.email/%23.fleet.email"), [BOUND]),
    "an exchange of another type": (
        again("exchanges/{vhost}/fleet.dead", {"type": "fanout", "durable": True}),
        [
            "replace exchange fleet.dead in vhost {vhost}",
            *(
                f"create binding fleet.dead → queue fleet.{name}.dlq by `fleet.{name}.dlq` in vhost {{vhost}}"
                for name in ("backup", "default", "email")
            ),
        ],
    ),
}


def told(site: Site, lines: list[str]) -> list[str]:
    return [line.format(vhost=site.vhost.name, user=site.vhost.user) for line in lines]


@pytest.mark.usefixtures("queues_are_new")
def test_every_kind_of_drift_is_named_exactly_and_repaired(site: Site) -> None:
    for name, (drift, expected) in DRIFTS.items():
        drift(site)
        assert (name, site.pending()) == (name, told(site, expected))
        site.repair()
        assert (name, site.pending(prune=True)) == (name, [])
    with site.channel("worker"):
        pass  # the declared password is the one that works


UNDECLARED: dict[str, dict[str, Any]] = {
    "queues/{vhost}/leftover": {"durable": True, "arguments": {"x-queue-type": "quorum"}},
    "exchanges/{vhost}/leftover": {"type": "topic", "durable": True},
    "policies/{vhost}/fleet.leftover": {
        "pattern": "^none$",
        "definition": {"max-length": 1},
        "apply-to": "queues",
    },
    "users/{vhost}-gone": {"password": "x", "tags": ["fleet:{vhost}"]},
    "permissions/{vhost}/{vhost}-gone": EVERYTHING,
    "topic-permissions/{vhost}/{user}": {"exchange": "leftover", "write": ".*", "read": ".*"},
}
FOREIGN: dict[str, dict[str, Any]] = {
    "policies/{vhost}/theirs": {"pattern": "^none$", "definition": {"max-length": 1}, "apply-to": "queues"},
    "operator-policies/{vhost}/theirs": {
        "pattern": "^none$",
        "definition": {"max-length": 1},
        "apply-to": "queues",
    },
    "queues/{vhost}/w-a@alpha.celery.pidbox": {"durable": True},
    "queues/{vhost}/passing": {"durable": False},
    "exchanges/{vhost}/celeryev": {"type": "topic", "durable": True},
    "exchanges/{vhost}/reply.celery.pidbox": {"type": "direct", "durable": False},
    "users/{vhost}-theirs": {"password": "x", "tags": "management"},
}


def make(site: Site, objects: dict[str, dict[str, Any]]) -> None:
    for path, body in objects.items():
        filled = body | {"tags": f"fleet:{site.vhost.name}"} if isinstance(body.get("tags"), list) else body
        put(path.replace("@", "%40"), filled)(site)


@pytest.mark.usefixtures("queues_are_new")
def test_undeclared_objects_stay_until_they_are_pruned_and_foreign_ones_stay_for_good(site: Site) -> None:
    make(site, UNDECLARED)
    make(site, FOREIGN)
    keyed = f"bindings/{site.vhost.name}/e/leftover/q/leftover"
    site.vhost.api("POST", keyed, {"routing_key": "x"})
    try:
        assert site.pending() == []
        site.repair(prune=True)
        assert site.pending(prune=True) == []
        name = site.vhost.name
        queues = {queue["name"] for queue in site.vhost.api("GET", f"queues/{name}")}
        users = {user["name"] for user in site.vhost.api("GET", "users")}
        assert {"w-a@alpha.celery.pidbox", "passing"} < queues
        assert "leftover" not in queues
        policies = {policy["name"] for policy in site.vhost.api("GET", f"policies/{name}")}
        assert "theirs" in policies
        bounds = {policy["name"] for policy in site.vhost.api("GET", f"operator-policies/{name}")}
        assert bounds == {"theirs"}
        assert "fleet.leftover" not in policies
        assert f"{name}-theirs" in users
        assert f"{name}-gone" not in users
    finally:
        site.vhost.api("DELETE", f"users/{quote(site.vhost.name)}-theirs")


def test_a_queue_whose_message_the_statistics_do_not_show_yet_is_not_deleted(site: Site) -> None:
    make(site, {"queues/{vhost}/leftover": UNDECLARED["queues/{vhost}/leftover"]})
    planned = plan_broker(site.fleet, {}, prune=True)
    publish = f"exchanges/{site.vhost.name}/amq.default/publish"
    body = {"properties": {}, "routing_key": "leftover", "payload": "x", "payload_encoding": "string"}
    assert site.vhost.api("POST", publish, body) == {"routed": True}
    started = time.monotonic()
    with pytest.raises(QueueInUse, match="holds 1 messages"):
        apply(planned.plan, planned.door, allow_destructive=True)
    assert time.monotonic() - started < 15
    assert site.vhost.api("GET", f"queues/{site.vhost.name}/leftover")["name"] == "leftover"
