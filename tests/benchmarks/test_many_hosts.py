"""What do five hundred hosts cost, when each answer is 20 ms away: a whole look, and the pool with dead ones?

The hosts are simulated: they wait as a network does. For the whole look they answer as real ones do, which a
test on a host of the lab sees to (`tests/hosts/test_simulated_hosts.py`). All else is real: materials,
release, bundles, observations, plans, the pool, its threads and its deadlines. What SSH costs this machine is
missing: with each real host keys are exchanged and commands encrypted, in some 25 ms of CPU.
"""

import subprocess
import sys
from pathlib import Path

import pytest

LATENCY_SECONDS = 0.02
#: TCP, greeting, keys, login, channel and program: what a first command on a new connection needs
ROUND_TRIPS = 8
SIZES = (50, 100, 500)
LOOKS = (50, 100, 200, 500)
MOST_SECONDS = 60
MOST_MEBIBYTES = 300
PARALLEL = (8, 32, 128)
#: prints hosts, parallel, dead, seconds and most memory so far (MiB), for each pair; then with dead hosts
SIMULATION = """
import resource, sys, threading, time
from provisioning.errors import HostUnreachable
from provisioning.hosts.many import on_each
from provisioning.hosts.runner import Ran

latency, trips = float(sys.argv[1]), int(sys.argv[2])

def simulate(count, parallel, dead=0):
    hung_up = {f"host-{n}": threading.Event() for n in range(count)}

    def work(name):
        if int(name[5:]) < dead:
            hung_up[name].wait()
            raise HostUnreachable("gone")
        for _ in range(trips):
            time.sleep(latency)
        return Ran(exit_code=0, stdout=bytes(4096), stderr=b"")

    started = time.perf_counter()
    done = on_each(
        tuple(hung_up),
        work,
        parallel=parallel,
        deadline_seconds=2.0,
        give_up=lambda name: hung_up[name].set(),
    )
    seconds = time.perf_counter() - started
    assert sum(each.error is not None for each in done) == dead
    print(count, parallel, dead, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

for count in map(int, sys.argv[3].split(",")):
    for parallel in map(int, sys.argv[4].split(",")):
        simulate(count, parallel)
simulate(500, 32, dead=5)
"""


def test_five_hundred_hosts_take_as_long_as_their_answers_and_dead_ones_cost_no_more_than_a_deadline() -> (
    None
):
    done = subprocess.run(
        (
            *(sys.executable, "-c", SIMULATION, str(LATENCY_SECONDS), str(ROUND_TRIPS)),
            *(",".join(map(str, SIZES)), ",".join(map(str, PARALLEL))),
        ),
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    print()
    for line in done.stdout.splitlines():
        count, parallel, dead, seconds, mebibytes = map(float, line.split())
        least = count / parallel * LATENCY_SECONDS * ROUND_TRIPS
        print(
            f"{count:.0f} hosts, {parallel:.0f} at once, {dead:.0f} dead: {seconds:.2f} s, "
            f"{seconds / least:.2f} times what the answers take, {mebibytes:.0f} MiB"
        )
        assert seconds < MOST_SECONDS
        assert mebibytes < MOST_MEBIBYTES
        # Five dead hosts hold five of 32 places for one deadline of two seconds.
        assert seconds < 3 * least + (2.5 if dead else 0.5)


def look(count: int, directory: Path) -> tuple[float, float, float]:
    """Return seconds, most memory (MiB) and seconds of CPU of one look at ``count`` hosts."""
    directory.mkdir()
    argv = (sys.executable, "-m", "tests.benchmarks.many_hosts", str(count), str(LATENCY_SECONDS))
    done = subprocess.run((*argv, str(directory)), capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    seconds, mebibytes, processor = map(float, done.stdout.split())
    return seconds, mebibytes, processor


@pytest.mark.timeout(900)
def test_a_whole_look_at_five_hundred_hosts_with_nothing_to_do_takes_less_than_a_minute(
    tmp_path: Path,
) -> None:
    found = {count: look(count, tmp_path / str(count)) for count in LOOKS}
    print()
    for count, (seconds, mebibytes, processor) in found.items():
        print(
            f"{count} hosts looked at: {seconds:.2f} s, {mebibytes:.0f} MiB, {processor:.2f} s of CPU"
            " with the start and the simulated hosts' own"
        )
        assert seconds < MOST_SECONDS
        assert mebibytes < MOST_MEBIBYTES
    # In proportion to the hosts, and not to their square.
    assert found[500][2] < 2 * 5 * found[100][2]
