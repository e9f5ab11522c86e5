"""`fleet doctor broker` against a real broker, sound and then spoiled in one place after the other."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from fleet.daemons.process import free_ports
from fleet.daemons.rabbitmq import RabbitNode
from fleet.doctor.finding import Finding, Level
from fleet.errors import UsageError
from fleet.model import Fleet, Node, Tls
from fleet.ops.doctor import Examination, examine
from fleet.topology import desired_state
from tests import broker_limits
from tests.certificates import Authority
from tests.hosts.lab.system import await_that
from tests.integration.provisioning.conftest import Site
from tests.integration.sending.proxy import Proxy
from tests.servers import RunFleet

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
QUORUM = {"durable": True, "arguments": {"x-queue-type": "quorum"}}


def over_http(fleet: Fleet) -> Fleet:
    """Return ``fleet`` without rabbitmqctl, of which each call takes a second."""
    return replace(fleet, broker=replace(fleet.broker, rabbitmqctl=None))


def by_command(fleet: Fleet) -> Fleet:
    return replace(fleet, broker=replace(fleet.broker, management=None))


def bad(examination: Examination, check: str) -> list[str]:
    """Return what ``check`` says that is not ok, as ``level: message``."""
    return [f"{f.level}: {f.message}" for f in of(examination, check) if f.level is not Level.OK]


def of(examination: Examination, check: str) -> list[Finding]:
    return [finding for finding in examination.findings if finding.check == check]


def test_a_provisioned_broker_is_sound_through_both_doors_at_once(site: Site, run_fleet: RunFleet) -> None:
    done = run_fleet("doctor", "broker", "--json", file=site.file)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["reachable"], record["broker_version"]) == (True, "3.10.8")
    # 3.10 is old, and its nodes wait for half an hour where a task may run for one.
    assert {f["check"] for f in record["findings"] if f["level"] != "ok"} == {"version", "consumer-timeout"}
    quiet = run_fleet("doctor", "broker", "--quiet", file=site.file)
    assert quiet.returncode == 0
    assert all(line.startswith(("warn ", "     ")) for line in quiet.stdout.splitlines())


def test_rabbitmqctl_alone_shows_all_but_the_clock(site: Site) -> None:
    found = examine(by_command(site.fleet), {})
    assert {f.check for f in found.findings if f.level is Level.UNKNOWN} == {"clock"}
    # Without [broker.management] the provisioner is a stranger with every right.
    assert {f.check for f in found.findings if f.level in (Level.WARN, Level.FAIL)} == {
        "version",
        "consumer-timeout",
        "rights",
    }


Spoil = Callable[[Site], None]


def put(path: str, body: object) -> Spoil:
    return lambda site: site.vhost.api("PUT", told(site, path), body)


def post(path: str, body: object) -> Spoil:
    return lambda site: site.vhost.api("POST", told(site, path), body)


def remove(path: str) -> Spoil:
    return lambda site: site.vhost.api("DELETE", told(site, path))


def both(*spoils: Spoil) -> Spoil:
    def spoil(site: Site) -> None:
        for each in spoils:
            each(site)

    return spoil


def told(site: Site, text: str) -> str:
    fleet = site.fleet
    return text.format(
        vhost=site.vhost.name,
        user=site.vhost.user,
        observer=site.vhost.observer,
        queues=len(desired_state(fleet, {}, broker_version=(3, 10, 8)).queues),
        workers=sum(len(fleet.hosts_for(worker.hosts)) for worker in fleet.workers),
    )


POWERS = "write any queue, past all exchanges; create queues and exchanges of any name; delete queues ("
STOP = "shut down every worker, and command it otherwise"
STRANGER = "whom the fleet file does not name,"
STAY = "they stay in the queue for ever"
NO_KEY = f"fleet.dead by key `fleet.email.dlq`: {STAY}"
GUEST = (
    "warn: user guest is there, with the password that everybody knows; whether from other machines, too, is"
    " not seen (the management API does not show it, and the fleet file names no `rabbitmqctl`)"
)

#: what is spoiled → how, how it is undone besides provisioning, the check that tells, and what it says
SPOILED: dict[str, tuple[Spoil, Spoil | None, str, str]] = {
    "no journal": (
        remove("queues/{vhost}/fleet.journal"),
        None,
        "journal",
        "fail: stream fleet.journal is missing",
    ),
    "a queue of another type": (
        both(remove("queues/{vhost}/fleet.email"), put("queues/{vhost}/fleet.email", {"durable": True})),
        None,
        "declared",
        "fail: queue fleet.email in vhost {vhost} is not as declared: type is classic, not quorum",
    ),
    "no dead-letter policy": (
        remove("policies/{vhost}/fleet.email"),
        None,
        "dead-letters",
        "fail: queue fleet.email has no dead-letter exchange: what it gives up is lost",
    ),
    "unroutable dead letters": (
        remove("bindings/{vhost}/e/fleet.dead/q/fleet.email.dlq/fleet.email.dlq"),
        None,
        "dead-letters",
        f"fail: queue fleet.email: nothing takes its dead letters from exchange {NO_KEY}",
    ),
    "no dead-letter exchange": (
        remove("exchanges/{vhost}/fleet.dead"),
        None,
        "dead-letters",
        f"fail: queue fleet.backup.alpha: its dead-letter exchange fleet.dead does not exist: {STAY}",
    ),
    "a direct task exchange": (
        both(
            remove("exchanges/{vhost}/fleet.tasks"),
            put("exchanges/{vhost}/fleet.tasks", {"type": "direct", "durable": True}),
        ),
        None,
        "delays",
        "fail: exchange fleet.tasks is a direct exchange, so no delayed task and no retry comes back",
    ),
    "plain Celery's exchange": (
        both(
            put("exchanges/{vhost}/celery", {"type": "direct", "durable": True}),
            put("queues/{vhost}/celery", QUORUM),
            post("bindings/{vhost}/e/celery/q/celery", {"routing_key": "celery"}),
        ),
        both(remove("exchanges/{vhost}/celery"), remove("queues/{vhost}/celery")),
        "delays",
        "warn: exchange celery is a direct one: Celery cannot delay tasks for its quorum queues",
    ),
    "a key that is the end of another": (
        both(
            put("queues/{vhost}/other", QUORUM),
            post("bindings/{vhost}/e/fleet.tasks/q/other", {"routing_key": "#.email"}),
        ),
        remove("queues/{vhost}/other"),
        "suffixes",
        "fail: messages for queue fleet.email (key `fleet.email`) reach queue other (key `email`), too",
    ),
    "a transient queue": (
        put("queues/{vhost}/passing", {"durable": False}),
        remove("queues/{vhost}/passing"),
        "deprecated",
        "warn: transient queues that are not exclusive: passing",
    ),
    "mirrored queues": (
        put(
            "policies/{vhost}/ha", {"pattern": "^x$", "definition": {"ha-mode": "all"}, "apply-to": "queues"}
        ),
        remove("policies/{vhost}/ha"),
        "deprecated",
        "warn: mirrored classic queues: policy ha in vhost {vhost}",
    ),
    "a worker that may do everything": (
        put("permissions/{vhost}/{user}", EVERYTHING),
        None,
        "rights",
        f"fail: user {{user}} can {POWERS}",
    ),
    "a publisher that no key limits": (
        both(
            put("permissions/{vhost}/publisher-{vhost}", {"configure": "", "write": "^fleet", "read": ""}),
            remove("topic-permissions/{vhost}/publisher-{vhost}"),
        ),
        None,
        "rights",
        "fail: user publisher-{vhost} can send tasks to queues (fleet.backup.alpha, fleet.backup.beta, ",
    ),
    "an administrator": (
        put("users/{observer}", {"password": "not to be guessed", "tags": "administrator"}),
        None,
        "rights",
        "fail: user {observer} can administer the broker: give itself and others any right, in every vhost",
    ),
    "a vhost that takes too few queues": (
        put("vhost-limits/{vhost}/max-queues", {"value": 3}),
        remove("vhost-limits/{vhost}/max-queues"),
        "limits",
        "fail: vhost {vhost} takes 3 queues, and {queues} are there or the fleet's",
    ),
    "a user that may not connect": (
        put("user-limits/{user}/max-connections", {"value": 0}),
        remove("user-limits/{user}/max-connections"),
        "limits",
        "fail: user {user} may open 0 connections, and {workers} workers need {workers} at least",
    ),
    "an operator policy that lets messages expire": (
        put(
            "operator-policies/{vhost}/o",
            {"pattern": "^fleet[.]email$", "definition": {"message-ttl": 9}, "apply-to": "queues"},
        ),
        remove("operator-policies/{vhost}/o"),
        "operator-policies",
        "fail: operator policy o sets message-ttl 9 for fleet.email: what waits longer is taken away unread",
    ),
    "a stranger": (
        both(
            put("users/stranger-{vhost}", {"password": "not to be guessed", "tags": ""}),
            put("permissions/{vhost}/stranger-{vhost}", EVERYTHING),
        ),
        remove("users/stranger-{vhost}"),
        "rights",
        f"warn: user stranger-{{vhost}}, {STRANGER} can {STOP}; {POWERS}",
    ),
    "a password like the name": (
        put("users/{user}", {"password": "celery", "tags": "fleet:{vhost}"}),
        None,
        "passwords",
        "fail: the password of user {user} can be guessed (its name, or one of the usual ones)",
    ),
    "guest": (
        put("users/guest", {"password": "guest", "tags": ""}),
        remove("users/guest"),
        "guest",
        GUEST,
    ),
}


@pytest.mark.usefixtures("queues_are_new")
def test_each_spoiled_thing_is_named_by_its_check_and_gone_when_mended(site: Site) -> None:
    fleet = over_http(site.fleet)
    for name, (spoil, undo, check, expected) in SPOILED.items():
        assert (name, bad(examine(fleet, {}), check)) == (name, [])
        spoil(site)
        try:
            wanted = told(site, expected)
            (seen, *_) = bad(examine(fleet, {}), check)
            assert (name, seen[: len(wanted)]) == (name, wanted)
        finally:
            if undo:
                undo(site)
            site.repair()
        assert (name, bad(examine(fleet, {}), check)) == (name, [])


def test_alarms_are_seen_through_either_door(site: Site, rabbit: RabbitNode) -> None:
    with broker_limits.memory_alarm(rabbit), broker_limits.disk_alarm(rabbit):
        for fleet in (over_http(site.fleet), by_command(site.fleet)):
            assert {line.partition(" on node")[0] for line in bad(examine(fleet, {}), "alarms")} == {
                "fail: memory alarm",
                "fail: disk alarm",
            }
    assert bad(examine(over_http(site.fleet), {}), "alarms") == []


def test_a_long_queue_whose_deliveries_would_run_out_fails_by_what_the_node_says(
    site: Site, rabbit: RabbitNode
) -> None:
    # 24 h in steps of 60 s are more than the 200 deliveries of the backup queue.
    with broker_limits.consumer_timeout(rabbit, 60):
        told = bad(examine(site.fleet, {}), "consumer-timeout")
    assert [line.partition(":")[0] for line in told] == ["fail", "warn", "warn"]
    assert "queue backup: a task may run for 24 h, but after 1 min" in told[0]
    unseen = bad(examine(over_http(site.fleet), {}), "consumer-timeout")
    assert unseen[0].startswith("unknown: the nodes' own limit is not seen")


def test_guest_from_every_machine_fails(site: Site, rabbit: RabbitNode) -> None:
    site.vhost.api("PUT", "users/guest", {"password": "guest", "tags": ""})
    try:
        assert "own machine only" in bad(examine(site.fleet, {}), "guest")[0]
        rabbit.ctl("eval", "application:set_env(rabbit, loopback_users, []).")
        (told,) = bad(examine(site.fleet, {}), "guest")
    finally:
        rabbit.ctl("eval", 'application:set_env(rabbit, loopback_users, [<<"guest">>]).')
        site.vhost.api("DELETE", "users/guest")
    assert told.startswith("fail: user guest is there")
    assert told.endswith("log in from every machine")


def test_a_prefetch_that_a_channel_shares_is_seen_through_either_door(site: Site) -> None:
    with site.channel("worker") as channel:
        channel.basic_qos(0, 5, a_global=True)
        assert "1 channels share a prefetch" in bad(examine(by_command(site.fleet), {}), "deprecated")[0]
        await_that(
            lambda: any("share a prefetch" in line for line in shared(site)),
            "the API should show the channel's prefetch",
            timeout_seconds=15,
        )


def shared(site: Site) -> list[str]:
    return bad(examine(over_http(site.fleet), {}), "deprecated")


class ShiftedClock(BaseHTTPRequestHandler):
    """Passes requests on to the broker, whose answers then come from a machine with another time."""

    target = ""
    shift = timedelta()

    def do_GET(self) -> None:
        headers = {"Authorization": self.headers["Authorization"]}
        answer = requests.get(self.target + self.path, headers=headers, timeout=10)
        said = parsedate_to_datetime(answer.headers["date"])
        self.send_response_only(answer.status_code)
        self.send_header("Date", format_datetime(said + self.shift, usegmt=True))
        self.send_header("Content-Type", answer.headers["content-type"])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def broker_with_clock(site: Site, shift: timedelta) -> Iterator[Fleet]:
    handler = type("Handler", (ShiftedClock,), {"target": site.vhost.node.management_url, "shift": shift})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield managed_at(site, f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join(10)


def managed_at(site: Site, url: str, *, ca: str | None = None) -> Fleet:
    fleet = over_http(site.fleet)
    assert fleet.broker.management
    management = replace(fleet.broker.management, urls=(url,), ca=ca)
    return replace(fleet, broker=replace(fleet.broker, management=management))


@pytest.mark.parametrize(
    ("seconds", "level", "side"),
    [(0, None, ""), (10, "warn", "ahead of"), (-10, "warn", "behind"), (90, "fail", "ahead of")],
)
def test_a_clock_that_differs_is_told_with_how_much(
    site: Site, seconds: int, level: str | None, side: str
) -> None:
    with broker_with_clock(site, timedelta(seconds=seconds)) as fleet:
        told = bad(examine(fleet, {}), "clock")
    assert [line.partition(":")[0] for line in told] == ([level] if level else [])
    if told:
        assert side in told[0]
        (number,) = [int(word) for word in told[0].split() if word.isdigit()]
        assert abs(number - abs(seconds)) <= 1


@pytest.mark.parametrize(("days", "level"), [(400, "ok"), (10, "warn"), (-1, "fail")])
def test_a_certificate_is_read_where_it_is_shown_even_when_it_has_ended(
    site: Site, tmp_path: Path, days: int, level: str
) -> None:
    authority = Authority.create(tmp_path)
    context = authority.issue("127.0.0.1", days=days).server_context()
    tls = Tls(ca=str(authority.cert))
    now = datetime.now(UTC)
    with (
        Proxy(site.vhost.node.port, tls=context) as amqps,
        Proxy(int(site.vhost.node.management_url.rpartition(":")[2]), tls=context) as https,
    ):
        fleet = managed_at(site, f"https://127.0.0.1:{https.port}", ca=tls.ca)
        nodes = (Node(host="127.0.0.1", port=amqps.port, tls=True),)
        found = examine(replace(fleet, broker=replace(fleet.broker, nodes=nodes, tls=tls)), {}, now=now)
    shown = [f for f in of(found, "certificates") if "certificate of" in f.message]
    assert [f.level for f in shown] == ([] if level == "ok" else [Level(level)] * 2)
    # An ended certificate closes the door, for what is not trusted is not talked to; its end is told anyway.
    assert found.is_reachable is (level != "fail")
    assert [f.level for f in of(found, "addresses") if "not trusted" in f.message] == (
        [Level.FAIL] * 2 if level == "fail" else []
    )


def test_without_a_broker_the_exit_code_is_5_and_what_can_be_checked_is_shown(
    site: Site, tmp_path: Path, run_fleet: RunFleet
) -> None:
    amqp, management = free_ports(2)
    authority = Authority.create(tmp_path)
    text = site.file.read_text()
    text = text.replace(site.vhost.node.url, f"amqps://127.0.0.1:{amqp}")
    text = text.replace(site.vhost.node.management_url, f"http://127.0.0.1:{management}")
    text = text.replace(str(site.vhost.node.rabbitmqctl[0]), "/nonexistent/rabbitmqctl")
    text += f'\n[broker.tls]\nca = "{authority.cert}"\n'
    site.file.write_text(text)
    done = run_fleet("doctor", "broker", "--json", file=site.file)
    assert done.returncode == 5, done.stderr
    record = json.loads(done.stdout)
    levels = {(f["check"], f["level"]) for f in record["findings"]}
    assert record["reachable"] is False
    assert {
        ("addresses", "fail"),
        ("doors", "fail"),
        ("certificates", "warn"),
        ("alarms", "unknown"),
    } <= levels
    assert "error: no door of the broker answered" in done.stderr


def test_a_refused_administrator_is_a_failed_check(site: Site, run_fleet: RunFleet, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.password"
    wrong.write_text("wrong\n")
    text = site.file.read_text().replace(str(site.vhost.node.admin_password_file), str(wrong))
    site.file.write_text(text)
    done = run_fleet("doctor", "broker", "--quiet", file=site.file)
    assert done.returncode == 4
    assert "refuses user `fleet-admin`" in done.stdout
    # rabbitmqctl still opens, and shows the rest.
    assert "dead-letters" not in done.stdout
    assert "wrong" not in (done.stdout + done.stderr).replace("what is wrong", "")


def test_a_fleet_file_that_names_no_way_to_look_is_a_usage_error(site: Site) -> None:
    with pytest.raises(UsageError, match="does not say how to look into the broker"):
        examine(over_http(by_command(site.fleet)), {})
