"""Attacks on workers on the RabbitMQ release that the other tests of attacks do not run on."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import amqp
import pytest

from fleet.fleetfile import read
from fleet.ops.permissions import explain_user, look
from tests.broker import BrokerNode, BrokerVhost
from tests.hosts.lab.brokers import RELEASES
from tests.integration.worker.conftest import Shop, shops
from tests.integration.worker.test_attacks import ATTACKS, headers
from tests.integration.worker.test_dead_letters_each_release import OTHER
from tests.servers import Provisioned, RunFleet, StartWorker


@pytest.fixture
def shop(
    each_broker: BrokerNode, run_fleet: RunFleet, start_worker: StartWorker, tmp_path: Path
) -> Iterator[Shop]:
    there = Provisioned(vhost=BrokerVhost.name_only(each_broker, tmp_path), run_fleet=run_fleet)
    try:
        with shops(there, start_worker, tmp_path) as make:
            yield make()
    finally:
        there.vhost.delete()


@pytest.mark.parametrize("release", OTHER)
def test_every_attack_is_dead_lettered_with_its_reason(shop: Shop) -> None:
    shop.start()
    web = shop.publisher()
    for name, (_, message_headers, body, properties) in ATTACKS.items():
        web.publish(message_headers, body, message_id=name, **properties)
    web.publish(headers(), [["still here"], {}, {}])
    web.close()
    letters = shop.dead_letters("shop", at_least=len(ATTACKS))
    found = {
        letter["properties"]["message_id"]: letter["properties"]["headers"]["fleet_refused_reason"]
        for letter in letters
    }
    assert found == {name: reason for name, (reason, *_) in ATTACKS.items()}
    shop.expect("ok", "still")
    assert [note[0] for note in shop.notes()] == ["ok"]


@pytest.mark.parametrize("release", OTHER)
@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_a_second_key_is_refused_by_the_broker_itself(shop: Shop, name: str) -> None:
    web = shop.publisher()
    try:
        with pytest.raises(amqp.AccessRefused, match=r"fleet\.slow\.alpha"):
            web.publish(headers("probe.sleep", **{name: ["fleet.slow.alpha"]}), [[0], {}, {}])
    finally:
        web.close()


def bound_and_told(shop: Shop, body: str) -> bool:
    """Lead ``body`` into a worker's mailbox, as the fleet's own user; tell whether the broker lets it."""
    made, mailbox = "x@alpha.celery.pidbox", "shared-a@alpha.celery.pidbox"
    vhost = shop.vhost
    with amqp.Connection(
        host=vhost.address,
        userid=vhost.user,
        password=vhost.password,
        virtual_host=vhost.name,
        confirm_publish=True,
        read_timeout=10,
    ) as connection:
        channel = connection.channel()
        channel.exchange_declare(made, "fanout", durable=False, auto_delete=True)
        try:
            channel.queue_bind(mailbox, made)
        except amqp.exceptions.ResourceLocked:
            return False
        message = amqp.Message(body, content_type="application/json", content_encoding="utf-8")
        channel.basic_publish(message, exchange=made)
        return True


@pytest.mark.parametrize("release", RELEASES)
def test_a_worker_obeys_what_comes_by_another_exchange_where_permissions_explain_says_so(shop: Shop) -> None:
    worker = shop.start()
    fleet = read(str(shop.file))
    found = {ability.what for ability in explain_user(fleet, look(fleet, shop.environ), shop.vhost.user).can}
    told = bound_and_told(shop, '{"method": "shutdown", "arguments": {}}')
    assert told == ("command_workers_of" in found) == ("stop_workers" in found)
    if told:
        assert worker.wait(30)
    else:
        with closing(shop.publisher()) as web:
            web.publish(headers(), [["still here"], {}, {}])
        shop.expect("ok", "still")
