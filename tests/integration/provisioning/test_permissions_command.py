"""``fleet permissions`` against a real broker: what it says follows what the broker holds."""

import json
from typing import Any

import pytest

from tests.integration.provisioning.conftest import Site
from tests.servers import RunFleet


def explained(run_fleet: RunFleet, site: Site, user: str, *options: str) -> dict[str, Any]:
    done = run_fleet("permissions", "explain", user, "--json", *options, file=site.file)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


@pytest.mark.parametrize("role", ["worker", "publisher", "operator", "observer"])
def test_a_provisioned_broker_is_explained_as_the_fleet_file_is(
    site: Site, run_fleet: RunFleet, role: str
) -> None:
    seen = {
        options: explained(run_fleet, site, site.user(role), *options)
        for options in ((), ("--declared",), ("--door", "rabbitmqctl"))
    }
    assert [record.pop("source") for record in seen.values()] == ["broker", "declared", "broker"]
    assert seen[()] == seen["--declared",] == seen["--door", "rabbitmqctl"]
    assert seen[()]["can"]


def test_a_right_that_somebody_has_widened_is_found_on_the_broker(site: Site, run_fleet: RunFleet) -> None:
    user, place = site.user("publisher"), f"{site.vhost.name}/{site.user('publisher')}"
    site.vhost.api("PUT", f"permissions/{place}", {"configure": "^$", "write": ".*", "read": "^$"})
    site.vhost.api("DELETE", f"topic-permissions/{place}")
    done = run_fleet("permissions", "explain", user, file=site.file)
    assert "! shut down every worker, and command it otherwise" in done.stdout
    assert "! write any queue, past all exchanges" in done.stdout
    can = {each["what"]: each["names"] for each in explained(run_fleet, site, user)["can"]}
    assert can["send"] == ["fleet.backup.alpha", "fleet.backup.beta", "fleet.default", "fleet.email"]
    assert "write_any_queue" not in {
        each["what"] for each in explained(run_fleet, site, user, "--declared")["can"]
    }


def test_one_right_is_answered_with_the_reason_and_an_exit_code(site: Site, run_fleet: RunFleet) -> None:
    def ask(*arguments: str) -> tuple[int, str]:
        done = run_fleet("permissions", "simulate", site.user("publisher"), *arguments, file=site.file)
        return done.returncode, done.stdout

    assert ask("write", "fleet.tasks", "--key", "fleet.email")[0] == 0
    code, said = ask("write", "fleet.tasks", "--key", "fleet.backup.alpha")
    assert code == 1
    assert said.startswith("refused: its topic permission to write on `fleet.tasks`")
    code, said = ask("read", "fleet.email", "--json")
    assert (code, json.loads(said)["allowed"]) == (1, False)


def test_a_user_that_is_not_there_is_a_mistake_with_a_suggestion(site: Site, run_fleet: RunFleet) -> None:
    done = run_fleet("permissions", "explain", f"{site.vhost.user}x", file=site.file)
    assert done.returncode == 2
    assert f"the broker has no user `{site.vhost.user}x`" in done.stderr
    assert f"did you mean `{site.vhost.user}`?" in done.stderr
