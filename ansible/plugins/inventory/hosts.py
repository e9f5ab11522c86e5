"""The hosts of a fleet file, as Ansible's inventory."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable

DOCUMENTATION = r"""
name: hosts
short_description: The hosts of a fleet file
description:
  - Asks C(fleet hosts list --json) which hosts there are and how they are reached, so that Ansible goes the
    same ways and trusts the same keys as C(fleet). No host is contacted.
  - Hosts with workers are in the group C(fleet_workers), those with a label in C(fleet_label_LABEL), those
    that run a worker in C(fleet_worker_WORKER). Characters that a group's name may not have become C(_).
  - The file that names this plugin ends in C(fleet.yml) or C(fleet.yaml).
extends_documentation_fragment:
  - constructed
options:
  plugin:
    description: This plugin.
    required: true
    choices:
      - fleet.fleet.hosts
  file:
    description: The fleet file; a relative path begins at the file that names this plugin.
    type: str
    default: fleet.toml
    env:
      - name: FLEET_FILE
  command:
    description: The C(fleet) command.
    type: str
    default: fleet
    env:
      - name: FLEET_COMMAND
author:
  - fleet contributors (@fleet)
"""

EXAMPLES = r"""
# inventory/fleet.yml
plugin: fleet.fleet.hosts
file: ../fleet.toml
groups:
  fleet_brokers: "'broker' in fleet_labels"
"""

#: reading the fleet file and the known hosts takes a second
SECONDS = 60


class InventoryModule(BaseInventoryPlugin, Constructable):
    """Fills the inventory with what `fleet hosts list` says."""

    NAME = "fleet.fleet.hosts"

    def verify_file(self, path: str) -> bool:
        """Tell whether ``path`` may name this plugin."""
        return bool(super().verify_file(path)) and path.endswith(("fleet.yml", "fleet.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:  # noqa: FBT001, FBT002
        """Add every host of the fleet file, its variables and groups."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        file = str(Path(path).absolute().parent / Path(self.get_option("file")).expanduser())
        self.inventory.add_group("fleet_workers")
        for host in self._listed(file):
            self._add(host)

    def _listed(self, file: str) -> list[dict[str, Any]]:
        argv = [self.get_option("command"), "--file", file, "hosts", "list", "--json"]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AnsibleParserError(f"cannot run `{argv[0]}`: {error}") from error
        if done.returncode:
            raise AnsibleParserError(done.stderr.strip() or f"`{argv[0]}` ended with {done.returncode}")
        listed: list[dict[str, Any]] = json.loads(done.stdout)
        return listed

    def _add(self, host: dict[str, Any]) -> None:
        name = self.inventory.add_host(host["host"])
        variables = variables_of(host)
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        for group in groups_of(host):
            self.inventory.add_host(name, group=self.inventory.add_group(group))
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)


def variables_of(host: dict[str, Any]) -> dict[str, Any]:
    """Return how Ansible reaches a host, and what the fleet file says of it."""
    ssh = host["ssh"]
    variables = {
        "ansible_host": ssh["address"],
        "ansible_port": host["port"],
        "ansible_user": host["user"],
        "fleet_labels": host["labels"],
        "fleet_host_workers": host["workers"],
    }
    if ssh["key_file"] is not None:
        variables["ansible_ssh_private_key_file"] = ssh["key_file"]
    if options := _options(ssh):
        variables["ansible_ssh_common_args"] = shlex.join(options)
    return variables


def groups_of(host: dict[str, Any]) -> list[str]:
    """Return the groups that a host is in."""
    groups = ["fleet_workers"] if host["workers"] else []
    groups += [f"fleet_label_{label}" for label in host["labels"]]
    groups += [f"fleet_worker_{worker}" for worker in host["workers"]]
    return [re.sub(r"\W", "_", group, flags=re.ASCII) for group in groups]


def _options(ssh: dict[str, Any]) -> list[str]:
    options = ["StrictHostKeyChecking=yes"]
    if ssh["known_hosts"] is not None:
        # Where the fleet's own file knows a host, it decides alone.
        options += [f'UserKnownHostsFile="{ssh["known_hosts"]}"', "GlobalKnownHostsFile=none"]
    if ssh["jump"] is not None:
        options.append(f"ProxyJump={','.join(ssh['jump']) or 'none'}")
    return [part for option in options for part in ("-o", option)]
