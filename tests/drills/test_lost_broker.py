"""The broker's disk is gone: what does the fleet file bring back, what do outboxes, and what is lost?"""

import shutil
import time

import pytest

from fleet import Client
from fleet.daemons.rabbitmq import RabbitNode
from fleet.errors import FleetError
from tests.drills.conftest import Record
from tests.integration.worker.conftest import ENVIRON, Shop
from tests.servers import RunFleet

PAGE = "how-to/rebuild-a-broker.md"
WAITING, KEPT = 20, 30


def test_a_broker_without_its_disk_is_rebuilt_from_the_fleet_file_and_outboxes_give_back_what_they_keep(
    own_shop: Shop, own_rabbit: RabbitNode, run_fleet: RunFleet, record: Record
) -> None:
    shop, outbox = own_shop, own_shop.file.with_name("outbox.sqlite3")
    shop.start("slow")
    shop.start("shared")
    shop.send("probe.hold", "running", queue="slow", host="alpha")
    shop.expect("start", "running")
    for number in range(WAITING):
        shop.send("probe.hold", f"waiting-{number}", queue="slow", host="alpha")

    own_rabbit.kill()
    shutil.rmtree(own_rabbit.directory / "data")
    lost_at = time.monotonic()
    with Client(shop.file, ENVIRON, outbox=outbox) as client:
        kept = [client.send("probe.ok", {"word": f"kept-{number}"}) for number in range(KEPT)]
        assert all(each.in_outbox for each in kept)

    own_rabbit.restart()
    up_at = time.monotonic()
    with Client(shop.file, ENVIRON) as client, pytest.raises(FleetError, match="refused"):
        client.send("probe.ok", {"word": "too early"})

    def fleet(*arguments: str) -> None:
        done = run_fleet(*arguments, file=shop.file, env=ENVIRON)
        assert done.returncode == 0, done.stderr

    fleet("provision", "broker", "--yes")
    provisioned_at = time.monotonic()
    fleet("provision", "broker", "--check")
    fleet("outbox", "forward", "--outbox-file", str(outbox))
    for number in range(KEPT):
        shop.expect("ok", f"kept-{number}", seconds=60)
    given_back_at = time.monotonic()

    # The task that ran all the while runs to its end once, and its worker takes the next.
    shop.release()
    shop.send("probe.hold", "afterwards", queue="slow", host="alpha")
    shop.expect("end", "afterwards", seconds=60)
    works_at = time.monotonic()
    assert [word for _, word in shop.notes("start")] == ["running", "afterwards"]
    record(
        PAGE,
        {
            "tasks that outboxes kept, given back": f"{KEPT} of {KEPT}",
            "tasks that ran all the while, run to their end": "1 of 1, once",
            "tasks that waited on the lost disk, lost": f"{WAITING} of {WAITING}",
            "from the empty broker's start until it was provisioned": f"{provisioned_at - up_at:.1f} s",
            "from there until what outboxes had kept was done": f"{given_back_at - provisioned_at:.1f} s",
            "from the loss until every worker took new tasks": f"{works_at - lost_at:.1f} s",
        },
    )
