"""``python -m tests.benchmarks.many_hosts COUNT LATENCY DIRECTORY``: what does a look at so many hosts cost?

Prints seconds and the most memory (MiB) of one look with nothing to do, as `fleet provision hosts --check`
takes it: materials, release, bundles, observations and plans are the real ones, and so are the threads. Only
the hosts are simulated, within this process, so their work is counted, too.
"""

import os
import sys
import time
from pathlib import Path

from fleet.fleetfile import read
from fleet.hosts.material import gather_all
from fleet.hosts.target import target_of
from fleet.ops.provision_hosts import Releases, plan_hosts, release_cache
from provisioning.hosts.agent.look import runtime
from tests.simulated_hosts import SimulatedDoor

FLEET_TOML = """\
[fleet]
name = "many"

[broker]
nodes = ["amqps://mq1.example:5671", "amqps://mq2.example:5671", "amqps://mq3.example:5671"]
user = "celery"
password = "file:{here}/celery.password"
profile = "per-host"
host_password = "file:{here}/{{host}}.password"
[broker.tls]
ca = "{here}/ca.pem"

{hosts}
[queues.shop]
tasks = ["shop.*"]
[queues.probe]
tasks = ["probe.*"]
per_host = true

[workers.shop]
queues = ["shop"]
[workers.probe]
queues = ["probe"]

[tasks]
imports = ["shop"]
"""


def write_files(directory: Path, count: int) -> Path:
    """Write the files of a control machine with ``count`` hosts; return that of the fleet."""
    names = [f"host-{number:03}" for number in range(count)]
    for name in ("celery", *names):
        (directory / f"{name}.password").write_text(f"secret of {name}\n")
    (directory / "ca.pem").write_text("an authority\n" * 100)
    (directory / "shop.py").write_text("")
    file = directory / "fleet.toml"
    hosts = "".join(f'[hosts.{name}]\naddress = "{name}.example"\n' for name in names)
    file.write_text(FLEET_TOML.format(here=directory, hosts=hosts))
    return file


def main(count: int, latency_seconds: float, directory: Path) -> None:
    """Look once."""
    file = write_files(directory, count)
    # Built before, as for every look but the first.
    releases = Releases(fleet=read(str(file)), cache=release_cache(os.environ))
    release = releases.build(target_of(runtime()))
    started = time.perf_counter()
    fleet = read(str(file))
    materials = gather_all(fleet, [host.name for host in fleet.hosts], environ={})
    door = SimulatedDoor(fleet=fleet, release=release, materials=materials, latency_seconds=latency_seconds)
    looked = plan_hosts(fleet, fleet.hosts, {}, releases=releases, door=door)
    seconds = time.perf_counter() - started
    assert len(looked) == count
    for each in looked:
        assert each.value is not None, each.error
        assert each.value.is_empty, each.value.begin.changes
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(seconds, int(peak.split()[1]) / 1024, time.process_time())


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))
