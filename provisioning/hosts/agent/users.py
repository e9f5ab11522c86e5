"""How does a system user come to be as declared?"""

import grp
import subprocess
from typing import Any

from provisioning.hosts.agent.places import Refused

SECONDS = 30.0


def put_user(change: dict[str, Any]) -> None:
    """Make a system user with a group of its own, or change its home, shell and further groups."""
    argv = [*_beginning(change), "--shell", change["shell"]]
    if change["groups"]:
        argv += ["--append"] if change["exists"] else []
        argv += ["--groups", ",".join(change["groups"])]
    argv += ["--", change["name"]]
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        argv,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise Refused(f"`{argv[0]}` ended with {done.returncode}: {done.stderr.strip()}")


def _beginning(change: dict[str, Any]) -> list[str]:
    if change["exists"]:
        return ["usermod", "--home", change["home"]]
    try:
        # A user that was deleted may have left its group.
        group = ["--gid", str(grp.getgrnam(change["name"]).gr_gid)]
    except KeyError:
        group = ["--user-group"]
    return ["useradd", "--system", "--no-create-home", *group, "--home-dir", change["home"]]
