"""The words of `fleet.fleet.host`; what it does is in the action plugin of the same name."""

DOCUMENTATION = r"""
module: host
short_description: Make a host what a fleet file says it is
description:
  - Brings release, configuration, credentials, systemd units and workers of a host to what the fleet file
    says, as C(fleet provision hosts) does and with the same code, over Ansible's own connection.
  - Runs C(fleet) on the controller, which looks at the host, plans and changes it. Nothing of fleet has to be
    on the host before.
  - A worker that has to start anew starts beside the old instance, which ends in the background when the new
    one is ready. Where it does not get ready the old one goes on, and the task fails.
options:
  name:
    description: The host as the fleet file calls it; the name in the inventory when left out.
    type: str
  file:
    description: The fleet file on the controller.
    type: path
    required: true
  command:
    description: The C(fleet) command on the controller.
    type: str
    default: fleet
  wheels:
    description: Wheels on the controller that are installed with the release.
    type: list
    elements: path
    default: []
  allow_destructive:
    description: Replace what stands where something of fleet's belongs and was not put there by fleet.
    type: bool
    default: false
  environment_of_fleet:
    description:
      - Environment in which the fleet file's C(env:) secrets are found, besides the controller's own.
      - Its values are never shown.
    type: dict
    default: {}
requirements:
  - fleet on the controller
  - Python 3.11 or newer and systemd on the host
attributes:
  check_mode:
    support: full
    description: Looks at the host and tells what would change.
  diff_mode:
    support: full
    description: Shows the changed lines of text files, never those of a secret.
notes:
  - Needs root on the host (C(become=true)), and a connection that takes input for commands, such as C(ssh)
    or C(local).
author:
  - fleet contributors (@fleet)
"""

EXAMPLES = r"""
- name: Make the host what the fleet file says
  fleet.fleet.host:
    file: /etc/fleet/fleet.toml
  become: true
"""

RETURN = r"""
changes:
  description: What is, or in check mode would be, changed, in order; no secret is among it.
  type: list
  elements: dict
  returned: always
  sample:
    - action: update
      object: file /etc/fleet/fleet.toml
release:
  description: The release that the host runs, and whether it was installed before.
  type: dict
  returned: always
ends:
  description: Units of old instances that end when the new ones are ready.
  type: list
  elements: str
  returned: always
ending:
  description: Units of old instances that were still ending when the host was looked at.
  type: list
  elements: str
  returned: always
notes:
  description: What an operator should know.
  type: list
  elements: str
  returned: always
"""
