"""The same worker hosts by `fleet provision hosts` and by Ansible with our own role, on hosts of a lab.

Ansible has what makes it fast: pipelining, kept connections and a fork for each host. Both sides find the
release built and their modules compiled, and hosts that nothing has run on since they booted.
"""

import os
from collections.abc import Iterator
from statistics import median

import pytest

from tests.benchmarks.worker_hosts import WorkerHosts, worker_hosts
from tests.hosts.lab.system import lab_missing

pytestmark = pytest.mark.hosts

HOSTS = int(os.environ.get("FLEET_BENCH_HOSTS", "6"))
#: with nothing to do, in turns
ROUNDS = 5
FIRST_RATIO = 3
NO_OP_RATIO = 10
CHECK_SECONDS = 3


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerHosts]:
    if missing := lab_missing():
        pytest.skip(missing)
    with worker_hosts(HOSTS, tmp_path_factory.mktemp("bench")) as made:
        yield made


@pytest.mark.timeout(1500)
def test_six_hosts_are_provisioned_and_checked_many_times_faster_than_by_ansible(hosts: WorkerHosts) -> None:
    hosts.reset()
    # Once for the caches of each side, without a change.
    hosts.fleet("provision", "hosts", "--check", code=4)
    hosts.play("--check", changed=1)
    ours_first = hosts.fleet("provision", "hosts", "--yes")
    hosts.reset()
    theirs_first = hosts.play(changed=1)
    ours, checks, theirs = [], [], []
    for _ in range(ROUNDS):
        ours.append(hosts.fleet("provision", "hosts", "--yes"))
        theirs.append(hosts.play(changed=0))
        checks.append(hosts.fleet("provision", "hosts", "--check"))
    first, no_op = theirs_first / ours_first, median(theirs) / median(ours)
    load = os.getloadavg()[0]
    print(
        f"\n{HOSTS} worker hosts from nothing: Ansible {theirs_first:.1f} s, ours {ours_first:.1f} s"
        f" = {first:.1f} times faster; nothing to do: Ansible {median(theirs):.2f} s,"
        f" ours {median(ours):.2f} s = {no_op:.1f} times faster; only looking: {median(checks):.2f} s,"
        f" best {min(checks):.2f} s; load {load:.1f}"
    )
    assert first >= FIRST_RATIO
    assert no_op >= NO_OP_RATIO
    assert min(checks) <= CHECK_SECONDS
