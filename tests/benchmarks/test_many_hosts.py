"""What do five hundred hosts cost the pool, when each answer is 20 ms away and some never answer?

The runners are simulated: they wait as a network does. The pool, its threads and its deadlines are real.
"""

import subprocess
import sys

LATENCY_SECONDS = 0.02
#: TCP, greeting, keys, login, channel and program: what a first command on a new connection needs
ROUND_TRIPS = 8
SIZES = (50, 100, 500)
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
        assert seconds < 60
        assert mebibytes < 300
        # Five dead hosts hold five of 32 places for one deadline of two seconds.
        assert seconds < 3 * least + (2.5 if dead else 0.5)
