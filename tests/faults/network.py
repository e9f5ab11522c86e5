"""The cases that need hosts: cables, partitions, power, full disks, a cluster that restarts node by node."""

import time

from tests.faults.case import HostCase
from tests.faults.hosts import EFFECTS, HostStage
from tests.faults.publisher import Order
from tests.faults.subjects import CONCURRENCY, HELD, HOSTS, LONG, LOST_WITH_BROKER, PUBLISHERS, SHORT
from tests.hosts.by_hand import SERVICE, STATE
from tests.hosts.lab.brokers import Cluster

ALPHA, BETA = HOSTS
RUNNING = CONCURRENCY[SHORT] + CONCURRENCY[LONG]
PARTITION_SECONDS = 60.0
FULL_SECONDS = 15.0
#: three nodes that stop and start again, each for half a minute on a busy machine
ROLLING_SECONDS = 180.0


def under_way(stage: HostStage, *, seconds: float) -> None:
    """Let work flow for ``seconds``, with one long task on beta that outlasts half of them."""
    stage.start()
    stage.publish(Order(task="faults.long", args=(seconds / 2,), count=1, host=BETA))
    stage.await_runs(1)
    rate = max(5.0, 1000 / seconds)
    short = Order(task="faults.work", args=(0.02,), count=int(rate * seconds), rate=rate)
    stage.publish(short, short)
    stage.await_runs(100)


def work_on(stage: HostStage) -> None:
    """Return once all workers take tasks again, and give them some, so that beta is seen to work."""
    stage.await_workers()
    stage.publish(Order(task="faults.work", args=(0.02,), count=200, rate=50))


def cable(seconds: float) -> HostCase:
    """Return the case in which beta's cable passes nothing for ``seconds``, and nobody is told."""

    def act(stage: HostStage, cluster: Cluster) -> None:
        # A worker that was cut off for long looks for its broker every half minute.
        under_way(stage, seconds=seconds + 45)
        stage.hosts[BETA].silence()
        time.sleep(seconds)
        stage.hosts[BETA].plug()
        stage.over(host=BETA)
        work_on(stage)

    return HostCase(name=f"cable passes nothing for {seconds:g} s", act=act, reruns=HELD)


def partition(stage: HostStage, cluster: Cluster) -> None:
    """Cut one node and a worker host off from the rest."""
    # Until the nodes are together again, a minute and more may pass.
    under_way(stage, seconds=PARTITION_SECONDS + 90)
    lonely = cluster.names[-1]
    cluster.partition([lonely], BETA)
    time.sleep(PARTITION_SECONDS)
    # Healed before it has, it would not come together with the others again.
    cluster[lonely].await_paused()
    cluster.heal(BETA)
    stage.over(host=BETA)
    work_on(stage)


def rolling_restart(stage: HostStage, cluster: Cluster) -> None:
    """Restart each node of the cluster, the next one when the last is back."""
    under_way(stage, seconds=ROLLING_SECONDS)
    for node in cluster.nodes:
        node.restart()
        cluster.await_healthy()
    stage.over()


def power(stage: HostStage, cluster: Cluster) -> None:
    """Cut the power of a worker host and boot it again."""
    under_way(stage, seconds=40)
    stage.hosts[BETA].power_off()
    stage.died(BETA)
    stage.hosts[BETA].boot()
    stage.over(host=BETA)
    work_on(stage)


def full_disk(stage: HostStage, cluster: Cluster) -> None:
    """Let the disk below beta's state directory be full for a while."""
    beta = stage.hosts[BETA]
    beta.console("mkdir", "-p", STATE)
    beta.console("mount", "-t", "tmpfs", "-o", "size=4M,mode=0700,uid=fleet,gid=fleet", "tmpfs", STATE)
    under_way(stage, seconds=40)
    beta.console("sh", "-c", f"dd if=/dev/zero of={STATE}/fill bs=64k 2>/dev/null; true")
    before = len([run for run in stage.runs() if run.host == BETA])
    time.sleep(FULL_SECONDS)
    goes_on = len([run for run in stage.runs() if run.host == BETA]) > before
    beta.console("rm", f"{STATE}/fill")
    stage.over()
    assert goes_on, f"no task ran on the host whose {STATE} is full; see {EFFECTS} and {SERVICE}"


CASES = (
    cable(5),
    cable(60),
    cable(180),
    HostCase(
        name="cluster partition, worker on the minority side", act=partition, reruns=HELD, resent=PUBLISHERS
    ),
    HostCase(
        name="rolling restart of a three-node cluster",
        act=rolling_restart,
        # Each of the three nodes that stop may have the connections of all.
        reruns=3 * LOST_WITH_BROKER,
        resent=3 * PUBLISHERS,
    ),
    HostCase(name="host power-off and boot", act=power, reruns=RUNNING),
    HostCase(name="disk full on a worker host for 15 s", act=full_disk, reruns=0),
)
