"""`python -m provisioning` alone: no fleet file, and nothing of Celery to be imported."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fleet.daemons.process import free_ports
from tests.integration.provisioning.scripts import Scripts
from tests.servers import clean_environ


def objects(vhost: str, **more: Any) -> dict[str, Any]:
    return {
        "vhosts": [{"name": vhost, "description": "d", "limits": {"max-queues": 5}}],
        "queues": [{"vhost": vhost, "name": "q", "type": "stream"}],
        "policies": [{"vhost": vhost, "name": "p", "pattern": "^nobody$", "definition": {"max-length": 1}}],
        **more,
    }


@pytest.mark.parametrize("door", ["http", "rabbitmqctl"])
def test_the_scripts_need_neither_a_fleet_file_nor_celery(scripts: Scripts, door: str) -> None:
    scripts.want(objects(scripts.vhost))
    pending = scripts("plan", *scripts.door(door))
    assert pending.returncode == 4, pending.stderr
    assert f"+ vhost {scripts.vhost}\n    description  d\n" in pending.stdout
    assert "note: policy p in vhost" in pending.stdout
    done = scripts("apply", "--yes", "--json", *scripts.door(door))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["report"]["converged"] is True
    assert len(record["notes"]) == 1
    again = scripts("plan", *scripts.door(door))
    assert again.returncode == 0, again.stdout


@pytest.mark.parametrize("door", ["http", "rabbitmqctl"])
def test_what_this_release_cannot_hold_is_one_error_and_changes_nothing(scripts: Scripts, door: str) -> None:
    # 3.12 has it; the newest that this test runs on besides is 4.0, which has no mirrors.
    keys = {"consumer-timeout": 60000, "ha-mode": "all"}
    policies = [{"vhost": scripts.vhost, "name": "p", "pattern": "^q", "definition": keys}]
    scripts.want(objects(scripts.vhost, policies=policies))
    done = scripts("apply", "--yes", *scripts.door(door))
    assert done.returncode == 1
    assert done.stderr.startswith("error: RabbitMQ ")
    assert "nothing was changed" in done.stderr
    assert "Traceback" not in done.stderr
    assert not scripts.exists()


def test_a_file_that_is_wrong_ends_with_its_name_the_object_and_the_field(scripts: Scripts) -> None:
    scripts.want(objects(scripts.vhost, queues=[{"vhost": scripts.vhost, "name": "q", "durble": True}]))
    done = scripts("apply", "--yes", *scripts.door("http"))
    assert done.returncode == 2
    told = f"error: {scripts.file}: queues[0] (name `q`, vhost `{scripts.vhost}`): there is no field `durble`"
    assert done.stderr.startswith(told)
    assert not scripts.exists()


def test_a_node_that_is_down_does_not_matter_while_another_answers(scripts: Scripts) -> None:
    scripts.want(objects(scripts.vhost))
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    assert scripts("plan", "--url", nobody, *scripts.door("http")).returncode == 4
    lonely = scripts("plan", "--url", nobody)
    assert lonely.returncode == 5
    assert "hint: " in lonely.stderr


def test_a_key_without_a_certificate_is_a_usage_error(scripts: Scripts) -> None:
    scripts.want({})
    done = scripts("plan", "--key", "key.pem", *scripts.door("http"))
    assert done.returncode == 2
    assert "--key goes with --cert" in done.stderr


@pytest.mark.parametrize("door", ["http", "rabbitmqctl"])
def test_a_plan_in_a_file_is_carried_out_once(scripts: Scripts, tmp_path: Path, door: str) -> None:
    scripts.want(objects(scripts.vhost))
    file = tmp_path / "plan.json"
    planned = scripts("plan", "--out", str(file), *scripts.door(door))
    assert planned.returncode == 4, planned.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    done = scripts("apply", "--yes", "--plan", str(file), *scripts.door(door))
    assert done.returncode == 0, done.stderr
    again = scripts("apply", "--yes", "--plan", str(file), *scripts.door(door))
    assert again.returncode == 1
    assert "the broker changed after the plan was made" in again.stderr


def test_a_plan_in_a_file_is_refused_for_another_document_or_door(scripts: Scripts, tmp_path: Path) -> None:
    scripts.want(objects(scripts.vhost))
    file = tmp_path / "plan.json"
    scripts("plan", "--out", str(file), *scripts.door("http"))
    elsewhere = scripts("apply", "--yes", "--plan", str(file), *scripts.door("rabbitmqctl"))
    assert elsewhere.returncode == 2
    assert "add --door http" in elsewhere.stderr
    scripts.want(objects(scripts.vhost, queues=[]))
    other = scripts("apply", "--yes", "--plan", str(file), *scripts.door("http"))
    assert other.returncode == 1
    assert "the desired state changed after the plan was made" in other.stderr
    file.write_text("{}")
    assert scripts("apply", "--yes", "--plan", str(file), *scripts.door("http")).returncode == 2
    assert not scripts.exists()


def test_a_script_makes_the_plans_changes(scripts: Scripts, tmp_path: Path) -> None:
    scripts.want(objects(scripts.vhost))
    file = tmp_path / "make.sh"
    planned = scripts("plan", "--script", str(file), *scripts.door("http"))
    assert planned.returncode == 4, planned.stderr
    environ = clean_environ() | {"RABBITMQCTL": scripts.node.rabbitmqctl[0]}
    done = subprocess.run((file,), env=environ, stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert done.returncode == 0
    assert scripts("plan", *scripts.door("http")).returncode == 0


def test_what_the_broker_gives_the_creator_of_a_vhost_is_shown_and_taken_back(scripts: Scripts) -> None:
    scripts.want(objects(scripts.vhost))
    given = f"RabbitMQ gives its creator, user {scripts.node.admin_user}, the permission `.* .* .*`"
    assert f"    besides: {given}; it is taken back\n" in scripts("plan", *scripts.door("http")).stdout
    # There is no creator behind rabbitmqctl.
    assert "besides" not in scripts("plan", *scripts.door("rabbitmqctl")).stdout
    assert scripts("apply", "--yes", *scripts.door("http")).returncode == 0
    assert "\t" not in scripts.node.ctl("list_permissions", "--silent", "-p", scripts.vhost)


def test_an_expression_or_a_password_that_cannot_be_read_is_a_usage_error(scripts: Scripts) -> None:
    scripts.want(objects(scripts.vhost))
    secret = scripts.file.with_name("latin")
    secret.write_bytes(b"p\xe4ss")
    for option, value, told in (
        ("--keep", "(", "--keep is no regular expression: `(`"),
        ("--password-file", str(secret), f"cannot read the password in {secret}"),
    ):
        done = scripts("plan", *scripts.door("http"), option, value)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr
