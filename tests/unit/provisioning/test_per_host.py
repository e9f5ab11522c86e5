"""The profile ``per-host``: what the user of one host may do with what is another host's."""

from dataclasses import replace

import pytest

from fleet.config.parse import parse
from fleet.errors import SecretMissing, UsageError
from fleet.login import host_login
from fleet.model import Fleet, Profile
from fleet.ops.broker_users import kept_passwords
from fleet.secrets import Secret
from fleet.topology import declared_users, desired_state, ownership_mark
from fleet.worker.context import worker_context
from fleet.worker.settings import worker_settings
from provisioning.broker.operations import (
    BindExchange,
    BindQueue,
    Consume,
    DeclareExchange,
    DeclareQueue,
    DeleteQueue,
    Operation,
    Publish,
    Purge,
)
from provisioning.broker.passwords import Password
from provisioning.broker.simulator import Rights

FILE = """
[broker]
url = "amqp://mq1"
password = "env:P"
profile = "per-host"
host_password = "env:P_{host}"
[broker.users.prometheus]
role = "monitor"
password = "env:P"
[hosts.alpha]
[hosts.beta]
[hosts."gamma.example.org"]
password = "env:GAMMA"
[hosts.idle]
[queues.email]
tasks = ["fleet.send_mail"]
[workers.backup]
hosts = ["alpha", "beta"]
queues = ["backup"]
[workers.mail]
hosts = ["beta", "gamma.example.org"]
queues = ["email"]
"""
ENVIRON = {"P": "p", "P_alpha": "a", "P_beta": "b", "GAMMA": "g", "P_idle": "i"}
DELAY = "0." * 27 + "1."


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return parse(FILE, source="fleet.toml")


def rights(fleet: Fleet, user: str) -> Rights:
    return Rights.of(desired_state(fleet, {}), user, fleet.broker.vhost, version=(4, 0, 5))


def mailbox(host: str) -> str:
    return f"backup-a@{host}.celery.pidbox"


def publishes(queue: str) -> tuple[Operation, ...]:
    return (
        Publish(exchange="fleet.tasks", key=queue),
        Publish(exchange="celery_delayed_27", key=f"{DELAY}{queue}"),
    )


def own_exchange(host: str) -> str:
    return f"any@{host}.celery.pidbox"


#: what the stolen password of alpha would be used for
FOREIGN: tuple[Operation, ...] = (
    *publishes("fleet.backup.beta"),
    *publishes("fleet.email"),
    Consume(queue="fleet.backup.beta"),
    Consume(queue="fleet.email"),
    Purge(queue="fleet.backup.beta"),
    Consume(queue=mailbox("beta")),
    DeleteQueue(queue=mailbox("beta")),
    DeclareQueue(queue=mailbox("beta")),
    BindQueue(queue=mailbox("beta"), exchange="celery.pidbox"),
    BindQueue(queue=mailbox("alpha"), exchange="fleet.tasks", key="#"),
    BindExchange(destination="fleet.tasks", source=own_exchange("alpha")),
    BindExchange(destination="celery_delayed_27", source=own_exchange("alpha")),
    DeclareExchange(exchange=own_exchange("alpha"), alternate_exchange="fleet.tasks"),
    DeclareQueue(queue=mailbox("alpha"), dead_letter_exchange="fleet.tasks"),
    Publish(exchange="fleet.journal", key="beta"),
    Publish(exchange="", key="fleet.backup.beta"),
    Publish(exchange="celery.pidbox"),
    Consume(queue="fleet.backup.dlq"),
    Consume(queue="fleet.journal"),
)


def test_the_users_of_a_host_reach_nothing_that_is_another_hosts(fleet: Fleet) -> None:
    for user in ("celery-alpha", "celery-alpha_send"):
        alpha = rights(fleet, user)
        assert [operation for operation in FOREIGN if alpha.allows(operation)] == []


def test_the_users_of_a_host_may_do_what_its_workers_do(fleet: Fleet) -> None:
    alpha, gamma = rights(fleet, "celery-alpha"), rights(fleet, "celery-gamma.example.org")
    consuming: tuple[Operation, ...] = (
        Consume(queue="fleet.backup.alpha"),
        Consume(queue=mailbox("alpha")),
        DeclareQueue(queue=mailbox("alpha")),
        BindQueue(queue=mailbox("alpha"), exchange="celery.pidbox"),
    )
    sending: tuple[Operation, ...] = (
        *publishes("fleet.backup.alpha"),
        Publish(exchange="fleet.journal", key="alpha"),
        Publish(exchange="fleet.dead", key="fleet.backup.dlq"),
    )
    assert [operation for operation in consuming if not alpha.allows(operation)] == []
    sender = rights(fleet, "celery-alpha_send")
    assert [operation for operation in sending if not sender.allows(operation)] == []
    assert [operation for operation in consuming if sender.allows(operation)] == []
    assert [operation for operation in sending if alpha.allows(operation)] == []
    assert gamma.allows(Consume(queue="fleet.email"))
    assert not gamma.allows(Consume(queue="fleet.backup.gamma.example.org"))
    assert not gamma.allows(DeclareQueue(queue=mailbox("gammaXexample.org")))


def test_the_fleets_own_user_only_sends(fleet: Fleet) -> None:
    main = rights(fleet, "celery")
    for queue in ("fleet.backup.alpha", "fleet.backup.beta", "fleet.email"):
        assert all(main.allows(operation) for operation in publishes(queue))
        assert not main.allows(Consume(queue=queue))
    assert not main.allows(DeclareQueue(queue=mailbox("alpha")))


def test_each_host_that_runs_a_worker_has_users_of_its_own_and_they_can_be_pruned(fleet: Fleet) -> None:
    assert declared_users(fleet) == (
        "celery",
        "celery-alpha",
        "celery-beta",
        "celery-gamma.example.org",
        "celery-alpha_send",
        "celery-beta_send",
        "celery-gamma.example.org_send",
        "prometheus",
    )
    tags = {user.name: user.tags for user in desired_state(fleet, {}).users}
    assert tags.pop("prometheus") == ("monitoring", ownership_mark(fleet))
    assert set(tags.values()) == {(ownership_mark(fleet),)}


def test_every_user_has_the_password_of_its_host(fleet: Fleet) -> None:
    secrets = {user: kept.secret for user, kept in kept_passwords(fleet, ENVIRON).items()}
    found = {user: secret.reveal() for user, secret in secrets.items() if isinstance(secret, Secret)}
    of_hosts = {"alpha": "a", "beta": "b", "gamma.example.org": "g"}
    both = {f"celery-{host}{end}": secret for host, secret in of_hosts.items() for end in ("", "_send")}
    assert found == {"celery": "p", "prometheus": "p"} | both


def test_a_hosts_users_are_provisioned_with_their_hashes_and_one_hash_does_for_both() -> None:
    hashes = [Password("a").hashed(salt=salt) for salt in (b"one1", b"two2", b"both")]
    names = ("ALPHA_HASH", "ALPHA_SENDER", "BETA_HASH")
    environ = ENVIRON | {name: kept.salted for name, kept in zip(names, hashes, strict=True)}
    alpha = '[hosts.alpha]\npassword_hash = "env:ALPHA_HASH"\nsender_password_hash = "env:ALPHA_SENDER"'
    text = FILE.replace("[hosts.alpha]", alpha)
    text = text.replace("[hosts.beta]", '[hosts.beta]\npassword_hash = "env:BETA_HASH"')
    # Where there are hashes, nobody needs the passwords.
    found = kept_passwords(parse(text, source="x"), {**environ, "P_alpha": "", "P_beta": ""})
    of_hosts = ("celery-alpha", "celery-alpha_send", "celery-beta", "celery-beta_send")
    assert [found[name].secret for name in of_hosts] == [*hashes, hashes[2]]
    with pytest.raises(UsageError, match="`password_hash` of user `celery-alpha_send` leads to something"):
        kept_passwords(parse(text, source="x"), environ | {"ALPHA_SENDER": "a"})


def test_a_worker_logs_in_as_its_host_and_needs_no_other_password(fleet: Fleet) -> None:
    context = worker_context(fleet, host="alpha", worker="backup", environ={"P_alpha": "a"})
    login = context.login()
    assert (login.user, login.password and login.password.reveal()) == ("celery-alpha", "a")
    assert context.target("tasks", sends=True).login.user == "celery-alpha_send"
    (urls,) = [setting.value for setting in worker_settings(context) if setting.name == "broker_url"]
    assert urls == ["amqp://celery-alpha@mq1:5672/celery"]
    with pytest.raises(SecretMissing, match="`P_beta` is not set"):
        host_login(fleet, "beta", environ={"P_alpha": "a", "P": "p"})


def test_without_the_profile_every_host_logs_in_as_the_fleets_user(fleet: Fleet) -> None:
    shared = replace(fleet, broker=replace(fleet.broker, profile=Profile.LEAST_PRIVILEGE))
    login = host_login(shared, "alpha", environ={"P": "p"})
    assert (login.user, login.password and login.password.reveal()) == ("celery", "p")
    assert declared_users(shared) == ("celery", "prometheus")


def test_a_monitor_may_open_the_vhost_and_touch_nothing_in_it(fleet: Fleet) -> None:
    monitor = rights(fleet, "prometheus")
    assert monitor.allows(DeclareQueue(queue="fleet.email", passive=True))
    assert not any(monitor.allows(operation) for operation in (*FOREIGN, *publishes("fleet.email")))
