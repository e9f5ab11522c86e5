"""`python -m provisioning` alone: no fleet file, and nothing of Celery to be imported."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet.daemons.process import free_ports
from fleet.daemons.rabbitmq import RabbitNode
from tests.broker import BrokerVhost
from tests.servers import clean_environ

#: a Python in which these cannot be imported, as where only the scripts are installed
WITHOUT = """
import runpy, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"celery", "kombu", "amqp", "fleet", "pydantic", "fabric", "jinja2"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
runpy.run_module("provisioning", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripts:
    """The scripts, and a vhost's name that is free."""

    node: RabbitNode
    vhost: str
    file: Path

    def want(self, document: object) -> None:
        self.file.write_text(document if isinstance(document, str) else json.dumps(document))

    def __call__(self, command: str, *options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            (sys.executable, "-c", WITHOUT, command, str(self.file), *options),
            env=clean_environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def door(self, name: str) -> tuple[str, ...]:
        if name == "rabbitmqctl":
            return ("--door", name, "--rabbitmqctl", self.node.rabbitmqctl[0])
        login = ("--user", self.node.admin_user, "--password-file", str(self.node.admin_password_file))
        return ("--url", self.node.management_url, *login)

    def exists(self) -> bool:
        return self.vhost in self.node.ctl("list_vhosts", "--silent").splitlines()


@pytest.fixture
def scripts(rabbit: RabbitNode, tmp_path: Path) -> Iterator[Scripts]:
    named = BrokerVhost.name_only(rabbit, tmp_path)
    try:
        yield Scripts(node=rabbit, vhost=named.name, file=tmp_path / "desired.json")
    finally:
        named.delete()


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
