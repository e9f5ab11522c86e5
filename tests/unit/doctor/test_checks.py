"""Each check: silent on a sound broker, and telling about the one thing that is spoiled."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fleet.doctor.diagnose import CHECKS, diagnose, worst
from fleet.doctor.facts import CertificateFile, DoorFact, Endpoint, NodeFact, QueueFact, Settings
from fleet.doctor.finding import Level
from provisioning.broker.objects import Binding, Exchange, Permission, Policy, Queue, TopicPermission, User
from provisioning.broker.passwords import Password
from provisioning.broker.resource import Arguments
from tests.unit.doctor.sound import FILE, NODES, NOW, found, said, sound, with_state

SALT = b"salt"


def test_a_sound_broker_passes_every_check() -> None:
    findings = diagnose(sound())
    assert [finding for finding in findings if finding.level is not Level.OK] == []
    assert {finding.check for finding in findings} == {check.name for check in CHECKS}


def test_what_cannot_be_seen_is_unknown_with_the_reason() -> None:
    facts = sound(nodes=None, unseen={"nodes": "http did not open"})
    assert said(facts, "alarms") == ["unknown: not seen: http did not open"]
    assert said(facts, "quorum") == ["unknown: not seen: http did not open"]


def test_the_worst_level_is_a_failure_and_unknown_is_worse_than_ok() -> None:
    facts = sound(clock_offset_seconds=None)
    assert worst(diagnose(facts)) is Level.UNKNOWN
    assert worst(diagnose(replace(facts, clock_offset_seconds=5.0))) is Level.WARN
    assert worst(diagnose(replace(facts, clock_offset_seconds=-99.0))) is Level.FAIL
    assert worst(()) is Level.OK


@pytest.mark.parametrize(
    ("version", "start"),
    [
        ((4, 2, 1), "ok: RabbitMQ 4.2.1"),
        ((4, 1, 8), "warn: RabbitMQ 4.1.8: community support of its series ended on 2026-01-30"),
        ((3, 10, 8), "warn: RabbitMQ 3.10.8: community support of its series ended on 2023-07-31"),
        ((3, 8, 2), "warn: RabbitMQ 3.8.2 is older than what fleet is tested against"),
        ((5, 0, 0), "unknown: RabbitMQ 5.0.0 is newer than this fleet knows"),
    ],
)
def test_the_end_of_a_series_is_a_warning(version: tuple[int, ...], start: str) -> None:
    (told,) = said(sound(version=version), "version")
    assert told.startswith(start)


def test_debians_packages_are_named_because_debian_mends_them() -> None:
    (finding,) = found(sound(version=(3, 10, 8)), "version")
    assert "Debian 12's package" in (finding.hint or "")
    (finding,) = found(sound(version=(3, 10, 9)), "version")
    assert "Debian" not in (finding.hint or "")


def test_an_address_that_does_not_answer_and_a_closed_door_are_failures() -> None:
    facts = sound(
        endpoints=(Endpoint(address="mq1:5672"), Endpoint(address="mq2:5672", error="Connection refused")),
        doors=(DoorFact(name="http", error="refuses user `admin`", hint="its password"),),
    )
    assert said(facts, "addresses") == [
        "fail: `mq2:5672` does not answer: Connection refused",
        "ok: answering: mq1:5672",
    ]
    (finding,) = found(facts, "doors")
    assert (finding.level, finding.message, finding.hint) == (
        Level.FAIL,
        "http: refuses user `admin`",
        "its password",
    )


def test_alarms_down_nodes_and_partitions_are_told_by_node() -> None:
    nodes = (
        NodeFact(name="a", alarms=("memory", "disk")),
        NodeFact(name="b", is_running=False),
        NodeFact(name="c", partitions=("a",)),
    )
    facts = sound(nodes=nodes)
    assert [line.partition(":")[2].strip()[:22] for line in said(facts, "alarms")] == [
        "memory alarm on node a",
        "disk alarm on node a: ",
    ]
    assert said(facts, "nodes") == ["fail: node b is down", "fail: node c has lost touch with a"]


def test_two_nodes_are_a_warning_and_one_is_not() -> None:
    assert said(sound(nodes=(NodeFact(name="a"), NodeFact(name="b"))), "nodes") == [
        "ok: 2 of 2 running",
        "warn: two nodes: when one is lost, so is the majority",
    ]
    assert said(sound(nodes=(NodeFact(name="a"),)), "nodes") == ["ok: 1 of 1 running"]


@pytest.mark.parametrize(
    ("version", "names", "is_told"),
    [
        ((3, 10, 8), "abc", True),
        ((3, 10, 0), "abc", True),
        ((3, 10, 9), "abc", False),
        ((4, 0, 5), "abc", False),
        ((3, 10, 8), "a", False),
    ],
)
def test_a_cluster_of_debian_12_is_told_that_a_node_may_hang(
    version: tuple[int, ...], names: str, *, is_told: bool
) -> None:
    facts = sound(version=version, nodes=tuple(NodeFact(name=name) for name in names))
    assert any("may hang as it comes back" in line for line in said(facts, "nodes")) is is_told


@pytest.mark.parametrize(
    ("members", "online", "told"),
    [
        (NODES, NODES[:2], "warn: a member is offline: q (2 of 3)"),
        (NODES, NODES[:1], "fail: no majority: q (1 of 3); they take and give nothing"),
        (NODES[:2], NODES[:1], "fail: no majority: q (1 of 2); they take and give nothing"),
        (NODES[:1], NODES[:1], "warn: fewer than 3 members on 3 nodes: q (1 of 1)"),
    ],
)
def test_a_queue_without_majority_fails_and_one_with_few_members_warns(
    members: tuple[str, ...], online: tuple[str, ...], told: str
) -> None:
    facts = sound(queues=(QueueFact(name="q", type="quorum", members=members, online=online),))
    assert told in said(facts, "quorum")


def test_a_queue_that_does_not_show_its_members_yet_is_no_failure() -> None:
    facts = sound(queues=(QueueFact(name="q", type="stream"),))
    assert said(facts, "quorum") == ["ok: 0 replicated queues have all their members"]


def test_certificates_fail_when_ended_and_warn_a_month_before() -> None:
    facts = sound(
        endpoints=(
            Endpoint(address="mq1:5671", certificate_end=NOW - timedelta(days=2)),
            Endpoint(address="mq2:5671", certificate_end=NOW + timedelta(days=10)),
        ),
        certificate_files=(
            CertificateFile(name="ca certificate `/ca`", end=NOW + timedelta(days=400)),
            CertificateFile(name="file `/client`", end=None, error="cannot be read"),
        ),
    )
    assert said(facts, "certificates") == [
        "fail: file `/client`: cannot be read",
        "fail: the certificate of `mq1:5671` ended on 2026-11-23 12:00 UTC",
        "warn: the certificate of `mq2:5671` ends on 2026-12-05 12:00 UTC, in 10 days",
    ]


def test_a_certificate_that_was_not_seen_is_unknown_and_no_missing_tls() -> None:
    facts = sound(endpoints=(Endpoint(address="mq1:5671", tls=True, error="connection refused"),))
    assert said(facts, "certificates") == ["unknown: no certificate was seen of `mq1:5671`"]
    both = replace(
        facts,
        endpoints=(
            *facts.endpoints,
            Endpoint(address="mq2:5671", tls=True, certificate_end=NOW + timedelta(days=90)),
        ),
    )
    assert said(both, "certificates")[0] == "unknown: no certificate was seen of `mq1:5671`"
    assert said(sound(), "certificates") == ["ok: no TLS in use"]


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("global_prefetch_channels", "channels"),
        ("nodes", "nodes"),
        ("deprecated_in_use", "the broker's own list"),
    ],
)
def test_what_was_not_looked_at_is_not_said_to_be_out_of_use(field: str, told: str) -> None:
    gone: dict[str, Any] = {field: None}
    facts = replace(sound(), unseen={field: "it was slow"}, **gone)
    assert said(facts, "deprecated") == [f"unknown: {told} could not be looked at: it was slow"]


def test_a_broker_that_keeps_no_list_of_deprecated_features_has_none_to_be_seen() -> None:
    facts = sound(version=(3, 10, 8), deprecated_in_use=None)
    assert said(facts, "deprecated") == ["ok: nothing in use"]


def test_a_queue_of_another_type_and_a_missing_one_are_failures() -> None:
    def spoil(queues: tuple[Queue, ...]) -> list[Queue]:
        return [replace(q, type="classic") if q.name == "fleet.email" else q for q in queues[1:]]

    facts = with_state(sound(), queues=spoil)
    told = said(facts, "declared")
    assert told[0].startswith("fail: queue fleet.email in vhost celery is not as declared: type is classic")
    assert told[1].startswith("fail: 2 objects are missing") or told[1].startswith(
        "fail: one object is missing"
    )


def test_a_policy_that_differs_is_a_warning() -> None:
    facts = with_state(
        sound(),
        policies=lambda all_: [replace(p, priority=1) if p.name == "fleet.email" else p for p in all_],
    )
    (told,) = said(facts, "declared")
    assert told == "warn: one object is not as declared: policy fleet.email in vhost celery"


def test_a_task_queue_without_dead_letter_exchange_fails() -> None:
    facts = with_state(sound(), policies=lambda all_: [p for p in all_ if p.name != "fleet.email"])
    assert said(facts, "dead-letters") == [
        "fail: queue fleet.email has no dead-letter exchange: what it gives up is lost"
    ]


def test_dead_letters_that_lead_nowhere_fail_and_tell_what_becomes_of_them() -> None:
    facts = with_state(sound(), bindings=lambda all_: [b for b in all_ if b.destination != "fleet.email.dlq"])
    (told,) = said(facts, "dead-letters")
    assert told == (
        "fail: queue fleet.email: nothing takes its dead letters from exchange fleet.dead by key"
        " `fleet.email.dlq`: they stay in the queue for ever"
    )
    facts = with_state(sound(), exchanges=lambda all_: [e for e in all_ if e.name != "fleet.dead"])
    assert len(said(facts, "dead-letters")) == 3
    assert "its dead-letter exchange fleet.dead does not exist" in said(facts, "dead-letters")[0]


def test_without_any_queue_nothing_is_said_to_be_well() -> None:
    facts = with_state(sound(), queues=lambda _: [])
    assert said(facts, "dead-letters") == ["unknown: no queue is there to look at"]


def test_somebody_elses_lost_dead_letters_are_a_warning() -> None:
    arguments = Arguments({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "nowhere"})
    extra = Queue(vhost="celery", name="other", type="classic", arguments=arguments)
    facts = with_state(sound(), queues=lambda all_: [*all_, extra])
    (told,) = said(facts, "dead-letters")
    assert told.startswith(
        "warn: queue other: nothing takes its dead letters from exchange  by key `nowhere`"
    )
    assert told.endswith("they are lost")


def test_a_direct_exchange_cannot_carry_delayed_tasks() -> None:
    direct = Exchange(vhost="celery", name="celery", type="direct")
    bound = Binding(vhost="celery", source="celery", destination="fleet.email", routing_key="email")
    facts = with_state(sound(), exchanges=lambda all_: [*all_, direct], bindings=lambda all_: [*all_, bound])
    (told,) = said(facts, "delays")
    assert told.startswith("warn: exchange celery is a direct one")
    facts = with_state(
        sound(),
        exchanges=lambda all_: [replace(e, type="direct") if e.name == "fleet.tasks" else e for e in all_],
    )
    assert said(facts, "delays")[0].startswith("fail: exchange fleet.tasks is a direct exchange")
    facts = with_state(sound(), exchanges=lambda all_: [e for e in all_ if e.name != "celery_delayed_27"])
    assert said(facts, "delays")[0].startswith("fail: exchange celery_delayed_27 is missing")


def test_a_key_that_is_the_end_of_another_is_found() -> None:
    short = Binding(vhost="celery", source="fleet.tasks", destination="other", routing_key="#.email")
    facts = with_state(sound(), bindings=lambda all_: [*all_, short])
    assert said(facts, "suffixes") == [
        "fail: messages for queue fleet.email (key `fleet.email`) reach queue other (key `email`), too"
    ]


def test_the_journal_must_be_a_stream_that_records_reach() -> None:
    def without(name: str) -> list[str]:
        return said(
            with_state(
                sound(), **{name: lambda all_: [o for o in all_ if "fleet.journal" not in o.identity]}
            ),
            "journal",
        )

    assert without("queues") == ["fail: stream fleet.journal is missing"]
    assert without("bindings") == ["fail: nothing leads from exchange fleet.journal to the stream"]
    facts = with_state(
        sound(), queues=lambda all_: [replace(q, type="quorum") if q.type == "stream" else q for q in all_]
    )
    assert said(facts, "journal")[0].startswith("fail: fleet.journal is a quorum queue, not a stream")


def test_a_short_queue_may_not_run_longer_than_the_broker_waits() -> None:
    settings = Settings(consumer_timeout_seconds=300, loopback_users=())
    told = said(sound(settings=settings), "consumer-timeout")
    assert [line[:30] for line in told] == [
        "warn: queue email: a task may ",
        "warn: queue default: a task ma",
    ]
    assert said(sound(settings=replace(settings, consumer_timeout_seconds=None)), "consumer-timeout")[
        0
    ].startswith("ok")


def test_a_long_queue_lasts_as_long_as_its_delivery_limit() -> None:
    # 24 h in steps of 30 min are 48 deliveries, and five to spare.
    for limit, level in ((53, "ok"), (52, "fail")):
        text = f"{FILE}[queues.backup]\ndelivery_limit = {limit}\n"
        (told,) = said(sound(text, version=(3, 10, 8)), "consumer-timeout")
        assert told.startswith(level)
    # A policy of the queue's own can say it from 3.12 on.
    (told,) = said(sound(text, version=(3, 12, 0)), "consumer-timeout")
    assert told.startswith("ok")


def test_an_unseen_node_limit_is_unknown_unless_every_queue_has_its_own() -> None:
    facts = sound(settings=None, unseen={"settings": "no rabbitmqctl"})
    (told,) = said(facts, "consumer-timeout")
    assert told.startswith(
        "unknown: the nodes' own limit is not seen (no rabbitmqctl); the usual 30 min fits"
    )


def test_deprecated_features_are_told_by_what_uses_them() -> None:
    mirrored = Policy(vhost="celery", name="ha", pattern=".*", definition=Arguments({"ha-mode": "all"}))
    facts = with_state(
        sound(
            version=(3, 10, 8),
            queues=(QueueFact(name="t", durable=False), QueueFact(name="x", durable=False, exclusive=True)),
            global_prefetch_channels=2,
            nodes=(NodeFact(name="ram", keeps_on_disk=False),),
            deprecated_in_use=("management_metrics_collection", "global_qos", "something_new"),
        ),
        policies=lambda all_: [*all_, mirrored],
    )
    assert said(facts, "deprecated") == [
        "warn: transient queues that are not exclusive: t",
        "warn: mirrored classic queues: policy ha in vhost celery",
        "warn: 2 channels share a prefetch among their consumers (global QoS)",
        "warn: RAM nodes: ram",
        "warn: the broker says that these are in use: something_new",
    ]
    facts = with_state(sound(), policies=lambda all_: [*all_, mirrored])
    assert said(facts, "deprecated")[0].startswith("fail: mirroring does nothing in this version")


def row(user: str, **rights: str) -> Permission:
    return Permission(vhost="celery", user=user, **{"configure": "^$", "write": "^$", "read": "^$", **rights})


@pytest.mark.parametrize(
    ("permission", "told"),
    [
        (
            row("celery", write=".*"),
            "fail: user celery can shut down every worker, and command it otherwise and",
        ),
        (row("celery", write=".*"), " and write any queue, past all exchanges"),
        (
            row("eyes", write="^fleet[.]tasks$"),
            "fail: user eyes can send tasks to queues (fleet.backup.alpha",
        ),
        (
            row("eyes", write="^celery_delayed_27$"),
            "and send tasks that wait until they are due (fleet.backup",
        ),
        (
            row("eyes", read="^fleet[.]"),
            "fail: user eyes can take or drop the tasks of queues (fleet.backup.a",
        ),
        (row("hands", write="^celery[.]pidbox$"), "ok: "),
        (row("eyes", write="pidbox"), "fail: user eyes can shut down every worker, and command it otherwise"),
        (row("hands", configure="^fleet"), "fail: user hands can delete queues (fleet."),
        (
            row("stranger", write="", read=".*"),
            "warn: user stranger, whom the fleet file does not name, can take or drop the tasks of queues (",
        ),
        # A topic permission that allows every key is no limit.
        (row("stranger", write="^fleet[.]tasks$"), "does not name, can send tasks to queues (fleet.backup."),
        # The broker takes an empty expression for one that matches nothing.
        (row("stranger", configure="", write="", read=""), "ok: "),
        (row("admin", configure=".*", write=".*", read=".*"), "ok: "),
        (row("eyes", write="[[:print:]]+"), "unknown: what user eyes may do cannot be told: "),
        (row("stranger", read="\\x2e*"), "unknown: what user stranger may do cannot be told: "),
    ],
)
def test_rights_that_no_role_needs_are_told_in_words(permission: Permission, told: str) -> None:
    every_key = TopicPermission(
        vhost="celery", user="stranger", exchange="fleet.tasks", write=".*", read=".*"
    )
    facts = with_state(
        sound(),
        permissions=lambda all_: [*(other for other in all_ if other.user != permission.user), permission],
        topic_permissions=lambda all_: [*all_, every_key],
    )
    assert told in said(facts, "rights")[0]


PER_HOST = """
[broker]
url = "amqp://mq1"
password = "env:P"
profile = "per-host"
host_password = "env:P_{host}"
[hosts.alpha]
[hosts.beta]
[queues.email]
max_runtime = "10m"
[queues.default]
max_runtime = "10m"
[workers.shared]
queues = ["default", "email"]
"""


def test_the_users_of_hosts_may_what_their_profile_gives_them_and_no_more() -> None:
    facts = sound(PER_HOST)
    assert said(facts, "rights") == ["ok: none of 5 users may do more than its role needs"]
    assert {finding.level for finding in diagnose(facts)} == {Level.OK}
    wider = with_state(
        facts,
        permissions=lambda all_: [
            replace(each, read=f"{each.read}|dlq$") if each.user == "celery-alpha" else each for each in all_
        ],
    )
    assert said(wider, "rights") == [
        "fail: user celery-alpha can take or drop dead letters (fleet.default.dlq, fleet.email.dlq)"
    ]


def test_a_mailbox_that_is_there_now_is_no_power_of_the_user_that_has_it() -> None:
    mailbox = Queue(vhost="celery", name="w-a@alpha.celery.pidbox", type="classic", durable=False)
    facts = with_state(
        sound(),
        queues=lambda all_: [*all_, mailbox],
        permissions=lambda all_: [
            replace(each, read=f"{each.read}|^x$") if each.user == "celery" else each for each in all_
        ],
    )
    assert said(facts, "rights")[0].startswith("ok: ")


def test_what_belongs_to_an_application_of_its_own_is_its_own_business() -> None:
    theirs = Queue(vhost="celery", name="celery", type="classic")
    facts = with_state(
        sound(),
        queues=lambda all_: [*all_, theirs],
        permissions=lambda all_: [*all_, row("web", configure="^celery$", write="^celery$", read="^celery$")],
    )
    assert said(facts, "rights")[0].startswith("ok: ")


def test_a_name_in_a_hint_is_one_word_to_a_shell() -> None:
    facts = with_state(
        sound(),
        permissions=lambda all_: [*all_, row("-x; touch here", configure=".*", write=".*", read=".*")],
    )
    (finding,) = found(facts, "rights")
    assert finding.hint is not None
    assert "clear_permissions -p celery -- '-x; touch here'`" in finding.hint


def test_an_administrator_among_the_fleets_users_fails_and_the_open_profile_warns() -> None:
    facts = with_state(
        sound(),
        users=lambda all_: [replace(u, tags=("administrator",)) if u.name == "eyes" else u for u in all_],
    )
    assert said(facts, "rights") == [
        "fail: user eyes can administer the broker: give itself and others any right, in every vhost"
    ]
    text = FILE.replace('password = "env:P"\n', 'password = "env:P"\nprofile = "open"\n', 1)
    assert said(sound(text), "rights")[0].startswith("warn: user celery may do everything")


def test_guest_is_told_by_where_it_may_log_in_from() -> None:
    usual = User(name="guest", tags=("administrator",), password=Password("guest").hashed(salt=SALT))
    facts = with_state(sound(), users=lambda all_: [*all_, usual])
    (told,) = said(facts, "guest")
    assert told.startswith("warn: user guest is there, with the password that everybody knows; it may log in")
    remote = replace(facts, settings=Settings(consumer_timeout_seconds=1800, loopback_users=()))
    assert said(remote, "guest")[0].startswith("fail: user guest is there, with the password that everybody")
    assert said(replace(facts, settings=None), "guest")[0].startswith("warn: user guest is there")


def test_a_password_that_is_the_users_name_fails() -> None:
    weak = User(name="celery", password=Password("celery").hashed(salt=SALT))
    strong = User(name="shop", password=Password("a long one, not known").hashed(salt=SALT))
    facts = with_state(sound(), users=lambda _: [weak, strong])
    (told,) = said(facts, "passwords")
    assert told.startswith("fail: the password of user celery can be guessed")
