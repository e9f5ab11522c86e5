"""An apply through rabbitmqctl killed after each of its commands: the plan says the rest, a run does it."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provisioning.broker.desired import read
from provisioning.broker.management import ManagementDoor
from provisioning.broker.releases import settled
from provisioning.plan import plan
from tests.integration.provisioning.scripts import Scripts
from tests.servers import clean_environ


@dataclass(frozen=True, slots=True, kw_only=True)
class Killer:
    """A rabbitmqctl that kills whoever called it, once the real one has changed something."""

    command: Path
    noted: Path

    @classmethod
    def before(cls, real: str, directory: Path) -> "Killer":
        made = cls(command=directory / "killing-rabbitmqctl", noted=directory / "commands")
        # Each call begins with --silent --timeout SECONDS.
        made.command.write_text(
            f"""#!/bin/sh
{real} "$@"
code=$?
case $4 in
    import_definitions | clear_* | delete_*) printf '%s\\n' "$4" >>{made.noted}; kill -KILL "$PPID" ;;
esac
exit "$code"
"""
        )
        made.command.chmod(0o700)
        return made

    @property
    def commands(self) -> list[str]:
        return self.noted.read_text().splitlines() if self.noted.exists() else []


def killed(scripts: Scripts, killer: Killer) -> int:
    """Apply through the killer and return the exit code."""
    done = subprocess.run(
        (
            *(sys.executable, "-m", "provisioning", "apply", str(scripts.file), "--yes", "--prune"),
            *("--allow-destructive", "--door", "rabbitmqctl", "--rabbitmqctl", str(killer.command)),
            *("--mark", scripts.vhost),
        ),
        env=clean_environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=180,
        check=False,
    )
    return done.returncode


def pending(scripts: Scripts) -> list[tuple[str, str]]:
    """Return what a plan through the other door would change."""
    node = scripts.node
    door = ManagementDoor(node.management_url, user=node.admin_user, password=node.admin_password.reveal())
    desired, seen = read(scripts.file.read_text(), source="desired.json"), door.observe()
    planned = plan(settled(replace(desired, mark=scripts.vhost), seen), seen.resources, prune=True)
    return [(str(change.action), change.resource.KIND) for change in planned.changes]


def walk(scripts: Scripts, killer: Killer) -> list[list[tuple[str, str]]]:
    """Apply until nothing is left to kill it; return what was pending at first and after each kill."""
    seen = [pending(scripts)]
    while (code := killed(scripts, killer)) == -signal.SIGKILL:
        seen.append(pending(scripts))
        assert len(seen) == len(killer.commands) + 1 < 15
    assert code == 0
    return seen


def there(vhost: str, **more: Any) -> dict[str, Any]:
    return {
        "vhosts": [{"name": vhost, "limits": {"max-queues": 9}}],
        "users": [{"name": f"{vhost}-u", "password": "p", "tags": [vhost], "limits": {"max-channels": 9}}],
        "permissions": [
            {"vhost": vhost, "user": f"{vhost}-u", "configure": "^a$", "write": "^a$", "read": "^a$"}
        ],
        "policies": [{"vhost": vhost, "name": "old", "pattern": "^o$", "definition": {"max-length": 1}}],
        **more,
    }


def wanted(vhost: str) -> Mapping[str, Any]:
    rights = {"configure": "^$", "write": "^a$", "read": ""}
    return {
        "vhosts": [{"name": vhost, "description": "new", "limits": {}}],
        "users": [{"name": f"{vhost}-u", "password": "other", "tags": [vhost], "limits": {}}],
        "permissions": [{"vhost": vhost, "user": f"{vhost}-u", **rights}],
        "queues": [{"vhost": vhost, "name": "q", "type": "quorum"}],
    }


def test_killed_after_each_command_the_plan_says_what_is_left_and_the_next_run_goes_on(
    scripts: Scripts, tmp_path: Path
) -> None:
    scripts.want(there(scripts.vhost))
    first = scripts("apply", "--yes", "--mark", scripts.vhost, *scripts.door("http"))
    assert first.returncode == 0, first.stderr
    scripts.want(wanted(scripts.vhost))
    killer = Killer.before(scripts.node.rabbitmqctl[0], tmp_path)
    try:
        seen = walk(scripts, killer)
    finally:
        scripts.node.ctl("delete_user", f"{scripts.vhost}-u")
    # A limit is cleared before the rest of its owner changes: a kill between the two leaves the rest to do.
    assert killer.commands == [
        "clear_vhost_limits",
        "import_definitions",
        "clear_user_limits",
        *["import_definitions"] * 3,
        "clear_policy",
    ]
    assert seen[0] == [
        ("update", "vhost"),
        ("update", "user"),
        ("update", "permission"),
        ("create", "queue"),
        ("delete", "policy"),
    ]
    left = [5, 5, 4, 4, 3, 2, 1, 0]
    assert [len(each) for each in seen] == left
    assert all(seen[0][5 - count :] == each for each, count in zip(seen, left, strict=True))


def test_killed_between_the_halves_of_a_replacement_the_next_run_makes_the_other_half(
    scripts: Scripts, tmp_path: Path
) -> None:
    vhost = scripts.vhost
    scripts.want({"vhosts": [{"name": vhost}], "queues": [{"vhost": vhost, "name": "q", "type": "classic"}]})
    assert scripts("apply", "--yes", *scripts.door("http")).returncode == 0
    scripts.want({"vhosts": [{"name": vhost}], "queues": [{"vhost": vhost, "name": "q", "type": "quorum"}]})
    killer = Killer.before(scripts.node.rabbitmqctl[0], tmp_path)
    assert walk(scripts, killer) == [[("replace", "queue")], [("create", "queue")], []]
    assert killer.commands == ["delete_queue", "import_definitions"]
