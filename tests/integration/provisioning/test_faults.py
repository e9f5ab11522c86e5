"""An apply that is killed, doubled or left without a broker: nothing is lost, and the next run finishes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Barrier

import pytest

from fleet.daemons.rabbitmq import RabbitNode
from fleet.ops.provision import apply_plan, plan_broker
from tests.broker import BrokerVhost, hosts_and_workers
from tests.integration.provisioning.conftest import Site
from tests.integration.provisioning.gate import Gate, gate
from tests.servers import RunFleet, clean_environ

#: requests that change the broker in a first apply: one for each kind, and one that takes back what the
#: creator of a vhost is given
WRITES = 9


def through(site: Site, gate: Gate) -> Path:
    """Return the site's fleet file with the gate in place of the management API."""
    url = site.vhost.node.management_url
    text = site.file.read_text()
    assert url in text
    file = site.file.with_name(f"through-{gate.url.rpartition(':')[2]}.toml")
    file.write_text(text.replace(url, gate.url))
    return file


def start(file: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        (sys.executable, "-m", "fleet.cli.main", "provision", "broker", "--yes", *options),
        env=clean_environ() | {"FLEET_FILE": str(file)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(running: "subprocess.Popen[str]") -> tuple[int, str]:
    with running:
        _, stderr = running.communicate(timeout=60)
    return running.returncode, stderr


def at(number: int, act: Callable[[], object]) -> Callable[[int], None]:
    def perhaps(seen: int) -> None:
        if seen == number:
            act()

    return perhaps


def assert_finished(site: Site) -> None:
    assert site.pending(prune=True) == []
    with site.channel("worker"):
        pass


def test_killed_at_each_step_the_next_run_finishes(bare_site: Site) -> None:
    killed = []
    for step in range(1, WRITES + 1):
        bare_site.vhost.delete()
        with gate(bare_site.vhost.node) as opened:
            running = start(through(bare_site, opened))
            opened.after = at(step, running.kill)
            code, _ = ended(running)
        killed.append((code, opened.passed))
        assert bare_site.pending() or step == WRITES
        bare_site.repair()
        assert_finished(bare_site)
    assert killed == [(-9, step) for step in range(1, WRITES + 1)]


def test_a_queue_that_was_deleted_and_not_made_again_is_something_changed(site: Site) -> None:
    queue = f"queues/{site.vhost.name}/fleet.email"
    site.vhost.api("DELETE", queue)
    site.vhost.api("PUT", queue, {"durable": True})
    with gate(site.vhost.node) as opened:
        opened.refused = frozenset({2})
        code, stderr = ended(start(through(site, opened), "--allow-destructive"))
    assert code == 3, stderr
    assert "failed:  replace queue fleet.email" in stderr
    assert "the broker may have been changed, and is not as desired" in stderr
    assert "nothing for certain in" in stderr
    site.repair()
    assert_finished(site)


def test_a_first_apply_needs_one_request_for_each_kind(bare_site: Site) -> None:
    with gate(bare_site.vhost.node) as opened:
        assert ended(start(through(bare_site, opened)))[0] == 0
    assert opened.passed == WRITES


def test_two_applies_at_once_lose_nothing(bare_site: Site, run_fleet: RunFleet) -> None:
    # Both have made their plans and looked a second time when the first write of either passes.
    together = Barrier(2)

    with gate(bare_site.vhost.node) as one, gate(bare_site.vhost.node) as other:
        one.before = other.before = at(1, lambda: together.wait(40))
        running = [start(through(bare_site, opened)) for opened in (one, other)]
        outcomes = [ended(process) for process in running]
    assert one.passed + other.passed > WRITES
    assert min(code for code, _ in outcomes) == 0, outcomes
    # The other may have looked at a moment when the first was not through.
    assert {code for code, _ in outcomes} <= {0, 3}, outcomes
    again = run_fleet("provision", "broker", "--yes", file=bare_site.file)
    assert again.returncode == 0, again.stderr
    assert_finished(bare_site)


def another(file: Path) -> Path:
    """Return a fleet file for the same vhost that wants a queue to be shorter."""
    made = file.with_name(f"short-{file.name}")
    text = file.read_text()
    assert "[queues.email]" not in text
    made.write_text(text + '[queues.email]\ntasks = ["fleet.send_mail"]\nmax_length = 7\n')
    return made


def test_an_apply_that_another_one_overtakes_says_what_is_no_longer_as_it_wants(
    bare_site: Site, run_fleet: RunFleet
) -> None:
    overtaken: list[subprocess.CompletedProcess[str]] = []

    def overtake() -> None:
        other = another(bare_site.file)
        overtaken.append(run_fleet("provision", "broker", "--yes", file=other))

    with gate(bare_site.vhost.node) as opened:
        # Its policies are made by then, and its bindings are not.
        opened.before = at(WRITES, overtake)
        code, stderr = ended(start(through(bare_site, opened)))
    (other,) = overtaken
    assert other.returncode == 0, other.stderr
    assert code == 3, stderr
    policy = f"update policy fleet.email in vhost {bare_site.vhost.name}"
    assert f"left:    {policy}\n" in stderr
    assert "not yet as desired" in stderr
    assert bare_site.pending() == [policy]
    bare_site.repair()
    assert_finished(bare_site)


def test_two_applies_at_once_that_want_different_things_end_as_desired_or_say_what_is_left(
    bare_site: Site, run_fleet: RunFleet
) -> None:
    together = Barrier(2)
    other = Site(vhost=bare_site.vhost, file=another(bare_site.file))

    with gate(bare_site.vhost.node) as one, gate(bare_site.vhost.node) as two:
        one.before = two.before = at(1, lambda: together.wait(40))
        running = [start(through(bare_site, one)), start(through(other, two))]
        outcomes = [ended(process) for process in running]
    for code, stderr in outcomes:
        assert code in (0, 3), stderr
        assert (code == 3) == ("not yet as desired" in stderr)
        assert (code == 3) == ("left:    " in stderr or "failed:  " in stderr), stderr
    # The one that came last has its way, so one of the two files wants nothing more.
    assert [] in (bare_site.pending(), other.pending())
    for site in (other, bare_site):
        again = run_fleet("provision", "broker", "--yes", file=site.file)
        assert again.returncode == 0, again.stderr
    assert_finished(bare_site)


def test_the_later_of_two_applies_refuses_when_the_first_is_through(bare_site: Site) -> None:
    with gate(bare_site.vhost.node) as opened:
        seen = plan_broker(bare_site.fleet, {})
        assert ended(start(through(bare_site, opened)))[0] == 0
    with pytest.raises(Exception, match=r"the broker changed after the plan was made .*is new"):
        apply_plan(seen)
    assert_finished(bare_site)


def test_a_broker_that_dies_half_way_is_a_partial_report_and_the_next_run_finishes(
    tmp_path: Path, run_fleet: RunFleet
) -> None:
    with RabbitNode.start(tmp_path / "node") as node, gate(node) as opened:
        vhost = BrokerVhost.name_only(node, tmp_path)
        site = Site(vhost=vhost, file=vhost.write_fleet_toml(hosts_and_workers("alpha", "beta")))
        opened.before = at(5, node.kill)
        code, stderr = ended(start(through(site, opened)))
        assert code == 3, stderr
        assert "no management API answers at" in stderr
        assert "could not be observed afterwards" in stderr
        assert "failed:  create permission" in stderr
        assert "skipped: create queue fleet.email" in stderr
        node.restart()
        again = run_fleet("provision", "broker", "--yes", file=site.file)
        assert again.returncode == 0, again.stderr
        assert_finished(site)
