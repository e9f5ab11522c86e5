"""`python -m provisioning`, run where nothing of Celery or of a fleet can be imported."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fleet.daemons.rabbitmq import RabbitNode
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
