"""The same forty objects by Ansible's community.rabbitmq and by us: whole process against whole process."""

import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pytest
import requests

from fleet.daemons.rabbitmq import RabbitNode
from tests.benchmarks.ansible_peer import OBJECTS, PERMISSIONS, Objects, environment, play

#: of ours; Ansible's take minutes, so each of its runs is one
ROUNDS = 5
FIRST_APPLY_RATIO = 10
NO_OP_RATIO = 50


def delete(node: RabbitNode, objects: Objects) -> None:
    for path in (
        *(f"vhosts/{vhost}" for vhost in objects.vhosts),
        *(f"users/{name}" for name, _, _ in objects.users()),
    ):
        requests.delete(
            f"{node.management_url}/api/{path}",
            auth=(node.admin_user, node.admin_password.reveal()),
            timeout=60,
        )


@pytest.fixture
def objects(rabbit: RabbitNode) -> Iterator[Objects]:
    made = Objects(prefix=f"peer-{secrets.token_hex(3)}", password=secrets.token_urlsafe(16))
    try:
        yield made
    finally:
        delete(rabbit, made)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@pytest.mark.timeout(1500)
def test_forty_objects_are_made_and_checked_many_times_faster_than_by_ansible(
    rabbit: RabbitNode, objects: Objects, tmp_path: Path
) -> None:
    desired, playbook = tmp_path / "desired.json", tmp_path / "site.yml"
    desired.write_text(json.dumps(objects.definitions()))
    playbook.write_text(json.dumps(objects.playbook(rabbit)))
    where = ("--url", rabbit.management_url, "--user", rabbit.admin_user)
    password = ("--password-file", str(rabbit.admin_password_file))
    argv = (sys.executable, "-m", "provisioning", "apply", str(desired), *where, *password, "--yes")

    outcomes: list[str] = []

    def ours() -> None:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        outcomes.append(done.stderr.splitlines()[-1].partition(" in ")[0])

    recaps: list[str] = []
    binaries = environment()

    def theirs() -> None:
        recaps.append(play(binaries, playbook, rabbit))

    first = seconds(theirs)
    idle = seconds(theirs)
    assert [re.search(r"changed=(\d+)", recap)[1] for recap in recaps] == ["4", "0"]  # type: ignore[index]
    made = []
    for _ in range(ROUNDS):
        delete(rabbit, objects)
        made.append(seconds(ours))
    no_op = [seconds(ours) for _ in range(ROUNDS)]
    # Permissions are objects of their own here.
    assert outcomes == [f"created {OBJECTS + PERMISSIONS}"] * ROUNDS + ["no changes"] * ROUNDS
    print(
        f"\nfirst apply of {OBJECTS} objects: Ansible {first:.1f} s, ours {median(made):.2f} s"
        f" = {first / median(made):.0f} times faster; nothing to do: Ansible {idle:.1f} s,"
        f" ours {median(no_op):.2f} s = {idle / median(no_op):.0f} times faster"
    )
    assert first / median(made) >= FIRST_APPLY_RATIO
    assert idle / median(no_op) >= NO_OP_RATIO
