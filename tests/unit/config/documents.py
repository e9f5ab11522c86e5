"""Valid fleet files of many shapes, as hypothesis strategies, and how to write one down."""

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

Document = dict[str, Any]

DURATIONS = st.sampled_from([1, 90, "30s", "5m", "26 h", "7d"])


def to_toml(document: Document) -> str:
    """Write ``document`` with one line per key, in dotted keys and inline tables."""
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in document.items())


def _key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return (
        json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool | int | float) else str(value)
    )


SSH: list[Document] = [
    {},
    {"user": "admin", "port": 2222, "key": "~/.ssh/fleet", "jump": "ops@bastion:22,[2001:db8::1]"},
    {"known_hosts": "keys/known hosts", "connect_timeout": "5s", "parallel": 8, "deadline": "1h"},
]
REACHED: list[Document] = [{}, {"ssh_user": "root", "ssh_port": 22, "jump": "none"}]


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """A fleet file in which everything fits together."""
    hosts = draw(st.sampled_from([["alpha"], ["web-1", "beta", "db.example.org"]]))
    broker = draw(st.sampled_from(BROKERS))
    # With Redis a queue has no limits.
    shop = draw(st.sampled_from(QUEUES[:2] if "redis" in broker.get("url", "") else QUEUES))
    backups = draw(st.sampled_from(BACKUPS))
    document: Document = {
        "fleet": draw(st.sampled_from([{}, {"name": "office", "timezone": "Asia/Kolkata"}])),
        "broker": broker,
        "ssh": draw(st.sampled_from(SSH)),
        "hosts": {name: {"labels": ["web"]} | draw(st.sampled_from(REACHED)) for name in hosts},
        "queues": {"shop": {"tasks": ["shop.*"]} | shop},
        "backups": backups,
        "urls": {"shop": {"url": "https://shop.example.org/", "timeout": draw(DURATIONS)}},
        "tasks": draw(st.sampled_from([{}, {"imports": ["shop.tasks"], "routes": {"shop.pay": "shop"}}])),
        "schedule": {name: dict(draw(RHYTHMS), backup=name) for name in backups},
    }
    document["schedule"]["urls"] = dict(draw(RHYTHMS), task="fleet.check_urls")
    document |= draw(st.sampled_from(MAILS))
    if draw(st.booleans()):
        document["workers"] = workers(hosts[0], is_shop_alone=bool(shop.get("long")))
    # The tables above are shared between examples, and tests change what they get.
    return deepcopy(document)


def workers(host: str, *, is_shop_alone: bool) -> Document:
    declared: Document = {
        "backup": {"queues": ["backup"], "metrics_port": 9600},
        "shared": {"queues": ["email", "default"], "pool": "threads", "concurrency": 3},
        "shop": {"queues": ["shop"], "hosts": [host]},
    }
    if not is_shop_alone:
        declared["shared"]["queues"] += declared.pop("shop")["queues"]
    return declared


RHYTHMS: st.SearchStrategy[Document] = st.sampled_from(
    [{"crontab": "30 7 * * mon"}, {"every": "1d", "jitter": "10m"}, {"every": 3600}]
)
QUEUES: list[Document] = [
    {},
    {"long": True, "allow_callbacks": True, "max_runtime": "26 h"},
    {"max_wait": 90, "delivery_limit": 3, "max_length": 1000, "max_dead_letters": 9},
]
BROKERS: list[Document] = [
    {"url": "amqp://mq1", "password": "env:P", "vhost": "v", "result_backend": "redis://r1/1"},
    {"url": "amqp://me@mq1:5673/%2Fv", "password": "credential:broker", "rabbitmqctl": ["/sbin/rabbitmqctl"]},
    {"url": "redis://r1/3", "visibility_timeout": "2d"},
    {
        "nodes": ["amqps://mq1", "amqps://[2001:db8::1]:5000"],
        "password": "file:/etc/fleet/broker",
        "tls": {"ca": "/etc/fleet/ca.pem"},
        "management": {"url": "https://mq1:15671", "user": "admin", "password": "env:A"},
        "users": {
            "shop": {"role": "publisher", "queues": ["email"], "password": "env:S"},
            "clock": {"role": "scheduler", "password": "env:C", "password_hash": "env:C_HASH"},
        },
    },
]
SNAPSHOT: Document = {
    "sources": ["/etc", "/srv"],
    "destination": "/mnt/backup",
    "retention": {"last": 3},
    "restore_dir": "/var/restore",
    "bandwidth_limit": "10M",
    "excludes": ["*.tmp", "/etc/#odd"],
}
MIRROR: Document = {"kind": "mirror", "sources": ["/home"], "destination": "/mnt/mirror", "max_delete": 5}
BACKUPS: list[Document] = [{}, {"etc": SNAPSHOT}, {"etc": SNAPSHOT, "home": MIRROR}]
MAILS: list[Document] = [
    {},
    {"mail": {"from": "a@b.org", "templates": "mail", "smtp": {"host": "mx.b.org", "security": "tls"}}},
    {
        "mail": {
            "from": "A <a@b.org>",
            "templates": "/m",
            "retry_base": "9s",
            "sendgrid": {"api_key": "env:K"},
        }
    },
]
