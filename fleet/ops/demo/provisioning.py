"""Does provisioning make exactly what the fleet file declares, once?"""

import json

from fleet.ops.demo.claims import Claim
from fleet.ops.demo.sandbox import Sandbox


def show_provisioning(sandbox: Sandbox) -> list[Claim]:
    """Check the fleet file, provision the empty broker, and provision it again."""
    sandbox.report("checking the fleet file, provisioning the broker twice")
    sandbox.fleet("config", "check").expect(0)
    pending = sandbox.fleet("provision", "broker", "--check")
    first = sandbox.fleet("provision", "broker", "--yes", "--json").expect(0)
    again = sandbox.fleet("provision", "broker", "--yes", "--json").expect(0)
    made, remade = _changes(first.stdout), _changes(again.stdout)
    return [
        Claim(
            claim="provisioning makes what the fleet file declares",
            evidence=f"--check: exit {pending.code}, changes pending; then {made} changes made",
            ok=pending.code == 4 and made > 0,
        ),
        Claim(
            claim="a second run changes nothing",
            evidence=f"{remade} changes, exit {again.code}",
            ok=remade == 0,
        ),
    ]


def _changes(text: str) -> int:
    return len(json.loads(text)["report"]["done"])
