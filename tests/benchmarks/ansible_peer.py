"""The same forty objects for Ansible's community.rabbitmq and for us: its environment, and a playbook."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.daemons.node_files import NODE_NAME
from fleet.daemons.packages import cache_directory
from fleet.daemons.rabbitmq import RabbitNode

#: holds community.rabbitmq 1.6.0
ANSIBLE = "12.3.0"
VHOSTS, USERS, QUEUES, POLICIES = 5, 10, 20, 5
#: of the administrator in each vhost, of the others in one
PERMISSIONS = VHOSTS + USERS - 1
OBJECTS = VHOSTS + USERS + QUEUES + POLICIES


def environment() -> Path:
    """Return the `bin` of a virtual environment with the whole of Ansible, made on first use."""
    home = cache_directory(os.environ).parent / "benchmarks" / f"ansible-{ANSIBLE}"
    if not (home / "bin" / "ansible-playbook").exists():
        print(f"\ninstalling ansible {ANSIBLE} into {home}")
        subprocess.run((sys.executable, "-m", "venv", str(home)), check=True, timeout=120)
        pip = (str(home / "bin" / "pip"), "install", "--quiet", f"ansible=={ANSIBLE}", "requests")
        subprocess.run(pip, check=True, timeout=900)
    return home / "bin"


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Five vhosts, ten users with permissions, twenty quorum queues and five policies, under one prefix."""

    prefix: str
    password: str

    @property
    def vhosts(self) -> list[str]:
        return [f"{self.prefix}-{number}" for number in range(VHOSTS)]

    @property
    def administrator(self) -> str:
        """The first user, who may do everything everywhere: Ansible makes queues as one with permissions."""
        return f"{self.prefix}-u0"

    def users(self) -> list[tuple[str, str, list[str]]]:
        """Return name, tags and vhosts of each user."""
        others = [
            (f"{self.prefix}-u{number}", "", [self.vhosts[number % VHOSTS]]) for number in range(1, USERS)
        ]
        return [(self.administrator, "administrator", self.vhosts), *others]

    def queues(self) -> list[tuple[str, str]]:
        """Return vhost and name of each queue."""
        return [(self.vhosts[number % VHOSTS], f"q{number}") for number in range(QUEUES)]

    def definitions(self) -> dict[str, list[dict[str, Any]]]:
        """Return the objects as definitions."""
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        return {
            "vhosts": [{"name": vhost} for vhost in self.vhosts],
            "users": [
                {"name": name, "tags": tags, "password": self.password} for name, tags, _ in self.users()
            ],
            "permissions": [
                {"vhost": vhost, "user": name, **everything}
                for name, _, vhosts in self.users()
                for vhost in vhosts
            ],
            "policies": [
                {
                    "vhost": v,
                    "name": "p",
                    "pattern": "^q",
                    "apply-to": "queues",
                    "definition": {"max-length": 9},
                }
                for v in self.vhosts
            ],
            "queues": [
                {"vhost": vhost, "name": name, "arguments": {"x-queue-type": "quorum"}}
                for vhost, name in self.queues()
            ],
        }

    def playbook(self, node: RabbitNode) -> list[dict[str, Any]]:
        """Return the objects as a playbook, with one loop for each kind."""
        login = {
            "login_user": self.administrator,
            "login_password": self.password,
            "login_host": "127.0.0.1",
            "login_port": str(node.management_port),
        }
        users = [
            {
                "user": name,
                "tags": tags,
                "permissions": [
                    {"vhost": vhost, "configure_priv": ".*", "write_priv": ".*", "read_priv": ".*"}
                    for vhost in vhosts
                ],
            }
            for name, tags, vhosts in self.users()
        ]
        tasks = [
            _task("rabbitmq_vhost", {"name": "{{ item }}", "node": NODE_NAME}, self.vhosts),
            _task(
                "rabbitmq_user",
                {
                    "user": "{{ item.user }}",
                    "password": self.password,
                    "tags": "{{ item.tags }}",
                    "permissions": "{{ item.permissions }}",
                    "node": NODE_NAME,
                },
                users,
            ),
            _task(
                "rabbitmq_queue",
                {
                    "name": "{{ item.name }}",
                    "vhost": "{{ item.vhost }}",
                    "arguments": {"x-queue-type": "quorum"},
                    **login,
                },
                [{"vhost": vhost, "name": name} for vhost, name in self.queues()],
            ),
            _task(
                "rabbitmq_policy",
                {
                    "name": "p",
                    "vhost": "{{ item }}",
                    "pattern": "^q",
                    "apply_to": "queues",
                    "tags": {"max-length": 9},
                    "node": NODE_NAME,
                },
                self.vhosts,
            ),
        ]
        return [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]


def play(binaries: Path, playbook: Path, node: RabbitNode) -> str:
    """Run a playbook and return its recap line; raises AssertionError if anything failed."""
    home = playbook.parent
    done = subprocess.run(
        (str(binaries / "ansible-playbook"), "-i", "localhost,", "-e", _interpreter(binaries), str(playbook)),
        env={
            "HOME": str(home),
            "PATH": f"{Path(node.rabbitmqctl[0]).parent}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(home / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout.strip().splitlines()[-1]


def _interpreter(binaries: Path) -> str:
    return json.dumps({"ansible_python_interpreter": str(binaries / "python")})


def _task(module: str, arguments: dict[str, Any], items: list[Any]) -> dict[str, Any]:
    return {
        "name": module,
        f"community.rabbitmq.{module}": arguments,
        "loop": items,
        "loop_control": {"label": ""},
    }
